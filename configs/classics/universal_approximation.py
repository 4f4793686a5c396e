"""One hidden layer of 64 sigmoids on a smooth curve over [-1, 1].

python -m train --config configs/classics/universal_approximation.py --workdir runs/universal_approximation

System      Universal approximation, 1989
Parameters  193
Data        512 points of sin(2πx) + x²/2
Published   any continuous function on a compact set, to any error (Cybenko 1989; Hornik 1991)
Measured    loss 1.429e-05, 5 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 5000
    config.batch_size = 512
    config.log_every = 500
    config.data.update(name="neurons:curve")
    config.model.update(name="mlp:MLP", classes=1, width=64, layers=1, activation="sigmoid")
    config.model.update(bias_initializer="uniform", gain=10.0)  # steep steps, spread over the interval
    config.task.update(name="supervised:regress")
    config.optim.update(name="adam", learning_rate=0.01)
    config.schedule.update(name="cosine", warmup=0.02)
    return config
