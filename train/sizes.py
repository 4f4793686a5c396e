"""What a page leaves to its data: the task, the sizes of the network, and options that the source has chosen.

A network's `vocab` and `context` are those of tokens, `classes` and `outputs` those of the target, and, where it has no
default for them, `shape` and `visible` those of one input.  What a page or the command line sets is never changed.
"""

import functools
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from data.source import Batch, Dataset
from train.errors import UserError

ANYWAY = ("vocab", "context", "classes", "outputs")  # filled in before a network's own default


def filled(config: ConfigDict, dataset: Dataset, record: Batch) -> ConfigDict:
    """`config` with what it leaves to its data, of which `record` is one; the same object where it leaves nothing."""
    changes = {("data", name): value for name, value in dataset.chosen.items()}
    if config.task.get("name") is None:
        changes["task", "name"] = task_of(dataset, record)
    found = sizes(dataset, record)
    for path, spec in networks(config):
        changes |= {(*path, name): found[name] for name in left_out(spec) if name in found}
    if not changes:
        return config
    made = ConfigDict(config.to_dict())
    with made.ignore_type():
        for (*folders, name), value in changes.items():
            functools.reduce(lambda section, folder: section[folder], folders, made)[name] = value
    return made.lock()


def task_of(dataset: Dataset, record: Batch) -> str:
    """Classes where the data have them; numbers, beside the data's own forecast where it brings one."""
    if dataset.classes:
        return "supervised:classify"
    return "forecast:forecast" if "naive" in record else "supervised:regress"


def sizes(dataset: Dataset, record: Batch) -> dict[str, Any]:
    x, y = record["x"], record.get("y")
    found: dict[str, Any] = {"shape": x.shape[1:], "visible": math.prod(x.shape[1:])}
    if dataset.classes:
        found |= {"classes": dataset.classes, "outputs": dataset.classes}
    elif y is not None and y.ndim == 2 + ("edges" in record):  # numbers of each node of a graph
        found |= {"classes": y.shape[-1], "outputs": y.shape[-1]}
    if dataset.words:
        found["vocab"] = dataset.words
    if dataset.classes and dataset.unit == "token" and np.issubdtype(x.dtype, np.integer):
        found |= {"vocab": dataset.classes, "context": x.shape[1]}
    return found


def networks(config: ConfigDict) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The network of a page, or its several ones, each with where it stands."""
    spec = config.model.to_dict()
    several = {} if "name" in spec else {name: part for name, part in spec.items() if isinstance(part, Mapping)}
    yield from [(("model",), spec)] if "name" in spec else [(("model", name), part) for name, part in several.items()]


def left_out(spec: Mapping[str, Any]) -> list[str]:
    """The arguments of a network that its page does not set, and which it needs or is better told."""
    from train.build import resolve

    try:
        parameters = inspect.signature(resolve("models", spec["name"])).parameters.values()
    except (UserError, KeyError, TypeError, AttributeError):  # `build` says later what is wrong with the name
        return []
    unset = [each for each in parameters if spec.get(each.name) is None]
    return [each.name for each in unset if each.default is each.empty or each.name in ANYWAY]


def remedy(config: ConfigDict, dataset: Dataset, record: Batch) -> str:
    """The flags that would give networks the sizes of the data, for the end of a sentence; empty where all fit."""
    found = sizes(dataset, record)
    wrong = [
        f"--config.{'.'.join(path)}.{name}={found[name]}"
        for path, spec in networks(config)
        for name in ANYWAY
        if name in found and type(spec.get(name)) is int and is_wrong(name, spec[name], found[name], dataset.classes)
    ]
    return f"; set {' '.join(wrong)}, or leave that out of the page" if wrong else ""


def is_wrong(name: str, has: int, needs: int, classes: int) -> bool:
    """Vocabularies, contexts and numbers of classes may be larger than the data's; outputs that are numbers may not."""
    return has < needs if classes or name in ("vocab", "context") else has != needs
