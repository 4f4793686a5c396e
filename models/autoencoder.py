"""Autoencoder (Hinton & Salakhutdinov 2006): a record, its code of fewer or of sparse numbers, the record again."""

import math
from typing import Literal

from flax import linen as nn
from jaxtyping import Array, Float

SMALLEST = {"code": 8, "width": 16}  # at which pages are tested


class Autoencoder(nn.Module):
    """Perceptrons of `layers` hidden layers on either side of the code; without any, two linear maps.

    A code of sigmoids lies between 0 and 1, where it has an activation to be held at a target (`sparsity` of the task).
    """

    shape: tuple[int, ...]  # of one input, without the batch
    code: int = 32
    width: int = 256
    layers: int = 1
    activation: Literal["linear", "sigmoid"] = "linear"  # of the code

    def setup(self):
        hidden = lambda: [layer for _ in range(self.layers) for layer in (nn.Dense(self.width), nn.relu)]
        self.encoder = nn.Sequential([*hidden(), nn.Dense(self.code)])
        self.decoder = nn.Sequential([*hidden(), nn.Dense(math.prod(self.shape))])

    def __call__(
        self, x: Float[Array, "batch *shape"], *, train: bool = False
    ) -> tuple[Float[Array, "batch *shape"], Float[Array, "batch code"]]:
        """The reconstruction and the code."""
        code = self.encoder(x.reshape(len(x), -1))
        code = nn.sigmoid(code) if self.activation == "sigmoid" else code
        return self.decoder(code).reshape(x.shape), code
