"""What a run writes down.  metrics.jsonl is the truth: a function of the config alone, no clock in it.

Speed goes into timing.jsonl.  CSV, TensorBoard and W&B are copies for other eyes.
"""

import csv
import hashlib
import importlib.util
import io
import math
import os
import pathlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from train.errors import UserError
from train.files import Damaged, Kinds, as_line, contents, read_json, read_rows, write_json, write_whole
from train.schema import check_choice

Values = Mapping[str, float | int]
ROW = {"step": int, "split": str}  # what every row of metrics.jsonl has
LAP = {"step": int}
Copy = Literal["csv", "tensorboard", "wandb"]
COPIES: dict[Copy, str] = {"csv": "csv", "tensorboard": "tensorboardX", "wandb": "wandb"}  # name → the package it needs


class Mark(NamedTuple):
    """The beginning of metrics.jsonl that a checkpoint saw: how long it is, and its SHA-256."""

    bytes: int
    sha256: str


class Writer:
    """Appends rows to `folder`/metrics.jsonl and passes them on to the copies that the config names."""

    def __init__(
        self,
        folder: pathlib.Path,
        copies: Sequence[str],
        first_step: int,
        config: dict[str, Any],
        mark: Mark | None = None,
    ):
        self.path, timing = folder / "metrics.jsonl", folder / "timing.jsonl"
        cut_back(self.path, first_step, ROW, lost(folder), mark)
        cut_back(timing, first_step, LAP, f"remove it: it holds speeds, and nothing is computed from {timing.name}")
        self.rows = read_log(folder)  # at the start
        self.last = {row["split"]: row["step"] for row in self.rows}
        self.metrics = open(self.path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - open for the length of the run
        self.timing = open(timing, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
        before = self.path.read_bytes()
        self.size, self.digest = len(before), hashlib.sha256(before)
        self.copies = [open_copy(name, folder, first_step, config) for name in copies]

    def write(self, step: int, split: str, values: Values) -> None:
        if step <= self.last.get(split, -1):
            return  # a run that stopped early, or was killed after its last evaluation, scores the same state again
        self.last[split] = step
        line = as_line({"step": step, "split": split, **finite(values)})
        self.metrics.write(line)
        self.size += len(line.encode())
        self.digest.update(line.encode())
        for copy in self.copies:
            copy.write(step, {f"{split}/{name}": value for name, value in values.items()})

    def write_timing(self, step: int, values: Values) -> None:
        self.timing.write(as_line({"step": step, **finite(values)}))
        for copy in self.copies:
            copy.write(step, {f"speed/{name}": value for name, value in values.items()})

    def mark(self) -> Mark:
        """What is in the log now; it is on the disk before a checkpoint that trusts it."""
        self.metrics.flush()
        os.fsync(self.metrics.fileno())
        return Mark(self.size, self.digest.hexdigest())

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

    def mark(self) -> None:
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


def read_log(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl; none where there is none yet."""
    return read_rows(folder / "metrics.jsonl", ROW, lost(folder))


def lost(folder: pathlib.Path) -> str:
    return (
        f"put it back from a copy, or begin anew: remove {folder / 'checkpoints'} and {folder / 'metrics.jsonl'}, "
        "or use another --workdir"
    )


def cut_back(path: pathlib.Path, step: int, needs: Kinds, remedy: str, mark: Mark | None = None) -> None:
    """Removes what a run wrote after the step it now goes on from; what it wrote before must be as it was (`mark`)."""
    before = contents(path, remedy) if path.exists() else b""
    if step == 0:
        kept = b""
    elif mark is None:
        rows = [as_line(row) for row in read_rows(path, needs, remedy) if row["step"] <= step]
        kept = "".join(rows).encode()
    else:
        kept = before[: mark.bytes]
        if hashlib.sha256(kept).hexdigest() != mark.sha256:
            read_rows(path, needs, remedy)  # which may know the line
            raise Damaged(f"{path} is not what the run had written by step {step}; {remedy}")
    if kept != before:
        write_whole(path, kept)


class Csv:
    """metrics.csv: one row a step, one column a metric, made from metrics.jsonl when the run ends."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def write(self, step: int, values: Values) -> None:
        pass

    def close(self) -> None:
        table: dict[int, dict[str, Any]] = {}
        for row in read_log(self.folder):
            step, split = row.pop("step"), row.pop("split")
            table.setdefault(step, {"step": step}).update({f"{split}/{k}": v for k, v in row.items()})
        names = dict.fromkeys(name for row in table.values() for name in row)
        text = io.StringIO(newline="")
        out = csv.DictWriter(text, list(names) or ["step"])
        out.writeheader()
        out.writerows(table.values())
        write_whole(self.folder / "metrics.csv", text.getvalue())


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

        name = f"{folder.absolute().parent.name}/{folder.name}"
        self.run = wandb.init(
            dir=folder, config=config, id=wandb_id(folder), name=name, resume="allow", project="isoflop"
        )
        self.first_step = first_step

    def write(self, step: int, values: Values) -> None:
        self.run.log(values, step=step)

    def close(self) -> None:
        self.run.finish()


def check_copies(names: Sequence[str]) -> None:
    for name in names:
        check_choice("config.writers", name, Copy)
        if importlib.util.find_spec(COPIES[name]) is None:
            raise UserError(f"config.writers has {name!r}, which is not installed; run `uv sync --extra {name}`")


def open_copy(name: str, folder: pathlib.Path, first_step: int, config: dict[str, Any]) -> Any:
    if name == "csv":
        return Csv(folder)
    if name == "tensorboard":
        return TensorBoard(folder, first_step)
    return WandB(folder, first_step, {**config, "name": folder.name})


def wandb_id(folder: pathlib.Path) -> str:
    """The folder's own, made once: folders of one name in two places are two runs."""
    path = folder / "wandb.json"
    try:
        return read_json(path, {"id": str}, "remove it, and another W&B run begins")["id"]
    except FileNotFoundError:
        made = secrets.token_hex(6)
        write_json(path, {"id": made})
        return made
