"""Losses by name: what outputs cost against their targets, one value for each pair of numbers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from train.errors import suggest

Loss = Callable[[jax.Array, jax.Array], jax.Array]  # (outputs, targets), of one shape -> values of that shape

LOSSES: dict[str, Loss] = {
    "mse": lambda outputs, targets: (outputs - targets) ** 2,
    "mae": lambda outputs, targets: jnp.abs(outputs - targets),
    "huber": optax.losses.huber_loss,
}


def loss_by(name: str) -> Loss:
    if name not in LOSSES:
        raise ValueError(f"loss={name!r}{suggest(name, LOSSES)}")
    return LOSSES[name]
