"""StyleGAN on MNIST digits of 16 × 16 pixels: mapping network, modulated convolutions, noise, style mixing.

python -m train --config configs/generative/mnist_stylegan.py --workdir runs/mnist_stylegan

System      StyleGAN 2, 2020
Parameters  213,126
Data        MNIST-5k, 16 × 16
Published   nothing comparable
Measured    critic_loss not measured yet
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 32
    config.log_every = 100
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k", size=16)
    config.model.generator = {
        "name": "stylegan:Generator",
        "shape": (16, 16, 1),
        "width": 16,
        "style": 64,
        "mapping": 4,
    }
    config.model.critic = {"name": "stylegan:Critic", "width": 16}
    config.task.update(name="gan:gan", latent=64, r1=1.0)
    config.optim.generator = {"name": "adam", "learning_rate": 1e-3, "b1": 0.0, "b2": 0.99}
    config.optim.critic = {"name": "adam", "learning_rate": 1e-3, "b1": 0.0, "b2": 0.99}
    config.ema = 0.99
    config.eval.every = 500
    config.checkpoint.update(every=500, keep=4)
    return config
