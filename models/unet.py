"""U-Net (Ronneberger, Fischer & Brox 2015): every pixel's class, from its surroundings at all scales."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.layers import NormName, conv, max_pool, norm

SMALLEST = {"halvings": 1, "width": 16}  # at which pages are tested


class UNet(nn.Module):
    """`halvings` halvings from `width` features, doubled at each; width=64, halvings=4 is the paper's.

    padding="VALID", as in the paper, gives logits of the pixels whose whole surroundings are in the image (388 × 388
    of 572 × 572); "SAME" pads with zeros and gives all.  norm="batch" normalises before each ReLU, which the paper does
    not; its dropout is left out.
    """

    classes: int
    width: int = 64
    halvings: int = 4
    padding: Literal["SAME", "VALID"] = "SAME"
    norm: NormName = "none"

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Float[Array, "batch h2 w2 classes"]:
        he = nn.initializers.he_normal()

        def twice(x, features, name):
            for i in (1, 2):
                # Batch norm takes a bias away again, and would leave it a gradient of nothing but rounding.
                x = conv(
                    features,
                    3,
                    padding=self.padding,
                    use_bias=self.norm == "none",
                    kernel_init=he,
                    name=f"{name}_conv{i}",
                )(x)
                x = nn.relu(norm(self.norm, train, f"{name}_norm{i}")(x))
            return x

        kept = []
        for i in range(self.halvings):
            x = twice(x, self.width * 2**i, f"down{i}")
            kept.append(x)
            x = max_pool(halvable(x), 2, 2)
        x = twice(x, self.width * 2**self.halvings, "bottom")
        for i in reversed(range(self.halvings)):
            x = nn.ConvTranspose(self.width * 2**i, (2, 2), (2, 2), name=f"up{i}")(x)
            x = twice(jnp.concatenate([centre(kept[i], *x.shape[1:3]), x], axis=-1), self.width * 2**i, f"join{i}")
        return conv(self.classes, 1, kernel_init=he, name="logits")(x)


def halvable(x: jax.Array) -> jax.Array:
    """`x`, or a sentence where its sides are odd, so that pooling would drop a row."""
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise ValueError(
            f"{x.shape[1]} × {x.shape[2]} pixels cannot be halved: with padding='SAME' the image's sides must be "
            "multiples of 2 ** halvings; with 'VALID' each map must be even, as from 572 × 572 with four halvings"
        )
    return x


def centre(x: jax.Array, height: int, width: int) -> jax.Array:
    """The middle `height` × `width` pixels of [batch, H, W, ...]."""
    top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
    return x[:, top : top + height, left : left + width]
