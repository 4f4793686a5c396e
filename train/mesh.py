"""The only file that knows devices: how many there are, where arrays live, and how XLA is set up."""

import contextlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from train.errors import UserError

CACHE = pathlib.Path("~/.cache/isoflop/xla").expanduser()


def set_up(cpu_devices: int = 1, cache: str | os.PathLike | None = None) -> None:
    """Before JAX is first used: how many devices a CPU poses as, and the persistent compilation cache.

    The cache is in `cache`, or where JAX_COMPILATION_CACHE_DIR says, or at home.
    """
    folder = cache or os.environ.get("JAX_COMPILATION_CACHE_DIR") or CACHE
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    with contextlib.suppress(RuntimeError):  # JAX is in use already; `make_mesh` says how many devices there are
        if cpu_devices > 1:
            jax.config.update("jax_num_cpu_devices", cpu_devices)


def make_mesh(cpu_devices: int = 1) -> Mesh:
    """All devices along one axis, `data`; of a CPU, `cpu_devices`.  Auto axes: Flax layers carry no shardings."""
    devices = jax.devices()
    if devices[0].platform == "cpu" and jax.process_count() == 1:
        if not 1 <= cpu_devices <= len(devices):
            raise UserError(
                f"config.cpu_devices={cpu_devices}, but this process has {len(devices)}; use 1 … {len(devices)}"
            )
        devices = devices[:cpu_devices]
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def compiler_options(mesh: Mesh) -> dict[str, Any]:
    """What XLA is told for the train step, measured by scripts/bench_step.py."""
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    # Eigen's matrix products beat the library that XLA now prefers; devices that share a CPU take one thread each.
    return {"xla_cpu_experimental_ynn_fusion_type": "", "xla_cpu_multi_thread_eigen": mesh.devices.size == 1}


def init_options(mesh: Mesh) -> dict[str, Any]:
    """For what runs once: on a CPU, LLVM's full optimisation takes seconds for each random draw."""
    return {"xla_backend_optimization_level": 0} if mesh.devices.flat[0].platform == "cpu" else {}


def check_batch(mesh: Mesh, batch_size: int, key: str, accumulate: int = 1) -> None:
    devices = mesh.devices.size
    parts = devices * accumulate
    if batch_size % parts:
        near = sorted({batch_size // parts * parts or parts, (batch_size // parts + 1) * parts})
        choices = " or ".join(map(str, near))
        slices = f" × config.accumulate={accumulate}" if accumulate > 1 else ""
        raise UserError(f"config.{key}={batch_size} is not divisible by {devices} devices{slices}; use {choices}")


def replicated(mesh: Mesh, tree: Any) -> Any:
    """Every device holds the whole of `tree`."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def batch_placer(mesh: Mesh) -> Callable[[dict[str, np.ndarray]], dict[str, jax.Array]]:
    """A function that spreads this host's rows of a global batch over its devices."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    if mesh.devices.size == 1:
        return lambda batch: jax.device_put(batch, sharding)
    return lambda batch: {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def hardware() -> dict[str, Any]:
    """What the run ran on, for its record."""
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count(),
        "hosts": jax.process_count(),
        "cpus": os.cpu_count(),
    }
