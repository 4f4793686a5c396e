"""Boxes: how much they overlap, which of them are one object, and how good a detector's are.

A box is left, top, right, bottom.  I images, P predictions of an image, T true objects of an image (or empty slots).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from models.detector import Cells, corners


def iou(a: Float[Array, "*batch 4"], b: Float[Array, "*batch 4"]) -> Float[Array, "*batch"]:
    """Intersection over union of pairs of boxes; 0 where both are empty."""
    size = lambda low, high: jnp.maximum(high - low, 0).prod(-1)
    common = size(jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:]))
    union = size(a[..., :2], a[..., 2:]) + size(b[..., :2], b[..., 2:]) - common
    return common / jnp.maximum(union, 1e-12)


def iou_of_all(a: Float[Array, "p 4"], b: Float[Array, "t 4"]) -> Float[Array, "p t"]:
    shape = (len(a), len(b), 4)
    return iou(jnp.broadcast_to(a[:, None], shape), jnp.broadcast_to(b[None], shape))


def best_alone(boxes: Float[Array, "p 4"], scores: Float[Array, " p"], threshold: float = 0.5) -> Bool[Array, " p"]:
    """Non-maximum suppression: which boxes overlap no better one that is itself kept by more than `threshold`."""
    order = jnp.argsort(-scores, stable=True)
    close = iou_of_all(boxes[order], boxes[order]) > threshold

    def decide(i, kept):
        return kept.at[i].set(~(kept & close[i] & (jnp.arange(len(kept)) < i)).any())

    kept = jax.lax.fori_loop(0, len(order), decide, jnp.zeros(len(order), bool))
    return jnp.zeros_like(kept).at[order].set(kept)


def detections(cells: Cells, threshold: float = 0.5) -> tuple[Float[Array, "b p 4"], Float[Array, "b k p"]]:
    """All boxes of each image, and their scores as each class; 0 where another box of the class stands for it.

    The score is confidence × probability of the class, each clipped to [0, 1] (Redmon et al. 2016, equation 1).
    """
    places = corners(cells.place)
    batch, rows, columns, boxes, _ = places.shape
    score = cells.confidence.clip(0, 1)[..., None] * cells.classes.clip(0, 1)[..., None, :]
    boxes_BP4 = places.reshape(batch, rows * columns * boxes, 4)
    score_BKP = jnp.moveaxis(score.reshape(batch, rows * columns * boxes, -1), -1, 1)
    alone = jax.vmap(lambda box_P4, score_KP: jax.vmap(lambda s: best_alone(box_P4, s, threshold))(score_KP))
    return boxes_BP4, jnp.where(alone(boxes_BP4, score_BKP), score_BKP, 0)


def average_precision(
    scores: Float[np.ndarray, "i p"],
    overlap: Float[np.ndarray, "i p t"],
    present: Bool[np.ndarray, "i t"],
    threshold: float = 0.5,
) -> float:
    """Area under the precision-recall curve of one class over a whole split (PASCAL VOC from 2010 on: at all points).

    `scores` of 0 are no detections; `overlap` is each prediction's IoU with each object, of which `present` are of the
    class.  From the best score down, a detection is right if the object that it overlaps most does so by `threshold`
    or more and is not found yet.  NaN where the split has no object of the class.
    """
    overlap = np.where(present[:, None], overlap, -1.0)
    object_IP, most_IP = overlap.argmax(-1), overlap.max(-1)
    image, prediction = np.nonzero(scores > 0)
    order = np.argsort(-scores[image, prediction], kind="stable")
    found = np.zeros(present.shape, bool)
    right = np.zeros(len(order), bool)
    for rank, (i, p) in enumerate(zip(image[order], prediction[order], strict=True)):
        if most_IP[i, p] >= threshold and not found[i, object_IP[i, p]]:
            right[rank] = found[i, object_IP[i, p]] = True
    hits, total = right.cumsum(), present.sum()
    if not total:
        return float("nan")
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or a higher one
    return float((envelope * right).sum() / total)
