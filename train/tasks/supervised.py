"""Tasks whose loss is a masked mean over what a network says of each input: classes or numbers."""

import jax.numpy as jnp
import optax

from models.api import Model
from train.losses import loss_by
from train.metrics import mean
from train.step import Task


def classify(model: Model, classes: int, label_smoothing: float = 0.0) -> Task:
    """Cross-entropy of `y` [B], or of every token `y` [B, L], given `x`.  `mask` (as `y`, or [B]) says what counts.

    `y` holds classes, or of a mixed batch (train/augment.py) float32 probabilities with one axis more.
    `classes` is the data's: a target beyond the network's outputs would silently become a NaN, so it is refused.
    With smoothing s the target is (1 - s) one-hot + s / outputs (Szegedy et al. 2015); evaluation never smooths.
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params, state, batch, key, train):
        logits, state = model.apply(params, state, batch["x"], key=key, train=train)
        if logits.shape[-1] < classes:
            raise ValueError(f"the network has {logits.shape[-1]} outputs and the data {classes} classes")
        if jnp.issubdtype(batch["y"].dtype, jnp.floating):
            values, target = optax.losses.softmax_cross_entropy(logits, batch["y"]), batch["y"].argmax(-1)
        else:
            values, target = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]), batch["y"]
        if train and label_smoothing:
            uniform = optax.losses.softmax_cross_entropy(logits, jnp.full_like(logits, 1 / logits.shape[-1]))
            values = (1 - label_smoothing) * values + label_smoothing * uniform
        correct = (logits.argmax(-1) == target).astype(jnp.float32)
        return masked_mean(values, {"accuracy": correct}, batch, state)

    return Task(init, loss)


def regress(model: Model, loss: str = "mse") -> Task:
    """Mean over all numbers of `loss` (train/losses.py) between the outputs for `x` and `y`, both float32 [B, ...].

    `mask` is [B], or has the first axes of `y`.
    """
    value = loss_by(loss)

    def init(key, batch):
        return model.init(key, batch["x"])

    def scalar(params, state, batch, key, train):
        outputs, state = model.apply(params, state, batch["x"], key=key, train=train)
        if outputs.shape != batch["y"].shape:
            raise ValueError(f"the network's outputs are {list(outputs.shape)}, its targets {list(batch['y'].shape)}")
        return masked_mean(value(outputs, batch["y"]), {}, batch, state)

    return Task(init, scalar)


def masked_mean(values, metrics, batch, state):
    """The scalar of a supervised task: the mean of `values` over what the mask counts, with its metrics."""
    mask = batch.get("mask", jnp.ones(len(values)))
    mask = jnp.broadcast_to(jnp.expand_dims(mask, tuple(range(mask.ndim, values.ndim))), values.shape)
    total, weight = mean(values, mask)
    metrics = {name: mean(value, mask) for name, value in metrics.items()}
    return total / jnp.maximum(weight, 1), (state, {"loss": (total, weight), **metrics})
