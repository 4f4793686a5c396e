"""A class for every pixel.  B batch, H height, W width, K classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.unet import centre
from train.losses import cross_entropy
from train.predictions import Classes
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean


def segment(model: Model, classes: int) -> Task:
    """Mean cross-entropy of the pixels `y` [B, H, W]; `mask` ([B] or [B, H, W]) says what counts.

    Beside `accuracy` it tells the intersection over union (Jaccard index) of every class, `iou_0`, `iou_1`, …, and as
    `iou` that of all but class 0, the background, together: intersections and unions are summed over the whole split.
    Where the network's output is smaller than its input, the middle of `y` is what it is scored on.
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        logits, state = model.apply(params, state, batch["x"], key=key, train=train)
        if logits.shape[-1] != classes:
            raise ValueError(f"the network has {logits.shape[-1]} outputs and the data {classes} classes")
        middle = lambda pixels: centre(pixels, *logits.shape[1:3]) if pixels.ndim == 3 else pixels
        y_BHW, mask = middle(batch["y"]), middle(batch.get("mask", jnp.ones(len(logits))))
        guess_BHW = logits.argmax(-1)
        values = cross_entropy(logits, y_BHW)
        correct = (guess_BHW == y_BHW).astype(jnp.float32)
        scalar, (state, metrics) = masked_mean(values, {"accuracy": correct}, {"mask": mask}, state)
        both, either = overlaps(guess_BHW, y_BHW, mask, classes)
        metrics["iou"] = both[1:].sum(), either[1:].sum()
        metrics |= {f"iou_{k}": (both[k], either[k]) for k in range(classes)}
        return scalar, (state, metrics)

    def predict(params, state, x):
        return Classes(jax.nn.softmax(model.apply(params, state, x)[0]))

    return Task(init, loss, predict)


def overlaps(guess: jax.Array, y: jax.Array, mask: jax.Array, classes: int) -> tuple[jax.Array, jax.Array]:
    """Pixels that both, and that either of two segmentations [B, H, W] call each class: [K], exact up to 2 ** 24."""
    counted = mask.reshape(*mask.shape, *[1] * (y.ndim + 1 - mask.ndim))
    a, b = jax.nn.one_hot(guess, classes) * counted, jax.nn.one_hot(y, classes)
    both = (a * b).sum((0, 1, 2))
    return both, (a + b * counted).sum((0, 1, 2)) - both
