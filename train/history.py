"""What a run wrote, finished or not, as columns: values, tokens, FLOPs and seconds by step."""

import json
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from train import record
from train.files import Damaged, read_json, read_rows
from train.writer import LAP, read_log

OWN = ("step", "split", "loss", "lr", "grad_norm")  # what every task has
Series = tuple[np.ndarray, np.ndarray]  # float [rows]: steps, values; NaN stands for null


class History(NamedTuple):
    """A work folder, read."""

    name: str
    folder: pathlib.Path
    config: dict[str, Any]
    record: dict[str, Any] | None  # of a finished run
    rows: list[dict[str, Any]]  # of metrics.jsonl
    laps: list[dict[str, Any]]  # of timing.jsonl

    @property
    def step(self) -> int:
        """How far it got."""
        return self.record["steps"] if self.record else max((row["step"] for row in self.rows), default=0)

    @property
    def unit(self) -> str:
        """token or example; the last value of a training row is how many there were, `tokens` or `examples`."""
        if self.record:
            return self.record["unit"]
        return next((list(row)[-1].removesuffix("s") for row in self.rows if row["split"] == "train"), "")

    @property
    def metrics(self) -> list[str]:
        """What the task measures besides the loss, in the order in which it appears."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [name for name in names if name not in OWN and name != f"{self.unit}s"]


def read(folder: pathlib.Path) -> History:
    """Raises `FileNotFoundError` where there is no run, `Damaged` where a file is not what the run wrote."""
    config = record.read_config(folder)
    laps = read_rows(folder / "timing.jsonl", LAP, "remove it: it holds speeds only")
    return History(folder.resolve().name, folder, config, finished(folder), read_log(folder), laps)


def finished(folder: pathlib.Path) -> dict[str, Any] | None:
    try:
        row = read_json(folder / "record.json", record.ROW, record.AGAIN)
    except FileNotFoundError:
        return None
    record.check_sums(folder, ("record.json",))
    return row


def details(folder: pathlib.Path) -> dict[str, Any]:
    """What `scores.json` says of the held-out split; {} where there is none, or not what the run wrote."""
    try:
        return read_json(folder / "scores.json", {"numbers": dict, "kind": str, "step": int}, record.AGAIN)
    except (FileNotFoundError, Damaged):
        return {}


def scores(run: History) -> dict[str, float | None]:
    """Held out: loss and metrics of the record, or of the last evaluation; None where they are not finite."""
    held = [row for row in run.rows if row["split"] == "valid"][-1:]
    values = {**run.record["metrics"], "loss": run.record["loss"]} if run.record else (held or [{}])[0]
    return {name: known(number(values[name])) for name in ("loss", *run.metrics) if name in values}


def series(run: History, split: str, name: str) -> Series:
    rows = [row for row in run.rows if row["split"] == split and name in row]
    return np.array([float(row["step"]) for row in rows]), np.array([number(row[name]) for row in rows])


def laps(run: History, name: str) -> Series:
    rows = [row for row in run.laps if name in row]
    return np.array([float(row["step"]) for row in rows]), np.array([number(row[name]) for row in rows])


def number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < math.inf else math.nan


def known(value: float) -> float | None:
    return None if math.isnan(value) else value


def plain(value: object) -> str:
    """A value of a config as one writes it after --config.KEY=."""
    return value if isinstance(value, str) else json.dumps(value)


def units_per_step(run: History) -> float:
    steps, units = series(run, "train", f"{run.unit}s")
    return float(units[-1] / steps[-1]) if steps.size else math.nan


def flops_per_step(run: History) -> float:
    """As XLA counted them; a lap's speed times its time."""
    each = laps(run, "flops_per_second")[1] * laps(run, "seconds_per_step")[1]
    each = each[np.isfinite(each)]
    return float(np.median(each)) if each.size else math.nan


def seconds_at(run: History, steps: np.ndarray) -> np.ndarray:
    """[rows] → seconds of training up to each step, at the speeds of the laps; without compiling and evaluating."""
    at, each = laps(run, "seconds_per_step")
    at, each = at[np.isfinite(each)], each[np.isfinite(each)]
    if not at.size:
        return np.full(steps.shape, math.nan)
    passed = np.cumsum(each * np.diff(at, prepend=0.0))
    return np.interp(steps, [0.0, *at], [0.0, *passed])
