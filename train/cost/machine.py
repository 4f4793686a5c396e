"""This machine: how much memory is free, how fast it multiplies, and how busy others keep it."""

import os
import pathlib
import re
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PROC = pathlib.Path("/proc")
CGROUP = pathlib.Path("/sys/fs/cgroup")
PRODUCT = 1024  # rows and columns of the matrices that are multiplied to see how fast


def free_memory(device: Any) -> float | None:
    """Bytes that `device` can still give; of a CPU those of the machine, or of its container.  None: not known."""
    if device.platform != "cpu":
        said = device.memory_stats() or {}
        return float(said["bytes_limit"] - said["bytes_in_use"]) if "bytes_limit" in said else None
    found = re.search(r"MemAvailable:\s+(\d+) kB", read(PROC / "meminfo"))
    limit, used = read(CGROUP / "memory.max").strip(), read(CGROUP / "memory.current").strip()
    left = [1024.0 * int(found[1])] if found else []
    left += [float(limit) - float(used)] if limit.isdigit() and used.isdigit() else []
    return min(left) if left else None


def read(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def speed() -> float:
    """FLOP/s of float32 matrix products on one device, the best of four: what no train step exceeds on a CPU."""
    multiply = jax.jit(lambda x: x @ x)
    x = jnp.ones((PRODUCT, PRODUCT), jnp.float32)
    jax.block_until_ready(multiply(x))
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        jax.block_until_ready(multiply(x))
        best = min(best, time.perf_counter() - start)
    return 2.0 * PRODUCT**3 / best


class Moment(NamedTuple):
    """Seconds of the processors until now: of all of them, of all that were busy, and of this process."""

    clock: float
    busy: float | None
    own: float


def now() -> Moment:
    """The kernel counts in hundredths of a second (Linux; elsewhere `busy` is None)."""
    fields = re.match(r"cpu +(.*)", read(PROC / "stat"))
    if not fields:
        return Moment(time.perf_counter(), None, time.process_time())
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, fields[1].split())
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return Moment(time.perf_counter(), busy, time.process_time())


def others(before: Moment, after: Moment) -> float | None:
    """Processors that other processes kept busy between two moments; None where no kernel says it."""
    if before.busy is None or after.busy is None or after.clock - before.clock < 0.02:
        return None
    mine = after.own - before.own
    return max(0.0, after.busy - before.busy - mine) / (after.clock - before.clock)
