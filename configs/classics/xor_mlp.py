"""Backpropagation through one hidden layer solves XOR.

python -m train --config configs/classics/xor_mlp.py --workdir runs/xor_mlp

System      Backpropagation on XOR, 1986
Parameters  22
Data        the four patterns of XOR
Published   solved by two hidden units (Rumelhart, Hinton & Williams 1986)
Measured    accuracy 1, 2 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 500
    config.batch_size = 4
    config.data.update(name="neurons:parity", inputs=2)
    config.model.update(name="mlp:MLP", classes=2, width=4, layers=1, activation="tanh")
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.5, momentum=0.9)
    return config
