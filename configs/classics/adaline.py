"""ADALINE: the LMS rule on a line under noise of standard deviation 0.1.

python -m train --config configs/classics/adaline.py --workdir runs/adaline

With a falling rate it reaches the least-squares solution, whose expected loss is 0.01 · (1 + 11 / 1000) on new data.

System      ADALINE, 1960
Parameters  11
Data        1,000 points in ten dimensions
Published   LMS converges to the least-squares solution (Widrow & Hoff 1960)
Measured    loss 0.01059, 2 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 5000
    config.batch_size = 8
    config.log_every = 500
    config.data.update(name="neurons:linear", dims=10, noise=0.1)
    config.model.update(name="neuron:Neuron")
    config.task.update(name="supervised:regress")
    config.optim.update(name="sgd", learning_rate=0.02)
    config.schedule.update(name="linear")
    config.eval.batch_size = 1000
    return config
