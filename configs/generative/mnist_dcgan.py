"""DCGAN on MNIST digits.

python -m train --config configs/generative/mnist_dcgan.py --workdir runs/mnist_dcgan

System      DCGAN, 2015
Parameters  155,114
Data        MNIST-5k
Published   nothing comparable
Measured    critic_loss not measured yet
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.model.generator = {"name": "dcgan:Generator", "shape": (28, 28, 1), "width": 32}
    config.model.critic = {"name": "dcgan:Critic", "width": 24}
    config.task.update(name="gan:gan", latent=32)
    config.optim.generator = {"name": "adam", "learning_rate": 5e-4, "b1": 0.5}
    config.optim.critic = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5}
    config.ema = 0.99
    config.eval.every = 500
    config.checkpoint.update(every=500, keep=4)
    return config
