"""Latent codes of unit Gaussians: paths between them, and what they decode to.  Z latent numbers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

ROWS, COLUMNS = 4, 10  # of a walk


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
