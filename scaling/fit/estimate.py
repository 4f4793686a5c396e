"""Fits any law to runs: a robust loss on log L, many starts, and a certificate of the optimum that they found.

P parameters of the law, F of them free, R runs, I inputs of the law, B problems solved together.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
from jaxtyping import Float

from scaling.fit.identify import check
from scaling.fit.question import Question, question
from scaling.fit.solver import Solution, solve
from scaling.laws.api import Law

Columns = Mapping[str, Any]  # column name -> float64 [runs]
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


class Problem(NamedTuple):
    """A law and runs as the solver sees them: logs of ratios to geometric means, and the directions that are free."""

    question: Question
    x: Float[np.ndarray, "I R"]
    y: Float[np.ndarray, " R"]
    units: dict[str, float]  # column -> log of its geometric mean
    base: Float[np.ndarray, " P"]  # centred coordinates of what is pinned, 0 elsewhere
    basis: Float[np.ndarray, "P F"]

    @property
    def law(self) -> Law:
        return self.question.law

    def solve(self, y: Any, weights: Any, theta: Any) -> Solution:
        """As `solver.solve`: B problems from `theta` [B, P], centred; `y` and `weights` are [B or 1, R]."""
        return solve(self.law.predict, self.x, y, weights, theta, self.question.delta, self.basis[None])

    @property
    def starts(self) -> Float[np.ndarray, "S P"]:
        """The law's, which are of a centred output: where the output is fitted as it is, in its unit."""
        starts = np.asarray(self.law.starts, np.float64)
        return self.law.rescale(starts, {self.law.output: float(np.log(self.y).mean())}) if self.law.logs else starts

    def raw(self, theta: Any) -> np.ndarray:
        return self.law.rescale(theta, self.units)


def fit(ask: Law | Question, columns: Columns, *, certify: bool = True) -> Fit:
    """The best of all starts.  `columns` are [runs], each of the law's inputs and its output by name.

    Without `certify` the certificate leaves out its invariance, which costs three more fits.  Hoffmann et al. 2022 sum
    the loss over runs; a mean stops L-BFGS at its starting points, while here no scale of the objective matters.

    Raises UserError where the rows cannot identify the law's free parameters.
    """
    asked = question(ask)
    columns = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    check(asked, columns)
    problem = centre(asked, columns)
    found, share, others = search(problem)
    certificate = Certificate(
        gradient_norm=float(found.gradient_norm[0]),
        hessian_condition=float(np.linalg.cond(found.hessian[0])),
        eigenvalues=[float(v) for v in np.linalg.eigvalsh(found.hessian[0])[::-1]],
        starts=len(asked.law.starts),
        starts_at_optimum=share,
        other_minima=others,
        invariance=invariance(problem, columns, found.theta[0]) if certify else math.nan,
    )
    return Fit(asked, columns, problem.raw(found.theta[0]), float(found.objective[0]), certificate)


def search(problem: Problem) -> tuple[Solution, float, list[dict[str, Any]]]:
    """The optimum from all starts, the share of starts that end there, and the other minima they met."""
    rows = np.arange(problem.y.size)
    if rows.size > SAMPLE:  # a sample chooses the basins, all rows then decide within them
        rows = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
    some = problem._replace(x=problem.x[:, rows], y=problem.y[rows])
    starts = project(some, some.starts)
    found = some.solve(some.y[None], np.ones((1, rows.size)), starts)
    order = np.argsort(found.objective)
    basins = _distinct(found, order[np.isfinite(found.objective[order])])
    if rows.size < problem.y.size:
        near = basins[found.objective[basins] < 1.1 * found.objective[basins[0]]][:4]
        best = problem.solve(problem.y[None], np.ones((1, problem.y.size)), found.theta[near])
        basins, objective = np.argsort(best.objective), best.objective
    else:
        best, objective = found, found.objective
    share = float(np.mean(found.objective <= np.nanmin(found.objective) * 1.01 + 1e-24))
    others = [
        {
            "objective": float(objective[i]),
            "above": float(objective[i] / objective[basins[0]] - 1) if objective[basins[0]] > 1e-20 else math.inf,
            "params": {k: float(v) for k, v in problem.law.published(problem.raw(best.theta[i])).items()},
        }
        for i in basins[1:6]
        if best.moved[i] < 1e-9 and best.gradient_norm[i] < 1e-6 * min(problem.question.delta, 1.0)
    ]
    return Solution(*(v[basins[:1]] for v in best)), share, others


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
    found = [problem.solve(y, np.full_like(y, scale), start).theta[0] for scale in (1e-6, 1e6)]
    units = {name: problem.law.units.get(name, name) for name in problem.law.inputs}
    scaled = {name: v / 1e6 if units.get(name) else v for name, v in columns.items()}
    if not problem.question.pin:
        other = centre(problem.question, scaled)
        found.append(other.solve(other.y[None], np.ones_like(y), start).theta[0])
    return max(float(np.max(np.abs(other - theta) / np.maximum(np.abs(theta), 1e-3))) for other in found)


def centre(ask: Law | Question, columns: Columns) -> Problem:
    """Columns as logs of ratios to their geometric means, and constraints as the directions that they leave free."""
    asked = question(ask)
    law = asked.law
    means = {name: float(np.log(columns[name]).mean()) for name in law.inputs}
    units = {name: means[law.units[name]] if law.units.get(name) else means[name] for name in law.inputs}
    if law.space == "log":
        units[law.output] = float(np.log(columns[law.output]).mean())
    units |= {name: 0.0 for name, shared in law.units.items() if shared is None}
    x = np.stack([np.log(columns[name]) - units[name] for name in law.inputs])
    y = law.response(columns[law.output]) - units.get(law.output, 0.0)
    return Problem(asked, x, y, units, *asked.constraints(units))


def predict(law: Law, theta: Any, columns: Columns) -> np.ndarray:
    """log output (output, where the law's space is linear) of theta [..., P], in the units of the columns."""
    return law.at(theta, *(np.log(np.asarray(columns[name], np.float64)) for name in law.inputs))


def mean_log(values: Sequence[float] | np.ndarray) -> float:
    """Geometric mean."""
    return float(np.exp(np.log(values).mean()))
