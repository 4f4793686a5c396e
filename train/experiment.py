"""A config becomes an experiment: data, networks, task, optimizer and schedule, checked before anything is compiled."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from data.source import Batch, Dataset, check_labels
from models.api import Model, Precision, from_linen
from models.parts import axes
from train import paths, sizes
from train.build import build, resolve
from train.devices import mesh
from train.errors import UserError
from train.optim.chain import optimizer
from train.optim.schedules import Schedule
from train.schema import check_choice
from train.step import Task, TrainState, init_state, train_step
from train.wrap import augmented, learning, penalised, placed

Shapes = dict[str, jax.ShapeDtypeStruct]  # of a batch
CHOICES = {
    "precision": from_linen,
    "parallel": mesh.check_parallel,
    "nonfinite": train_step,
    "attention": placed,
}  # whose signature has them
LEAST = {"steps": 1, "batch_size": 1, "accumulate": 1, "log_every": 1, "cpu_devices": 1}
LEAST |= {"eval.batch_size": 1, "eval.every": -1, "eval.patience": 0, "eval.records": 0, "eval.train_records": 0}
LEAST |= {"loss_slices": 1, "checkpoint.every": 1, "checkpoint.keep": 1, "loader.prefetch": 0, "loader.workers": 0}


class Experiment(NamedTuple):
    """Everything a run consists of; `batch` and `state` are shapes and dtypes only."""

    config: ConfigDict
    dataset: Dataset
    task: Task
    tx: optax.GradientTransformationExtraArgs
    schedule: Schedule
    batch: Shapes
    state: TrainState
    axes: Any  # the names of every parameter's axes, a tree of tuples like `state.params`


def build_experiment(config: ConfigDict, dataset: Dataset | None = None) -> Experiment:
    """Builds from plain values; every mistake is a `UserError` that names the key."""
    check_numbers(config)
    check_choices(config)
    schedule = build("train.optim.schedules", config.schedule.to_dict(), "schedule", steps=config.steps)
    tx = optimizer(config.optim.to_dict(), config.ema)
    dataset = dataset or build("data", config.data.to_dict(), "data")
    check_records(config, dataset)
    record = dataset.train.gather(np.zeros(1, np.int64))  # whose shapes are those of all
    config = sizes.filled(config, dataset, record)
    task = build_task(config, dataset.classes, sources=dataset.sources)
    batch, state = try_shapes(config, dataset, record, task, tx)
    labelled = jax.eval_shape(build_task(config, dataset.classes, labelled=True).init, key_shape(), batch)[0]
    return Experiment(config, dataset, task, tx, schedule, batch, state, axes.names(labelled))


def build_task(config: ConfigDict, classes: int, labelled: bool = False, sources: tuple[str, ...] = ()) -> Task:
    """The task with its networks; it hears of the data's `classes` and `sources` where it asks for them."""
    networks = build_models(config, labelled)
    if (
        config.loss_slices > 1
        and "loss_slices" not in inspect.signature(resolve("train.tasks", config.task.name)).parameters
    ):
        raise UserError(f"config.loss_slices={config.loss_slices}: the task {config.task.name} knows no slices; use 1")
    offer = {"classes": classes, "sources": sources, "loss_slices": config.loss_slices}
    task = build("train.tasks", config.task.to_dict(), "task", offer=offer, **networks)
    task = augmented(penalised(task), config.augment.to_dict(), offer, config.task.name)
    return learning(task, config.optim.to_dict())


def build_models(config: ConfigDict, labelled: bool = False) -> dict[str, Model]:
    """{"model": one network}, or one for each player where `config.model` holds several."""
    check_choices(config)
    spec, precision = config.model.to_dict(), config.precision
    if "name" in spec:
        return {"model": network(spec, "model", precision, labelled)}
    if not spec or not all(isinstance(part, Mapping) for part in spec.values()):
        raise UserError(f"config.model needs one network (config.model.name), or one a player; it has {sorted(spec)}")
    return {player: network(part, f"model.{player}", precision, labelled) for player, part in spec.items()}


def network(spec: Mapping[str, Any], key: str, precision: Precision, labelled: bool) -> Model:
    """What `spec` names; its section "lora" is of adapters (models/lora.py), which every network can have."""
    adapters = spec.get("lora")
    built = build("models", {name: value for name, value in spec.items() if name != "lora"}, key)
    for name, value in spec.items():
        if type(value) is int and value < 0:  # a negative number of layers would silently build none
            raise UserError(f"config.{key}.{name}={value} is less than nothing; use 1 or more")
        if name == "dropout" and value is not None and not 0 <= value < 1:
            raise UserError(f"config.{key}.dropout={value} is a probability; use 0 (off) or more, and less than 1")
    model = from_linen(built, precision, labelled)
    if not adapters:
        return model
    if not isinstance(adapters, Mapping):
        raise UserError(f"config.{key}.lora={adapters!r} is no section; give it rank, alpha and match, or {{}}")
    paths.pattern(f"config.{key}.lora.match", adapters.get("match") or "")
    return build("models", {"name": "lora:adapted", **adapters}, f"{key}.lora", model=model)


def check_numbers(config: ConfigDict) -> None:
    for key, least in LEAST.items():
        value = functools.reduce(lambda section, name: section[name], key.split("."), config)
        if value < least:
            raise UserError(f"config.{key}={value}; use {least} or more")
    if not 0 <= config.seed < 2**63:
        raise UserError(f"config.seed={config.seed} is no seed: it is 0 or more and fits into 64 bits")
    if config.batch_size % config.accumulate:
        raise UserError(
            f"config.batch_size={config.batch_size} is not divisible by config.accumulate={config.accumulate}; "
            f"batch_size={config.batch_size // config.accumulate * config.accumulate or config.accumulate} is"
        )


def check_choices(config: ConfigDict) -> None:
    for key, callee in CHOICES.items():
        check_choice(f"config.{key}", config[key], inspect.signature(callee).parameters[key].annotation)
    if config.precision == "float64" and not jax.config.jax_enable_x64:
        raise UserError("config.precision='float64' needs JAX_ENABLE_X64=1 in the environment; JAX would use 32 bits")


def check_records(config: ConfigDict, dataset: Dataset) -> None:
    records = len(dataset.train)
    if config.batch_size > records:
        raise UserError(
            f"config.batch_size={config.batch_size} is larger than the {records} records of the training split; "
            f"use at most {records}, or more data"
        )
    if not len(dataset.valid):
        raise UserError(f"config.data: {config.data.name} holds nothing out to score the run by; give it a valid split")
    for split, source in (("train", dataset.train), ("valid", dataset.valid)):
        try:
            check_labels(source, dataset.classes, split)
        except ValueError as error:
            raise UserError(f"config.data: {config.data.name}: {error}") from None


def example(batch_size: int, record: Batch) -> Shapes:
    """Shapes and dtypes of a training batch, from one record of it [1, ...]."""
    return {name: jax.ShapeDtypeStruct((batch_size, *value.shape[1:]), value.dtype) for name, value in record.items()}


def key_shape() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: jax.random.key(0))


def check_state(config: ConfigDict, before: Any, after: Any) -> None:
    """Refuses a step whose model state has another form than the one it was given: no program could repeat it."""
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    if shapes(before) != shapes(after):
        names = sorted(name for name in {*before, *after} if shapes(before.get(name)) != shapes(after.get(name)))
        raise UserError(
            f"task {config.task.name}: a step changes the shapes of the network's state ({', '.join(names)}); "
            "give it the same arrays at every step, or keep it out of the state"
        )


def try_shapes(config: ConfigDict, dataset: Dataset, record: Batch, task: Task, tx: Any) -> tuple[Shapes, TrainState]:
    """The shapes of a batch and of the train state, found by tracing network and loss; what cannot work is said."""
    batch, key = example(config.batch_size, record), key_shape()
    try:
        state = jax.eval_shape(lambda k, b: init_state(task, tx, k, b), key, batch)
        after = jax.eval_shape(lambda s, b, k: task.loss(s.params, s.model_state, b, k, True)[1][0], state, batch, key)
        check_state(config, state.model_state, after)
        return batch, state
    except UserError:
        raise
    except Exception as error:  # whatever the network's code raises: it worked on other numbers and other data
        names = config.model.get("name") or ", ".join(part.name for part in config.model.values())
        seen = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in batch.items())
        reason = str(error).strip().split("\n")[0] + sizes.remedy(config, dataset, record)
        raise UserError(
            f"network {names} and task {config.task.name} cannot work on {config.data.name} ({seen}): {reason}"
        ) from error
