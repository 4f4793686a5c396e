"""This machine: how much memory is free and used, how fast it multiplies, and how busy others keep it."""

import contextlib
import os
import pathlib
import platform
import re
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from data.decode import cores
from train.cost.chips import CHIPS
from train.files import Damaged, read_json, write_json

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


def used_memory(device: Any) -> float | None:
    """Bytes that were in use at once at the most: on `device`, or by this process where it is a CPU."""
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("peak_bytes_in_use")
    found = re.search(r"VmHWM:\s+(\d+) kB", read(PROC / "self" / "status"))
    return 1024.0 * int(found[1]) if found else None


def peak(devices: Any) -> float | None:
    """FLOP/s that these devices (an array of them) reach together at most; None where no maker's page is known here.

    Of chips it is what their maker says, in bfloat16; of a CPU what `speed` found when this machine was first asked.
    """
    first, processes = devices.flat[0], len({device.process_index for device in devices.flat})
    if first.platform == "cpu":
        return processes * measured_once()
    chip = CHIPS.get(first.device_kind)
    return None if chip is None else devices.size * chip.flops / chip.parts


def measured_once() -> float:
    """`speed()`, kept at home by the name of the processor and how many of them this process may use."""
    path = pathlib.Path("~/.cache/isoflop/peaks.json").expanduser()
    model = re.search(r"model name\s*:\s*(.*)", read(PROC / "cpuinfo"))
    name = f"{cores()} × {model[1] if model else platform.processor()}"
    try:
        known = read_json(path, {}, "remove it, and it is measured again")
    except (OSError, Damaged):
        known = {}
    if not isinstance(known.get(name), float):
        known[name] = speed()
        with contextlib.suppress(OSError):  # a home that cannot be written to: it is measured every time
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, known)
    return known[name]


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
