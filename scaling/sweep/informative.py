"""Which runs tell most about the best size, for a budget of compute: a design by information, beside an isoFLOP grid.

The variance of ln N_opt at a target is, to first order, g' M^-1 g: M sums over runs the squares of the derivatives of
log L by the law's coordinates, g is the derivative of ln N_opt.  Runs are added by how much they lower it, then
exchanged while an exchange lowers it.  R candidate runs, P parameters of the law.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from scaling.laws import LAWS, hoffmann
from scaling.laws.api import Law, Params
from scaling.laws.optimum import optimum
from scaling.sweep.design import Job, jobs, parameters, units
from train.errors import UserError

NOISE = 0.005  # sd of log loss from run to run that the figures assume
RATIOS = np.geomspace(1.0, 1000.0, 25)  # tokens per parameter that a candidate may train on
PRIOR = 5.0  # sd of each coordinate before any run, in logs: keeps the first steps defined, and no more
LARGEST = 0.25  # share of the budget that one run may take


class Choice(NamedTuple):
    """One run of the design."""

    name: str
    overrides: dict[str, Any]
    n: float
    d: float
    flops: float  # 6 N D
    without: float  # sd of ln N_opt if this run were left out, over that of the whole design


class Design(NamedTuple):
    """Runs, and how well they should tell the best size at `target` FLOPs."""

    runs: list[Choice]
    flops: float  # of all runs
    target: float
    sd_log_n: float  # of ln N_opt there, with `NOISE`, linearised
    sd_a: float  # of the exponent of N_opt ~ C^a
    grid_runs: int  # of the config's own isoFLOP sweep, or 0
    grid_flops: float
    grid_sd_log_n: float  # of that sweep repeated until it has spent what the design spends; nan where there is none
    assumed: dict[str, float]
    own: bool  # is `assumed` a fit of the reader's, instead of a published one?
    said: list[str]


class Candidate(NamedTuple):
    """A run that could be made."""

    name: str
    overrides: dict[str, Any]
    n: float
    d: float
    flops: float  # 6 N D


def informative(
    module: Any,
    config: ConfigDict,
    budget: float,
    points: int = 25,
    params: Params | None = None,
    target: float | None = None,
) -> Design:
    """The design of a config whose `sweep()` names shapes; `params` is what the law is thought to be."""
    shapes = module.sweep().get("shapes") if hasattr(module, "sweep") else None
    if not shapes or len(shapes) < 3:
        raise UserError(
            "the config's sweep() names fewer than three shapes; give it {'name': 'isoflop', 'shapes': {…}}"
        )
    made = designed(_candidates(config, shapes, budget * LARGEST), budget, points, params, target)
    unfit = [name for name in shapes if not any(run.name.startswith(f"{name}_s") for run in made.candidates)]
    said = [f"no run of {', '.join(unfit)} fits into a quarter of the budget, {budget * LARGEST:.3g} FLOP"] * bool(
        unfit
    )
    design = made.design
    grid = _grid(module, config, design.assumed, design.target, design.flops)
    return design._replace(grid_runs=grid[0], grid_flops=grid[1], grid_sd_log_n=grid[2], said=[*design.said, *said])


def elsewhere(
    n: Sequence[float],
    d: Sequence[float],
    budget: float,
    points: int = 25,
    params: Params | None = None,
    target: float | None = None,
) -> Design:
    """The design of runs that are made elsewhere: any of the sizes `n` on any of the token counts `d`."""
    if len(n) < 3 or len(d) < 3:
        raise UserError(f"--n gives {len(n)} sizes and --d {len(d)} token counts; a law of both needs three of each")
    most = budget * LARGEST
    runs = [Candidate(f"{a:.3g}_{b:.3g}", {}, a, b, 6.0 * a * b) for a in n for b in d if 6.0 * a * b <= most]
    unfit = [f"{a:.3g}" for a in n if not any(run.n == a for run in runs)]
    design = designed(runs, budget, points, params, target).design
    said = [f"no run of N = {', '.join(unfit)} fits into a quarter of the budget, {most:.3g} FLOP"] * bool(unfit)
    return design._replace(said=[*design.said, *said])


def values(text: str, flag: str, many: int = 12) -> list[float]:
    """Of "1e7:1e9" `many` values, evenly in logs; of "1e7,3e7,1e8" these."""
    low, colon, high = text.partition(":")
    try:
        found = [float(low), float(high)] if colon else [float(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(math.isfinite(v) and v > 0 for v in found) or (colon and found[0] >= found[1]):
        raise UserError(f"{flag} is {text!r}; give a range such as 1e7:1e9, or values such as 1e7,3e7,1e8")
    return np.geomspace(*found, many).tolist() if colon else sorted(set(found))


class Designed(NamedTuple):
    """A design, and all runs that it was chosen from."""

    design: Design
    candidates: list[Candidate]


def designed(
    candidates: list[Candidate], budget: float, points: int, params: Params | None, target: float | None
) -> Designed:
    """The most telling `points` of the candidates within `budget`; no grid beside them yet."""
    if not (math.isfinite(budget) and budget > 0):
        raise UserError(f"--budget is {budget:g} FLOPs; it must be positive")
    if points < len(LAWS["chinchilla"].names) + 1:
        raise UserError(f"--points is {points}; six runs at least show five constants and that they fit")
    law, assumed = LAWS["chinchilla"], dict(params or hoffmann.PUBLISHED)
    if set(assumed) != set(law.names):
        raise UserError(f"a design takes a fit of law chinchilla, and --fit has {', '.join(assumed)}; fit that law")
    if len(candidates) < 6:
        raise UserError(f"{budget:.3g} FLOPs are too few: only {len(candidates)} of the runs fit into it")
    n, d, cost = (np.array([run[i] for run in candidates], np.float64) for i in (2, 3, 4))
    target = float(target or 10 * budget)
    rows, goals = information(law, assumed, n, d, target)
    chosen = choose(rows, goals[0], cost, budget, points)
    base = _sd(rows[chosen], goals[0])
    runs = [
        Choice(*candidates[i], _sd(rows[[j for j in chosen if j != i]], goals[0]) / base)
        for i in sorted(chosen, key=lambda i: cost[i])
    ]
    spent = float(cost[chosen].sum())
    said = []
    if spent < budget / 2:
        said.append(
            f"these runs cannot spend the budget: {len(runs)} of them take {spent:.3g} of {budget:.3g} FLOP; "
            f"{'--points allows more' if len(runs) == points else 'larger shapes or longer runs would'}"
        )
    sd = _sd(rows[chosen], goals[1])
    return Designed(
        Design(runs, spent, target, base, sd, 0, 0.0, math.nan, assumed, params is not None, said), candidates
    )


def information(law: Law, params: Params, n: np.ndarray, d: np.ndarray, target: float):
    """Derivatives [R, P] of log L by the law's coordinates over `NOISE`; and those [2, P] of ln N_opt and of a."""
    middle = {"loss": 0.0, "n": float(np.log(n).mean()), "d": float(np.log(d).mean())}
    theta = law.rescale(law.free(params), middle, sign=-1.0)
    step = 1e-5 * np.eye(theta.size)
    at = lambda t: law.at(t, np.log(n) - middle["n"], np.log(d) - middle["d"])
    rows = np.stack([(at(theta + s) - at(theta - s)) / 2e-5 for s in step], 1) / NOISE
    best = lambda t: np.log(optimum(law, law.rescale(t, middle), target)["n"])
    slope = lambda t: law.derived["a"](law.published(t))
    goals = np.stack([[(of(theta + s) - of(theta - s)) / 2e-5 for s in step] for of in (best, slope)])
    return rows, goals


def choose(
    rows: Float[np.ndarray, "R P"], goal: Float[np.ndarray, " P"], cost: np.ndarray, budget: float, points: int
) -> list[int]:
    """Indices of the runs: greedy, then exchanges, within `budget` and at most `points` runs."""
    inverse, chosen, spent = PRIOR**2 * np.eye(goal.size), [], 0.0
    while len(chosen) < points:
        left = [i for i in range(len(cost)) if i not in chosen and spent + cost[i] <= budget]
        if not left:
            break
        gain = _gains(inverse, rows[left], goal) / np.sqrt(cost[left])  # between the best run and the best value
        best = left[int(np.argmax(gain))]
        chosen.append(best)
        spent += cost[best]
        change = inverse @ rows[best]
        inverse = inverse - np.outer(change, change) / (1.0 + rows[best] @ change)
    return _exchanged(chosen, rows, goal, cost, budget)


def _exchanged(chosen: list[int], rows: np.ndarray, goal: np.ndarray, cost: np.ndarray, budget: float) -> list[int]:
    """Swaps a chosen run for another while that lowers the variance within the budget."""
    chosen = list(chosen)
    for _ in range(4 * len(chosen)):
        now, best = _sd(rows[chosen], goal), None
        for k, old in enumerate(chosen):
            rest = chosen[:k] + chosen[k + 1 :]
            room = budget - cost[rest].sum()
            left = [i for i in range(len(cost)) if i not in chosen and cost[i] <= room]
            if not left:
                continue
            inverse = np.linalg.inv(rows[rest].T @ rows[rest] + np.eye(goal.size) / PRIOR**2)
            after = np.sqrt(goal @ inverse @ goal - _gains(inverse, rows[left], goal))
            i = int(np.argmin(after))
            if after[i] < now * (1 - 1e-6):
                now, best = after[i], (old, left[i])
        if best is None:
            break
        chosen[chosen.index(best[0])] = best[1]
    return chosen


def _gains(inverse: np.ndarray, rows: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """By how much one more run lowers g' M^-1 g (Sherman-Morrison)."""
    change = rows @ inverse
    return (change @ goal) ** 2 / (1.0 + np.einsum("rp,rp->r", change, rows))


def _sd(rows: np.ndarray, goal: np.ndarray) -> float:
    return float(np.sqrt(goal @ np.linalg.solve(rows.T @ rows + np.eye(goal.size) / PRIOR**2, goal)))


def _candidates(config: ConfigDict, shapes: Any, most: float) -> list[Candidate]:
    """Every shape at every number of tokens, in whole steps."""
    found = {}
    least = 4 * int(config.schedule.get("warmup", 5))  # a run that is mostly warmup tells of its warmup
    for name, changes in shapes.items():
        n, per_step = parameters(config, changes), units(config, changes)
        for ratio in RATIOS:
            steps = round(ratio * n / per_step)
            flops = 6.0 * n * steps * per_step
            if steps >= least and flops <= most:
                overrides = {**changes, "steps": steps}
                found[name, steps] = Candidate(f"{name}_s{steps}", overrides, float(n), float(steps * per_step), flops)
    return list(found.values())


def _grid(module: Any, config: ConfigDict, params: Params, target: float, spent: float) -> tuple[int, float, float]:
    """Runs, FLOPs and sd of ln N_opt of the config's own isoFLOP sweep; sd as if repeated to `spent` FLOPs."""
    law = LAWS["chinchilla"]
    if module.sweep().get("name") != "isoflop":
        return 0, 0.0, math.nan
    made: list[Job] = jobs(module, config)
    sizes = np.array([parameters(config, {k: v for k, v in job.overrides.items() if k != "steps"}) for job in made])
    flops = np.array([job.flops for job in made])
    rows, goals = information(law, params, sizes.astype(np.float64), flops / (6.0 * sizes), target)
    return len(made), float(flops.sum()), _sd(rows * math.sqrt(spent / flops.sum()), goals[0])


def text(design: Design) -> str:
    """What the terminal shows."""
    lines = [
        f"{len(design.runs)} runs, {design.flops:.3g} FLOP (6 N D), for the best size at {design.target:.3g} FLOPs",
        f"  {'run':<18} {'N':>14} {'D':>18} {'D/N':>8} {'FLOP':>10}   error without it",
    ]
    for run in design.runs:
        lines.append(
            f"  {run.name:<18} {run.n:>14,.0f} {run.d:>18,.0f} {run.d / run.n:>8.3g} {run.flops:>10.2e}"
            f"   ×{run.without:.2f}"
        )
    lines.append(
        f"if loss scatters by {NOISE:.1%}: ln N_opt ± {design.sd_log_n:.2g} (N_opt to a factor "
        f"{math.exp(design.sd_log_n):.2f}), a ± {design.sd_a:.2g}; linearised"
    )
    if math.isfinite(design.grid_sd_log_n):
        lines.append(
            f"the config's own isoFLOP grid ({design.grid_runs} runs, {design.grid_flops:.3g} FLOP), repeated to the "
            f"same compute: ln N_opt ± {design.grid_sd_log_n:.2g}"
        )
    assumed = ", ".join(f"{name} {value:.4g}" for name, value in design.assumed.items())
    lines.append(f"law assumed: {assumed}" + ("" if design.own else "; --fit FILE starts from your own"))
    lines += [f"! {sentence}" for sentence in design.said]
    return "\n".join(lines)
