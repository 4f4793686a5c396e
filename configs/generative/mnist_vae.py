"""VAE with an 8-dimensional code on MNIST digits.

python -m train --config configs/generative/mnist_vae.py --workdir runs/mnist_vae
python -m train sample --workdir runs/mnist_vae           a sheet of digits, and a walk through the latent space

System      Variational autoencoder, 2013
Parameters  408,864
Data        MNIST-5k
Baseline    207.2 by independent pixels
Measured    loss 128, 9 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 64
    config.data.update(name="arrays:columns", dataset="isoflop_mnist5k")
    config.model.update(name="vae:VAE", shape=(28, 28, 1), latent=8, width=256)
    config.task.update(name="reconstruct:elbo")
    config.optim.update(name="adam", learning_rate=1e-3)
    config.schedule.update(name="cosine", warmup=0.05)
    config.eval.every = 1000
    return config
