"""Variational autoencoder (Kingma & Welling 2013) with a diagonal Gaussian code."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.axes import draw

SMALLEST = {"width": 16}  # at which pages are tested


class VAE(nn.Module):
    """Encoder and decoder of one hidden layer, as in the paper's appendix C; without one, linear maps."""

    shape: tuple[int, ...]  # of one input, without the batch
    latent: int = 8
    width: int = 256
    layers: int = 1  # hidden ones, each side

    def setup(self):
        hidden = lambda: [layer for _ in range(self.layers) for layer in (nn.Dense(self.width), nn.relu)]
        self.encoder = nn.Sequential([*hidden(), nn.Dense(2 * self.latent)])
        self.decoder = nn.Sequential([*hidden(), nn.Dense(math.prod(self.shape))])

    def __call__(self, x: Float[Array, "batch *shape"], *, train: bool = False):
        """The reconstruction from one sample of the code (logits, of pixels), the code's mean, and its log variance."""
        mean, log_variance = jnp.split(self.encoder(x.reshape(len(x), -1)), 2, axis=-1)
        noise = draw(jax.random.normal, self.make_rng("noise"), mean.shape)
        return self.decode(mean + jnp.exp(0.5 * log_variance) * noise), mean, log_variance

    def decode(self, code: Float[Array, "batch latent"], *, train: bool = False) -> Float[Array, "batch *shape"]:
        return self.decoder(code).reshape(len(code), *self.shape)
