"""Initialisers by name, each with its variance and source."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

Initializer = Callable[..., jax.Array]  # (key, shape, dtype) -> array

# Initialisers of a weight whose every output sums n inputs and every input goes to m outputs; a convolution counts
# its window in both.  The "normal" ones are cut off at two standard deviations, their variance is as given.
InitializerName = Literal[
    "zeros", "normal", "uniform", "orthogonal", "lecun_normal", "lecun_uniform", "xavier_normal", "xavier_uniform",
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "kaiming_normal", "kaiming_uniform",
]  # fmt: skip
INITIALIZERS: dict[str, Initializer] = {
    "zeros": nn.initializers.zeros,
    "normal": nn.initializers.normal(1.0),  # variance 1, not cut off; with gain 0.02 that of Radford et al. 2018
    "uniform": lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -1, 1),  # variance 1/3
    "xavier_normal": nn.initializers.xavier_normal(),  # variance 2 / (n + m); Glorot & Bengio 2010
    "xavier_uniform": nn.initializers.xavier_uniform(),  # the same, within ±√(6 / (n + m))
    "he_normal": nn.initializers.he_normal(),  # variance 2 / n; He et al. 2015
    "he_uniform": nn.initializers.he_uniform(),  # the same, within ±√(6 / n)
    "lecun_normal": nn.initializers.lecun_normal(),  # variance 1 / n; LeCun et al. 1998; Flax's default
    "lecun_uniform": nn.initializers.lecun_uniform(),  # the same, within ±√(3 / n)
    "orthogonal": nn.initializers.orthogonal(),  # QᵀQ = 1, of the kernel as a matrix with m columns; Saxe et al. 2013
}
INITIALIZERS |= {
    f"{also}_{shape}": INITIALIZERS[f"{name}_{shape}"]
    for also, name in (("glorot", "xavier"), ("kaiming", "he"))
    for shape in ("normal", "uniform")
}


def initializer(name: InitializerName, gain: float = 1.0) -> Initializer:
    """The initialiser, whose numbers are multiplied by `gain` (√2 suits ReLU where `orthogonal` or `lecun` do not)."""
    init = INITIALIZERS[name]
    return init if gain == 1 else lambda *args, **keywords: gain * init(*args, **keywords)
