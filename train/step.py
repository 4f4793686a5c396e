"""The one train step.  What differs between kinds of learning lives in `task.loss`, never here."""

import contextlib
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Key

from models.api import ModelState, Params
from models.parts.axes import batch_axis
from train import paths
from train.latents import Sampler
from train.metrics import Metrics, mean, quotient
from train.optim.groups import merged

Batch = dict[str, jax.Array]  # arrays [B, ...]: what data/source.py says of its own
Scored = tuple[Float[Array, ""], tuple[ModelState, Metrics]]  # scalar, (model_state, metrics)
Nonfinite = Literal["stop", "skip"]
NOTHING: Mapping[str, Any] = types.MappingProxyType({})


class Loss(Protocol):
    """(params, model_state, batch, key, train) -> scalar, (model_state, metrics).  The gradient of the scalar trains.

    `batch` holds arrays [B, ...], or this device's part of them.  `key` is the step's own; `train` is False in
    evaluation, where the model state stays as it is.  Each metric is a (sum, weight) pair of scalars.  The weight of
    `metrics["loss"]` says how much of the data the scalar stands for (examples or tokens), which makes accumulated
    gradients exact.
    """

    def __call__(
        self, params: Params, model_state: ModelState, batch: Batch, key: Key[Array, ""], train: bool, /
    ) -> Scored: ...


class Task(NamedTuple):
    """What is learnt, as one scalar.  train/wrap.py makes of a task one that does a thing more."""

    init: Callable[[jax.Array, Batch], tuple[Params, ModelState]]  # (key, batch) -> params, model_state
    loss: Loss
    # (params, model_state, inputs x) -> what the network says of each, one of train/predictions.py
    predict: Callable[[Any, Any, jax.Array], Any] | None = None
    within: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext  # of loss and gradient
    # parameters -> those that are trained, the place of others empty (train/optim/groups.py)
    learns: Callable[[Params], Params] = lambda params: params
    sample: Sampler | None = None


@struct.dataclass
class TrainState:
    step: Any  # int32 []; Any, since trees of shapes and of shardings have this form too
    params: Any
    model_state: Any
    opt_state: optax.OptState


def init_state(
    task: Task, tx: optax.GradientTransformation, key: jax.Array, batch: Batch, given: Mapping[str, Any] = NOTHING
) -> TrainState:
    """The state before the first step.  What is `given`, by its path, replaces what was drawn (train/init.py)."""
    params, model_state = (paths.replaced(tree, given) for tree in task.init(key, batch))
    return TrainState(jnp.zeros((), jnp.int32), params, model_state, tx.init(task.learns(params)))


def train_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    rate: jax.Array,
    *,
    task: Task,
    tx: optax.GradientTransformationExtraArgs,
    accumulate: int = 1,
    nonfinite: Nonfinite = "stop",
) -> tuple[TrainState, Metrics]:
    """One step of any network.

    `rate` is the schedule's value at this step, a float32 scalar that the optimizer multiplies its learning rate by:
    an input like the batch, so runs that differ in length or schedule share one compiled program.
    With `nonfinite="skip"` a step whose loss or gradient is not finite changes nothing but the step number.
    """
    with task.within():
        grads, model_state, metrics = gradients(task, state, batch, jax.random.fold_in(key, state.step), accumulate)
    grad_norm = optax.tree.norm(grads)
    learnt = task.learns(state.params)
    updates, opt_state = tx.update(grads, state.opt_state, learnt, rate=rate, step=state.step)
    step = state.step + 1
    new = TrainState(step, merged(optax.apply_updates(learnt, updates), state.params), model_state, opt_state)
    if nonfinite == "skip":
        finite = jnp.isfinite(grad_norm) & jnp.isfinite(metrics["loss"][0])
        kept = state.replace(step=state.step + 1)
        new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, kept)
        metrics["skipped"] = mean(1.0 - finite)
    return new, {**metrics, "grad_norm": mean(grad_norm)}


def gradients(task: Task, state: TrainState, batch: Batch, key: jax.Array, accumulate: int):
    """The gradient of the whole batch, `accumulate` slices of it at a time, each weighted by what it counted.

    Running averages of a network's state (`batch_stats`) move once a step, as of the whole batch: by the mean of what
    the slices would make of them.  Other state goes on from slice to slice.
    """
    learnt = task.learns(state.params)
    loss = lambda learnt, *inputs: task.loss(merged(learnt, state.params), *inputs)
    grad_fn = jax.value_and_grad(loss, has_aux=True)
    if accumulate == 1:
        (_, (model_state, metrics)), grads = grad_fn(learnt, state.model_state, batch, key, True)
        return whole_batch(grads, model_state, metrics)

    # Slices interleave, so that each keeps an equal part of every device's share of the batch.
    slices = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, accumulate, *x.shape[1:]), 1, 0), batch)

    def one(carry, inputs):
        model_state, total = carry
        before = averages(lambda first, _: first, state.model_state, model_state)
        (_, (after, metrics)), grads = grad_fn(learnt, before, inputs[0], inputs[1], True)
        model_state = averages(lambda new, so_far: so_far + new / accumulate, after, model_state, others=True)
        weight = metrics["loss"][1]
        return (model_state, jax.tree.map(lambda t, g: t + weight * g, total, grads)), metrics

    zeros = jax.tree.map(jnp.zeros_like, learnt)
    fresh = averages(lambda first, _: jnp.zeros_like(first), state.model_state, state.model_state)
    (model_state, total), stacked = jax.lax.scan(one, (fresh, zeros), (slices, jax.random.split(key, accumulate)))
    metrics = jax.tree.map(lambda m: m.sum(0), stacked)
    weight = metrics["loss"][1]
    return whole_batch(jax.tree.map(lambda g: quotient(g, weight), total), model_state, metrics)


def averages(of: Callable[[Any, Any], Any], new: Any, old: Any, others: bool = False) -> Any:
    """`of(new, old)` for the running averages of a model state; the rest is `new` with `others`, else `old`."""
    is_average = lambda path: any(getattr(part, "key", None) == "batch_stats" for part in path)
    rest = lambda a, b: a if others else b
    return jax.tree_util.tree_map_with_path(lambda p, a, b: of(a, b) if is_average(p) else rest(a, b), new, old)


def whole_batch(grads: Any, model_state: Any, metrics: Metrics):
    """Under `jax.pmap`, from each device's share of the batch to the whole: shares weigh what they counted."""
    axis = batch_axis()
    if axis is None:
        return grads, model_state, metrics
    mine = metrics["loss"][1]
    metrics = jax.lax.psum(metrics, axis)
    total = metrics["loss"][1]
    return jax.tree.map(lambda g: quotient(jax.lax.psum(g * mine, axis), total), grads), model_state, metrics
