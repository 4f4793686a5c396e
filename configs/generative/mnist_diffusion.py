"""Diffusion on MNIST digits of 14 × 14 pixels, each made of its class.

python -m train --config configs/generative/mnist_diffusion.py --workdir runs/mnist_diffusion

System      Denoising diffusion, 2020
Parameters  157,505
Data        MNIST-5k, 14 × 14
Published   nothing comparable
Measured    loss not measured yet
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1500
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k", size=14)
    config.model.update(name="diffusion:UNet", shape=(14, 14, 1), classes=10, width=16, halvings=2, blocks=1)
    config.task.update(name="diffusion:diffusion")
    config.optim.update(name="adam", learning_rate=2e-3)
    config.schedule.update(name="cosine", warmup=0.05)
    config.ema = 0.995
    config.eval.every = 500
    return config
