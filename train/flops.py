"""FLOPs of a function, read off its jaxpr: matrix products and convolutions, loops times their length.

This is the architecture's own count.  XLA's `cost_analysis` counts the body of a loop once, and elementwise work too.
"""

import math
from collections.abc import Callable
from typing import Any

import jax


def count(fn: Callable, *args: Any) -> float:
    """FLOPs of `fn(*args)` (arrays or shapes), two a multiply-add.  A while loop of unknown length counts once."""
    return jaxpr_flops(jax.make_jaxpr(fn)(*args).jaxpr)


def jaxpr_flops(jaxpr: Any) -> float:
    return sum((equation_flops(equation) for equation in jaxpr.eqns), 0.0)


def equation_flops(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contract, _), _ = params["dimension_numbers"]
        lhs = equation.invars[0].aval.shape
        return 2.0 * equation.outvars[0].aval.size * math.prod(lhs[i] for i in contract)
    if name == "conv_general_dilated":
        rhs, spec = equation.invars[1].aval.shape, params["dimension_numbers"].rhs_spec
        kernel = math.prod(rhs[i] for i in spec[1:])  # input features per group times the window
        # A dilated input (the gradient of a stride) is mostly zeros, which no implementation has to multiply.
        return 2.0 * equation.outvars[0].aval.size * kernel / math.prod(params["lhs_dilation"])
    if name == "cond":
        return max(jaxpr_flops(branch.jaxpr) for branch in params["branches"])
    bodies = (getattr(body, "jaxpr", body) for body in params.values())
    inner = sum((jaxpr_flops(body) for body in bodies if hasattr(body, "eqns")), 0.0)
    return inner * (params["length"] if name == "scan" else 1)
