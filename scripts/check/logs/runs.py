"""25 runs of a known law, and what every writer of a format needs."""

import contextlib
import csv
import io
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

SIZES = np.geomspace(1e7, 8e8, 5).round(-3)
TOKENS = np.geomspace(2e8, 2e10, 5).round(-3)
STEPS = 6
BPB = 0.3  # bits per byte of a nat per token, for the formats that write those


class Run(NamedTuple):
    name: str
    n: int
    lr: float
    rows: list[dict[str, float]]  # step, tokens, train, loss


def runs() -> list[Run]:
    """25 runs of six steps on L = 1.7 + 400 / N^.34 + 900 / D^.30."""
    made = []
    for i, (n, d) in enumerate((n, d) for n in SIZES.tolist() for d in TOKENS.tolist()):
        rows = []
        for k in range(1, STEPS + 1):
            tokens = round(d / STEPS) * k
            loss = 1.7 + 400 / n**0.34 + 900 / tokens**0.30
            rows.append({"step": 100 * k, "tokens": tokens, "train": loss + 0.02, "loss": loss})
        made.append(Run(f"run-{i}", int(n), 1e-3 / (1 + i), rows))
    return made


RUNS = runs()  # every writer reads this list


@contextlib.contextmanager
def fewer(count: int, steps: int) -> Iterator[None]:
    """Writers write so many of the runs, of so few steps each, meanwhile."""
    every = [*RUNS]
    RUNS[:] = [run._replace(rows=run.rows[:steps]) for run in every[:count]]
    try:
        yield
    finally:
        RUNS[:] = every


class Writer(NamedTuple):
    """One format."""

    write: Callable[[pathlib.Path], Any]  # writes below an empty folder; what to read where it is not that folder
    tolerance: float = 0.0  # relative, of n, d and loss, that the format stores
    ends: bool = False  # it holds the last row of each run only
    unit: float = 1.0  # of the loss
    given: dict[str, str] = {}  # noqa: RUF012  the columns that a user has to name


def put(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def table(rows: Sequence[dict[str, Any]], mark: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), delimiter=mark)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def ends(**more: str) -> list[dict[str, Any]]:
    """A row a run."""
    return [
        {"name": r.name, "n_params": r.n, "tokens": r.rows[-1]["tokens"], "val_loss": r.rows[-1]["loss"]} for r in RUNS
    ]


def history(step: str = "step", n: str = "n_params", d: str = "tokens", loss: str = "val_loss", run: str = "run_id"):
    return [
        {run: r.name, step: row["step"], n: r.n, d: row["tokens"], loss: row["loss"]} for r in RUNS for row in r.rows
    ]
