"""A one-shot detector (Redmon, Divvala, Girshick & Farhadi 2016, "You only look once"), small and fully convolutional.

B batch, S cells along a side, N boxes of a cell, K classes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.layers import batch_norm, conv

SMALLEST = {"halvings": 1, "width": 16}  # at which pages are tested


class Cells(NamedTuple):
    """What each cell of the grid says of the object whose centre is in it (section 2), all linear outputs."""

    place: jax.Array  # [B, S, S, N, 4]: centre x and y as shares of the cell, roots of width and height of the image
    confidence: jax.Array  # [B, S, S, N]: the overlap of that box with an object, 0 where there is none
    classes: jax.Array  # [B, S, S, K]


class Detector(nn.Module):
    """A grid of side / 2 ** `halvings` cells, each with `boxes` boxes and one guess at a class.

    The paper's network has 24 convolutions for 448 × 448 pixels and ends in two dense layers.  Here each halving is two
    3 × 3 convolutions with batch norm, one more follows, and a cell sees what these see.
    """

    classes: int
    boxes: int = 2
    width: int = 16
    halvings: int = 3

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Cells:
        def block(x, features, stride, name):
            x = conv(features, 3, stride, use_bias=False, name=name)(x)
            return nn.leaky_relu(batch_norm(train, f"{name}_norm")(x), 0.1)

        for i in range(self.halvings):
            x = block(x, self.width * 2**i, 2, f"stage{i}_halve")
            x = block(x, self.width * 2**i, 1, f"stage{i}_conv")
        x = block(x, self.width * 2**self.halvings, 1, "head")
        # Boxes begin in the middle of their cell, a quarter of the image wide: without width none overlaps an object.
        place = conv(4 * self.boxes, 1, name="place")(x) + 0.5
        confidence = conv(self.boxes, 1, name="confidence")(x)
        classes = conv(self.classes, 1, name="classes")(x)
        return Cells(place.reshape(*place.shape[:-1], self.boxes, 4), confidence, classes)


def corners(place: Float[Array, "*batch s s n 4"]) -> Float[Array, "*batch s s n 4"]:
    """Boxes as `Cells.place` has them → left, top, right, bottom as shares of the image's sides."""
    side = place.shape[-3]
    column, row = jnp.meshgrid(jnp.arange(side), jnp.arange(side))
    origin = jnp.stack([column, row], axis=-1).astype(place.dtype)[:, :, None]
    middle = (place[..., :2] + jnp.broadcast_to(origin, (*place.shape[:-1], 2))) / side
    half = place[..., 2:] ** 2 / 2
    return jnp.concatenate([middle - half, middle + half], axis=-1)
