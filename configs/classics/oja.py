"""Oja's neuron: Hebb's rule with decay finds the first principal component.

python -m train --config configs/classics/oja.py --workdir runs/oja

`cosine` is that of the angle between its weights and the first right singular vector of the held-out split.

System      Hebb/Oja, 1982
Parameters  10
Data        4,000 Gaussian vectors in ten dimensions
Published   converges to the first principal component (Oja 1982)
Measured    cosine 0.9998, 2 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 4000
    config.batch_size = 16
    config.log_every = 500
    config.data.update(name="neurons:ellipsoid", dims=10, decay=0.7)
    config.model.update(name="neuron:Neuron", bias=False, scale=0.1)
    config.task.update(name="rules:oja")
    config.optim.update(name="sgd", learning_rate=0.05)
    config.schedule.update(name="linear")
    config.eval.batch_size = 4000  # the whole split, whose principal component `cosine` is measured against
    return config
