"""U-Net (Ronneberger, Fischer & Brox 2015): every pixel's class, from its surroundings at all scales."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.layers import batch_norm, choose


class UNet(nn.Module):
    """`halvings` halvings from `width` features, doubled at each; width=64, halvings=4 is the paper's.

    padding="VALID", as in the paper, gives logits of the pixels whose whole surroundings are in the image (388 × 388
    of 572 × 572); "SAME" pads with zeros and gives all.  norm="batch" normalises before each ReLU, which the paper does
    not; its dropout is left out.
    """

    classes: int
    width: int = 64
    halvings: int = 4
    padding: str = "SAME"
    norm: str = "none"

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Float[Array, "batch h2 w2 classes"]:
        padding = choose("padding", self.padding, {"SAME": "SAME", "VALID": "VALID"})
        conv = lambda features, size, name: nn.Conv(
            features, (size, size), padding=padding, kernel_init=nn.initializers.he_normal(), name=name
        )
        norm = choose(
            "norm", self.norm, {"none": lambda name: lambda x: x, "batch": functools.partial(batch_norm, train)}
        )

        def twice(x, features, name):
            for i in (1, 2):
                x = nn.relu(norm(f"{name}_norm{i}")(conv(features, 3, f"{name}_conv{i}")(x)))
            return x

        kept = []
        for i in range(self.halvings):
            x = twice(x, self.width * 2**i, f"down{i}")
            kept.append(x)
            x = nn.max_pool(halvable(x), (2, 2), (2, 2))
        x = twice(x, self.width * 2**self.halvings, "bottom")
        for i in reversed(range(self.halvings)):
            x = nn.ConvTranspose(self.width * 2**i, (2, 2), (2, 2), name=f"up{i}")(x)
            x = twice(jnp.concatenate([centre(kept[i], *x.shape[1:3]), x], axis=-1), self.width * 2**i, f"join{i}")
        return conv(self.classes, 1, "logits")(x)


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
