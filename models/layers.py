"""Small parts that several networks share: activations and norms by name."""

import functools
import math
from collections.abc import Callable

import jax
from flax import linen as nn


def gelu(x: jax.Array) -> jax.Array:
    """x times the normal CDF (Hendrycks & Gimpel 2016), by erf.

    With `jax.nn.gelu`, which takes erfc, a GPT step on a CPU is 5 to 8 % longer.
    """
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


ACTIVATIONS: dict[str, Callable] = {
    "relu": jax.nn.relu,
    "gelu": gelu,
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "silu": jax.nn.silu,
    "tanh": jax.nn.tanh,
    "sigmoid": jax.nn.sigmoid,
}


def activation(name: str) -> Callable:
    return choose("activation", name, ACTIVATIONS)


def choose(what: str, name: str, choices: dict):
    """`choices[name]`, or a sentence that says what there is."""
    if name not in choices:
        raise ValueError(f"{what}={name!r} is unknown; choose one of {', '.join(sorted(choices))}")
    return choices[name]


def flat_dot_general(x, w, dimensions, precision=None, preferred_element_type=None):
    """`lax.dot_general` for dense layers, with the leading axes of `x` flattened into one.

    The weight gradient is then a product of two matrices.  With more axes XLA's CPU backend first copies both operands
    into another layout, recomputing what made them: a GPT step takes 1.4 times as long (scripts/bench_step.py).
    """
    (contracted, _), _ = dimensions
    if contracted != (x.ndim - 1,):
        return jax.lax.dot_general(x, w, dimensions, precision, preferred_element_type)
    flat = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]), w, (((1,), dimensions[0][1]), ((), ())), precision, preferred_element_type
    )
    return flat.reshape(*x.shape[:-1], *flat.shape[1:])


Dense = functools.partial(nn.Dense, dot_general=flat_dot_general)


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """Ioffe & Szegedy 2015, with the running average of the reference ResNet (momentum 0.9, epsilon 1e-5)."""
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name=name)
