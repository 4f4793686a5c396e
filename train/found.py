"""What a run's data were found to be: for the terminal before it trains, for `data.json` and `held_out.txt` after."""

import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from data.mixture import Mixture
from data.packing import Packed
from data.source import Columns, Dataset, Source
from train.experiment import Experiment
from train.files import write_whole

MANY = 12  # classes; of more the largest and the smallest are told
LIST = "held_out.txt"


def table(experiment: Experiment, asked: ConfigDict) -> str:
    """For the terminal; `asked` is the config before its data filled it in."""
    rows = list(lines(experiment, asked))
    return "\n".join(f"  {name:<9} {text}" for name, text in rows)


def lines(experiment: Experiment, asked: ConfigDict) -> Iterator[tuple[str, str]]:
    config, dataset = experiment.config, experiment.dataset
    where = config.data.get("path") or config.data.get("dataset")
    units = f"; {dataset.unique:,} {dataset.unit}s" if dataset.unit == "token" else ""
    train, valid = len(dataset.train), len(dataset.valid)
    yield "data", f"{config.data.name}{f' {where}' if where else ''}: {train:,} records, {valid:,} held out{units}"
    if config.data.name.startswith("random:"):
        yield "noise", "random numbers, from which nothing can be learnt: name data of your own (`python -m data`)"
    if isinstance(dataset.train, Packed):
        yield (
            "padding",
            f"{dataset.train.padding:.1%} of the places in rows of documents; D counts what is predicted",
        )
    if isinstance(dataset.train, Mixture):
        seen = dataset.train.epochs(config.steps * config.batch_size, config.seed)
        yield (
            "epochs",
            f"{', '.join(f'{name} {times:.3g}' for name, times in seen.items())}, in all {config.steps:,} steps",
        )
    if dataset.tokenizer:
        windows = f", windows of {dataset.per_record}" if dataset.unit == "token" else ""
        yield "tokens", f"{dataset.tokenizer.vocab:,} of {dataset.tokenizer.spec}{windows}"
    counts = class_counts(dataset)
    if counts:
        yield "classes", f"{dataset.classes:,}: {told(counts)}"
        most = max(counts.values(), key=lambda pair: pair[0])
        yield "chance", f"{most[1] / valid:.3f} accuracy on what is held out, by always naming the commonest class"
    if dataset.columns.get("y"):
        inputs = [column.name for column in dataset.columns["x"]]
        shown = ", ".join(inputs[:MANY]) + f" and {len(inputs) - MANY} more" * (len(inputs) > MANY)
        yield "target", f"{dataset.columns['y'][0].name}, from {shown}"
    if dataset.held_out.rule:
        listed = f"; listed in {LIST}" if dataset.held_out.records else ""
        yield "held out", f"{dataset.held_out.rule}{listed}"
    if 0 < config.eval.records < valid:
        yield "scored", f"{config.eval.records:,} of the {valid:,} held-out records, evenly spread (eval.records)"
    changed = changes(asked.to_dict(), config.to_dict())
    if changed:
        yield "chosen", f"{' '.join(changed)}  (from the data; --config.KEY=VALUE sets another)"


def told(counts: dict[str, tuple[int, int]]) -> str:
    """Each class with its records, to train on + held out."""
    say = lambda items: ", ".join(f"{name} {train:,} + {valid:,}" for name, (train, valid) in items)
    if len(counts) <= MANY:
        return say(counts.items())
    order = sorted(counts.items(), key=lambda item: -sum(item[1]))
    return f"{say(order[:3])}, …, {say(order[-3:])}"


def class_counts(dataset: Dataset) -> dict[str, tuple[int, int]]:
    """Records of each class in both splits, where a record has one class and the data are in memory."""
    halves = [classes_of(half) for half in (dataset.train, dataset.valid)]
    if not dataset.classes or any(half is None for half in halves):
        return {}
    names = [*dataset.names, *map(str, range(len(dataset.names), dataset.classes))]
    train, valid = (Counter(half.tolist()) for half in halves if half is not None)
    return {name: (train[k], valid[k]) for k, name in enumerate(names)}


def classes_of(source: Source) -> np.ndarray | None:
    y = source.columns.get("y") if isinstance(source, Columns) else None
    return y if y is not None and y.ndim == 1 and np.issubdtype(y.dtype, np.integer) else None


def changes(before: Any, now: Any, key: str = "") -> list[str]:
    """`key=value` of every value that differs."""
    if isinstance(now, dict):
        old = before if isinstance(before, dict) else {}
        return [line for name in now for line in changes(old.get(name), now[name], f"{key}.{name}" if key else name)]
    return [] if before == now else [f"{key}={now}"]


def facts(dataset: Dataset) -> dict[str, Any]:
    """For `data.json`."""
    return {"held_out": dataset.held_out.rule, "counts": class_counts(dataset)}


def keep(workdir: pathlib.Path, dataset: Dataset) -> None:
    """Writes the names of what is held out, one a line, where the source chose them."""
    if dataset.held_out.records and not (workdir / LIST).exists():
        write_whole(workdir / LIST, "".join(f"{name}\n" for name in dataset.held_out.records))
