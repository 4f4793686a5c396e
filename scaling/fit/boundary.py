"""Positive parameters that a fit takes to zero, and where a refit has to start to come back from there.

A floor that runs to zero is a walk of its log to minus infinity, which ends wherever a step is small enough: at 1e-5 in
one way of writing the law, at 1e-19 in another.  Its derivative there is zero, so that nothing that starts there comes
back.  Here such a parameter is exactly zero, and a refit starts at several values of it as well.
"""

import numpy as np
from jaxtyping import Float

from scaling.fit.problem import Problem
from scaling.fit.solver import CLOSE, Solution

GONE = -1e4  # the log of a parameter whose published value is exactly zero, while its theta stays finite
FAINT = 1e-2  # of a prediction: what a parameter moves at most where it is tried without
TIE = 1e-7  # of the objective, by which a fit without a parameter may be worse and is still the fit
SHARES = (0.35, 0.8)  # of the least output: floors at which a refit starts too


def gone(problem: Problem, theta: Float[np.ndarray, "*B P"]) -> np.ndarray:
    """[*B, P] the positive parameters that are zero."""
    positive = np.array([param.kind == "positive" for param in problem.law.params])
    return positive & (np.asarray(theta) < GONE / 2)


def settle(problem: Problem, y: np.ndarray, weights: np.ndarray, found: Solution) -> Solution:
    """The same solutions, with each positive parameter at zero that the rows are explained no worse without.

    `y` and `weights` are [B or 1, R], as `Problem.solve` takes them.
    """
    law = problem.law
    theta = np.array(found.theta)
    for i, param in enumerate(law.params):
        if param.kind != "positive" or not problem.basis[i].any():
            continue
        low = np.flatnonzero((theta[:, i] < -3.0) & (theta[:, i] > GONE / 2))  # e^-3 of the scale of the columns
        if not low.size:
            continue
        without = theta[low].copy()
        without[:, i] = GONE
        with np.errstate(all="ignore"):
            change = law.at(without[:, None], *problem.x) - law.at(theta[low][:, None], *problem.x)
            faint = np.max(np.abs(change), axis=1) < FAINT
        low, without = low[faint], without[faint]
        if not low.size:
            continue
        pick = lambda v, rows=low: v[rows] if len(v) > 1 else np.broadcast_to(v, (rows.size, v.shape[1]))
        tried = problem.solve(pick(y), pick(weights), without)
        good = tried.objective <= found.objective[low] * (1.0 + TIE) + 1e-24
        arrays = [np.array(v) for v in found]
        for array, value in zip(arrays, tried, strict=True):
            array[low[good]] = value[good]
        found = Solution(*arrays)
        theta = np.array(found.theta)
    return found


def starts(problem: Problem, theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, "K P"]:
    """Where refits of resamples start: at the optimum and, where a parameter is zero there, also off that boundary.

    The others are the best for every row at each value of it, so that no way of writing the law decides what is found.
    """
    found = [theta]
    low = float(np.min(problem.y))
    for i in np.flatnonzero(gone(problem, theta)):
        is_floor = problem.law.params[i].name == problem.law.floor
        for share in SHARES:
            held = theta.copy()
            held[i] = np.log(share) + (low if is_floor else 0.0)
            basis = problem.basis[:, problem.basis[i] == 0]
            made = problem._replace(basis=basis).solve(problem.y[None], np.ones((1, problem.y.size)), held[None])
            if np.isfinite(made.objective[0]):
                found.append(made.theta[0])
    return np.array(found)


def refit(problem: Problem, begin: Float[np.ndarray, "K P"], y: np.ndarray, weights: np.ndarray) -> Solution:
    """B problems, each from all of `begin`: the best of each.  `y` and `weights` are [B or 1, R]."""
    count = max(len(y), len(weights))
    near = len(begin) == 1  # the others are off a boundary, and far from what a resample's optimum may be
    made = [problem.solve(y, weights, np.tile(start, (count, 1)), CLOSE, near) for start in begin]
    best = np.argmin([np.where(np.isnan(m.objective), np.inf, m.objective) for m in made], axis=0)
    chosen = Solution(*(np.stack(parts)[best, np.arange(count)] for parts in zip(*made, strict=True)))
    return settle(problem, y, weights, chosen)
