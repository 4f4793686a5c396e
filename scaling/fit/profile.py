"""Profile intervals: how far a constant can be moved before the loss rises by more than noise explains."""

import functools
import math
from collections.abc import Callable

import numpy as np
import scipy.special

from scaling.fit import boundary
from scaling.fit.estimate import Fit
from scaling.fit.intervals import LEVEL, Interval
from scaling.fit.problem import Problem, centre
from scaling.fit.solver import solve


def profile(fit: Fit, level: float = LEVEL) -> dict[str, Interval]:
    """Profile intervals of parameters, and of N_opt's exponent a where the law names the two it follows from.

    Each is held at values further and further out and the others refitted, until the loss has risen by what noise
    explains: for a robust loss rho with derivative psi, 2 (rho - rho_min) E[psi'] / E[psi^2] is chi-squared with one
    degree of freedom (Huber 1981, section 7.10), here Student's t^2 for the few runs there are.
    """
    problem = centre(fit.question, fit.columns)
    dof = problem.y.size - problem.basis.shape[1]
    if dof < 1:
        return {}
    allowed = scipy.special.stdtrit(dof, 0.5 + level / 2) ** 2 / 2 * _loss_unit(fit, problem.basis.shape[1])
    holds, found = _holds(fit, problem), {**fit.params, **fit.derived, **_near_zero(fit, problem)}
    zero = fit.certificate.at_zero
    sides = [(name, sign) for name in holds for sign in (-1.0, 1.0)]

    def value(name: str, step: float) -> float:
        centre_value = found[name]
        return centre_value * math.exp(step) if centre_value > 0 else centre_value + step

    def within(steps: list[tuple[str, float]]) -> np.ndarray:
        return _rise(fit, problem, [holds[name](value(name, step)) for name, step in steps]) < allowed

    reach = 0.02 * 2.0 ** np.arange(11)
    inside = within([(name, sign * step) for name, sign in sides for step in reach]).reshape(len(sides), -1)
    last = np.where(inside.all(1), len(reach), inside.argmin(1))  # the first step that is outside
    inner, outer = np.r_[0.0, reach][last], np.r_[reach, np.inf][last]
    for _ in range(12):
        middle = np.where(np.isfinite(outer), 0.5 * (inner + outer), inner)
        kept = within([(name, sign * step) for (name, sign), step in zip(sides, middle, strict=True)])
        inner, outer = np.where(kept, middle, inner), np.where(kept, outer, middle)
    ends = {}
    for (name, sign), step, count in zip(sides, 0.5 * (inner + outer), last, strict=True):
        if name in zero and (sign < 0 or count == 0):  # the least loss is at zero itself
            ends.setdefault(name, []).append(0.0)
            continue
        unbounded = (0.0 if sign < 0 and found[name] > 0 else sign * math.inf) if count == len(reach) else None
        ends.setdefault(name, []).append(value(name, sign * step) if unbounded is None else unbounded)
    return {name: (low, high) for name, (low, high) in ends.items()}


def _rise(fit: Fit, problem: Problem, held: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """How far the loss rises [held] when h . theta = target is kept and everything else refitted."""
    centred = fit.law.rescale(fit.theta, problem.units, sign=-1.0)
    objective = np.full(len(held), np.inf)
    for start in boundary.starts(problem, centred):
        starts, bases = [], []
        for h, target in held:
            reduced = h @ problem.basis
            starts.append(start + problem.basis @ reduced * (target - h @ start) / (reduced @ reduced))
            bases.append(problem.basis @ np.linalg.svd(reduced[None])[2][1:].T)
        made = solve(
            fit.law.predict, problem.x, problem.y[None], np.ones((1, problem.y.size)), np.array(starts),
            fit.question.delta, np.array(bases),
        )  # fmt: skip
        objective = np.fmin(objective, made.objective)
    return objective - fit.objective


def _near_zero(fit: Fit, problem: Problem) -> dict[str, float]:
    """Where the search for an upper end starts, for parameters that are zero: a thousandth of the columns' scale."""
    at = fit.law.rescale(fit.theta, problem.units, sign=-1.0)
    at = np.where(boundary.gone(problem, at), math.log(1e-3), at)
    return {name: float(fit.law.published(problem.raw(at))[name]) for name in fit.certificate.at_zero}


def _loss_unit(fit: Fit, free: int) -> float:
    """E[psi^2] / E[psi'] of the residuals, corrected for the parameters fitted: what one unit of deviance is worth."""
    r, delta = fit.residuals, fit.question.delta
    through = np.sort(np.argsort(np.abs(r))[min(free, r.size - 3) :])
    pool = r[through]
    width = 1.06 * min(np.std(pool), np.ptp(np.quantile(pool, [0.25, 0.75])) / 1.349) * pool.size**-0.2 + 1e-150
    scale = math.sqrt(r.size / (r.size - free))
    if not math.isfinite(delta):
        return float(np.mean((scale * r) ** 2))
    normal = scipy.special.ndtr
    smooth = scale * pool
    inside = np.mean(normal((delta - smooth) / width) - normal((-delta - smooth) / width))
    return float(np.mean(np.clip(scale * r, -delta, delta) ** 2) / max(inside, 1e-12))


def _holds(fit: Fit, problem: Problem) -> dict[str, Callable[[float], tuple[np.ndarray, float]]]:
    """name -> (value -> h, target), such that h . theta = target holds it there, in centred coordinates.

    Left out are parameters whose unit is no linear function of the exponents.
    """
    law, held = fit.law, {}

    def hold(i: int, value: float) -> tuple[np.ndarray, float]:
        param = law.params[i]
        h, target = np.zeros(len(law.params)), math.log(value) if param.kind == "positive" else value
        h[i] = 1.0
        for column, power in param.parsed.items():
            unit = problem.units.get(column, 0.0)
            target -= power.constant * unit
            if power.exponent:
                h[law.index(power.exponent)] += power.slope * unit
        return h, target

    for i, param in enumerate(law.params):
        fixed = param.name in fit.question.pin or param.name in fit.question.tie
        linear = all(
            not power.inverse and law.params[law.index(power.exponent)].kind == "real"
            for power in param.parsed.values()
            if power.exponent
        )
        if not fixed and linear and not (param.kind == "real" and param.powers):
            held[param.name] = functools.partial(hold, i)
    if law.exponents and set(law.exponents) <= set(held) and not fit.question.tie:
        i, j = map(law.index, law.exponents)
        unit = np.eye(len(law.params))
        held["a"] = lambda value: ((1.0 - value) * unit[j] - value * unit[i], 0.0)
    return held
