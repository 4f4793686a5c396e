"""Autoencoder with a code of 32 numbers on MNIST digits, beside principal components.

python -m train --config configs/generative/mnist_autoencoder.py --workdir runs/mnist_autoencoder

System      Autoencoder, 2006
Parameters  837,424
Data        MNIST-5k
Published   nothing comparable
Measured    loss not measured yet
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 5000
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.model.update(name="autoencoder:Autoencoder", shape=(28, 28, 1), code=32, width=512, layers=1)
    config.task.update(name="reconstruct:reconstruct")
    config.optim.update(name="adam", learning_rate=2e-3)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 2500
    return config
