"""Sequences of labels from longer sequences of frames.  B batch, T frames, L labels, K classes with the blank."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key

from models.api import Model, ModelState, Params
from train.predictions import Labels
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean

BLANK = 0


def ctc(model: Model, classes: int) -> Task:
    """Connectionist temporal classification (Graves et al. 2006): -log p(y | x) over all alignments, nats per sequence.

    The network turns `x` into logits [B, T, K] with any T, and `y` is int32 [B, L].  Class 0 is the blank, so no label
    is 0, and zeros fill `y` up after its last label.  `frames`, int32 [B], says how many of the T hold data (without
    it, all); `mask`, [B], which sequences count.  A sequence that does not fit into its frames costs about 1e5.

    `label_error_rate` is the edit distance of the best path's labels to `y`, over the number of labels in `y`.
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        logits_BTK, state = model.apply(params, state, batch["x"], key=key, train=train)
        if logits_BTK.ndim != 3 or logits_BTK.shape[-1] < classes:
            raise ValueError(f"the network's outputs are {list(logits_BTK.shape)}, CTC needs [B, T, {classes} or more]")
        y_BL, T = batch["y"], logits_BTK.shape[1]
        frames_B = batch.get("frames", jnp.full(len(y_BL), T))
        padding_BT = (jnp.arange(T)[None] >= frames_B[:, None]).astype(jnp.float32)
        values = optax.losses.ctc_loss(
            logits_BTK, padding_BT, y_BL, (y_BL == BLANK).astype(jnp.float32), blank_id=BLANK
        )
        path_BT = jnp.where(padding_BT > 0, BLANK, logits_BTK.argmax(-1))
        scalar, (state, metrics) = masked_mean(values, {}, batch, state)
        counted = batch.get("mask", jnp.ones(len(y_BL)))
        wrong, labels = edit_distance(path_BT, y_BL), (y_BL != BLANK).sum(-1)
        metrics["label_error_rate"] = ((wrong * counted).sum(), (labels * counted).sum())
        return scalar, (state, metrics)

    def predict(params, state, x):
        return Labels(model.apply(params, state, x)[0].argmax(-1))

    return Task(init, loss, predict)


def edit_distance(path_BT: Int[Array, "b t"], y_BL: Int[Array, "b l"]) -> Int[Array, " b"]:
    """Insertions, deletions and substitutions that make `y` of the labels that a path stands for (Levenshtein 1966).

    A path's labels are what is left when repeats are merged and then blanks taken out.
    """
    before_BT = jnp.pad(path_BT[:, :-1], ((0, 0), (1, 0)), constant_values=BLANK)
    emits_BT = (path_BT != BLANK) & (path_BT != before_BT)
    place = jnp.arange(y_BL.shape[1] + 1)[None]

    def read(row, at):
        """From the distances of the labels read so far to every beginning of `y`, those with one label more."""
        label_B, emits_B = at
        replaced = row[:, :-1] + (y_BL != label_B[:, None])
        new = jnp.concatenate([row[:, :1] + 1, jnp.minimum(replaced, row[:, 1:] + 1)], axis=1)
        new = jax.lax.cummin(new - place, axis=1) + place  # with labels of y left out
        return jnp.where(emits_B[:, None], new, row), None

    start = jnp.broadcast_to(place, (len(y_BL), place.size))
    row, _ = jax.lax.scan(read, start, (path_BT.T, emits_BT.T))
    return jnp.take_along_axis(row, (y_BL != BLANK).sum(-1)[:, None], axis=1)[:, 0]
