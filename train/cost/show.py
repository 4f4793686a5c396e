"""A plan for the terminal, and as JSON."""

import math
import os
from typing import Any

from train.cost import budget
from train.cost.plan import GiB, Plan
from train.devices import mesh
from train.numbers import digits, metric, seconds


def first(plan: Plan) -> str:
    """For the terminal, before anything is compiled."""
    config = plan.config
    axes = ", ".join(f"{name} {size}" for name, size in plan.mesh.items() if size > 1) or "one device"
    where = f"{plan.chips} × {plan.chip.name}" if plan.chip else f"{mesh.hardware()['device']}, this machine"
    lines = [budget.table(plan.work, plan.unit)]
    if config.data.name == "random:like":
        lines.append(f"  data: random images in the shape of {config.data.dataset}")
    if config.data.name == "random:tokens":
        lines.append("  data: random tokens, as many as a corpus would give (--config.data.path=DIR names one)")
    if plan.chosen:
        lines.append(f"  chosen so that it fits: {' '.join(plan.chosen)}")
    lines.append(f"on {where}; mesh: {axes}; accumulate {config.accumulate}")
    whose = "a chip" if plan.chip else "free here"
    free = "" if plan.available_bytes is None else f" of {metric(plan.available_bytes, 'B')} {whose}: {verdict(plan)}"
    return "\n".join([*lines, f"  memory  about {metric(plan.estimated_bytes, 'B')} by the program's arrays{free}"])


def verdict(plan: Plan) -> str:
    if plan.other_devices:
        return "as one device would hold it; the mesh is of other devices"
    if plan.fits:
        return "it fits"
    if plan.in_doubt:
        return "it may not fit, which the compiler tells"
    remedy = "split parameters (config.mesh.fsdp)" if plan.chip else "plan for other devices (--topology KIND:SHAPE)"
    return f"it does not fit; lower config.batch_size, raise config.accumulate, or {remedy}"


def rest(plan: Plan, price: float | None = None) -> str:
    """For the terminal, after `first`; `price` is dollars of a chip-hour."""
    work, lines = plan.work, []
    if plan.compile_seconds is not None:
        lines.append(f"  compiled in {plan.compile_seconds:.0f} s: {budget.compiled_line(work)}")
    if plan.step_seconds is None or plan.peak_bytes is None:
        compiled_here = plan.compile_seconds is not None and plan.chip is None
        reason = f"{verdict(plan)}; {plan.refused}" if compiled_here else plan.refused
        return "\n".join([*lines, f"  {reason}"])
    if plan.chip is None:
        lines += [
            f"  memory  {metric(plan.peak_bytes, 'B')} (XLA plans {metric(plan.xla_bytes or 0.0, 'B')}), of which "
            f"train state {metric(plan.state_bytes, 'B')}",
            f"  step    {digits(plan.step_seconds * 1e3)} ms (median of {plan.timed_steps} timed here), "
            f"{metric(work.flops_per_step / plan.step_seconds, 'FLOP/s')}"
            + (f", MFU {plan.mfu:.1%}" if plan.peak else ""),
            f"  {busy(plan)}",
        ]
    elif not plan.compiled:
        recomputed = (work.compiled_flops or math.nan) / work.flops_per_step
        lines += [
            f"  step    {digits(plan.step_seconds * 1e3)} ms at the least, MFU {plan.mfu:.0%}: products "
            f"{digits(plan.compute_seconds * 1e3)} ({recomputed:.2f} × the network's own), memory traffic "
            f"{digits(plan.memory_seconds * 1e3)}, exchange {digits(plan.exchange_seconds * 1e3)}",
            "  all of it estimated: nothing is compiled for GPUs that are not here",
        ]
    else:
        recomputed = (work.compiled_flops or math.nan) / work.flops_per_step
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
    hours = chip_hours(plan)
    if plan.chip and hours is not None:
        dollars = f", ${hours * price:,.2f} at ${price:g} each" if price is not None else ""
        lines.append(
            f"  {digits(hours)} chip-hours at least{dollars}: no run beats the roofline, and many take twice as long"
        )
    return "\n".join(lines)


def busy(plan: Plan) -> str:
    if plan.others is None:
        return "how busy the machine was meanwhile is not known here"
    said = f"other processes kept {plan.others:.1f} of {os.cpu_count()} processors busy meanwhile"
    return f"{said}: a quiet machine is faster" if plan.others > 0.2 else said


def chip_hours(plan: Plan) -> float | None:
    return None if plan.step_seconds is None else plan.chips * plan.work.steps * plan.step_seconds / 3600


def as_json(plan: Plan, price: float | None = None) -> dict[str, Any]:
    work = plan.work
    found: dict[str, Any] = {
        "params_total": work.params_total,
        "params_non_embedding": work.params_non_embedding,
        "params_active": work.params_active,
        "blocks": {name: total for name, total, _ in work.blocks},
        "flops_per_step": work.flops_per_step,
        "flops_compiled": work.compiled_flops,
        "unit": plan.unit,
        "tokens": work.units,
        "steps": work.steps,
        "fits": plan.fits,
        "refused": plan.refused,
        "state_bytes": plan.state_bytes,
        "estimated_bytes": plan.estimated_bytes,
        "available_bytes": plan.available_bytes,
        "xla_bytes": plan.xla_bytes,
        "peak_bytes": plan.peak_bytes,
        "step_seconds_estimate": plan.step_seconds,
        "run_seconds_estimate": None if plan.step_seconds is None else plan.step_seconds * work.steps,
        "step_seconds_least": plan.least_seconds,
        "timed_steps": plan.timed_steps,
        "others_busy": plan.others,
        "compile_seconds": plan.compile_seconds,
        "devices": plan.devices,
        "mfu": plan.mfu if plan.peak and plan.step_seconds else None,
        "mesh": plan.mesh,
        "changes": list(plan.chosen),
    }
    if plan.chip:
        found |= {
            "chip": plan.chip.name,
            "chips": plan.chips,
            "chip_hours": chip_hours(plan),
            "dollars": None if price is None or (hours := chip_hours(plan)) is None else hours * price,
            "hbm_bytes_per_chip": plan.peak_bytes,
            "hbm_capacity": plan.chip.memory,
            "collectives": [each._asdict() for each in plan.collectives],
            "step_seconds_roofline": plan.step_seconds,
            "seconds_products": plan.compute_seconds,
            "seconds_memory": plan.memory_seconds,
            "seconds_waited": plan.waited,
            "seconds_exchange": plan.exchange_seconds,
            "mfu_roofline": plan.mfu,
        }
    return found
