"""Rosenblatt's perceptron on points that a plane separates.

python -m train --config configs/classics/perceptron.py --workdir runs/perceptron

`mistakes` counts those of the whole training.  The points lie in the unit ball, none nearer than 0.1 to the plane, so
Novikoff's bound (R/γ)² is at most 100.

System      Perceptron, 1958
Parameters  10
Data        1,000 points in ten dimensions, separable
Published   at most (R/γ)² = 100 mistakes (Novikoff 1962)
Measured    mistakes 23, 7 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 20_000
    config.batch_size = 1
    config.log_every = 1000
    config.data.update(name="neurons:separable", dims=10, margin=0.1)
    config.model.update(name="neuron:Neuron", bias=False)
    config.task.update(name="rules:perceptron")
    config.optim.update(name="sgd", learning_rate=1.0)
    return config
