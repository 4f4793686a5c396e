"""Runs in this process: what they say, and what they leave in their work folder."""

import os
import pathlib
import signal

import jax
import numpy as np
import orbax.checkpoint as ocp

from tests.support.small import PAGES, small
from train import saved
from train.display import Display
from train.experiment import build_experiment


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
