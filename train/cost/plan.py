"""What a run would cost, on this machine or on a TPU slice that is not here: the real train step, compiled for it."""

import functools
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data.tfds import NotPrepared
from train.cost import budget, chips, hlo
from train.devices import mesh, runtime
from train.errors import UserError
from train.experiment import Experiment, build_experiment
from train.numbers import digits, metric, seconds
from train.program import initial_state, step_program

TIMED_STEPS = 5
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
    """Costs of a run.  Bytes and seconds are of one chip and one step."""

    config: ConfigDict
    work: budget.Budget
    unit: str
    devices: int
    mesh: dict[str, int]
    compile_seconds: float
    state_bytes: float
    xla_bytes: float  # that XLA plans for
    peak_bytes: float  # with what its libraries take beside, where steps were run on this CPU; else the same
    step_seconds: float
    chip: chips.Chip | None = None  # of a topology; None on this machine, where steps were timed
    chips: int = 1
    compute_seconds: float = 0.0
    memory_seconds: float = 0.0
    memory_bytes: float = 0.0  # read and written a step
    collectives: tuple[Traffic, ...] = ()
    chosen: tuple[str, ...] = ()  # what --fit changed

    @property
    def waited(self) -> float:
        return sum(each.waited for each in self.collectives)

    @property
    def mfu(self) -> float:
        """The network's own FLOPs over what the chips could do in the time of a step (Chowdhery et al. 2022)."""
        peak = self.chip.flops * self.chips if self.chip else math.nan
        return self.work.flops_per_step / self.step_seconds / peak


class TooLarge(UserError):
    """The program needs more memory than a chip has."""

    def __init__(self, message: str, needed: float, available: float):
        super().__init__(message)
        self.needed, self.available = needed, available


def here(config: ConfigDict) -> Plan:
    """On this machine: the step is compiled, and timed on the state that training begins with."""
    experiment = planned(config)
    devices = mesh.make_mesh(config.mesh.to_dict(), config.cpu_devices)
    check(devices, config)
    place = mesh.share(devices, config.batch_size).place
    batch = place({name: np.zeros(value.shape, value.dtype) for name, value in experiment.batch.items()})
    init_key, key = jax.random.split(jax.random.key(config.seed))
    state = initial_state(experiment, devices, init_key, batch)
    program = step_program(experiment, devices, lambda _: None)
    compiled = program.compile(state, batch, key, np.float32(0))
    seconds = []

    def steps(count: int) -> None:
        nonlocal state
        for _ in range(count):  # one after the other: a CPU gives a step its memory when it is dispatched
            start = time.perf_counter()
            state, _ = jax.block_until_ready(program(state, batch, key, np.float32(0)))
            seconds.append(time.perf_counter() - start)

    steps(1)  # code and threads are in memory from here on; what else the process does may show in one of three
    grown = [runtime.grown(functools.partial(steps, count)) for count in (1, 1, TIMED_STEPS)]
    shared = devices.devices.size if mesh.on_cpu(devices) else 1  # devices that a CPU poses as share its memory
    measured = mesh.on_cpu(devices) and None not in grown
    state_bytes = shared * mesh.bytes_on_each(devices, experiment.state, experiment.axes)
    batch_bytes = sum(value.nbytes for value in batch.values())
    xla_bytes = float(shared * budget.peak_bytes(compiled))
    return Plan(
        config=experiment.config,
        work=budget.measure(experiment, compiled, devices.devices.size),
        unit=experiment.dataset.unit,
        devices=devices.devices.size,
        mesh=dict(devices.shape),
        compile_seconds=program.seconds,
        state_bytes=state_bytes,
        xla_bytes=xla_bytes,
        peak_bytes=statistics.median(grown) + state_bytes + batch_bytes if measured else xla_bytes,
        step_seconds=statistics.median(seconds[-TIMED_STEPS:]),
    )


def elsewhere(config: ConfigDict, topology: str) -> Plan:
    """On the chips of a TPU topology such as "v5e:2x4", none of which is needed: XLA:TPU compiles here.

    The time is that of a roofline: the longer of products at the chip's peak and memory traffic at its bandwidth, and
    what is left of each collective after the computation that it runs beside.  Raises `TooLarge`.
    """
    experiment = planned(config)
    found = mesh.topology(topology)
    devices = mesh.make_mesh(config.mesh.to_dict(), devices=found.devices)
    check(devices, config)
    program = step_program(experiment, devices, lambda _: None)
    try:
        with mesh.compiling_elsewhere():
            compiled = program.compile(*mesh.arguments(devices, experiment.state, experiment.axes, experiment.batch))
    except jax.errors.JaxRuntimeError as error:
        raise too_large(error, topology) from None
    chip = chips.CHIPS.get(found.kind)
    if chip is None:
        raise UserError(
            f"topology {topology}: no peaks of {found.kind} are known; they are of {', '.join(chips.CHIPS)}"
        )
    cores = len(found.devices) // found.chips
    each = chip._replace(**{name: getattr(chip, name) / cores for name in ("flops", "memory", "bandwidth", "links")})
    work = hlo.analyse(compiled.as_text())
    compute, memory = work.flops / each.flops, work.bytes / each.bandwidth
    traffic = tuple(summed(work.collectives, each))
    peak_bytes = float(cores * budget.peak_bytes(compiled))
    return Plan(
        config=experiment.config,
        work=budget.measure(experiment, compiled, len(found.devices), work),
        unit=experiment.dataset.unit,
        devices=len(found.devices),
        mesh=dict(devices.shape),
        compile_seconds=program.seconds,
        state_bytes=cores * mesh.bytes_on_each(devices, experiment.state, experiment.axes),
        xla_bytes=peak_bytes,
        peak_bytes=peak_bytes,
        step_seconds=max(compute, memory) + sum(each.waited for each in traffic),
        chip=chip,
        chips=found.chips,
        compute_seconds=compute,
        memory_seconds=memory,
        memory_bytes=work.bytes * cores,
        collectives=traffic,
    )


def planned(config: ConfigDict) -> Experiment:
    """The experiment; images that nobody has prepared here are posed for by random ones of their shape."""
    try:
        return build_experiment(config)
    except NotPrepared:
        if config.data.name != "arrays:columns":
            raise
    posed = ConfigDict(config.to_dict())
    posed.data.name = "random:like"
    return build_experiment(posed)


def check(devices: Mesh, config: ConfigDict) -> None:
    mesh.check_batch(devices, config.batch_size, "batch_size", config.accumulate)
    mesh.check_parallel(devices, config.parallel)


def too_large(error: Exception, topology: str) -> Exception:
    found = re.search(r"\(([\d.]+)([MGT])\) exceeds available HBM \(([\d.]+)([MGT])\)", str(error))
    if not found:
        return error
    scale = {"M": 2**20, "G": 2**30, "T": 2**40}
    needed, available = float(found[1]) * scale[found[2]], float(found[3]) * scale[found[4]]
    return TooLarge(
        f"the step does not fit {topology}: a chip would hold {needed / GiB:.1f} GiB of temporaries and has "
        f"{available / GiB:.2f} for all; raise config.accumulate, set config.model.remat, spread parameters "
        "(config.mesh.fsdp), or let --fit choose",
        needed,
        available,
    )


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
    refused: TooLarge | None = None
    for changes in candidates(config, len(mesh.topology(topology).devices)):
        trial = ConfigDict(config.to_dict())
        trial.update_from_flattened_dict(changes)
        said = tuple(f"config.{key}={value}" for key, value in changes.items())
        try:
            return elsewhere(trial, topology)._replace(chosen=said)
        except TooLarge as error:
            refused = error
            tried.append(" ".join(said) or "as it is")
            say(f"{tried[-1]}: {error.needed / GiB:.1f} GiB of temporaries, {error.available / GiB:.2f} GiB a chip")
    raise UserError(f"nothing fits {topology} (tried: {'; '.join(tried)}); take more chips") from refused


def candidates(config: ConfigDict, devices: int) -> Iterator[dict[str, Any]]:
    """Changes to try, what costs least time first.  Accumulation grows fourfold, to one row a device."""
    spread = math.prod(mesh.sizes_of(config.mesh.to_dict(), devices)[axis] for axis in ("data", "fsdp"))
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


def table(plan: Plan) -> str:
    """For the terminal."""
    config, work = plan.config, plan.work
    axes = ", ".join(f"{name} {size}" for name, size in plan.mesh.items() if size > 1) or "one device"
    where = f"{plan.chips} × {plan.chip.name}" if plan.chip else f"{mesh.hardware()['device']}, this machine"
    lines = [budget.table(work, plan.unit)]
    if config.data.name == "random:like":
        lines.append(f"  data: random images in the shape of {config.data.dataset}")
    if plan.chosen:
        lines.append(f"  chosen so that it fits: {' '.join(plan.chosen)}")
    lines.append(f"on {where}; mesh: {axes}; accumulate {config.accumulate}; compiled in {plan.compile_seconds:.0f} s")
    if plan.chip is None:
        lines += [
            f"  memory  {metric(plan.peak_bytes, 'B')} (XLA plans {metric(plan.xla_bytes, 'B')}), of which train state "
            f"{metric(plan.state_bytes, 'B')}",
            f"  step    {digits(plan.step_seconds * 1e3)} ms (median of {TIMED_STEPS} timed here), "
            f"{metric(work.flops_per_step / plan.step_seconds, 'FLOP/s')}",
        ]
    else:
        recomputed = work.compiled_flops / work.flops_per_step
        lines += [
            f"  memory  {digits(plan.peak_bytes / GiB)} of {plan.chip.memory / GiB:.0f} GiB a chip, of which train "
            f"state {digits(plan.state_bytes / GiB)}",
            f"  step    {digits(plan.step_seconds * 1e3)} ms by the roofline, MFU {plan.mfu:.0%}: products "
            f"{digits(plan.compute_seconds * 1e3)} ({recomputed:.2f} × the network's own), memory traffic "
            f"{digits(plan.memory_seconds * 1e3)} ({metric(plan.memory_bytes, 'B')}), waiting for collectives "
            f"{digits(plan.waited * 1e3)}",
        ]
        for each in plan.collectives:
            place = "in loops" if each.in_loop else "once"
            lines.append(
                f"  {each.kind:<18} over {each.group:>4}  × {each.count:<5} {place:<8} "
                f"{metric(each.bytes, 'B'):>9} sent  {each.asynchronous / each.count:>4.0%} asynchronous  "
                f"{digits(each.waited * 1e3):>8} ms waited for"
            )
    lines.append(
        f"  {work.steps:,} steps take {seconds(work.steps * plan.step_seconds)}, without evaluation and saving"
    )
    return "\n".join(lines)


def as_json(plan: Plan) -> dict[str, Any]:
    work = plan.work
    found: dict[str, Any] = {
        "params_total": work.params_total,
        "params_non_embedding": work.params_non_embedding,
        "params_active": work.params_total,
        "blocks": {name: total for name, total, _ in work.blocks},
        "flops_per_step": work.flops_per_step,
        "flops_compiled": work.compiled_flops,
        "unit": plan.unit,
        "tokens": work.units,
        "steps": work.steps,
        "state_bytes": plan.state_bytes,
        "xla_bytes": plan.xla_bytes,
        "peak_bytes": plan.peak_bytes,
        "step_seconds_estimate": plan.step_seconds,
        "run_seconds_estimate": plan.step_seconds * work.steps,
        "compile_seconds": plan.compile_seconds,
        "devices": plan.devices,
        "mesh": plan.mesh,
        "changes": list(plan.chosen),
    }
    if plan.chip:
        found |= {
            "chip": plan.chip.name,
            "chips": plan.chips,
            "hbm_bytes_per_chip": plan.peak_bytes,
            "hbm_capacity": plan.chip.memory,
            "collectives": [each._asdict() for each in plan.collectives],
            "step_seconds_roofline": plan.step_seconds,
            "seconds_products": plan.compute_seconds,
            "seconds_memory": plan.memory_seconds,
            "seconds_waited": plan.waited,
            "mfu_roofline": plan.mfu,
        }
    return found
