"""Denoising autoencoder on MNIST digits: Gaussian noise of deviation 0.3 in, the digit without it out.

python -m train --config configs/generative/mnist_denoising.py --workdir runs/mnist_denoising

The noisy digits have 10.4 dB, clipped to [0, 1] 13.3 dB, projected on 64 principal components (the best number of 16 to
64) 17.9 dB; this network's output 19.9 dB.

System      Denoising autoencoder, 2008
Parameters  935,824
Data        MNIST-5k
Baseline    17.9 by 64 principal components, 13.3 the noisy digits
Measured    psnr 19.91, 28 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 5000
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.model.update(name="autoencoder:Autoencoder", shape=(28, 28, 1), code=128, width=512, layers=1)
    config.task.update(name="reconstruct:reconstruct", noise=0.3)
    config.optim.update(name="adam", learning_rate=2e-3)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 2500
    return config
