"""Small parts that several networks share: activations and norms by name."""

from collections.abc import Callable

import jax
from flax import linen as nn

ACTIVATIONS: dict[str, Callable] = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),  # Hendrycks & Gimpel 2016: x times the normal CDF
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


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """Ioffe & Szegedy 2015, with the running average of the reference ResNet (momentum 0.9, epsilon 1e-5)."""
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name=name)
