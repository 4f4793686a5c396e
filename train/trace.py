"""A profiler trace of ten steps of a run."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax

from train.errors import UserError

STEPS = 10


class Trace:
    """Traces `STEPS` steps from step `first` on into `folder`, or as many as the run still has; -1 traces none.

    A run that goes on after step `first` says that it traces nothing.
    """

    def __init__(self, first: int, folder: pathlib.Path, say: Callable[[str], None]):
        self.first, self.folder, self.say = first, folder, say
        self.steps: int | None = None  # traced so far; None outside of a trace

    def before(self, step: int) -> None:
        if step == self.first:
            jax.profiler.start_trace(str(self.folder))
            self.steps = 0

    def after(self, results: Any) -> None:
        """A step was dispatched, and gives `results`."""
        if self.steps is not None:
            self.steps += 1
            if self.steps == STEPS:
                self.close(results)

    def close(self, results: Any = None) -> None:
        """Writes what was traced; safe to call again."""
        if self.steps is None:
            return
        steps, self.steps = self.steps, None
        jax.block_until_ready(results)
        jax.profiler.stop_trace()
        if steps < STEPS:
            self.say(f"traced {steps} of {STEPS} steps, from step {self.first} on: the run ended there")


def check(first: int, steps: int) -> None:
    """Refuses a first step that the run does not have; -1 is none."""
    if not -1 <= first < steps:
        raise UserError(f"--profile {first}: the run has {steps} steps; trace from one of 0 … {steps - 1}")
