"""A law and runs as the solver sees them.

P parameters of the law, F of them free, R runs, I inputs of the law, B problems solved together.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from scaling.fit.question import Question, question
from scaling.fit.solver import SETTLED, Solution, solve
from scaling.laws.api import Law

Columns = Mapping[str, Any]  # column name -> float64 [runs]
MANY = 1 << 16  # rows


class Problem(NamedTuple):
    """Logs of ratios to geometric means, and the directions that are free."""

    question: Question
    x: Float[np.ndarray, "I R"]
    y: Float[np.ndarray, " R"]
    units: dict[str, float]  # column -> log of its geometric mean
    base: Float[np.ndarray, " P"]  # centred coordinates of what is pinned, 0 elsewhere
    basis: Float[np.ndarray, "P F"]

    @property
    def law(self) -> Law:
        return self.question.law

    def solve(self, y: Any, weights: Any, theta: Any, enough: float = SETTLED, near: bool = False) -> Solution:
        """As `solver.solve`: B problems from `theta` [B, P], centred; `y` and `weights` are [B or 1, R]."""
        delta, basis = self.question.delta, self.basis[None]
        return solve(self.law.predict, self.x, y, weights, theta, delta, basis, enough, near)

    @property
    def starts(self) -> Float[np.ndarray, "S P"]:
        """The law's, which are of a centred output: where the output is fitted as it is, in its unit."""
        starts = np.asarray(self.law.starts, np.float64)
        return self.law.rescale(starts, {self.law.output: float(np.log(self.y).mean())}) if self.law.logs else starts

    def raw(self, theta: Any) -> np.ndarray:
        return self.law.rescale(theta, self.units)

    def residuals(self, theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, " R"]:
        """Fitted - measured, in the space of the fit."""
        return self.law.at(theta, *self.x) - self.y


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


def jacobian(problem: Problem, theta: np.ndarray, step: float = 1e-6) -> Float[np.ndarray, "R F"]:
    """Derivative of every prediction by the free directions (central differences)."""
    moves = step * problem.basis.T
    if problem.y.size > MANY:  # one after the other: all at once are 2 F times the rows
        slopes = np.empty((len(moves), problem.y.size))
        for slope, move in zip(slopes, moves, strict=True):
            np.subtract(problem.law.at(theta + move, *problem.x), problem.law.at(theta - move, *problem.x), out=slope)
    else:
        up, down = np.split(problem.law.at((theta + np.concatenate([moves, -moves]))[:, None], *problem.x), 2)
        slopes = up - down
    slopes /= 2 * step
    return slopes.T
