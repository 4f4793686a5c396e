"""Losses by name: what outputs cost against their targets.

LOSSES take two arrays of one shape and give one value for each pair of numbers, `supervised:regress` uses them.
CLASS_LOSSES take scores [..., K] and classes [...] and give one value for each class, `supervised:classify` uses them.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax

Loss = Callable[[jax.Array, jax.Array], jax.Array]


@jax.custom_vjp
def cross_entropy(scores: jax.Array, classes: jax.Array) -> jax.Array:
    """-log softmax(scores)_class.

    Its gradient, softmax - one-hot, is written as one elementwise pass over the scores, for XLA to fuse with what
    follows: that of optax's scatters ones into an array of float32.
    """
    return _cross_entropy(scores, classes)[0]


def _cross_entropy(scores: jax.Array, classes: jax.Array) -> tuple[jax.Array, tuple]:
    normaliser = jax.nn.logsumexp(scores, axis=-1)
    own = jnp.take_along_axis(scores, classes[..., None].astype(jnp.int32), axis=-1).squeeze(-1)
    return normaliser - own, (scores, classes, normaliser)


def _cross_entropy_gradient(saved: tuple, g: jax.Array) -> tuple[jax.Array, None]:
    scores, classes, normaliser = saved
    number = jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1)  # 8 bits of a class are too few
    own = number == classes[..., None].astype(jnp.int32)
    return g[..., None] * (jnp.exp(scores - normaliser[..., None]) - own.astype(scores.dtype)), None


cross_entropy.defvjp(_cross_entropy, _cross_entropy_gradient)


def hinge(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    return jax.nn.relu(1 - outputs * targets)


def class_hinge(scores: jax.Array, classes: jax.Array) -> jax.Array:
    """max(0, 1 + the best score of another class - the class's own)."""
    own = jax.nn.one_hot(classes, scores.shape[-1], dtype=bool)
    best_other = jnp.where(own, -jnp.inf, scores).max(-1)
    return jax.nn.relu(1 + best_other - jnp.where(own, scores, 0).sum(-1))


def focal(scores: jax.Array, classes: jax.Array) -> jax.Array:
    """Cross-entropy -log p weighed by (1 - p)²: what is already known counts little."""
    surprise = cross_entropy(scores, classes)
    return surprise * (1 - jnp.exp(-surprise)) ** 2


LossName = Literal["mse", "mae", "huber", "log_cosh", "binary_cross_entropy", "hinge", "squared_hinge"]
ClassLossName = Literal["cross_entropy", "hinge", "focal"]

LOSSES: dict[str, Loss] = {
    "mse": lambda outputs, targets: (outputs - targets) ** 2,  # e², e = output - target; Legendre 1805
    "mae": lambda outputs, targets: jnp.abs(outputs - targets),  # |e|; Laplace 1774
    "huber": optax.losses.huber_loss,  # e²/2, or |e| - 1/2 where |e| > 1; Huber 1964
    "log_cosh": optax.losses.log_cosh,  # log cosh e
    # Of two classes, the output being a score:
    "binary_cross_entropy": optax.losses.sigmoid_binary_cross_entropy,  # -t log σ(o) - (1 - t) log σ(-o), t in 0 … 1
    "hinge": hinge,  # max(0, 1 - t o), t = ±1; Cortes & Vapnik 1995
    "squared_hinge": lambda outputs, targets: hinge(outputs, targets) ** 2,  # Lee & Mangasarian 2001
}

# Where the two classes of a target meet; an output above 0 stands for the upper one.
BOUNDARIES = {"binary_cross_entropy": 0.5, "hinge": 0.0, "squared_hinge": 0.0}

CLASS_LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,  # -log softmax(o)_t
    "hinge": class_hinge,  # Crammer & Singer 2001
    "focal": focal,  # Lin et al. 2017, γ = 2
}
