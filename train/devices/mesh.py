"""The only file that knows devices: how many there are, where arrays live, and what XLA is told for them."""

import contextlib
import functools
import importlib.util
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.experimental import mesh_utils, topologies
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from models.parts import axes
from train.devices import runtime
from train.errors import UserError, suggest

DEFAULT = {"data": -1, "fsdp": 1, "expert": 1, "context": 1, "tensor": 1}  # axes of the mesh, the slowest network first
# Logical axis -> the axes of the mesh that split it.  Parameters are split by `fsdp` along the width of the residual
# stream and gathered where they are used; `tensor` splits what lies between two such widths (Megatron: Shoeybi et al.
# 2019), and the vocabulary; `context` splits texts, whose keys and values each device gathers whole; `expert` splits
# batches and experts: devices along it gather each other's tokens and add up what their experts make of them.
RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp", "expert"),
    "tokens": ("data", "fsdp"),  # of the batch, where `expert` splits the experts
    "copies": ("data", "expert"),  # the batch, where `fsdp` has to split another axis
    "length": ("context",),
    "embed": ("fsdp",),
    "mlp": ("tensor",),
    "heads": ("tensor",),
    "vocab": ("tensor",),
    "layers": (),
    "expert": ("expert",),
}
Parallel = Literal["jit", "pmap"]
Sizes = Mesh | AbstractMesh  # of devices, or posed
MAPPED = "data"  # what `jax.pmap` calls the axis of devices
SMALL = 4096  # numbers in a parameter below which every device keeps the whole of it, unless its axes have names


def make_mesh(sizes: Mapping[str, int] | None = None, cpu_devices: int = 1, devices: Any = None) -> Mesh:
    """A mesh of all devices (of a CPU, `cpu_devices`) with the axes `sizes`, one of which may be -1: the rest.

    Auto axes: XLA's partitioner completes what parameters, batch and `models.parts.axes.constrain` leave open.
    `devices` are those of a `topology`, for compiling only.
    """
    given, devices = devices is not None, devices or jax.devices()
    if not given and devices[0].platform == "cpu" and jax.process_count() == 1:
        if not 1 <= cpu_devices <= len(devices):
            raise UserError(
                f"config.cpu_devices={cpu_devices}, but this process has {len(devices)}; use 1 … {len(devices)}"
            )
        devices = devices[:cpu_devices]
    shape = sizes_of(sizes or {}, len(devices))
    # On a torus of chips neighbours along an axis are neighbours; a side of the torus may hold parts of two axes.
    laid = mesh_utils.create_device_mesh(tuple(shape.values()), devices, allow_split_physical_axes=True)
    return Mesh(laid, tuple(shape), axis_types=(AxisType.Auto,) * len(shape))


def alone() -> Mesh:
    """A mesh of one device."""
    return make_mesh({"data": 1}, devices=jax.devices()[:1])


def posed(sizes: Mapping[str, int]) -> AbstractMesh:
    """A mesh of devices that are not here and cannot be compiled for: enough to ask how arrays would be split."""
    return AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


class Topology(NamedTuple):
    devices: list[Any]  # cores; a chip of some kinds has two
    chips: int
    kind: str


def topology(name: str) -> Topology:
    """The devices of a TPU slice that is not here, such as "v5e:2x4", to compile for."""
    shape = re.fullmatch(r"\w+:(\d+(?:x\d+)+)", name)
    if not shape:
        raise UserError(
            f"--topology {name!r} is no topology; write KIND:SHAPE, such as v5e:2x4, v5p:4x4x4, tpu7x:2x2x1, or "
            "KIND:COUNT of GPUs, such as h100:8"
        )
    # libtpu looks for the machine it is on, and for another process that uses its chips; there is none of either.
    os.environ |= {**runtime.NO_TPU, "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("--topology compiles with libtpu, which is not installed; run `uv run --extra tpu python -m …`")
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--topology {name} is unknown to libtpu: {str(error).splitlines()[0][:200]}") from None
    return Topology(list(devices), math.prod(map(int, shape[1].split("x"))), devices[0].device_kind)


@contextlib.contextmanager
def compiling_elsewhere() -> Iterator[None]:
    """Without the compilation cache, which can only be read by the device that a program is for."""
    before = jax.config.jax_enable_compilation_cache

    def set_to(on: bool) -> None:
        jax.config.update("jax_enable_compilation_cache", on)
        compilation_cache.reset_cache()  # JAX looks at its options once

    set_to(False)
    try:
        yield
    finally:
        set_to(before)


def sizes_of(sizes: Mapping[str, int], devices: int) -> dict[str, int]:
    """`sizes` with -1 replaced by what is left of `devices`."""
    for name, size in sizes.items():
        if name not in DEFAULT:
            raise UserError(f"config.mesh.{name} is no axis of the mesh{suggest(name, list(DEFAULT))}")
        if size < 1 and size != -1:
            raise UserError(f"config.mesh.{name}={size}; use 1 or more devices, or -1 for all that are left")
    found = {**DEFAULT, **sizes}
    rest = [name for name, size in found.items() if size == -1]
    taken = math.prod(size for size in found.values() if size != -1)
    said = ", ".join(f"{name} {size}" for name, size in found.items())
    if len(rest) > 1:
        raise UserError(f"config.mesh: {' and '.join(rest)} are both -1; one axis can be the rest")
    if devices % taken or (not rest and taken != devices):
        fix = "choose sizes whose product divides that" if rest else f"make the product {devices}, or one of them -1"
        raise UserError(f"config.mesh ({said}) does not fit {devices} device{'s' * (devices > 1)}; {fix}")
    return {name: devices // taken if size == -1 else size for name, size in found.items()}


def spec(mesh: Sizes, shape: tuple[int, ...], names: tuple[str | None, ...]) -> PartitionSpec:
    """Which axes of the mesh split which axes of an array.

    By its axes' names; what a mesh axis does not divide stays whole there, and no mesh axis splits two of them.
    """
    used: set[str] = set()
    parts: list[Any] = []
    for size, name in zip(shape, names, strict=True):
        if name is not None and name not in RULES:
            raise ValueError(f"axis name {name!r} is unknown to train/devices/mesh.py; it knows {', '.join(RULES)}")
        wanted = tuple(a for a in RULES.get(name or "", ()) if mesh.shape[a] > 1 and a not in used)
        fits = bool(wanted) and size % math.prod(mesh.shape[a] for a in wanted) == 0
        used |= set(wanted) if fits else set()
        parts.append((wanted if len(wanted) > 1 else wanted[0]) if fits else None)
    return PartitionSpec(*parts)


def spec_by_size(mesh: Sizes, shape: tuple[int, ...]) -> PartitionSpec:
    """For a parameter whose axes have no names: `fsdp` splits its largest axis, the last of equals, that it divides."""
    ways = mesh.shape["fsdp"]
    if ways == 1 or math.prod(shape) < SMALL:
        return PartitionSpec()
    fits = [(size, i) for i, size in enumerate(shape) if size % ways == 0]
    best = max(fits)[1] if fits else -1
    return PartitionSpec(*("fsdp" if i == best else None for i in range(len(shape))))


def shardings(mesh: Sizes, state: Any, names: Any) -> Any:
    """Where each array of a train state lives: a tree of shardings.

    `names` are those of the axes of `state.params`.  What the optimizer keeps for a parameter, found by its path and
    shape, lives with it; `axes.LANES` of the model state are split as the batch; all else is on every device.
    """
    place = lambda parts: NamedSharding(mesh, parts)
    paths, tree = jax.tree_util.tree_flatten_with_path(state.params)
    called_all = jax.tree.leaves(names, is_leaf=lambda x: isinstance(x, tuple))
    by_path, of_params = {}, []
    for (path, leaf), called in zip(paths, called_all, strict=True):
        parts = spec(mesh, leaf.shape, called) if called else spec_by_size(mesh, leaf.shape)
        by_path[path] = leaf.shape, place(parts)
        of_params.append(place(parts))

    def of_optimizer(path: tuple, leaf: Any) -> NamedSharding:
        for start in range(len(path)):
            shape, sharding = by_path.get(path[start:], (None, None))
            if sharding is not None and shape == leaf.shape:
                return sharding
        return whole(mesh)

    def of_model(path: tuple, leaf: Any) -> NamedSharding:
        in_lanes = any(getattr(part, "key", None) == axes.LANES for part in path)
        return place(spec(mesh, leaf.shape, ("batch", *[None] * (len(leaf.shape) - 1)))) if in_lanes else whole(mesh)

    return state.replace(
        step=whole(mesh),
        params=jax.tree.unflatten(tree, of_params),
        model_state=jax.tree_util.tree_map_with_path(of_model, state.model_state),
        opt_state=jax.tree_util.tree_map_with_path(of_optimizer, state.opt_state),
    )


def whole(mesh: Sizes) -> NamedSharding:
    """On every device all of it."""
    return NamedSharding(mesh, PartitionSpec())


def bytes_on_each(mesh: Sizes, state: Any, names: Any) -> float:
    """Bytes of a train state that one device holds."""
    leaves = zip(jax.tree.leaves(state), jax.tree.leaves(shardings(mesh, state, names)), strict=True)
    return float(sum(math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize for x, s in leaves))


def arguments(mesh: Mesh, state: Any, names: Any, batch: Any) -> tuple[Any, ...]:
    """Shapes of what the train step takes, spread over the devices: to compile it without any array."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    rows = NamedSharding(mesh, PartitionSpec(RULES["batch"]))
    return (
        state_shapes(mesh, state, names),
        {name: shape(value, rows) for name, value in batch.items()},
        shape(key, whole(mesh)),
        shape(jax.ShapeDtypeStruct((), np.float32), whole(mesh)),
    )


def state_shapes(mesh: Mesh, state: Any, names: Any) -> Any:
    """Shapes of a train state, spread over the devices."""
    return jax.tree.map(shape, state, shardings(mesh, state, names))


def shape(x: Any, where: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)


def spreading(mesh: Mesh) -> axes.Spread:
    """Spreads an array over the devices as the names of its axes say."""
    place = lambda x, names: jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec(mesh, x.shape, names)))
    parts = lambda name: math.prod(mesh.shape[axis] for axis in RULES[name])
    return axes.Spread(place, functools.partial(per_device, mesh), parts)


def per_device(mesh: Mesh, fn: Callable, inputs: tuple, outputs: tuple, leave: tuple[str, ...] = ()) -> Callable:
    """`fn` under `jax.shard_map`, by names of axes (`models.parts.axes.per_device`)."""

    def split(*args: jax.Array) -> tuple:
        specs = tuple(spec(mesh, x.shape, names) for x, names in zip(args, inputs, strict=True))
        shared = (*RULES["batch"], *RULES["length"])
        splitting = jax.tree.leaves(list(map(tuple, specs)))

        def add(x: jax.Array, among: tuple[str, ...]) -> jax.Array:
            over = tuple(axis for axis in among if axis in splitting)
            return jax.lax.psum(x, over) if over else x

        def summed(x: jax.Array, names: Any) -> jax.Array:
            if isinstance(names, axes.Sum):
                return add(x, RULES[names.over])
            return add(x, shared) if names == axes.SUM else x

        def local(*parts: jax.Array) -> tuple:
            return tuple(map(summed, fn(*parts), outputs))

        where = lambda x, names: spec(mesh, x.shape, names.names if isinstance(names, axes.Sum) else names)
        found = tuple(
            PartitionSpec() if names == axes.SUM else where(x, names)
            for x, names in zip(jax.eval_shape(fn, *args), outputs, strict=True)
        )
        own = set(mesh.axis_names) - {axis for name in leave for axis in RULES[name]}
        run = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=found, axis_names=own, check_vma=False)
        return run(*args)

    return split


def opened(mesh: Mesh, p: jax.Array) -> jax.Array:
    """A parameter whose axes have no names, whole on every device; its gradient is split as it is kept."""
    kept, place = NamedSharding(mesh, spec_by_size(mesh, p.shape)), jax.lax.with_sharding_constraint
    return axes.gather_with(lambda x: place(x, whole(mesh)), lambda g: place(g, kept), p)


def mapped(mesh: Mesh, step: Callable) -> Callable:
    """The train step under `jax.pmap`: whole parameters and a share of the batch on every device."""
    count = mesh.devices.size
    each = jax.pmap(step, MAPPED, in_axes=(None, 0, None, None), out_axes=None, devices=list(mesh.devices.flat))

    def mapped_step(state: Any, batch: dict[str, jax.Array], key: jax.Array, rate: jax.Array) -> Any:
        return each(state, {k: v.reshape(count, -1, *v.shape[1:]) for k, v in batch.items()}, key, rate)

    return mapped_step


def on_cpu(mesh: Mesh) -> bool:
    return mesh.devices.flat[0].platform == "cpu"


def compiler_options(mesh: Mesh) -> dict[str, Any]:
    """What XLA is told for the train step, measured by scripts/bench/step.py, zoo.py and rnn.py."""
    if not on_cpu(mesh):
        return {}
    # Eigen's products beat the library that XLA now prefers; that library's sums beat XLA's own tenfold.
    # Devices that share a CPU take one thread each.
    return {
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
        "xla_cpu_multi_thread_eigen": mesh.devices.size == 1,
    }


def init_options(mesh: Mesh) -> dict[str, Any]:
    """For what runs once: on a CPU, LLVM's full optimisation takes seconds for each random draw."""
    return {"xla_backend_optimization_level": 0} if on_cpu(mesh) else {}


def check_batch(sizes: Mapping[str, int], batch_size: int, key: str, accumulate: int = 1) -> None:
    devices = math.prod(sizes[a] for a in RULES["batch"])
    parts = devices * accumulate
    if batch_size % parts:
        near = sorted({batch_size // parts * parts or parts, (batch_size // parts + 1) * parts})
        choices = " or ".join(map(str, near))
        slices = f" × config.accumulate={accumulate}" if accumulate > 1 else ""
        raise UserError(f"config.{key}={batch_size} is not divisible by {devices} devices{slices}; use {choices}")


def check_parallel(mesh: Mesh, parallel: Parallel) -> None:
    if parallel == "pmap" and jax.process_count() > 1:
        raise UserError(f"config.parallel=pmap is for one process, and there are {jax.process_count()}; use jit")
    split = [name for name in mesh.axis_names if name != "data" and mesh.shape[name] > 1]
    if parallel == "pmap" and split:
        raise UserError(
            f"config.parallel=pmap splits batches only, and config.mesh.{split[0]}={mesh.shape[split[0]]}; "
            "use config.parallel=jit, or all devices along data"
        )


class Share(NamedTuple):
    """This process's part of the global batches of one size."""

    rows: np.ndarray  # that its devices hold, ascending
    place: Callable[[dict[str, np.ndarray]], dict[str, jax.Array]]  # these rows -> the global batch, on the devices


def share(mesh: Mesh, batch_size: int) -> Share:
    sharding = NamedSharding(mesh, PartitionSpec(RULES["batch"]))
    parts = sharding.addressable_devices_indices_map((batch_size,)).values()
    rows = np.unique(np.concatenate([np.arange(batch_size)[index] for index in parts]))

    def spread(value: np.ndarray) -> jax.Array:
        def part(index: tuple[slice, ...]) -> np.ndarray:
            first, last, _ = index[0].indices(batch_size)
            start = int(np.searchsorted(rows, first))
            return value[start : start + last - first]

        return jax.make_array_from_callback((batch_size, *value.shape[1:]), sharding, part)

    if mesh.devices.size == 1:
        return Share(rows, lambda batch: jax.device_put(batch, sharding))
    return Share(rows, lambda batch: {name: spread(value) for name, value in batch.items()})


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
