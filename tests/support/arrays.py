"""Arrays compared and drawn."""

import jax
import jax.numpy as jnp
import numpy as np


def close(a, b, tolerance: float = 1e-5) -> None:
    """Two trees of arrays agree, relative to their size or to 1."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


def normal(seed: int, *shape: int) -> jax.Array:
    """Of a unit Gaussian, float32."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)
