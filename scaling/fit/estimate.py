"""Fits any law to runs: a robust loss on log L, many starts, and a certificate of the optimum that they found.

P parameters of the law, F of them free, R runs, I inputs of the law, B problems solved together.
"""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
from jaxtyping import Float

from scaling.fit.identify import check, flags
from scaling.fit.solver import Solution, solve
from scaling.laws.api import Law
from train.errors import UserError

Columns = Mapping[str, Any]  # column name -> float64 [runs]
LOG_MSE = math.inf  # a Huber loss that is quadratic everywhere: pass as `delta` for least squares
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

    law: Law
    columns: dict[str, np.ndarray]  # as given, float64 [runs]
    delta: float  # of the Huber loss
    pin: dict[str, float]  # parameters held at a value
    tie: dict[str, str]  # parameters held equal to another
    theta: Float[np.ndarray, " P"]  # free coordinates in the units of the columns
    objective: float  # Huber loss summed over runs (Hoffmann et al. 2022, equation 3)
    certificate: Certificate
    warnings: list[str]

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
        return response(self.law, self.columns) - predict(self.law, self.theta, self.columns)


class Problem(NamedTuple):
    """A law and runs as the solver sees them: logs of ratios to geometric means, and the directions that are free."""

    law: Law
    x: Float[np.ndarray, "I R"]
    y: Float[np.ndarray, " R"]
    units: dict[str, float]  # column -> log of its geometric mean
    base: Float[np.ndarray, " P"]  # centred coordinates of what is pinned, 0 elsewhere
    basis: Float[np.ndarray, "P F"]

    def solve(self, y: Any, weights: Any, theta: Any, delta: float) -> Solution:
        """As `solver.solve`: B problems from `theta` [B, P], centred; `y` and `weights` are [B or 1, R]."""
        return solve(self.law.predict, self.x, y, weights, theta, delta, self.basis[None])

    def raw(self, theta: Any) -> np.ndarray:
        return self.law.rescale(theta, self.units)


def fit(
    law: Law,
    columns: Columns,
    *,
    delta: float = 1e-3,
    pin: Mapping[str, float] | None = None,
    tie: Mapping[str, str] | None = None,
    certify: bool = True,
) -> Fit:
    """The best of all starts.  `delta` is where the Huber loss on log L turns linear; `LOG_MSE` for least squares.

    `pin` holds published parameters at values, `tie` holds exponents equal to others; without `certify` the certificate
    leaves out its invariance, which costs three more fits.  Hoffmann et al. 2022 sum the loss over runs; a mean stops
    L-BFGS at its starting points, while here no scale of the objective matters.
    """
    if not delta > 0:
        raise UserError(f"delta is {delta:g}; it is a log loss, and positive: 1e-3 as published, inf for least squares")
    columns = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    pin, tie = dict(pin or {}), dict(tie or {})
    check(law, columns, len(law.params) - len(pin) - len(tie))
    problem = centre(law, columns, pin, tie)
    found, share, others = search(problem, delta)
    theta = problem.raw(found.theta[0])
    eigenvalues = np.linalg.eigvalsh(found.hessian[0])[::-1]
    certificate = Certificate(
        gradient_norm=float(found.gradient_norm[0]),
        hessian_condition=float(np.linalg.cond(found.hessian[0])),
        eigenvalues=[float(v) for v in eigenvalues],
        starts=len(law.starts),
        starts_at_optimum=share,
        other_minima=others,
        invariance=invariance(problem, columns, found.theta[0], delta, pin, tie) if certify else math.nan,
    )
    made = Fit(law, columns, delta, pin, tie, theta, float(found.objective[0]), certificate, [])
    return made._replace(warnings=flags(made))


def search(problem: Problem, delta: float) -> tuple[Solution, float, list[dict[str, Any]]]:
    """The optimum from all starts, the share of starts that end there, and the other minima they met."""
    rows = np.arange(problem.y.size)
    if rows.size > SAMPLE:  # a sample chooses the basins, all rows then decide within them
        rows = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
    some = problem._replace(x=problem.x[:, rows], y=problem.y[rows])
    starts = project(some, np.asarray(problem.law.starts))
    found = some.solve(some.y[None], np.ones((1, rows.size)), starts, delta)
    order = np.argsort(found.objective)
    basins = _distinct(found, order[np.isfinite(found.objective[order])])
    if rows.size < problem.y.size:
        near = basins[found.objective[basins] < 1.1 * found.objective[basins[0]]][:4]
        best = problem.solve(problem.y[None], np.ones((1, problem.y.size)), found.theta[near], delta)
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
        if best.moved[i] < 1e-9 and best.gradient_norm[i] < 1e-6 * min(delta, 1.0)
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
    terms = np.exp(law.at(alone[:, :, None], *problem.x) - problem.y)
    for s in range(len(starts)):
        known = sum((terms[k, s] for k, i in enumerate(linear) if i not in solved), np.zeros_like(problem.y))
        basis = np.stack([terms[k, s] for k, i in enumerate(linear) if i in solved], 1)
        size = np.sqrt(np.mean(basis**2, axis=0)) + 1e-300
        if np.isfinite(size).all():
            amplitudes, _ = scipy.optimize.nnls(basis / size, 1.0 - known)
            theta[s, solved] = np.log(np.maximum(amplitudes, 1e-3) / size)
    return theta


def invariance(problem: Problem, columns: Columns, theta: np.ndarray, delta: float, pin: Any, tie: Any) -> float:
    """Solves again with the objective times 1e-6 and 1e6 and the inputs in units a million times larger."""
    start = theta[None] + 1e-3 * problem.basis.sum(1)
    y = problem.y[None]
    found = [problem.solve(y, np.full_like(y, scale), start, delta).theta[0] for scale in (1e-6, 1e6)]
    units = {name: problem.law.units.get(name, name) for name in problem.law.inputs}
    scaled = {name: v / 1e6 if units.get(name) else v for name, v in columns.items()}
    if not pin:
        other = centre(problem.law, scaled, pin, tie)
        found.append(other.solve(other.y[None], np.ones_like(y), start, delta).theta[0])
    return max(float(np.max(np.abs(other - theta) / np.maximum(np.abs(theta), 1e-3))) for other in found)


def centre(
    law: Law, columns: Columns, pin: Mapping[str, float] | None = None, tie: Mapping[str, str] | None = None
) -> Problem:
    """Columns as logs of ratios to their geometric means, and constraints as the directions that they leave free."""
    means = {name: float(np.log(columns[name]).mean()) for name in law.inputs}
    units = {name: means[law.units[name]] if law.units.get(name) else means[name] for name in law.inputs}
    units |= {name: 0.0 for name, shared in law.units.items() if shared is None}
    if law.space == "log":
        units[law.output] = float(np.log(columns[law.output]).mean())
    x = np.stack([np.log(columns[name]) - units[name] for name in law.inputs])
    y = response(law, columns) - units.get(law.output, 0.0)
    base, basis = _constraints(law, units, dict(pin or {}), dict(tie or {}))
    return Problem(law, x, y, units, base, basis)


def _constraints(law: Law, units: Mapping[str, float], pin: dict[str, float], tie: dict[str, str]):
    """Centred coordinates of pinned parameters, and one column a free direction."""
    basis = np.eye(len(law.params))
    for name, other in tie.items():
        i, j = law.index(name), law.index(other)
        for param in (law.params[i], law.params[j]):
            if param.powers or name == other or other in pin or name in pin:
                raise UserError(f"{name} cannot be tied to {other}: only two exponents that are not pinned can be")
        basis[i, j] = 1.0
    raw = np.zeros(len(law.params))
    for name, value in pin.items():
        i = law.index(name)
        if law.params[i].kind == "positive" and not value > 0:
            raise UserError(f"{name} is pinned at {value:g}, but it is positive")
        loose = [v for v in _exponents(law, name) if v not in pin]
        if loose:
            raise UserError(f"{name} has the unit {law.params[i].unit}, so it can be pinned only along with {loose}")
        raw[i] = math.log(value) if law.params[i].kind == "positive" else value
    held = [law.index(name) for name in pin]
    base = np.zeros(len(law.params))
    base[held] = law.rescale(raw, units, sign=-1.0)[held]
    basis[held] = 0.0
    return base, np.delete(basis, held + [law.index(name) for name in tie], axis=1)


def _exponents(law: Law, name: str) -> set[str]:
    """Parameters that occur in the unit of `name`."""
    powers = [power for power in law.params[law.index(name)].powers.values() if isinstance(power, str)]
    return {other for other, power in itertools.product(law.names, powers) if re.split("[ /-]", power)[-1] == other}


def predict(law: Law, theta: Any, columns: Columns) -> np.ndarray:
    """log output (output, where the law's space is linear) of theta [..., P], in the units of the columns."""
    return law.at(theta, *(np.log(np.asarray(columns[name], np.float64)) for name in law.inputs))


def response(law: Law, columns: Columns) -> np.ndarray:
    """The measured output in the space of the fit."""
    measured = np.asarray(columns[law.output], np.float64)
    return np.log(measured) if law.space == "log" else measured


def mean_log(values: Sequence[float] | np.ndarray) -> float:
    """Geometric mean."""
    return float(np.exp(np.log(values).mean()))
