"""Objects by their boxes, in one pass.  B batch, S cells along a side, N boxes of a cell, M slots for objects."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.detector import Cells, corners
from train.detection import detections, iou
from train.metrics import mean
from train.predictions import Boxes
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean


def detect(model: Model, classes: int, located: float = 5.0, empty: float = 0.5) -> Task:
    """YOLO's sum of squares (Redmon et al. 2016, equation 3), a mean over images; `mask` is [B].

    Targets: classes `y` [B, M], `boxes` [B, M, 4] as left, top, right, bottom in [0, 1], and `present` [B, M], 0 for
    an empty slot.  The cell that an object's centre is in answers for it, and there the box that overlaps it most.
    `located` and `empty` are the paper's λ_coord and λ_noobj.  Where two objects share a cell, each counts.
    Metrics: `iou` of objects and the boxes that answer for them, `accuracy` of the classes of their cells.
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        cells, state = model.apply(params, state, batch["x"], key=key, train=train)
        if cells.classes.shape[-1] != classes:
            raise ValueError(f"the network has {cells.classes.shape[-1]} outputs and the data {classes} classes")
        place_BM4, cell_BM = targets(batch["boxes"], cells.place.shape[1])
        mine = lambda values: of_cells(values, cell_BM)
        placed_BMN4, confidence_BMN, class_BMK = mine(cells.place), mine(cells.confidence), mine(cells.classes)
        found_BMN4 = jnp.broadcast_to(batch["boxes"][:, :, None], placed_BMN4.shape)
        overlap_BMN = jax.lax.stop_gradient(iou(mine(corners(cells.place)), found_BMN4))
        present_BM = batch["present"]
        answers_BMN = jax.nn.one_hot(overlap_BMN.argmax(-1), overlap_BMN.shape[-1]) * present_BM[..., None]

        one_hot = jax.nn.one_hot(batch["y"], classes)
        place_error = ((placed_BMN4 - place_BM4[:, :, None]) ** 2).sum(-1)
        object_error = located * place_error + (confidence_BMN - overlap_BMN) ** 2
        class_error = ((class_BMK - one_hot) ** 2).sum(-1) * present_BM
        idle = idle_boxes(answers_BMN, cell_BM, cells)
        values = (answers_BMN * object_error).sum((1, 2)) + class_error.sum(1)
        values += empty * (idle * cells.confidence**2).sum((1, 2, 3))

        scalar, (state, metrics) = masked_mean(values, {}, batch, state)
        counted = present_BM * batch.get("mask", jnp.ones(len(values)))[:, None]
        metrics["iou"] = mean((answers_BMN * overlap_BMN).sum(-1), counted)
        metrics["accuracy"] = mean((class_BMK.argmax(-1) == batch["y"]).astype(jnp.float32), counted)
        return scalar, (state, metrics)

    def predict(params, state, x):
        return Boxes(*detections(model.apply(params, state, x)[0]))

    return Task(init, loss, predict)


def targets(boxes_BM4: jax.Array, side: int) -> tuple[jax.Array, jax.Array]:
    """What `Cells.place` should be for each object [B, M, 4], and the number of its cell [B, M], row by row."""
    middle = (boxes_BM4[..., :2] + boxes_BM4[..., 2:]) / 2 * side
    corner = jnp.floor(middle).clip(0, side - 1)
    place = jnp.concatenate([middle - corner, jnp.sqrt(boxes_BM4[..., 2:] - boxes_BM4[..., :2])], axis=-1)
    return place, (corner[..., 1] * side + corner[..., 0]).astype(jnp.int32)


def of_cells(values: jax.Array, cell_BM: jax.Array) -> jax.Array:
    """[B, S, S, ...] of all cells → [B, M, ...] of the cells with these numbers."""
    flat = values.reshape(len(values), -1, *values.shape[3:])
    return jnp.take_along_axis(flat, cell_BM.reshape(*cell_BM.shape, *[1] * (flat.ndim - 2)), axis=1)


def idle_boxes(answers_BMN: jax.Array, cell_BM: jax.Array, cells: Cells) -> jax.Array:
    """[B, S, S, N]: 0 for the boxes that answer for an object, else 1."""
    batch, rows, columns, boxes = cells.confidence.shape
    where = jax.nn.one_hot(cell_BM, rows * columns)
    busy = (where[..., None] * answers_BMN[:, :, None]).max(1)
    return 1 - busy.reshape(batch, rows, columns, boxes)
