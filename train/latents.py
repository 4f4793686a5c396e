"""From noise to records: the signature of what samples, and paths between latent codes.  Z latent numbers."""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from models.api import ModelState, Params

ROWS, COLUMNS = 4, 10  # of a walk


class Sampler(Protocol):
    """(params, model_state, key, count) -> what the networks make of noise, by name: `python -m train sample` shows it.

    "samples" are [count, ...], in the form and the units of a record's `x`.  Other names are tables of such records,
    [rows, columns, ...], such as a walk through the latent space.  "y" [count] are the classes of the samples.
    """

    def __call__(
        self, params: Params, model_state: ModelState, key: Key[Array, ""], count: int, /
    ) -> dict[str, jax.Array]: ...


def great_circle(start: jax.Array, end: jax.Array, share: jax.Array) -> jax.Array:
    """The code at `share` (0 to 1) of the way from `start` to `end` [..., Z], along a great circle (White 2016).

    Codes of many numbers lie near a sphere of radius √Z; the straight line between two of them leaves it.
    """
    length = lambda code: jnp.linalg.norm(code, axis=-1, keepdims=True)
    cosine = (start * end).sum(-1, keepdims=True) / (length(start) * length(end))
    angle = jnp.arccos(jnp.clip(cosine, -1 + 1e-6, 1 - 1e-6))
    return (jnp.sin((1 - share) * angle) * start + jnp.sin(share * angle) * end) / jnp.sin(angle)


def walk(decode: Callable[[jax.Array], jax.Array], key: jax.Array, latent: int) -> jax.Array:
    """[ROWS, COLUMNS, ...]: each row decodes a path between two random codes, in equal steps."""
    start, end = jax.random.normal(key, (2, ROWS, 1, latent))
    share = jnp.linspace(0, 1, COLUMNS)[None, :, None]
    records = decode(great_circle(start, end, share).reshape(ROWS * COLUMNS, latent))
    return records.reshape(ROWS, COLUMNS, *records.shape[1:])
