"""What only XLA's CPU backend wants; elsewhere these change nothing."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def flat_dot_general(x, w, dimensions, precision=None, preferred_element_type=None):
    """`lax.dot_general` for dense layers, with the leading axes of `x` flattened into one.

    The weight gradient is then a product of two matrices.  With more axes XLA's CPU backend first copies both operands
    into another layout, recomputing what made them: a GPT step takes 1.4 times as long (scripts/bench/step.py).
    """
    (contracted, _), _ = dimensions
    if contracted != (x.ndim - 1,):
        return jax.lax.dot_general(x, w, dimensions, precision, preferred_element_type)
    flat = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]), w, (((1,), dimensions[0][1]), ((), ())), precision, preferred_element_type
    )
    return flat.reshape(*x.shape[:-1], *flat.shape[1:])


def stored(x: Any) -> Any:
    """`x`; on a CPU put into memory once, where XLA would compute it anew for each who reads it.

    Those may read it across the grain, or slice by slice, and then what made it is not vectorised.
    """
    return jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda x: x)


def ragged_dot(
    x_KD: Float[Array, "k d"], w_EDU: Float[Array, "e d u"], sizes_E: Int[Array, " e"]
) -> Float[Array, "k u"]:
    """`lax.ragged_dot`: the first `sizes_E[0]` rows times w[0], the next times w[1], …; the rows behind are 0.

    On a CPU XLA would multiply all rows with all of w: four experts a token of eight cost as many FLOPs as all eight.
    """
    return jax.lax.platform_dependent(x_KD, w_EDU, sizes_E, cpu=tiled_dot, default=jax.lax.ragged_dot)


@jax.custom_vjp
def tiled_dot(x_KD: jax.Array, w_EDU: jax.Array, sizes_E: jax.Array) -> jax.Array:
    """`ragged_dot`, one tile of rows of one expert after the other."""
    return tiled_forward(x_KD, w_EDU, sizes_E)[0]


def tiled_forward(x_KD: jax.Array, w_EDU: jax.Array, sizes_E: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    T, (K, D), U = rows_of_a_tile(x_KD, w_EDU), x_KD.shape, w_EDU.shape[2]
    x = jnp.pad(x_KD, ((0, T), (0, 0)))

    def one(row: jax.Array, rows_T1: jax.Array, e: jax.Array, y: jax.Array) -> jax.Array:
        """What a tile writes behind its expert's last row, the next tile writes over."""
        x_TD = jnp.where(rows_T1, jax.lax.dynamic_slice(x, (row, 0), (T, D)), 0)
        return jax.lax.dynamic_update_slice(y, x_TD @ w_EDU[e], (row, 0))

    y = over_tiles(one, jnp.zeros((K + T, U), x.dtype), T, sizes_E)
    return y[:K], (x_KD, w_EDU, sizes_E)


def tiled_backward(kept: tuple[jax.Array, ...], dy_KU: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    x_KD, w_EDU, sizes_E = kept
    T, D, U = rows_of_a_tile(x_KD, w_EDU), x_KD.shape[1], w_EDU.shape[2]
    x, dy = (jnp.pad(each, ((0, T), (0, 0))) for each in (x_KD, dy_KU))

    def one(row: jax.Array, rows_T1: jax.Array, e: jax.Array, made: tuple[jax.Array, jax.Array]):
        dx, dw_EDU = made
        dy_TU = jnp.where(rows_T1, jax.lax.dynamic_slice(dy, (row, 0), (T, U)), 0)
        x_TD = jax.lax.dynamic_slice(x, (row, 0), (T, D))
        dx = jax.lax.dynamic_update_slice(dx, dy_TU @ w_EDU[e].T, (row, 0))
        return dx, dw_EDU.at[e].add(x_TD.T @ dy_TU)

    dx, dw_EDU = over_tiles(one, (jnp.zeros_like(x), jnp.zeros_like(w_EDU)), T, sizes_E)
    return dx[: len(x_KD)], dw_EDU, None


tiled_dot.defvjp(tiled_forward, tiled_backward)


def rows_of_a_tile(x_KD: jax.Array, w_EDU: jax.Array) -> int:
    """A power of two above an expert's equal share of the rows: a tile costs more than rows that do not count."""
    return min(512, max(8, 1 << (len(x_KD) // len(w_EDU)).bit_length()))


def over_tiles(one: Any, made: Any, T: int, sizes_E: jax.Array) -> Any:
    """`made` after `one(first row, which of T rows count [T, 1], expert, made)` for each tile, in order of the rows."""
    ends_E, tiles_E = jnp.cumsum(sizes_E), -(-sizes_E // T)
    last_E = jnp.cumsum(tiles_E)

    def body(i: jax.Array, made: Any) -> Any:
        e = jnp.searchsorted(last_E, i, side="right")
        row = ends_E[e] - sizes_E[e] + (i - last_E[e] + tiles_E[e]) * T
        return one(row, (row + jnp.arange(T) < ends_E[e])[:, None], e, made)

    return jax.lax.fori_loop(0, last_E[-1], body, made)
