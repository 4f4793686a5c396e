"""The two players of a generative adversarial network (Goodfellow et al. 2014), as perceptrons."""

import math

from flax import linen as nn
from jaxtyping import Array, Float

SMALLEST = {"layers": 1, "width": 16}  # at which pages are tested


class Generator(nn.Module):
    """Noise to data; the identity at the end suits data of any range."""

    shape: tuple[int, ...]  # of one output, without the batch
    width: int = 128
    layers: int = 2

    @nn.compact
    def __call__(self, z: Float[Array, "batch latent"], *, train: bool = False) -> Float[Array, "batch *shape"]:
        x = z
        for i in range(self.layers):
            x = nn.relu(nn.Dense(self.width, name=f"hidden_{i}")(x))
        return nn.Dense(math.prod(self.shape), name="output")(x).reshape(len(z), *self.shape)


class Critic(nn.Module):
    """Data to the logit of "this is real"."""

    width: int = 128
    layers: int = 2

    @nn.compact
    def __call__(self, x: Float[Array, "batch *shape"], *, train: bool = False) -> Float[Array, " batch"]:
        x = x.reshape(len(x), -1)
        for i in range(self.layers):
            x = nn.leaky_relu(nn.Dense(self.width, name=f"hidden_{i}")(x), 0.2)
        return nn.Dense(1, name="logit")(x)[:, 0]
