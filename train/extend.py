"""A run that goes on beyond the end it was planned for: `steps` raised, where its schedule allows."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from train.bucket import checkpoints
from train.build import build

CLOSE = 1e-6  # of two rates: schedules compute fractions of the run, which round otherwise for another length


def refusal(before: Mapping[str, Any], now: ConfigDict, workdir: pathlib.Path) -> str:
    """Why the run of the config `before` cannot go on as `now`, which differs in `steps` alone; empty where it can.

    It can where both schedules have the same values up to the last checkpoint: the run then ends as one would that had
    been planned so from the start.
    """
    old, new = before["steps"], now.steps
    if new < old:
        return f"config.steps was {old} and is {new}: a run can be made longer, not shorter"
    shape = lambda spec, steps: build("train.optim.schedules", spec, "schedule", steps=steps)
    one, other = shape(before["schedule"], old), shape(now.schedule.to_dict(), new)
    reached = last_checkpoint(workdir)
    for step in range(reached):
        if not np.isclose(one(step), other(step), rtol=CLOSE, atol=0):
            return (
                f"config.steps was {old} and is {new}, but the schedule {now.schedule.name} of {new} steps differs "
                f"from step {step} on, and the last checkpoint is step {reached}; constant, inverse_sqrt, and wsd "
                "before its decay can be made longer"
            )
    return ""


def last_checkpoint(workdir: pathlib.Path) -> int:
    """The step of the last whole checkpoint; 0 where there is none."""
    folder = checkpoints(workdir)
    steps = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.exists() else []
    return max(steps, default=0)
