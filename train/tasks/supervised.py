"""Tasks whose loss is a masked mean over what a network says of each input: classes or numbers."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from train.errors import UserError
from train.losses import BOUNDARIES, CLASS_LOSSES, LOSSES, ClassLossName, LossName
from train.metrics import mean, quotient
from train.predictions import Classes, Numbers
from train.step import Batch, Scored, Task


def classify(model: Model, classes: int, label_smoothing: float = 0.0, loss: ClassLossName = "cross_entropy") -> Task:
    """Cross-entropy of `y` [B], or of every token `y` [B, L], given `x`.  `mask` (as `y`, or [B]) says what counts.

    `loss` is another of CLASS_LOSSES (train/losses.py), for `y` of classes alone.
    `y` holds classes, or of a mixed batch (train/augment.py) float32 probabilities with one axis more.
    `classes` is the data's: a target beyond the network's outputs would silently become a NaN, so it is refused.
    With smoothing s the target is (1 - s) one-hot + s / outputs (Szegedy et al. 2015); evaluation never smooths.
    """
    value = CLASS_LOSSES[loss]
    if label_smoothing and loss != "cross_entropy":
        raise UserError(f"label_smoothing={label_smoothing} is for the loss cross_entropy, not for {loss}; set it to 0")

    def init(key, batch):
        return model.init(key, batch["x"])

    def scalar(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        logits, state = model.apply(params, state, batch["x"], key=key, train=train)
        if logits.shape[-1] < classes:
            raise ValueError(f"the network has {logits.shape[-1]} outputs and the data {classes} classes")
        if not jnp.issubdtype(batch["y"].dtype, jnp.floating):
            values, target = value(logits, batch["y"]), batch["y"]
        elif loss == "cross_entropy":
            values, target = optax.losses.softmax_cross_entropy(logits, batch["y"]), batch["y"].argmax(-1)
        else:
            raise ValueError(
                f"the loss {loss} is of one class for each y, and y holds probabilities; use cross_entropy"
            )
        if train and label_smoothing:
            uniform = optax.losses.softmax_cross_entropy(logits, jnp.full_like(logits, 1 / logits.shape[-1]))
            values = (1 - label_smoothing) * values + label_smoothing * uniform
        return masked_mean(values, {"accuracy": accurate(logits.argmax(-1), target)}, batch, state)

    def predict(params, state, x):
        """The softmax of the scores, which for the loss `hinge` ranks classes and is no probability."""
        return Classes(jax.nn.softmax(model.apply(params, state, x)[0]))

    return Task(init, scalar, predict)


def regress(model: Model, loss: LossName = "mse") -> Task:
    """Mean over all numbers of `loss` (train/losses.py) between the outputs for `x` and `y`, both float32 [B, ...].

    `mask` is [B], or has the first axes of `y`.  Losses of two classes (0 and 1 for `binary_cross_entropy`, ±1 for
    `hinge`) also give the accuracy of the outputs' signs.
    """
    value, boundary = LOSSES[loss], BOUNDARIES.get(loss)

    def init(key, batch):
        return model.init(key, batch["x"])

    def scalar(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        outputs, state = model.apply(params, state, batch["x"], key=key, train=train)
        if outputs.shape != batch["y"].shape:
            raise ValueError(f"the network's outputs are {list(outputs.shape)}, its targets {list(batch['y'].shape)}")
        correct = {} if boundary is None else {"accuracy": accurate(outputs > 0, batch["y"] > boundary)}
        return masked_mean(value(outputs, batch["y"]), correct, batch, state)

    def predict(params, state, x):
        """The outputs, which for `binary_cross_entropy` stand for probabilities."""
        outputs = model.apply(params, state, x)[0]
        return Numbers(jax.nn.sigmoid(outputs) if loss == "binary_cross_entropy" else outputs)

    return Task(init, scalar, predict)


def accurate(said: jax.Array, true: jax.Array) -> jax.Array:
    return (said == true).astype(jnp.float32)


def masked_mean(values: jax.Array, metrics: dict[str, jax.Array], batch: Batch, state: ModelState) -> Scored:
    """The scalar of a supervised task: the mean of `values` over what the mask counts, with its metrics."""
    mask = batch.get("mask", jnp.ones(len(values)))
    mask = jnp.broadcast_to(jnp.expand_dims(mask, tuple(range(mask.ndim, values.ndim))), values.shape)
    total, weight = mean(values, mask)
    metrics = {name: mean(value, mask) for name, value in metrics.items()}
    return quotient(total, weight), (state, {"loss": (total, weight), **metrics})
