"""Sparse autoencoder on MNIST digits: 256 units, each active in a twentieth of the digits.

python -m train --config configs/generative/mnist_sparse.py --workdir runs/mnist_sparse

The mean activation of the held-out digits is 0.054 (target 0.05), the reconstruction has 17.4 dB: between the
13 principal components that are as many numbers as are to be active, and 256 (scripts/score/baselines.py).

System      Sparse autoencoder, 2011
Parameters  402,448
Data        MNIST-5k
Baseline    15.44 by 13 principal components, as many as are to be active; 28.7 by 256
Measured    psnr 17.41, 14 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 5000
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.model.update(name="autoencoder:Autoencoder", shape=(28, 28, 1), code=256, layers=0, activation="sigmoid")
    config.task.update(name="reconstruct:reconstruct", sparsity=0.01, target=0.05)
    config.optim.update(name="adam", learning_rate=2e-3)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 2500
    return config
