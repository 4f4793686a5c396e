"""What a run writes down.  metrics.jsonl is the truth: a function of the config alone, no clock in it.

Speed goes into timing.jsonl.  CSV, TensorBoard and W&B are copies for other eyes.
"""

import csv
import importlib.util
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from train.errors import UserError, suggest
from train.files import write_whole

Values = Mapping[str, float | int]
COPIES = {"csv": "csv", "tensorboard": "tensorboardX", "wandb": "wandb"}  # name → the package it needs


class Writer:
    """Appends rows to `folder`/metrics.jsonl and passes them on to the copies that the config names."""

    def __init__(self, folder: pathlib.Path, copies: Sequence[str], first_step: int, config: dict[str, Any]):
        self.path = folder / "metrics.jsonl"
        cut_back(self.path, first_step)
        cut_back(folder / "timing.jsonl", first_step)
        self.last = {row["split"]: row["step"] for row in read_rows(self.path)}
        self.metrics = open(self.path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - open for the length of the run
        self.timing = open(folder / "timing.jsonl", "a", buffering=1, encoding="utf-8")  # noqa: SIM115
        self.copies = [open_copy(name, folder, first_step, config) for name in copies]

    def write(self, step: int, split: str, values: Values) -> None:
        if step <= self.last.get(split, -1):
            return  # a run that stopped early, or was killed after its last evaluation, scores the same state again
        self.last[split] = step
        self.metrics.write(json.dumps({"step": step, "split": split, **finite(values)}) + "\n")
        for copy in self.copies:
            copy.write(step, {f"{split}/{name}": value for name, value in values.items()})

    def write_timing(self, step: int, values: Values) -> None:
        self.timing.write(json.dumps({"step": step, **finite(values)}) + "\n")
        for copy in self.copies:
            copy.write(step, {f"speed/{name}": value for name, value in values.items()})

    def close(self) -> None:
        self.abandon()
        for copy in self.copies:
            copy.close()

    def abandon(self) -> None:
        """Closes the logs, which hold every row already, and makes no copy: the folder is another's."""
        self.metrics.close()
        self.timing.close()


class Silent:
    """The writer of a process that is not the first."""

    def write(self, step: int, split: str, values: Values) -> None:
        pass

    def write_timing(self, step: int, values: Values) -> None:
        pass

    def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass


def finite(values: Any) -> Any:
    """A tree of JSON values in which null stands for every NaN and infinity: JSON has neither."""
    if isinstance(values, Mapping):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; a last line that a crash cut short is dropped."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def cut_back(path: pathlib.Path, step: int) -> None:
    """Removes what a run wrote after the step it now goes on from."""
    if path.exists():
        kept = [json.dumps(row) + "\n" for row in read_rows(path) if row["step"] <= step]
        write_whole(path, "".join(kept))


class Csv:
    """metrics.csv: one row a step, one column a metric, made from metrics.jsonl when the run ends."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def write(self, step: int, values: Values) -> None:
        pass

    def close(self) -> None:
        table: dict[int, dict[str, Any]] = {}
        for row in read_rows(self.folder / "metrics.jsonl"):
            step, split = row.pop("step"), row.pop("split")
            table.setdefault(step, {"step": step}).update({f"{split}/{k}": v for k, v in row.items()})
        names = dict.fromkeys(name for row in table.values() for name in row)
        with open(self.folder / "metrics.csv", "w", newline="", encoding="utf-8") as file:
            out = csv.DictWriter(file, list(names) or ["step"])
            out.writeheader()
            out.writerows(table.values())


class TensorBoard:
    """Event files without TensorFlow.  After a resume TensorBoard forgets what came after that step."""

    def __init__(self, folder: pathlib.Path, first_step: int):
        from tensorboardX import SummaryWriter

        self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1 if first_step else None)

    def write(self, step: int, values: Values) -> None:
        for name, value in values.items():
            self.events.add_scalar(name, value, step)

    def close(self) -> None:
        self.events.close()


class WandB:
    """Weights & Biases, where the user has installed it."""

    def __init__(self, folder: pathlib.Path, first_step: int, config: dict[str, Any]):
        import wandb

        self.run = wandb.init(dir=folder, config=config, id=config["name"], resume="allow", project="isoflop")
        self.first_step = first_step

    def write(self, step: int, values: Values) -> None:
        self.run.log(values, step=step)

    def close(self) -> None:
        self.run.finish()


def check_copies(names: Sequence[str]) -> None:
    for name in names:
        if not isinstance(name, str) or name not in COPIES:
            raise UserError(f"config.writers has {name!r}{suggest(name, COPIES)}")
        if importlib.util.find_spec(COPIES[name]) is None:
            raise UserError(f"config.writers has {name!r}, which is not installed; run `uv sync --extra {name}`")


def open_copy(name: str, folder: pathlib.Path, first_step: int, config: dict[str, Any]) -> Any:
    if name == "csv":
        return Csv(folder)
    if name == "tensorboard":
        return TensorBoard(folder, first_step)
    return WandB(folder, first_step, {**config, "name": folder.name})
