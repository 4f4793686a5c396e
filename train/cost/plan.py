"""What a run would cost, on this machine or on a TPU slice that is not here.

First what needs no compiler: parameters, FLOPs, and about how much memory.  Then the real train step, compiled: for a
slice always, here only where it fits and a step is short enough to be timed.
"""

import functools
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data.tfds import NotPrepared
from models.parts.kernels import Kernel
from train import wrap
from train.cost import budget, chips, flops, hlo, machine, memory
from train.devices import mesh, runtime
from train.errors import UserError
from train.experiment import Experiment, build_experiment
from train.numbers import seconds
from train.program import check_attention, initial_state, step_program
from train.step import train_step

TIMED_STEPS = 5  # at least, and at least TIMED_SECONDS, but for no longer than LIMIT
TIMED_SECONDS, LIMIT = 0.3, 10.0
ERROR = 2.0  # of the estimate of memory over what XLA then plans, on most pages
GiB = 2**30


class Traffic(NamedTuple):
    """All collectives of one kind, over groups of one size, in or out of loops: of one chip, in one step."""

    kind: str
    group: int  # chips that exchange
    in_loop: bool
    count: int
    bytes: float  # sent by the chip
    asynchronous: int  # of the count
    waited: float  # seconds not hidden behind computation, by the roofline


class Plan(NamedTuple):
    """Costs of a run.  Bytes and seconds are of one chip and one step; None is not known (yet)."""

    config: ConfigDict
    work: budget.Budget
    unit: str
    devices: int
    mesh: dict[str, int]
    state_bytes: float
    estimated_bytes: float  # before compiling, from the jaxpr
    available_bytes: float | None  # of a chip, or free on this machine
    compile_seconds: float | None = None
    xla_bytes: float | None = None  # that XLA plans for
    peak_bytes: float | None = None  # with what its libraries take beside, where steps were run on this CPU
    step_seconds: float | None = None
    other_devices: bool = False  # the config's mesh is of devices that are not here; bytes are those of one device
    refused: str = ""  # why it was not compiled, or not timed
    timed_steps: int = 0
    others: float | None = None  # processors of this machine that other processes kept busy meanwhile
    least_seconds: float | None = None  # of a step, by its products alone at the speed of this machine
    chip: chips.Chip | None = None  # of a topology; None on this machine, where steps were timed
    chips: int = 1
    peak: float | None = None  # FLOP/s of all chips; of a CPU what it was seen to reach
    compute_seconds: float = 0.0
    memory_seconds: float = 0.0
    memory_bytes: float = 0.0  # read and written a step
    exchange_seconds: float = 0.0  # of GPUs that are not here
    collectives: tuple[Traffic, ...] = ()
    chosen: tuple[str, ...] = ()  # what --fit changed

    @property
    def fits(self) -> bool | None:
        if self.other_devices:
            return False
        needed = self.peak_bytes or self.xla_bytes or self.estimated_bytes
        return None if self.available_bytes is None else needed <= self.available_bytes

    @property
    def in_doubt(self) -> bool:
        """Whether only the compiler can tell if it fits: the estimate is too large, and not by more than it may err."""
        compiled = self.peak_bytes or self.xla_bytes
        return not compiled and self.fits is False and self.estimated_bytes <= ERROR * (self.available_bytes or 0.0)

    @property
    def waited(self) -> float:
        return sum(each.waited for each in self.collectives)

    @property
    def mfu(self) -> float:
        """The network's own FLOPs over what the chips could do in the time of a step (Chowdhery et al. 2022)."""
        return self.work.flops_per_step / (self.step_seconds or math.nan) / (self.peak or math.nan)

    @property
    def compiled(self) -> bool:
        """Whether anything was compiled: not for GPUs that are not here."""
        return self.compile_seconds is not None


Tell = Callable[[Plan], None]  # hears of the plan when it is counted, before anything is compiled


def here(config: ConfigDict, tell: Tell = lambda _: None) -> Plan:
    """On this machine: what fits is compiled, and timed on the state that training begins with."""
    experiment, elsewhere_only = planned(config), ""
    try:
        devices = mesh.make_mesh(config.mesh.to_dict(), config.cpu_devices)
    except UserError as error:
        devices, elsewhere_only = mesh.alone(), str(error)
    check(devices, experiment)
    shared = devices.devices.size if mesh.on_cpu(devices) else 1  # devices that a CPU poses as share its memory
    free = machine.free_memory(devices.devices.flat[0])
    made = counted(experiment, devices, shared)._replace(available_bytes=free)
    if elsewhere_only:
        made = made._replace(other_devices=True)
    tell(made)
    if elsewhere_only:
        return made._replace(refused=f"the step was neither compiled nor timed: {elsewhere_only}")
    if made.fits is False and not made.in_doubt:
        return made._replace(refused="the step was neither compiled nor timed")
    ways = 1 if mesh.on_cpu(devices) else devices.devices.size
    reached = machine.peak(devices.devices)
    made = made._replace(peak=reached, least_seconds=made.work.flops_per_step / (reached or machine.speed() * ways))
    if made.least_seconds > LIMIT / 2:
        return made._replace(
            refused=f"the step was neither compiled nor timed: its products alone take {seconds(made.least_seconds)} "
            f"at the speed of this machine, and a plan times for {LIMIT:.0f} s"
        )
    try:
        return timed(made, experiment, devices, shared)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        said = "it does not fit: memory was exhausted when the step was tried; lower config.batch_size"
        return made._replace(available_bytes=0.0, refused=said)


def timed(made: Plan, experiment: Experiment, devices: Mesh, shared: int) -> Plan:
    config = experiment.config
    key = jax.random.key(config.seed)
    program = step_program(experiment, devices, lambda _: None)
    compiled = program.compile(*mesh.arguments(devices, experiment.state, experiment.axes, experiment.batch))
    made = made._replace(
        work=budget.measure(made.work, compiled, devices.devices.size),
        compile_seconds=program.seconds,
        xla_bytes=float(shared * budget.peak_bytes(compiled)),
    )
    if made.fits is False:
        return made._replace(refused="the step was not timed")
    place = mesh.share(devices, config.batch_size).place
    batch = place({name: np.zeros(value.shape, value.dtype) for name, value in experiment.batch.items()})
    init_key, key = jax.random.split(key)
    state = initial_state(experiment, devices, init_key, batch)
    taken: list[float] = []
    began = time.perf_counter()

    def steps(count: int, at_least: float = 0.0) -> None:
        nonlocal state
        first = time.perf_counter()
        for n in range(10_000):  # one after the other: a CPU gives a step its memory when it is dispatched
            start = time.perf_counter()
            enough = n >= count and start - first >= at_least
            if enough or (taken and start - began + taken[-1] > LIMIT):
                return
            state, _ = jax.block_until_ready(program(state, batch, key, np.float32(0)))
            taken.append(time.perf_counter() - start)

    steps(1)  # code and threads are in memory from here on; what else the process does may show in one of three
    grown = [runtime.grown(functools.partial(steps, 1)) for _ in range(2)]
    before, first = machine.now(), len(taken)
    grown.append(runtime.grown(functools.partial(steps, TIMED_STEPS, TIMED_SECONDS)))
    others = machine.others(before, machine.now())
    kept = taken[first:] or taken[-1:]
    held = made.state_bytes + sum(value.nbytes for value in batch.values())
    measured = mesh.on_cpu(devices) and None not in grown and len(taken) > first
    return made._replace(
        peak_bytes=statistics.median(grown) + held if measured else made.xla_bytes,
        step_seconds=statistics.median(kept),
        timed_steps=len(kept),
        others=others,
    )


def elsewhere(config: ConfigDict, topology: str, tell: Tell = lambda _: None) -> Plan:
    """On the chips of a TPU topology such as "v5e:2x4", none of which is needed: XLA:TPU compiles here.

    The time is that of a roofline: the longer of products at the chip's peak and memory traffic at its bandwidth, and
    what is left of each collective after the computation that it runs beside.
    """
    experiment = planned(config)
    if gpus := re.fullmatch(r"(\w+):(\d+)", topology):
        return on_gpus(experiment, gpus[1].lower(), int(gpus[2]), tell)
    found = mesh.topology(topology)
    devices = mesh.make_mesh(config.mesh.to_dict(), devices=found.devices)
    check(devices, experiment)
    chip = chips.CHIPS.get(found.kind)
    if chip is None:
        raise UserError(
            f"topology {topology}: no peaks of {found.kind} are known; they are of {', '.join(chips.CHIPS)}"
        )
    cores = len(found.devices) // found.chips
    made = counted(experiment, devices, cores)._replace(
        available_bytes=chip.memory, chip=chip, chips=found.chips, peak=chip.flops * found.chips
    )
    tell(made)
    program = step_program(experiment, devices, lambda _: None)
    try:
        with mesh.compiling_elsewhere():
            compiled = program.compile(*mesh.arguments(devices, experiment.state, experiment.axes, experiment.batch))
    except jax.errors.JaxRuntimeError as error:
        return too_large(made, error, topology)
    each = chip._replace(**{name: getattr(chip, name) / cores for name in ("flops", "memory", "bandwidth", "links")})
    work = hlo.analyse(compiled.as_text())
    compute, traffic = work.flops / each.flops, work.bytes / each.bandwidth
    exchanged = tuple(summed(work.collectives, each))
    peak_bytes = float(cores * budget.peak_bytes(compiled))
    return made._replace(
        work=budget.measure(made.work, compiled, len(found.devices), work),
        compile_seconds=program.seconds,
        xla_bytes=peak_bytes,
        peak_bytes=peak_bytes,
        step_seconds=max(compute, traffic) + sum(each.waited for each in exchanged),
        compute_seconds=compute,
        memory_seconds=traffic,
        memory_bytes=work.bytes * cores,
        collectives=exchanged,
    )


def on_gpus(experiment: Experiment, kind: str, count: int, tell: Tell) -> Plan:
    """On GPUs that are not here, for which nothing can be compiled: estimates, from the program as JAX has it.

    The time is the longest of three, each at its peak: products (with what is recomputed, and what attention masks),
    what products and optimizer move, and what GPUs exchange: gathered parameters and scattered gradients of `fsdp`,
    sums of gradients over the others.  What `tensor` and `context` exchange within layers is not counted.
    """
    gpus = [chip for name, chip in chips.CHIPS.items() if name.startswith("NVIDIA")]
    known = {chip.name.lower().replace(" ", "-"): chip for chip in gpus}  # of two sizes of memory the larger
    if kind not in known:
        raise UserError(f"--topology {kind}:{count}: no peaks of {kind} are known; they are of {', '.join(known)}")
    chip, config, sizes = known[kind], experiment.config, mesh.sizes_of(experiment.config.mesh.to_dict(), count)
    devices = mesh.posed(sizes)
    check_rows(sizes, config)
    made = counted(experiment, devices, 1, "gpu")._replace(
        available_bytes=chip.memory, chip=chip, chips=count, peak=chip.flops * count
    )
    tell(made)
    plain = step_jaxpr(experiment, devices, "gpu", kernel="xla")
    work = flops.jaxpr_flops(plain) / (sizes["context"] * sizes["tensor"])
    moved = (
        memory.traffic(step_jaxpr(experiment, devices, "gpu"), sizing(experiment, devices, wide=False))
        + 2 * made.state_bytes
    )
    params, wide = made.work.params_total / sizes["tensor"], 2.0 if config.precision == "bfloat16" else 4.0
    share = lambda n: (n - 1) / n
    sent = 3 * share(sizes["fsdp"]) * params * wide * config.accumulate
    sent += 2 * share(count // sizes["fsdp"] // sizes["tensor"]) * params / sizes["fsdp"] * 4.0
    return made._replace(
        work=made.work._replace(compiled_flops=work * count),
        peak_bytes=made.estimated_bytes,
        compute_seconds=work / chip.flops,
        memory_seconds=moved / chip.bandwidth,
        memory_bytes=moved,
        exchange_seconds=sent / chip.links,
        step_seconds=max(work / chip.flops, moved / chip.bandwidth, sent / chip.links),
    )


def counted(experiment: Experiment, devices: mesh.Sizes, sharing: int, platform: str = "") -> Plan:
    """What is known before anything is compiled; `sharing` devices have one memory."""
    state_bytes = mesh.bytes_on_each(devices, experiment.state, experiment.axes)
    return Plan(
        config=experiment.config,
        work=budget.count(experiment),
        unit=experiment.dataset.unit,
        devices=math.prod(devices.shape.values()),
        mesh=dict(devices.shape),
        state_bytes=sharing * state_bytes,
        estimated_bytes=sharing * (state_bytes + estimate(experiment, devices, platform)),
        available_bytes=None,
    )


def estimate(experiment: Experiment, devices: mesh.Sizes, platform: str = "") -> float:
    """About how many bytes a device needs beside the train state: its rows of the batch, and temporaries.

    What has the shape of a parameter is split as that parameter is; the axis `tensor` is taken to split nothing else.
    A `platform` that is named is one that is not here.
    """
    wide = not platform and mesh.on_cpu(devices)
    rows = sum(memory.nbytes(x) for x in rows_of(experiment, devices).values())
    return memory.temporaries(step_jaxpr(experiment, devices, platform), sizing(experiment, devices, wide)) + rows


def rows_of(experiment: Experiment, devices: mesh.Sizes) -> dict[str, jax.ShapeDtypeStruct]:
    """One device's part of a batch."""
    rows = experiment.config.batch_size // math.prod(devices.shape[axis] for axis in mesh.RULES["batch"])
    return {n: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype) for n, x in experiment.batch.items()}


def sizing(experiment: Experiment, devices: mesh.Sizes, wide: bool) -> memory.Size:
    """Bytes of an array on one device; a CPU multiplies what has 16 bits in 32 (`wide`)."""
    state = experiment.state
    where = mesh.shardings(devices, state, experiment.axes).params
    parts = {
        leaf.shape: math.prod(sharding.shard_shape(leaf.shape)) / max(1, leaf.size)
        for leaf, sharding in zip(jax.tree.leaves(state.params), jax.tree.leaves(where), strict=True)
    }
    width = lambda aval: 2.0 if wide and getattr(aval, "dtype", None) == jax.numpy.bfloat16 else 1.0
    return lambda aval: memory.nbytes(aval) * width(aval) * parts.get(getattr(aval, "shape", ()), 1.0)


def step_jaxpr(experiment: Experiment, devices: mesh.Sizes, platform: str = "", kernel: Kernel | None = None) -> Any:
    """The train step on one device's rows, as JAX has it; its attention by `kernel`, or as the config says."""
    config = experiment.config
    here = platform or devices.devices.flat[0].platform
    step = functools.partial(
        train_step,
        task=wrap.attending(experiment.task, here, kernel or config.attention, posed=bool(platform)),
        tx=experiment.tx,
        accumulate=config.accumulate,
        nonfinite=config.nonfinite,
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.make_jaxpr(step)(experiment.state, rows_of(experiment, devices), key, np.float32(0)).jaxpr


def planned(config: ConfigDict) -> Experiment:
    """The experiment; for images that nobody has prepared here, and a corpus without a path, random ones are used."""
    if config.data.name == "corpus:windows" and config.data.get("path") is None and config.model.get("vocab"):
        random = ConfigDict(config.to_dict())
        random.data = {"name": "random:tokens", "vocab": config.model.vocab, "context": config.data.context}
        return build_experiment(random)
    try:
        return build_experiment(config)
    except NotPrepared:
        if config.data.name != "arrays:columns":
            raise
    posed = ConfigDict(config.to_dict())
    posed.data.name = "random:like"
    return build_experiment(posed)


def check(devices: Mesh, experiment: Experiment) -> None:
    config = experiment.config
    check_attention(experiment, devices)
    check_rows(devices.shape, config)
    mesh.check_parallel(devices, config.parallel)


def check_rows(sizes: Mapping[str, int], config: ConfigDict) -> None:
    mesh.check_batch(sizes, config.batch_size, "batch_size", config.accumulate)


def too_large(made: Plan, error: Exception, topology: str) -> Plan:
    """`made`, refused by XLA:TPU for want of memory; any other error is raised again."""
    found = re.search(r"\(([\d.]+)([MGT])\) exceeds available HBM \(([\d.]+)([MGT])\)", str(error))
    if not found:
        raise error
    scale = {"M": 2**20, "G": 2**30, "T": 2**40}
    needed, available = float(found[1]) * scale[found[2]], float(found[3]) * scale[found[4]]
    said = (
        f"the step does not fit {topology}: a chip would hold {needed / GiB:.1f} GiB of temporaries and has "
        f"{available / GiB:.2f} for all; raise config.accumulate, set config.loss_slices (of a language "
        "model) or config.model.remat, split parameters (config.mesh.fsdp), or let --fit choose"
    )
    return made._replace(xla_bytes=max(needed, available + 1), available_bytes=available, refused=said)


def summed(found: list[hlo.Collective], chip: chips.Chip) -> Iterator[Traffic]:
    """By kind, group and loop, the most traffic first."""
    rows: dict[tuple, list[hlo.Collective]] = {}
    for each in found:
        if each.group > 1:
            rows.setdefault((each.kind, each.group, each.loop > 0), []).append(each)
    for (kind, group, loop), parts in sorted(rows.items(), key=lambda row: -sum(c.wire * c.times for c in row[1])):
        yield Traffic(
            kind,
            group,
            loop,
            sum(c.times for c in parts),
            sum(c.wire * c.times for c in parts),
            sum(c.times for c in parts if c.asynchronous),
            sum(waiting(c, chip) * c.times for c in parts),
        )


def waiting(found: hlo.Collective, chip: chips.Chip) -> float:
    """Seconds of one collective that no computation hides."""
    hidden = max(found.between.flops / chip.flops, found.between.bytes / chip.bandwidth)
    return max(0.0, found.wire / chip.links - hidden)


def fit(config: ConfigDict, topology: str, say: Callable[[str], None]) -> Plan:
    """The first change of the config that fits the chips: more accumulation, then remat, then fsdp, then less batch."""
    tried: list[str] = []
    for changes in candidates(config, len(mesh.topology(topology).devices)):
        trial = ConfigDict(config.to_dict())
        trial.update_from_flattened_dict(changes)
        said = tuple(f"config.{key}={value}" for key, value in changes.items())
        made = elsewhere(trial, topology)
        if not made.refused:
            return made._replace(chosen=said)
        tried.append(" ".join(said) or "as it is")
        say(f"{tried[-1]}: {made.refused.split(';')[0]}")
    raise UserError(f"nothing fits {topology} (tried: {'; '.join(tried)}); take more chips")


def candidates(config: ConfigDict, devices: int) -> Iterator[dict[str, Any]]:
    """Changes to try, what costs least time first.  Accumulation grows fourfold, to one row a device."""
    spread = math.prod(mesh.sizes_of(config.mesh.to_dict(), devices)[axis] for axis in mesh.RULES["batch"])
    rows = config.batch_size // spread
    accumulate = [n for n in (4**i for i in range(20)) if config.accumulate <= n <= rows and rows % n == 0]
    accumulate = sorted({config.accumulate, *accumulate, rows})
    remat = [{}] if config.model.get("remat", "full") == "full" else [{}, {"model.remat": "full"}]
    meshes = [{}] if config.mesh.fsdp != 1 else [{}, {"mesh.data": 1, "mesh.fsdp": -1}]
    for layout in meshes:
        for saved in remat:
            for n in accumulate:
                slices = {"accumulate": n} if n != config.accumulate else {}
                yield {**slices, **saved, **layout}
    size = config.batch_size // 2
    while size >= spread:
        yield {"batch_size": size, "accumulate": max(1, size // spread), **remat[-1], **meshes[-1]}
        size //= 4
