"""Autoencoder with a code of 32 numbers on MNIST digits, beside principal components.

python -m train --config configs/generative/mnist_autoencoder.py --workdir runs/mnist_autoencoder

The projection on 32 principal components, the best linear map of that size (tests/test_generative.py), has an error of
0.0171 and 17.99 dB on the same held-out digits; this network 0.0118 and 19.85 dB.

System      Autoencoder, 2006
Parameters  837,424
Data        MNIST-5k
Baseline    0.0171 by 32 principal components
Measured    loss 0.01175, 20 s (2c9c4f7)
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
