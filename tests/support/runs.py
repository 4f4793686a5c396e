"""Runs in this process: what they say, and what they leave in their work folder."""

import os
import pathlib
import signal
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.support.small import PAGES, small
from train import loop, record, saved
from train.cost import budget
from train.display import Display
from train.experiment import Experiment, build_experiment


class Listening(Display):
    """Keeps what a run says, and asks it to stop when it logs step `stop_at`."""

    def __init__(self, stop_at: int = 0, quiet: bool = False):
        super().__init__(quiet)
        self.said: list[str] = []
        self.stop_at = stop_at

    def say(self, line: str) -> None:
        self.said.append(line)

    def progress(self, step: int, *_: object) -> None:
        if step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)


# Of a config: what decides when a run does something, and not what its step and its evaluation compute.
WHEN = ("steps", "log_every", "checkpoint", "eval.every", "eval.patience", "eval.train_records", "schedule", "writers")


def share_programs(patch: pytest.MonkeyPatch) -> None:
    """Lets later runs of this process that compute the same take the compiled programs of the first.

    Small runs spend their time tracing and compiling.  What each builds anew is the rest: data, state, files.
    """
    made: dict[tuple[str, str], Any] = {}

    def once(make: Callable, leave_out: tuple[str, ...]) -> Callable:
        def get(experiment: Experiment, *rest: Any) -> Any:
            options = record.flatten(record.resolved(experiment.config))
            what = {k: v for k, v in options.items() if not any(f"{k}.".startswith(f"{name}.") for name in leave_out)}
            key = make.__name__, repr(sorted(what.items()))
            if key not in made:
                made[key] = make(experiment, *rest)
            return made[key]

        return get

    for name in ("step_program", "eval_program"):
        patch.setattr(loop, name, once(getattr(loop, name), WHEN))
    patch.setattr(budget, "count", once(budget.count, ()))


def steps_saved(workdir: pathlib.Path) -> list[int]:
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal())


def arrays(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """Every array of the newest checkpoint by its place: parameters, model state, optimizer state, step."""
    folder = (workdir / "checkpoints" / str(steps_saved(workdir)[-1]) / "default").absolute()
    with ocp.PyTreeCheckpointer() as reader:  # on whatever devices they were
        tree = reader.metadata(folder).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        tree = reader.restore(folder, restore_args=as_numpy)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def same_arrays(a: pathlib.Path, b: pathlib.Path) -> bool:
    """Bit for bit."""
    left, right = arrays(a), arrays(b)
    same = left.keys() == right.keys() and len(left) > 1
    return same and all(value.tobytes() == right[name].tobytes() for name, value in left.items())


def untrained(name: str, folder: pathlib.Path) -> saved.Saved:
    """A run of the page of that name, small, in which nothing was trained and nothing written."""
    (page,) = [page for page in PAGES if page.stem == name]
    config = small(page, folder)
    made = build_experiment(config.lock())
    params, state = jax.jit(made.task.init)(jax.random.key(0), made.dataset.train.gather(np.arange(2)))
    return saved.Saved(config, made, params, state, None)
