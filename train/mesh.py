"""The only file that knows devices: how many there are, where arrays live, and how XLA is set up."""

import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from train.errors import UserError

CACHE = pathlib.Path("~/.cache/isoflop/xla").expanduser()


def set_up(cache: str | os.PathLike | None = None) -> None:
    """Turns the persistent compilation cache on: in `cache`, or where JAX_COMPILATION_CACHE_DIR says, or at home."""
    folder = cache or os.environ.get("JAX_COMPILATION_CACHE_DIR") or CACHE
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def make_mesh() -> Mesh:
    """All devices along one axis, `data`.  Auto axes: Flax layers do not carry explicit shardings."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def check_batch(mesh: Mesh, batch_size: int, key: str) -> None:
    devices = mesh.devices.size
    if batch_size % devices:
        near = sorted({batch_size // devices * devices or devices, (batch_size // devices + 1) * devices})
        choices = " or ".join(map(str, near))
        raise UserError(f"config.{key}={batch_size} is not divisible by {devices} devices; use {choices}")


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
