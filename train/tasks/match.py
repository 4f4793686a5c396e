"""Texts and pictures that belong together.  B pairs."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.parts.axes import part, whole
from train.losses import cross_entropy
from train.step import Batch, Scored, Task
from train.tasks.supervised import is_first, masked_mean

NEVER = -1e30  # the logit of what is no choice


def match(model: Model) -> Task:
    """InfoNCE (van den Oord et al. 2018; Radford et al. 2021) of pairs `text` [B, L] and `x` [B, ...]; `mask` is [B].

    The mean of two cross-entropies: of each text's own picture among those of the batch, and of each picture's own
    text.  Who knows nothing is at log B; log B - loss is a lower bound of the mutual information in nats.
    `retrieval` is how often the own one is the likeliest, in both directions.  With config.accumulate the others are
    those of a slice.
    """

    def init(key, batch):
        return model.init(key, batch["text"], batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        text, x = whole(batch["text"]), whole(batch["x"])
        is_there_B = whole(batch.get("mask", jnp.ones(len(batch["x"]))))
        logits_BB, state = model.apply(params, state, text, x, key=key, train=train)
        own_B, values, right = jnp.arange(len(x)), 0.0, 0.0
        for scores_BB in (logits_BB, logits_BB.T):
            scores_BB = jnp.where(is_there_B[None] > 0, scores_BB, NEVER)
            values += cross_entropy(scores_BB, own_B) / 2
            right += is_first(scores_BB, own_B) / 2
        return masked_mean(part(values), {"retrieval": part(right)}, batch, state)

    return Task(init, loss)
