"""Recurrent cells, and one scan over time for all of them.

Shapes: L length, B batch, H width of the state, G gates × H.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from models.parts.axes import is_spread
from models.parts.cpu import flat_dot_general, stored

State = tuple[jax.Array, ...]  # arrays [B, H]; the first is the cell's output
# On a CPU XLA shares a product of more than SMALL multiplications among threads, and what follows it in the loop runs
# on the one that ends last: where two cores are far from each other, a step of an LSTM takes half as long again
# (scripts/bench/rnn.py).  In so many parts each is made by one thread.
SMALL, PARTS = 2**22, 4


class Cell(NamedTuple):
    """`step(state, x_BG + r_BG)` is the next state; x is the input's product with its weights, r the output's with its.

    The biases stand in r.  The step of a cell with `apart` is of (state, x_BG, r_BG), with biases in x too.
    """

    step: Callable[..., State]
    gates: int  # blocks of width H in x and r
    parts: int = 1  # arrays in the state
    apart: bool = False
    keep: int | None = None  # the gate that keeps the state where it is near 1
    keep_bias: float = 0.0  # where that gate's bias starts
    write: int | None = None  # the gate that lets the input in, where that is another one


def elman(activation: Callable[[jax.Array], jax.Array]) -> Callable[[State, jax.Array], State]:
    """h' = activation(x + r) (Elman 1990)."""
    return lambda state, sum_BH: (activation(sum_BH),)


def lstm(state: State, sum_BG: jax.Array) -> State:
    """c' = f c + i g, h' = o tanh(c'); gates i, f, g, o (Hochreiter & Schmidhuber 1997; f: Gers et al. 2000)."""
    _, c_BH = state
    i, f, g, o = jnp.split(sum_BG, 4, axis=-1)
    c_BH = jax.nn.sigmoid(f) * c_BH + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c_BH), c_BH


def gru(state: State, x_BG: jax.Array, r_BG: jax.Array) -> State:
    """h' = z h + (1 - z) n with n = tanh(x_n + reset · r_n); gates reset, z, n (Cho et al. 2014).

    The variant of cuDNN, PyTorch and Keras: the reset gate acts after the product of h with its weights, not before
    (Cho et al. 2014, arXiv:1406.1078v1), so that all gates are one product.  It needs the two sets of biases.
    """
    (h_BH,) = state
    (x_reset, x_z, x_n), (r_reset, r_z, r_n) = jnp.split(x_BG, 3, axis=-1), jnp.split(r_BG, 3, axis=-1)
    z = jax.nn.sigmoid(x_z + r_z)
    n = jnp.tanh(x_n + jax.nn.sigmoid(x_reset + r_reset) * r_n)
    return (z * h_BH + (1 - z) * n,)


CellName = Literal["rnn", "rnn_relu", "lstm", "gru"]
CELLS = {
    "rnn": Cell(elman(jnp.tanh), gates=1),
    "rnn_relu": Cell(elman(jax.nn.relu), gates=1),
    "lstm": Cell(lstm, gates=4, parts=2, keep=1, keep_bias=1.0, write=0),
    "gru": Cell(gru, gates=3, apart=True, keep=1),
}


def product(x_LBF: Float[Array, "l b f"], w_FG: Float[Array, "f g"]) -> Float[Array, "l b g"]:
    """The product of all steps' inputs with their weights: on a CPU of two matrices (`flat_dot_general`).

    But not where devices split the batch, which then is no longer an axis.
    """
    if is_spread():
        return x_LBF @ w_FG
    dimensions = ((2,), (0,)), ((), ())
    whole = lambda x, w: flat_dot_general(x, w, dimensions)
    return jax.lax.platform_dependent(x_LBF, w_FG, cpu=whole, default=jnp.matmul)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recur(
    cell: Cell,
    reverse: bool,
    w_HG: Float[Array, "h g"],
    b_G: Float[Array, " g"],
    x_LBG: Float[Array, "l b g"],
    first: State,
) -> tuple[Float[Array, "l b h"], State]:
    """The outputs of all steps and the state after the last; with `reverse`, from the last step to the first.

    Its gradient is that of the scan, but the weights' is one product over all steps after the loop: autodiff of a scan
    adds up a product a step.  Derivatives forward (`jax.jvp`) it has none.
    """
    return recur_forward(cell, reverse, w_HG, b_G, x_LBG, first)[0]


at = functools.partial(jax.lax.dynamic_index_in_dim, keepdims=False)  # array, step
put = functools.partial(jax.lax.dynamic_update_index_in_dim, axis=0)  # array, what to write, step


def in_parts(loop: Callable, *args: Any) -> Any:
    """`loop(parts, *args)`: on a CPU its products are made in PARTS."""
    return jax.lax.platform_dependent(*args, cpu=functools.partial(loop, PARTS), default=functools.partial(loop, 1))


def recur_forward(cell: Cell, reverse: bool, *inputs: Any):
    return in_parts(functools.partial(forward, cell, reverse), *inputs)


def recur_backward(cell: Cell, reverse: bool, saved: Any, gradient: Any):
    return in_parts(functools.partial(backward, cell, reverse), saved, gradient)


def multiply(w_NM: jax.Array, rows: int, parts: int) -> Callable[[jax.Array], jax.Array]:
    """x [rows, N] → x · w, by so many products where it is large: made before a loop and used in it."""
    parts = parts if rows * w_NM.size >= SMALL else 1
    columns = stored(tuple(jnp.array_split(w_NM, parts, axis=1)))
    return lambda x: jnp.concatenate([x @ part for part in columns], axis=1)


def forward(cell: Cell, reverse: bool, parts: int, w_HG: jax.Array, b_G: jax.Array, x_LBG: jax.Array, first: State):
    by_w_HG = multiply(w_HG, x_LBG.shape[1], parts)

    def one(carry: tuple[State, jax.Array], t: jax.Array):
        before, gates_LBG = carry
        r_BG = by_w_HG(before[0]) + b_G[None]
        gates = stored((at(x_LBG, t), r_BG) if cell.apart else (at(gates_LBG, t) + r_BG,))
        after = cell.step(before, *gates)
        return (after, put(gates_LBG, gates[-1], t)), (after[0], before)

    # The sums are written over the x that they are made of: one large array less, which nothing has to fill with zeros.
    start = jnp.zeros_like(x_LBG) if cell.apart else x_LBG
    steps = jnp.arange(len(x_LBG))
    (last, gates_LBG), (h_LBH, before) = jax.lax.scan(one, (first, start), steps, reverse=reverse)
    return (h_LBH, last), (w_HG, before, (x_LBG, gates_LBG) if cell.apart else (gates_LBG,))


def backward(cell: Cell, reverse: bool, parts: int, saved: Any, gradient: Any):
    w_HG, before, gates = saved
    dh_LBH, d_last = gradient
    by_w_GH = multiply(w_HG.T, dh_LBH.shape[1], parts)

    def one(carry: tuple[State, tuple[jax.Array, ...]], inputs: Any):
        d_state, gates = carry
        t, dh_BH, state = inputs
        # Made anew: cheaper than to keep what it needs of every step.
        _, pullback = jax.vjp(cell.step, state, *(at(each, t) for each in gates))
        d_state, *d_gates = pullback((d_state[0] + dh_BH, *d_state[1:]))  # of x and r, or of their sum
        gates = tuple(put(each, d, t) for each, d in zip(gates, d_gates, strict=True))
        return ((d_state[0] + by_w_GH(d_gates[-1]), *d_state[1:]), gates), None

    steps = jnp.arange(len(dh_LBH))
    (d_first, d_gates), _ = jax.lax.scan(one, (d_last, gates), (steps, dh_LBH, before), reverse=not reverse)
    dx_LBG, dr_LBG = d_gates[0], d_gates[-1]
    (dw_HG,) = jax.linear_transpose(functools.partial(product, before[0]), w_HG)(dr_LBG)
    return dw_HG, dr_LBG.sum((0, 1)), dx_LBG, d_first


recur.defvjp(recur_forward, recur_backward)
