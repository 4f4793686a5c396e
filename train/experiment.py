"""A config becomes an experiment: data, networks, task, optimizer and schedule, checked before anything is compiled."""

from typing import Any, NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from data.pipeline import batch_at
from data.source import Dataset
from models.api import Model, from_linen
from train.build import build
from train.errors import UserError, suggest
from train.optim import optimizer
from train.schedules import Schedule
from train.step import Batch, Task, TrainState, init_state

PRECISIONS = ("float32", "bfloat16")


class Experiment(NamedTuple):
    """Everything a run consists of; `batch` and `state` are shapes and dtypes only."""

    config: ConfigDict
    dataset: Dataset
    task: Task
    tx: optax.GradientTransformationExtraArgs
    schedule: Schedule
    batch: Batch
    state: TrainState


def build_experiment(config: ConfigDict, dataset: Dataset | None = None) -> Experiment:
    """Builds from plain values; every mistake is a `UserError` that names the key."""
    check_numbers(config)
    schedule = build("train.schedules", config.schedule, "schedule", steps=config.steps)
    tx = optimizer(config.optim.to_dict(), config.ema)
    dataset = dataset or build("data", config.data, "data")
    task = build_task(config, dataset.classes)
    batch = example(config, dataset)
    state = try_shapes(config, task, tx, batch)
    return Experiment(config, dataset, task, tx, schedule, batch, state)


def build_task(config: ConfigDict, classes: int) -> Task:
    """The task with its networks; it hears of the data's `classes` where it asks for them."""
    return build("train.tasks", config.task, "task", offer={"classes": classes}, **build_models(config))


def build_models(config: ConfigDict) -> dict[str, Model]:
    """{"model": one network}, or one for each player where `config.model` holds several."""
    spec, precision = config.model.to_dict(), config.precision
    if precision not in PRECISIONS:
        raise UserError(f"config.precision={precision!r}{suggest(precision, PRECISIONS)}")
    if "name" in spec:
        return {"model": from_linen(build("models", spec, "model"), precision)}
    return {player: from_linen(build("models", part, f"model.{player}"), precision) for player, part in spec.items()}


def check_numbers(config: ConfigDict) -> None:
    for key in ("steps", "batch_size", "accumulate", "log_every"):
        if config[key] < 1:
            raise UserError(f"config.{key}={config[key]}; use 1 or more")
    if config.batch_size % config.accumulate:
        raise UserError(
            f"config.batch_size={config.batch_size} is not divisible by config.accumulate={config.accumulate}; "
            f"batch_size={config.batch_size // config.accumulate * config.accumulate or config.accumulate} is"
        )
    if config.nonfinite not in ("stop", "skip"):
        raise UserError(f"config.nonfinite={config.nonfinite!r}{suggest(config.nonfinite, ('stop', 'skip'))}")


def example(config: ConfigDict, dataset: Dataset) -> Batch:
    """Shapes and dtypes of a training batch."""
    batch = batch_at(dataset.train, 0, batch_size=config.batch_size, seed=config.seed)
    return {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in batch.items()}


def try_shapes(config: ConfigDict, task: Task, tx: Any, batch: Batch) -> TrainState:
    """The shapes of the train state, found by tracing network and loss; what cannot work is said in a sentence."""
    try:
        key = jax.eval_shape(lambda: jax.random.key(0))
        state = jax.eval_shape(lambda k, b: init_state(task, tx, k, b), key, batch)
        jax.eval_shape(lambda s, b, k: task.loss(s.params, s.model_state, b, k, True)[0], state, batch, key)
        return state
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, AssertionError, AttributeError) as error:
        names = config.model.get("name") or ", ".join(part.name for part in config.model.values())
        seen = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in batch.items())
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"network {names} and task {config.task.name} cannot work on {config.data.name} ({seen}): {reason}"
        ) from error
