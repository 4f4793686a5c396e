"""What only XLA's CPU backend wants; elsewhere these change nothing."""

from typing import Any

import jax


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
