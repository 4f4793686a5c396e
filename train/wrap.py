"""A task is wrapped here, and nowhere else: a task goes in, and one that does a thing more comes out.

augmented   training batches are changed before the loss sees them (the changes are in train/augment.py)
penalised   what a network itself asks to be small is added in training (its state "penalty": routers of experts)
learning    the optimizer's groups freeze parameters, which then have no gradient
gathered    parameters that devices keep in parts are made whole where the loss begins
spread      networks spread their activations over the devices where they name the axes
split       each device runs the network on its own part of the batch (`jax.pmap`)
attending   attention is computed by the fastest program that these devices have, or the one that the config names

`Experiment.task` is penalised, augmented and learning.  `placed` adds what the devices need, once they are known; one
device needs nothing.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import Array, Key

from models.api import ModelState, Params
from models.parts import axes, kernels
from train.augment import ORDER, refusal
from train.build import build
from train.devices import mesh
from train.errors import UserError, suggest
from train.optim import groups
from train.step import Batch, Scored, Task


def augmented(
    task: Task, specs: Mapping[str, Mapping[str, Any]], offer: Mapping[str, Any], called: str = "of this run"
) -> Task:
    """`task`, `called` so in the config, on batches changed by what `specs` names, one after the other in `ORDER`."""
    for name in specs:
        if name not in ORDER:
            raise UserError(f"config.augment.{name} is no augmentation{suggest(name, ORDER)}")
    changes = [
        (name, build("train.augment", {"name": name, **specs[name]}, f"augment.{name}", offer))
        for name in ORDER
        if name in specs
    ]
    if not changes:
        return task

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        if train:
            key, *keys = jax.random.split(key, len(changes) + 1)
            for (name, change), change_key in zip(changes, keys, strict=True):
                if reason := refusal(name, batch):
                    raise UserError(f"config.augment.{name} does not fit the task {called}: {reason}")
                batch = change(batch, change_key)
        return task.loss(params, state, batch, key, train)

    return task._replace(loss=loss)


def penalised(task: Task) -> Task:
    """`task`, to whose training scalar the sum of the network's state "penalty" is added; a metric says how much."""

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        scalar, (state, metrics) = task.loss(params, state, batch, key, train)
        if not train or "penalty" not in state:
            return scalar, (state, metrics)
        penalty = sum(leaf.sum() for leaf in jax.tree.leaves(state["penalty"]))
        weight = metrics["loss"][1]
        return scalar + penalty, (state, {**metrics, "penalty": (penalty * weight, weight)})

    return task._replace(loss=loss)


def learning(task: Task, optim: Mapping[str, Any]) -> Task:
    """`task`, which learns what `config.optim` does not freeze."""
    return task._replace(learns=groups.learner(optim))


def placed(
    task: Task, devices: Mesh, names: Any, parallel: mesh.Parallel = "jit", attention: kernels.Kernel = "xla"
) -> Task:
    """`task` on these devices; `names` are those of the axes of its parameters (`Experiment.axes`)."""
    task = split(task) if parallel == "pmap" else spread(gathered(task, devices, names), devices)
    return attending(task, devices.devices.flat[0].platform, attention)


def attending(task: Task, platform: str, kernel: kernels.Kernel, posed: bool = False) -> Task:
    """`task`, whose attention is computed by `kernel`, or a pose of it; raises where a platform has no such program."""
    before = task.within
    try:
        with kernels.using(kernel, platform):
            pass
    except ValueError as error:
        raise UserError(f"config.{error}") from None

    @contextlib.contextmanager
    def within() -> Iterator[None]:
        with before(), kernels.using(kernel, platform, posed):
            yield

    return task._replace(within=within)


def gathered(task: Task, devices: Mesh, names: Any) -> Task:
    """`task`, whose parameters without axis names are made whole on every device where its loss begins.

    Those with names are made whole where a layer uses them (`models.parts.axes.gathered`).
    """
    if devices.shape["fsdp"] == 1:
        return task
    made_whole = lambda called, p: p if called else mesh.opened(devices, p)
    is_names = lambda x: isinstance(x, tuple)

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        params = jax.tree.map(made_whole, names, params, is_leaf=is_names)
        return task.loss(params, state, batch, key, train)

    return task._replace(loss=loss)


def spread(task: Task, devices: Mesh) -> Task:
    """`task`, in which `models.parts.axes.constrain` spreads arrays over the devices."""
    return task._replace(within=lambda: spreading(devices))


def spreading(devices: Mesh) -> contextlib.AbstractContextManager:
    """Within it networks spread their activations over the devices; with one device nothing changes."""
    return contextlib.nullcontext() if devices.size == 1 else axes.spread(mesh.spreading(devices))


def split(task: Task) -> Task:
    """`task`, which a device sees its part of the batch of, and averages over all of them."""
    return task._replace(within=lambda: axes.split_batch(mesh.MAPPED))
