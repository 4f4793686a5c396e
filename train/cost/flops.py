"""FLOPs of a function, read off its jaxpr: matrix products and convolutions, loops times their length.

This is the architecture's own count.  Of a convolution only what meets a number of its input counts: neither the zeros
of its padding nor those between the rows of a strided one's gradient, which nothing has to multiply.  So backwards is
twice forwards, whatever the padding.  Published multiply-adds hold the padding: 4.09e9 of a ResNet-50, here 3.95e9.
XLA's `cost_analysis` counts the body of a loop once, and elementwise work too.
"""

import functools
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
    if name.startswith("ragged_dot"):
        return ragged_flops(equation)
    if name == "conv_general_dilated":
        return convolution_flops(equation)
    if name == "cond":
        return max(jaxpr_flops(branch.jaxpr) for branch in params["branches"])
    bodies = (getattr(body, "jaxpr", body) for body in params.values())
    inner = sum((jaxpr_flops(body) for body in bodies if hasattr(body, "eqns")), 0.0)
    return inner * (params["length"] if name == "scan" else 1)


def ragged_flops(equation: Any) -> float:
    """Each row of the ragged axis meets one group's matrix, forwards and backwards."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (contract, _), _ = numbers.dot_dimension_numbers
    each = math.prod(equation.invars[0].aval.shape[i] for i in contract)
    groups, out = equation.invars[2].aval.shape[-1], equation.outvars[0].aval.size
    # The gradient of the matrices contracts the ragged axis: each of its rows counts for one group's output alone.
    return 2.0 * each * (out / groups if numbers.lhs_ragged_dimensions[0] in contract else out)


def convolution_flops(equation: Any) -> float:
    params = equation.params
    (lhs, rhs), out = (var.aval.shape for var in equation.invars), equation.outvars[0].aval.shape
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    pairs = math.prod(
        meeting(out[o], rhs[r], lhs[i], low, stride, spread, dilate)
        for o, r, i, (low, _), stride, spread, dilate in zip(
            out_spec[2:], rhs_spec[2:], lhs_spec[2:],
            params["padding"], params["window_strides"], params["lhs_dilation"], params["rhs_dilation"], strict=True,
        )
    )  # fmt: skip
    return 2.0 * out[out_spec[0]] * out[out_spec[1]] * rhs[rhs_spec[1]] * pairs


@functools.cache
def meeting(outputs: int, window: int, inputs: int, low: int, stride: int, spread: int, dilate: int) -> int:
    """Pairs of an output and a place of its window that fall on an input, along one axis of a convolution.

    `low` zeros stand before the inputs, `spread` - 1 between two of them; places of the window are `dilate` apart.
    """
    reach = (inputs - 1) * spread
    places = (o * stride - low + k * dilate for o in range(outputs) for k in range(window))
    return sum(0 <= place <= reach and place % spread == 0 for place in places)
