"""Tasks whose loss is a masked mean over what a network says of each input: classes or numbers."""

import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.parts.graph import Graph, graph_of
from train.errors import UserError
from train.losses import BOUNDARIES, CLASS_LOSSES, LOSSES, ClassLossName, LossName
from train.metrics import Metrics, mean, quotient
from train.predictions import Classes, Numbers
from train.slices import summed
from train.step import Batch, Scored, Task


def classify(
    model: Model,
    classes: int,
    label_smoothing: float = 0.0,
    loss: ClassLossName = "cross_entropy",
    sources: tuple[str, ...] = (),
    loss_slices: int = 1,
) -> Task:
    """Cross-entropy of `y` [B], or of every token `y` [B, L], given `x`.  `mask` (as `y`, or [B]) says what counts.

    Of a mixture the loss of each of its `sources` is a metric too.  `segments` [B, L], where the data have them, number
    the documents of a row; the network is given them.

    `loss` is another of CLASS_LOSSES (train/losses.py), for `y` of classes alone.
    `y` holds classes, or of a mixed batch (train/augment.py) float32 probabilities with one axis more.
    With `loss_slices` a language model's logits are computed for so many slices of the texts, one after the other.
    `classes` is the data's: a target beyond the network's outputs would silently become a NaN, so it is refused.
    With smoothing s the target is (1 - s) one-hot + s / outputs (Szegedy et al. 2015); evaluation never smooths.
    """
    value = CLASS_LOSSES[loss]
    if label_smoothing and loss != "cross_entropy":
        raise UserError(f"label_smoothing={label_smoothing} is for the loss cross_entropy, not for {loss}; set it to 0")

    def init(key, batch):
        return model.init(key, *inputs(batch))

    def each(logits: jax.Array, y: jax.Array, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """What each prediction costs, and what is told of it."""
        if logits.shape[-1] < classes:
            raise ValueError(f"the network has {logits.shape[-1]} outputs and the data {classes} classes")
        if not jnp.issubdtype(y.dtype, jnp.floating):
            values, target = value(logits, y), y
        elif loss == "cross_entropy":
            values, target = optax.losses.softmax_cross_entropy(logits, y), y.argmax(-1)
        else:
            raise ValueError(
                f"the loss {loss} is of one class for each y, and y holds probabilities; use cross_entropy"
            )
        if train and label_smoothing:
            uniform = optax.losses.softmax_cross_entropy(logits, jnp.full_like(logits, 1 / logits.shape[-1]))
            values = (1 - label_smoothing) * values + label_smoothing * uniform
        return values, {"accuracy": is_first(logits, target)}

    def scalar(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        if loss_slices > 1:
            return sliced(params, state, batch, key, train)
        logits, state = model.apply(params, state, *inputs(batch), key=key, train=train)
        values, told = each(logits, batch["y"], train)
        found, (state, metrics) = masked_mean(values, told, batch, state)
        return found, (state, metrics | by_source(values, batch, sources))

    def sliced(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        if not hasattr(model.network, "factors") or batch["y"].ndim != 2:
            raise ValueError("config.loss_slices is for language models of one text (gpt, llama, mamba); set it to 1")
        factors, state = model.apply(params, state, *inputs(batch), key=key, train=train, method="factors")
        cost = functools.partial(each, train=train)
        weight = counted(batch["y"], batch).astype(jnp.float32)
        total, values, told = summed(cost, loss_slices, factors, batch["y"], weight)
        _, (state, metrics) = masked_mean(values, told, batch, state)
        return quotient(total, metrics["loss"][1]), (state, metrics | by_source(values, batch, sources))

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
        return model.init(key, *inputs(batch))

    def scalar(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        outputs, state = model.apply(params, state, *inputs(batch), key=key, train=train)
        if outputs.shape != batch["y"].shape:
            raise ValueError(f"the network's outputs are {list(outputs.shape)}, its targets {list(batch['y'].shape)}")
        correct = {} if boundary is None else {"accuracy": accurate(outputs > 0, batch["y"] > boundary)}
        return masked_mean(value(outputs, batch["y"]), correct, batch, state)

    def predict(params, state, x):
        """The outputs, which for `binary_cross_entropy` stand for probabilities."""
        outputs = model.apply(params, state, x)[0]
        return Numbers(jax.nn.sigmoid(outputs) if loss == "binary_cross_entropy" else outputs)

    return Task(init, scalar, predict)


def is_first(scores: jax.Array, classes: jax.Array) -> jax.Array:
    """Whether `classes` is `scores.argmax(-1)`, as a sum, which XLA takes together with the loss's own; not of NaN."""
    index = classes[..., None].astype(jnp.int32)
    own = jnp.take_along_axis(scores, index, axis=-1)
    before = jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1) < index
    below = (scores < own) | ((scores == own) & ~before)
    return ((~below).astype(jnp.float32).sum(-1) == 0).astype(jnp.float32)


def accurate(said: jax.Array, true: jax.Array) -> jax.Array:
    return (said == true).astype(jnp.float32)


def inputs(batch: Batch) -> tuple[jax.Array | Graph | None, ...]:
    """What a network is given: `x`, and the edges of a graph or the numbers of packed documents, if data have them."""
    if "edges" in batch:
        return batch["x"], graph_of(batch)
    return (batch["x"], None, None, batch["segments"]) if "segments" in batch else (batch["x"],)


def counted(values: jax.Array, batch: Batch) -> jax.Array:
    """The mask, in the shape of `values`."""
    mask = batch.get("mask", jnp.ones(len(values)))
    return jnp.broadcast_to(jnp.expand_dims(mask, tuple(range(mask.ndim, values.ndim))), values.shape)


def by_source(values: jax.Array, batch: Batch, sources: tuple[str, ...]) -> Metrics:
    """The mean of `values` over the records of each source of a mixture."""
    if "source" not in batch:
        return {}
    mask = counted(values, batch)
    of = lambda i: jnp.expand_dims(batch["source"] == i, tuple(range(1, values.ndim)))
    return {f"loss_{name}": mean(values, mask * of(i)) for i, name in enumerate(sources)}


def masked_mean(values: jax.Array, metrics: dict[str, jax.Array], batch: Batch, state: ModelState) -> Scored:
    """The scalar of a supervised task: the mean of `values` over what the mask counts, with its metrics."""
    mask = counted(values, batch)
    total, weight = mean(values, mask)
    metrics = {name: mean(value, mask) for name, value in metrics.items()}
    return quotient(total, weight), (state, {"loss": (total, weight), **metrics})
