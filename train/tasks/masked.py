"""Masked language models.  B batch, L length, V vocabulary."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from models.api import Model, ModelState, Params
from models.parts.axes import draw
from train.losses import cross_entropy
from train.step import Batch, Scored, Task
from train.tasks.supervised import counted, is_first, masked_mean


def masked(model: Model, classes: int, rate: float = 0.15, blank: float = 0.8, other: float = 0.1) -> Task:
    """Cross-entropy of tokens `x` [B, L] that the network was not shown (Devlin et al. 2018, section 3.1).

    Every step chooses tokens, each with probability `rate`.  Of those a share `blank` is replaced by the token number
    `classes`, which is no token of the data, a share `other` by any token of the data, and the rest is shown as it is.
    The loss is of the chosen alone; `mask` [B, L] or [B] says which tokens may be.
    """
    if not 0 < rate <= 1 or min(blank, other) < 0 or blank + other > 1:
        raise ValueError(f"{rate=}, {blank=}, {other=}: needs 0 < rate <= 1, and shares whose sum is 1 at most")

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        hide_key, key = jax.random.split(key)
        x_BL = batch["x"]
        chosen_BL, shown_BL = hidden(x_BL, hide_key, classes, rate, blank, other)
        logits_BLV, state = model.apply(params, state, shown_BL, key=key, train=train)
        if logits_BLV.shape[-1] <= classes:
            raise ValueError(
                f"the network has {logits_BLV.shape[-1]} outputs; it needs the data's {classes} and one for the blank: "
                f"set --config.model.vocab={classes + 1}"
            )
        told = {"accuracy": is_first(logits_BLV, x_BL)}
        return masked_mean(
            cross_entropy(logits_BLV, x_BL), told, {**batch, "mask": counted(x_BL, batch) * chosen_BL}, state
        )

    return Task(init, loss)


def hidden(
    x_BL: Int[Array, "b l"], key: jax.Array, classes: int, rate: float, blank: float, other: float
) -> tuple[Array, Int[Array, "b l"]]:
    """Which tokens are chosen, and what is shown in the place of all."""
    choose_key, how_key, other_key = jax.random.split(key, 3)
    chosen_BL = draw(jax.random.uniform, choose_key, x_BL.shape) < rate
    how_BL = draw(jax.random.uniform, how_key, x_BL.shape)
    other_BL = draw(jax.random.randint, other_key, x_BL.shape, minval=0, maxval=classes)
    shown_BL = jnp.where(how_BL < blank, classes, jnp.where(how_BL < blank + other, other_BL, x_BL))
    return chosen_BL, jnp.where(chosen_BL, shown_BL, x_BL)
