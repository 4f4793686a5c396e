"""A loss whose logits never stand in memory as a whole: slices of the texts, one after the other.

Of each slice the loss and its gradient are taken in one go, while its logits are there: nothing is computed twice (as
in the fused linear cross-entropy of Hsu et al. 2024, Liger Kernel).

Shapes: B batch, L length, S slices, l length of a slice, D width, V vocabulary.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from models.parts.axes import SUM, parts, per_device
from models.parts.dense import Factors

Metrics = dict[str, jax.Array]
Each = Callable[[jax.Array, jax.Array], tuple[jax.Array, Metrics]]  # logits_BlV, y_Bl -> values_Bl, metrics_Bl


def summed(
    each: Each, slices: int, factors: Factors, y_BL: Int[Array, "b l"], weight_BL: Float[Array, "b l"]
) -> tuple[Float[Array, ""], Float[Array, "b l"], Metrics]:
    """Σ weight · values, with its gradient; and values and metrics of every token, without theirs.

    `each` says what the logits of some tokens cost.  Raises `ValueError` where `slices` do not divide the texts.
    """
    length = factors.x.shape[1]
    shares = parts("length") if length % parts("length") == 0 else 1  # what devices do not divide is whole on each
    length //= shares
    if length % slices:
        whose = " of a device" if shares > 1 else ""
        near = max(n for n in range(1, slices) if length % n == 0)
        raise ValueError(f"config.loss_slices={slices} does not divide {length} tokens{whose}; {near} does")
    total, values, metrics = _summed(each, slices, factors.x, factors.w, y_BL, weight_BL)
    return total, jax.lax.stop_gradient(values), jax.lax.stop_gradient(metrics)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _summed(each: Each, slices: int, x_BLD, w_DV, y_BL, weight_BL):
    return over_devices(each, slices, False, x_BLD, w_DV, y_BL, weight_BL)[0]


def _forward(each: Each, slices: int, x_BLD, w_DV, y_BL, weight_BL):
    told, (dx_BLD, dw_DV) = over_devices(each, slices, True, x_BLD, w_DV, y_BL, weight_BL)
    return told, (dx_BLD, dw_DV, jnp.zeros((), w_DV.dtype))


def _backward(each: Each, slices: int, saved: tuple, g: tuple):
    """`g` scales in float32 what is rounded once, to the type of the inputs."""
    dx, dw, like = saved
    return (dx.astype(jnp.float32) * g[0]).astype(dx.dtype), (dw * g[0]).astype(like.dtype), None, None


_summed.defvjp(_forward, _backward)


def over_devices(each: Each, slices: int, trains: bool, x_BLD, w_DV, y_BL, weight_BL) -> tuple[tuple, tuple]:
    """(total, values, metrics), (dx, dw); every device goes through the slices of its own part."""
    rows, states = ("batch", "length"), ("batch", "length", None)
    names = tuple(jax.eval_shape(each, jax.ShapeDtypeStruct((*y_BL.shape, w_DV.shape[1]), jnp.float32), y_BL)[1])

    def local(*parts: jax.Array) -> tuple[jax.Array, ...]:
        (total, values, metrics), gradients = in_slices(each, slices, trains, *parts)
        return (total, values, *(metrics[name] for name in names), *gradients)

    outputs = (SUM, rows, *(rows for _ in names), *((states, SUM) if trains else ()))
    inputs = (states, (None, None), rows, rows)
    total, values, *rest = per_device(local, inputs, outputs, leave=("vocab",))(x_BLD, w_DV, y_BL, weight_BL)
    metrics, gradients = dict(zip(names, rest, strict=False)), tuple(rest[len(names) :])
    return (total, values, metrics), gradients


def product(x: jax.Array, w: jax.Array) -> jax.Array:
    """x · w over the last axis of x; in two axes, as dense layers do it, XLA:TPU breaks off in this loop."""
    return jax.lax.dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())))


def in_slices(each: Each, slices: int, trains: bool, x_BLD, w_DV, y_BL, weight_BL) -> tuple[tuple, tuple]:
    cut = lambda a: jnp.moveaxis(a.reshape(a.shape[0], slices, -1, *a.shape[2:]), 1, 0)
    joined = lambda a: jnp.moveaxis(a, 0, 1).reshape(a.shape[1], -1, *a.shape[3:])

    def one(carry: tuple, part: tuple) -> tuple[tuple, Any]:
        total, dw_DV = carry
        x_BlD, y_Bl, weight_Bl = part

        def cost(z_BlV: jax.Array) -> tuple[jax.Array, tuple]:
            values_Bl, metrics = each(z_BlV.astype(jnp.float32), y_Bl)
            return jnp.sum(values_Bl * weight_Bl), (values_Bl, metrics)

        z_BlV = product(x_BlD, w_DV)
        if not trains:
            found, told = cost(z_BlV)
            return (total + found, dw_DV), (told, None)
        found, pull, told = jax.vjp(cost, z_BlV, has_aux=True)
        (dz_BlV,) = pull(jnp.ones_like(found))
        dx_BlD = product(dz_BlV, w_DV.T)
        flat = lambda a: a.reshape(-1, a.shape[-1])
        over = (((0,), (0,)), ((), ()))
        dw_DV += jax.lax.dot_general(flat(x_BlD), flat(dz_BlV), over, preferred_element_type=jnp.float32)
        return (total + found, dw_DV), (told, dx_BlD)

    dw_DV = jnp.zeros(w_DV.shape if trains else (), jnp.float32)
    carry = (jnp.zeros((), jnp.float32), dw_DV)
    (total, dw_DV), ((values, metrics), dx) = jax.lax.scan(one, carry, (cut(x_BLD), cut(y_BL), cut(weight_BL)))
    told = (total, joined(values), jax.tree.map(joined, metrics))
    return told, (joined(dx), dw_DV) if trains else ()
