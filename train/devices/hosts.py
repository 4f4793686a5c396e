"""What only the first of several processes does, and what all of them learn of it."""

import json
import pathlib
import socket
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from train.errors import UserError

LONGEST = 2000  # bytes of an error that is told to every process


def first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def on_first(make: Callable[[], Any]) -> Any:
    """What `make` returns on process 0 (as JSON), on every process; its `UserError` too."""
    if jax.process_count() == 1:
        return make()
    said: dict[str, Any] = {}
    if first():
        try:
            said = {"value": make()}
        except UserError as error:
            said = {"wrong": str(error)}
    text = json.dumps(said).encode()
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    shared = np.frombuffer(text.ljust(length)[:length], np.uint8)
    said = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(shared)).tobytes())
    if "wrong" in said:
        raise UserError(said["wrong"])
    return said["value"]


def all_told(wrong: str) -> str:
    """The first process's error that is not empty, on every process, so that all take the same way."""
    if jax.process_count() == 1:
        return wrong
    mine = np.frombuffer(wrong.encode()[:LONGEST].ljust(LONGEST), np.uint8)
    every = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, LONGEST)
    told = [row.tobytes().decode(errors="replace").strip() for row in every]
    return next((text for text in told if text), "")


def check_shared(path: pathlib.Path) -> None:
    """Raises where a process does not see the file that process 0 wrote."""
    here = f"process {jax.process_index()} ({socket.gethostname()})"
    wrong = f"{here} does not see {path} of process 0; --workdir must be a folder that all hosts share"
    told = all_told("" if path.exists() else wrong)
    if told:
        raise UserError(told)


def stop_together() -> Callable[[int], bool] | None:
    """(step) -> whether any process was told to stop, the same on all; None alone."""
    return multihost_utils.reached_preemption_sync_point if jax.process_count() > 1 else None
