"""Fits any law to runs: a robust loss on log L, many starts, and a certificate of the optimum that they found.

P parameters of the law, F of them free, R runs, I inputs of the law, B problems solved together.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
from jaxtyping import Float

from scaling.fit import boundary, conditions
from scaling.fit.identify import check
from scaling.fit.problem import Columns, Problem, centre, predict
from scaling.fit.question import Question, question
from scaling.fit.solver import SMALL, Solution, huber_numpy
from scaling.laws.api import Law
from train.errors import UserError

SAMPLE = 2048  # rows that choose among starts; all rows decide the optimum


class Certificate(NamedTuple):
    """What shows that an optimum is one, whatever the noise of the data."""

    gradient_norm: float  # of the summed loss by the free coordinates, columns centred
    hessian_condition: float
    eigenvalues: list[float]  # of the same Hessian, largest first
    starts: int
    starts_at_optimum: float  # share of starts that end within 1 % of the objective
    other_minima: list[dict[str, Any]]  # objective, how far above the best, params: those that converged, best first
    invariance: float  # largest relative change of a parameter when objective or units change a millionfold
    converged: bool = True  # first and second order conditions of a minimum hold
    reason: str = ""  # what keeps the optimum from being one
    at_zero: tuple[str, ...] = ()  # positive parameters that the rows are explained no worse without


class Fit(NamedTuple):
    """An optimum and how far to trust it."""

    question: Question
    columns: dict[str, np.ndarray]  # as given, float64 [runs]
    theta: Float[np.ndarray, " P"]  # free coordinates in the units of the columns
    objective: float  # Huber loss summed over runs (Hoffmann et al. 2022, equation 3)
    certificate: Certificate

    @property
    def law(self) -> Law:
        return self.question.law

    @property
    def params(self) -> dict[str, float]:
        """As published."""
        return {name: float(v) for name, v in self.law.published(self.theta).items()}

    @property
    def derived(self) -> dict[str, float]:
        return {name: float(of(self.params)) for name, of in self.law.derived.items()}

    @property
    def residuals(self) -> Float[np.ndarray, " R"]:
        """log measured - log fitted output (measured - fitted where the law's space is linear)."""
        return self.law.response(self.columns[self.law.output]) - predict(self.law, self.theta, self.columns)

    @property
    def relative(self) -> Float[np.ndarray, " R"]:
        """Residuals as parts of the fitted output, whatever space they were made in."""
        if self.law.space == "log":
            return self.residuals
        measured = self.columns[self.law.output]
        return self.residuals / (measured - self.residuals)


def fit(ask: Law | Question, columns: Columns, *, certify: bool = True) -> Fit:
    """The best of all starts.  `columns` are [runs], each of the law's inputs and its output by name.

    Without `certify` the certificate leaves out its invariance, which costs two more fits; a start that stalled is
    polished once instead of `conditions.TRIES` times; and where amplitudes are
    solved for only the `SMALL` starts of least loss are used: for tables that fit again and again.

    Hoffmann et al. 2022 sum the loss over runs; a mean stops L-BFGS at its starting points, while here no scale of the
    objective matters.

    Raises UserError where the rows cannot identify the law's free parameters.
    """
    asked = question(ask)
    columns = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    check(asked, columns)
    problem = centre(asked, columns)
    found, share, others, reason = search(problem) if certify else _lean(problem)
    theta = found.theta[0]
    zero = boundary.gone(problem, theta)
    inside = found.hessian[0][np.ix_(*[~problem.basis[zero].any(0)] * 2)]  # a parameter at zero has no curvature
    certificate = Certificate(
        gradient_norm=float(found.gradient_norm[0]),
        hessian_condition=float(np.linalg.cond(inside)) if inside.size else 1.0,
        eigenvalues=[float(v) for v in np.linalg.eigvalsh(inside)[::-1]],
        starts=len(asked.law.starts),
        starts_at_optimum=share,
        other_minima=others,
        invariance=invariance(problem, columns, theta) if certify else math.nan,
        converged=not reason,
        reason=reason,
        at_zero=tuple(name for name, at in zip(asked.law.names, zero, strict=True) if at),
    )
    return Fit(asked, columns, problem.raw(theta), float(found.objective[0]), certificate)


class Search(NamedTuple):
    """What all starts led to."""

    best: Solution  # one problem
    share: float  # of starts that end in it
    others: list[dict[str, Any]]  # the other minima they met
    reason: str  # what keeps the best from being a minimum; "" where nothing does


def _lean(problem: Problem) -> Search:
    """From the starts of least loss alone, where amplitudes are solved for; from all where that finds no minimum."""
    law, some = problem.law, sampled(problem)
    if not law.linear or len(law.starts) <= SMALL:
        return search(problem, tries=1)
    starts = project(some, np.asarray(law.starts))
    with np.errstate(all="ignore"):
        r = law.at(starts[:, None], *some.x) - some.y
        loss = huber_numpy(r, problem.question.delta).sum(1)
    best = np.argsort(np.where(np.isfinite(loss), loss, np.inf), kind="stable")[:SMALL]
    found = search(problem, starts[best], tries=1)
    return search(problem, tries=1) if found.reason else found


def sampled(problem: Problem) -> Problem:
    """The same of `SAMPLE` rows at most."""
    rows = np.arange(problem.y.size)
    if rows.size > SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
    return problem._replace(x=problem.x[:, rows], y=problem.y[rows])


def search(problem: Problem, begin: Float[np.ndarray, "S P"] | None = None, tries: int = conditions.TRIES) -> Search:
    """The optimum from all starts, or from `begin` (centred), and what else they met."""
    some = sampled(problem)  # chooses the basins, all rows then decide within them
    begin = project(some, some.starts) if begin is None else begin
    found = some.solve(some.y[None], np.ones((1, some.y.size)), begin)
    order = np.argsort(found.objective)
    if not np.isfinite(found.objective).any():
        raise UserError(
            f"no start of {problem.law.name} gives these rows a finite loss; leave out the most extreme rows"
        )
    basins = _distinct(found, order[np.isfinite(found.objective[order])])
    if some.y.size < problem.y.size:
        near = basins[found.objective[basins] < 1.1 * found.objective[basins[0]]][:4]
        met = problem.solve(problem.y[None], np.ones((1, problem.y.size)), found.theta[near])
        basins = np.argsort(met.objective)
    else:
        met = found
    y, ones = problem.y[None], np.ones((1, problem.y.size))
    best = boundary.settle(problem, y, ones, Solution(*(v[basins[:1]] for v in met)))
    best, reason = conditions.polish(problem, best, tries)
    for i in map(int, basins[1:POLISHED]):  # a start that stalled may end lower than the one that looked best
        if not _is_minimum(problem, met, i) and met.objective[i] < NEAR * best.objective[0]:
            other, why = conditions.polish(problem, Solution(*(v[i : i + 1] for v in met)), tries)
            if (bool(why), other.objective[0]) < (bool(reason), best.objective[0] * (1 - boundary.TIE)):
                best, reason = other, why
    least = best.objective[0]
    share = float(np.mean(found.objective <= max(np.nanmin(found.objective), least * (met is found)) * 1.01 + 1e-24))
    others = [
        {
            "objective": float(met.objective[i]),
            "above": float(met.objective[i] / least - 1),
            "params": {k: float(v) for k, v in problem.law.published(problem.raw(met.theta[i])).items()},
        }
        for i in map(int, basins[1:6])
        if _is_minimum(problem, met, i) and least > RESOLVED and 1e-6 < met.objective[i] / least - 1 < FAR
    ]
    return Search(best, share, others, reason)


POLISHED = 4  # basins that are solved on where their starts stalled
NEAR = 1.05  # of the least objective, within which such a basin may still win
FAR = 10.0  # times the least objective: a minimum that far above competes with nothing, and is not listed
RESOLVED = 1e-20  # an objective below is rounding: the law goes through every row, and nothing is so many times above


def _is_minimum(problem: Problem, found: Solution, i: int) -> bool:
    """Did this start settle where the gradient vanishes?"""
    return bool(found.moved[i] < 1e-9 and found.gradient_norm[i] < 1e-6 * min(problem.question.delta, 1.0))


def _distinct(found: Solution, order: np.ndarray) -> np.ndarray:
    """The first of each group of solutions whose objectives agree to a millionth."""
    values = found.objective[order]
    return order[np.r_[True, np.diff(values) > 1e-6 * np.abs(values[1:]) + 1e-22]]


def project(problem: Problem, starts: Float[np.ndarray, "S P"]) -> Float[np.ndarray, "S P"]:
    """Variable projection: the amplitudes that are best for the exponents of each start (Golub & Pereyra 1973).

    The output is a sum over amplitudes times functions of the exponents, so for least squares of relative errors they
    are a linear problem with non-negative solutions; a vanished one starts at a thousandth.
    """
    law = problem.law
    theta = problem.base + starts @ np.linalg.pinv(problem.basis).T @ problem.basis.T
    linear = [law.index(name) for name in law.linear]
    solved = [i for i in linear if problem.basis[i].any()]
    if not solved:
        return theta
    alone = np.tile(theta, (len(linear), 1, 1))
    for k, i in enumerate(linear):
        alone[k][:, [j for j in linear if j != i]] = -1e4
        alone[k][:, i] = theta[:, i] * (i not in solved)
    log_y = np.log(problem.y) if law.logs else problem.y
    terms = np.exp(law.in_logs.at(alone[:, :, None], *problem.x) - log_y)
    for s in range(len(starts)):
        known = sum((terms[k, s] for k, i in enumerate(linear) if i not in solved), np.zeros_like(problem.y))
        basis = np.stack([terms[k, s] for k, i in enumerate(linear) if i in solved], 1)
        size = np.sqrt(np.mean(basis**2, axis=0)) + 1e-300
        if np.isfinite(size).all():
            amplitudes, _ = scipy.optimize.nnls(basis / size, 1.0 - known)
            theta[s, solved] = np.log(np.maximum(amplitudes, 1e-3) / size)
    return theta


def invariance(problem: Problem, columns: Columns, theta: np.ndarray) -> float:
    """Solves again with the objective times 1e-6 and 1e6 and the inputs in units a million times larger."""
    start = theta[None] + 1e-3 * problem.basis.sum(1)
    y = problem.y[None]
    weights = np.concatenate([np.full_like(y, scale) for scale in (1e-6, 1e6)])
    found = list(problem.solve(y, weights, np.repeat(start, 2, 0)).theta)
    units = {name: problem.law.units.get(name, name) for name in problem.law.inputs}
    scaled = {name: v / 1e6 if units.get(name) else v for name, v in columns.items()}
    if not problem.question.pin:
        other = centre(problem.question, scaled)
        found.append(other.solve(other.y[None], np.ones_like(y), start).theta[0])
    return max(float(np.max(np.abs(other - theta) / np.maximum(np.abs(theta), 1e-3))) for other in found)


def mean_log(values: Sequence[float] | np.ndarray) -> float:
    """Geometric mean."""
    return float(np.exp(np.log(values).mean()))
