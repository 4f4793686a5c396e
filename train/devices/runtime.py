"""This process: how JAX starts in it, and what the C library does with its memory.  Loads no network."""

import contextlib
import ctypes
import gc
import os
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

import jax

from train.files import settle_home

PROCESS = pathlib.Path("/proc/self")
PCI, DEVICES = pathlib.Path("/sys/bus/pci/devices"), pathlib.Path("/dev")
# libtpu, once installed, asks for the machine it is on wherever JAX starts, and prints lines where there is none.
NO_TPU = {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-8", "TPU_SKIP_MDS_QUERY": "1"}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of malloc.h


def set_up(cpu_devices: int = 1, cache: str | os.PathLike | None = None) -> None:
    """Before JAX is first used: how many devices a CPU poses as, and the persistent compilation cache.

    The cache is in `cache`, or where JAX_COMPILATION_CACHE_DIR says, or at home.
    """
    keep_memory()
    settle_home()
    if not has_tpu():
        os.environ |= {name: os.environ.get(name, value) for name, value in NO_TPU.items()}
    folder = cache or os.environ.get("JAX_COMPILATION_CACHE_DIR") or pathlib.Path("~/.cache/isoflop/xla").expanduser()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    with contextlib.suppress(RuntimeError):  # JAX is in use already; `make_mesh` says how many devices there are
        if cpu_devices > 1:
            jax.config.update("jax_num_cpu_devices", cpu_devices)


def has_tpu() -> bool:
    """Whether a TPU may be in this machine: a device file of its driver, or a PCI device of Google's.

    Google's network cards (class 0x02…) and disks (0x01…) are in every machine of its cloud and do not count.
    """
    if any(DEVICES.glob("accel[0-9]*")) or any(DEVICES.glob("vfio/[0-9]*")):
        return True
    for device in PCI.glob("*"):
        with contextlib.suppress(OSError):
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
            if vendor == "0x1ae0" and not kind.startswith(("0x01", "0x02")):
                return True
    return False


def keep_memory() -> None:
    """Lets the C library keep what a step has freed for the next one, in blocks of up to 128 MB, where it is glibc.

    It would give them back, and the kernel hands every page of them out again as zeros: a seventh of the time of an
    LSTM's step (scripts/bench/rnn.py).  Of larger ones a process would grow beyond its plan (scripts/check/plan.py).
    """
    for option, value in (M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, 2**27), (M_TRIM_THRESHOLD, -1):
        call_libc("mallopt", option, value)


def call_libc(name: str, *args: int) -> None:
    """A function of the C library, where it is one that has it (glibc)."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function:
        function(*args)


def grown(run: Callable[[], Any]) -> int | None:
    """Bytes by which `run` makes this process grow at its peak; None where no kernel says it (Linux does)."""
    status, reset = PROCESS / "status", PROCESS / "clear_refs"

    def resident(field: str) -> int:
        return 1024 * int(re.findall(rf"{field}:\s+(\d+) kB", status.read_text())[0])

    gc.collect()
    call_libc("malloc_trim", 0)  # what was freed before would be used again, unseen
    try:
        reset.write_text("5")  # the peak begins anew
        before = resident("VmRSS")
    except (OSError, IndexError):
        before = None
    run()
    return None if before is None else resident("VmHWM") - before
