"""Learning-rate schedules as plain functions of the step, on the host.

Each builder takes the length of the run in steps and returns `shape(step) -> float`, which multiplies the optimizer's
learning rate; `warmup` steps rise linearly to 1 first, or that share of the run where it is below 1, such as 0.05.
Their values reach the compiled step as an input, so runs that differ only here share one program.  A config may also
name module:symbol, of such a builder (train/code.py).
"""

import math
from collections.abc import Callable

from train.errors import UserError

Schedule = Callable[[int], float]
Warmup = int | float  # steps, or below 1 a share of the run


def steps_of(warmup: Warmup, steps: int) -> int:
    """A share of the run is one step at least."""
    if 0 < warmup < 1:
        return max(1, round(warmup * steps))
    if warmup != int(warmup):
        raise UserError(f"config.schedule.warmup={warmup} is neither whole steps nor a share below 1, such as 0.05")
    if not 0 <= warmup <= steps:
        raise UserError(
            f"config.schedule.warmup={warmup} does not fit into config.steps={steps}; use 0 … {steps}, or a share of "
            "the run such as 0.05"
        )
    return int(warmup)


def warmed(shape: Callable[[float], float], steps: int, warmup: Warmup) -> Schedule:
    """`shape` over the fraction of the run that follows the warmup; step 0 already moves."""
    warmup = steps_of(warmup, steps)

    def at(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return shape((step - warmup) / max(1, steps - warmup))

    return at


def of_run(shape: Callable[[float], float], steps: int, warmup: Warmup) -> Schedule:
    """`shape` over the fraction of the whole run, once the warmup is over."""
    warmup = steps_of(warmup, steps)
    after = warmed(lambda t: 1.0, steps, warmup)
    return lambda step: after(step) if step < warmup else shape(step / steps)


def constant(steps: int, warmup: Warmup = 0) -> Schedule:
    return warmed(lambda t: 1.0, steps, warmup)


def cosine(steps: int, warmup: Warmup = 0, floor: float = 0.0) -> Schedule:
    """Falls to `floor` by half a cosine (Loshchilov & Hutter 2016)."""
    return warmed(lambda t: floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(t, 1.0))), steps, warmup)


def linear(steps: int, warmup: Warmup = 0, floor: float = 0.0) -> Schedule:
    return warmed(lambda t: 1 - (1 - floor) * min(t, 1.0), steps, warmup)


def polynomial(steps: int, power: float, warmup: Warmup = 0, floor: float = 0.0) -> Schedule:
    """Falls to `floor` as (1 - t)^power (Chen et al. 2016 with 0.9); `linear` is power 1."""
    return warmed(lambda t: floor + (1 - floor) * (1 - min(t, 1.0)) ** power, steps, warmup)


def exponential(steps: int, floor: float, warmup: Warmup = 0) -> Schedule:
    """The same factor at every step, which leads to `floor` at the end."""
    if not 0 < floor <= 1:
        raise UserError(f"config.schedule.floor={floor} is what the last step is multiplied by; use 0 < floor <= 1")
    return warmed(lambda t: floor ** min(t, 1.0), steps, warmup)


def cosine_restarts(steps: int, cycles: int, warmup: Warmup = 0, floor: float = 0.0) -> Schedule:
    """`cycles` cosines of equal length, each from the peak to `floor` (Loshchilov & Hutter 2016, SGDR)."""
    if cycles < 1:
        raise UserError(f"config.schedule.cycles={cycles}; use 1 or more")
    phase = lambda t: t * cycles % 1 if t < 1 else 1.0
    return warmed(lambda t: floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * phase(t))), steps, warmup)


def wsd(steps: int, warmup: Warmup = 0, decay: float = 0.2, floor: float = 0.0) -> Schedule:
    """Warmup, stable, then linear decay over the last `decay` of the run (Hu et al. 2024, MiniCPM).

    A warmup that reaches into it shortens the decay: it begins at the peak.
    """
    if not 0 < decay <= 1:
        raise UserError(f"config.schedule.decay={decay} is the fraction of the run that decays; use 0 < decay <= 1")
    part = min(decay, 1 - steps_of(warmup, steps) / steps) or 1.0
    return of_run(lambda t: floor + (1 - floor) * min(1.0, max(0.0, (1 - t) / part)), steps, warmup)


def inverse_sqrt(steps: int, warmup: Warmup) -> Schedule:
    """1/√step after the warmup (Vaswani et al. 2017), continuous where they meet."""
    first = steps_of(warmup, steps)
    return warmed(lambda t: math.sqrt(max(1, first) / (max(1, first) + t * (steps - first))), steps, first)


def step(steps: int, at: tuple[float, ...], factor: float = 0.1, warmup: Warmup = 0) -> Schedule:
    """Multiplies by `factor` at each fraction of the run in `at` (He et al. 2015)."""
    return of_run(lambda t: factor ** sum(t >= edge for edge in at), steps, warmup)
