"""Activations by name, each with its formula and source.

A gated linear unit halves the last axis: the layer before it has twice the units (`units_before`).
At a kink the gradient is that of one side: 0 for ReLU at 0 (tests/test_parts.py lists the others).
σ is the logistic function, Φ the distribution function of the unit normal.
"""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

Activation = Callable[[jax.Array], jax.Array]


def gelu(x: jax.Array) -> jax.Array:
    """x times the normal CDF (Hendrycks & Gimpel 2016), by erf.

    With `jax.nn.gelu`, which takes erfc, a GPT step on a CPU is 5 to 8 % longer.
    """
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


def sqrt_softplus(x: jax.Array) -> jax.Array:
    """√log(1 + e^x); far below 0 that is √e^x, whose gradient does not divide 0 by 0."""
    far = jnp.minimum(x, -20.0)
    return jnp.where(x < -20, jnp.exp(far / 2), jnp.sqrt(jax.nn.softplus(jnp.maximum(x, -20.0))))


def in_float32(activation: Activation) -> Activation:
    """`activation`, computed in 32 bits where its input has 16: rounded once, and not after each operation."""

    def wide(x: jax.Array) -> jax.Array:
        return activation(x.astype(jnp.float32)).astype(x.dtype) if x.dtype.itemsize == 2 else activation(x)

    return wide


def gated(by: Activation) -> Activation:
    """a · by(b), where a is the first half of the last axis and b the second (Dauphin et al. 2016, Shazeer 2020)."""

    def gate(x: jax.Array) -> jax.Array:
        if x.shape[-1] % 2:
            raise ValueError(f"a gated linear unit halves the last axis, which is {x.shape[-1]}; make it even")
        a, b = jnp.split(x, 2, axis=-1)
        return a * by(b)

    return gate


GateName = Literal["glu", "reglu", "geglu", "swiglu"]
ActivationName = Literal[
    "identity", "sigmoid", "tanh", "sin", "softmax", "softplus", "softsign", "relu", "leaky_relu", "relu6",
    "relu_squared", "elu", "selu", "gelu", "gelu_tanh", "quick_gelu", "silu", "mish", "hard_tanh", "hard_sigmoid",
    "hard_swish", "clipped_gelu", "laplace", "sqrt_softplus", GateName,
]  # fmt: skip

GATES: dict[str, Activation] = {
    "glu": gated(jax.nn.sigmoid),  # a σ(b); Dauphin et al. 2016
    "reglu": gated(jax.nn.relu),  # a max(0, b); Shazeer 2020
    "geglu": gated(gelu),  # a b Φ(b); Shazeer 2020
    "swiglu": gated(jax.nn.silu),  # a b σ(b); Shazeer 2020
}

ACTIVATIONS: dict[str, Activation] = {
    "identity": lambda x: x,  # x: a linear layer
    "sigmoid": jax.nn.sigmoid,  # σ(x) = 1 / (1 + e^-x)
    "tanh": jax.nn.tanh,  # (e^x - e^-x) / (e^x + e^-x); LeCun et al. 1998 on why it trains better than σ
    "sin": jnp.sin,  # sin x; Sitzmann et al. 2020, who multiply x by 30 before
    "softmax": lambda x: jax.nn.softmax(x, axis=-1),  # e^x_i / Σ_j e^x_j over the last axis; Bridle 1989
    "softplus": jax.nn.softplus,  # log(1 + e^x); Dugas et al. 2000
    "softsign": jax.nn.soft_sign,  # x / (1 + |x|); Bergstra et al. 2009
    "relu": jax.nn.relu,  # max(0, x); Nair & Hinton 2010
    "leaky_relu": jax.nn.leaky_relu,  # x, or 0.01 x where x < 0; Maas et al. 2013
    "relu6": jax.nn.relu6,  # min(max(0, x), 6); Krizhevsky 2010
    "relu_squared": lambda x: jnp.square(jax.nn.relu(x)),  # max(0, x)²; So et al. 2021
    "elu": jax.nn.elu,  # x, or e^x - 1 where x < 0; Clevert et al. 2015
    "selu": jax.nn.selu,  # 1.0507 x, or 1.7581 (e^x - 1) where x < 0; Klambauer et al. 2017
    "gelu": gelu,  # x Φ(x); Hendrycks & Gimpel 2016
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),  # ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))); the same
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),  # x σ(1.702 x); the same
    "silu": jax.nn.silu,  # x σ(x), also called swish; Elfwing et al. 2017, Ramachandran et al. 2017
    "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),  # x tanh(log(1 + e^x)); Misra 2019
    "hard_tanh": jax.nn.hard_tanh,  # min(max(-1, x), 1); Collobert 2004
    "hard_sigmoid": jax.nn.hard_sigmoid,  # min(max(0, x + 3), 6) / 6; Howard et al. 2019
    "hard_swish": jax.nn.hard_silu,  # x hard_sigmoid(x); Howard et al. 2019
    "clipped_gelu": lambda x: jnp.clip(gelu(x), -10, 10),  # for 8 bits; Wu et al. 2020
    "laplace": lambda x: 0.5 * (1 + jax.lax.erf((x - 0.707107) / (0.282095 * math.sqrt(2)))),  # Ma et al. 2022
    "sqrt_softplus": sqrt_softplus,  # √log(1 + e^x)
    **GATES,
}
EXACT = ("identity", "relu", "leaky_relu", "relu6", "hard_tanh")  # one operation, or none
ACTIVATIONS = {name: f if name in EXACT else in_float32(f) for name, f in ACTIVATIONS.items()}


def units_before(name: ActivationName, width: int) -> int:
    """How many units the activation turns into `width`: twice as many where it is a gate."""
    return 2 * width if name in GATES else width
