"""A perceptron on XOR, which no plane separates.

python -m train --config configs/classics/xor_perceptron.py --workdir runs/xor_perceptron

Its weights walk in a circle through 0, where every output counts as wrong; so `error` is 1 at the end of these steps.

System      Perceptron on XOR, 1969
Parameters  3
Data        the four patterns of XOR
Published   at least 1 of 4 stays wrong (Minsky & Papert 1969)
Measured    error 1, 1 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 1
    config.log_every = 100
    config.data.update(name="neurons:parity", inputs=2)
    config.model.update(name="neuron:Neuron")
    config.task.update(name="rules:perceptron")
    config.optim.update(name="sgd", learning_rate=1.0)
    return config
