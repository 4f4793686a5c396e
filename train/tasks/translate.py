"""Texts from texts or sounds, by an encoder and a decoder.  B batch, S length of the source, L of the target."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from models.api import Model, ModelState, Params
from train.losses import cross_entropy
from train.metrics import mean
from train.step import Batch, Scored, Task
from train.tasks.supervised import counted, is_first, masked_mean

FILLER = 0  # behind the last token of a source or target; the decoder also begins with it


def translate(model: Model, classes: int, label_smoothing: float = 0.0) -> Task:
    """Cross-entropy of every token of `y` [B, L], given the source `x` and the true tokens before (teacher forcing).

    `x` is int [B, S], whose zeros the network does not see, or float: a sound as the network takes it.  Zeros of `y`
    stand behind its end and do not count, nor do records whose `mask` [B] is 0.
    Smoothing is that of `supervised:classify`.

    `exact_match` is the share of records whose likeliest tokens are all right.  Those are the records that greedy
    decoding writes without a fault: up to the first fault it sees the same tokens.
    """

    def init(key, batch):
        return model.init(key, *sources(batch["x"]), begun(batch["y"]))

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        y_BL = batch["y"]
        logits_BLV, state = model.apply(params, state, *sources(batch["x"]), begun(y_BL), key=key, train=train)
        if logits_BLV.shape[-1] < classes:
            raise ValueError(f"the network has {logits_BLV.shape[-1]} outputs and the data {classes} tokens")
        values = cross_entropy(logits_BLV, y_BL)
        if train and label_smoothing:
            uniform = -jax.nn.log_softmax(logits_BLV).mean(-1)
            values = (1 - label_smoothing) * values + label_smoothing * uniform
        right_BL, mask_BL = is_first(logits_BLV, y_BL), counted(y_BL, batch) * (y_BL != FILLER)
        scalar, (state, metrics) = masked_mean(values, {"accuracy": right_BL}, {**batch, "mask": mask_BL}, state)
        all_right_B = jnp.where(mask_BL > 0, right_BL, 1).min(1)
        return scalar, (state, {**metrics, "exact_match": mean(all_right_B, mask_BL.max(1))})

    return Task(init, loss)


def sources(x: jax.Array) -> tuple[jax.Array, ...]:
    """What the encoder is given: tokens and which of them are some, or a sound."""
    return (x, (x != FILLER).astype(jnp.int32)) if jnp.issubdtype(x.dtype, jnp.integer) else (x,)


def begun(y_BL: Int[Array, "b l"]) -> Int[Array, "b l"]:
    """What the decoder sees when it writes each token: those before."""
    return jnp.pad(y_BL[:, :-1], ((0, 0), (1, 0)), constant_values=FILLER)
