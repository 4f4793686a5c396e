"""Is what a solver returned a minimum?  Conditions of first and second order, and what is tried where they fail.

The Huber loss has one derivative everywhere and, where a residual equals delta, no second: there the larger of the two
curvatures counts, as it is the one that holds on one side.  All is measured against what it is made of, so that no
unit and no scale of the objective matters.
"""

import numpy as np
import scipy.optimize
from jaxtyping import Float

from scaling.fit import boundary
from scaling.fit.problem import Problem, jacobian
from scaling.fit.solver import Solution, huber_numpy

FIRST = 1e-6  # of the sum of the sizes of what a gradient sums: it has to cancel to that
GAIN = 1e-9  # of the objective, that a further step may still promise
SECOND = 1e-5  # of the curvature of squares alone: a more negative eigenvalue is no rounding
ROUNDING = 1e-13  # of a residual
TRIES = 4  # rounds of polishing; each solves from a handful of points
STEPS = (1e-4, 1e-3, 1e-2, 1e-1)  # root mean square changes of predictions, along a direction that bends down


def why_not(problem: Problem, found: Solution) -> str:
    """What keeps the first of `found` from being a minimum, as a clause; "" where nothing does."""
    theta, gradient = found.theta[0], found.gradient[0]
    if not (np.isfinite(found.objective[0]) and np.isfinite(gradient).all()):
        return "no start led to a finite loss"
    slopes, push = _seen(problem, theta)
    size = np.abs(slopes).T
    allowed = FIRST * size @ push + ROUNDING * size.sum(1)
    worst = int(np.argmax(np.abs(gradient) / (allowed + 1e-300)))
    values, directions = _curvature(found.hessian[0], slopes)
    # What a Newton step would gain: directions that hardly move a prediction have gradients of rounding alone.
    along = directions.T @ gradient / np.sqrt(len(slopes))
    gain = 0.5 * float(np.sum(along**2 / np.maximum(values, 1e-8)))
    if abs(gradient[worst]) > allowed[worst] and gain > GAIN * found.objective[0] + ROUNDING**2 * len(slopes):
        return f"the gradient is {np.linalg.norm(gradient):.1e} and does not vanish"
    if values.size and values[0] < -SECOND:
        return f"the loss bends down in some direction (curvature {values[0]:.1e} of what squares alone have)"
    return ""


def polish(problem: Problem, found: Solution, tries: int = TRIES) -> tuple[Solution, str]:
    """The first of `found`, solved on until it is a minimum, and what keeps it from being one ("" where nothing does).

    Newton's steps start anew from it and from both sides of every direction in which the loss bends down; where that
    does not help either, a quasi-Newton method goes on.
    """
    ones = np.ones((1, problem.y.size))
    reason = why_not(problem, found)
    for attempt in range(tries):
        if not reason:
            break
        theta = found.theta[0]
        tried = [theta]
        slopes, _ = _seen(problem, theta)
        values, directions = _curvature(found.hessian[0], slopes)
        for value, direction in zip(values[:2], directions.T[:2], strict=False):
            if value < -SECOND:
                tried += [theta + sign * step * problem.basis @ direction for step in STEPS for sign in (-1.0, 1.0)]
        if attempt:
            tried.append(_descend(problem, theta))
        made = problem.solve(problem.y[None], np.tile(ones, (len(tried), 1)), np.array(tried))
        made = boundary.settle(problem, problem.y[None], np.tile(ones, (len(tried), 1)), made)
        best = int(np.nanargmin(np.where(np.isfinite(made.objective), made.objective, np.inf)))
        if not made.objective[best] <= found.objective[0] * (1 + boundary.TIE) + 1e-24:
            continue
        found = Solution(*(v[best : best + 1] for v in made))
        reason = why_not(problem, found)
    return found, reason


def _seen(problem: Problem, theta: Float[np.ndarray, " P"]) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of predictions [R, F] and how hard each row pushes [R]."""
    delta = problem.question.delta
    return jacobian(problem, theta), np.minimum(np.abs(problem.residuals(theta)), delta)


def _curvature(hessian: np.ndarray, slopes: Float[np.ndarray, "R F"]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, least first, of the Hessian over that of squares, and directions [F, F] that move predictions by 1.

    Each direction is scaled by its own square; directions that move no prediction are left out.
    """
    square = np.sqrt(np.sum(slopes**2, axis=0))
    kept = np.flatnonzero(square > 1e-9 * np.sqrt(len(slopes)))
    scale = square[kept]
    values, vectors = np.linalg.eigh(hessian[np.ix_(kept, kept)] / np.outer(scale, scale))
    full = np.zeros((square.size, kept.size))
    full[kept] = vectors / scale[:, None] * np.sqrt(len(slopes))
    return values, full


def _descend(problem: Problem, theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
    """A quasi-Newton method with a line search, in directions of unit square, for where Newton's steps stall."""
    slopes, _ = _seen(problem, theta)
    square = np.sqrt(np.sum(slopes**2, axis=0))
    scale = 1.0 / np.where(square > 0, square, np.inf) * np.sqrt(len(slopes))
    delta = problem.question.delta

    def value(step: np.ndarray) -> tuple[float, np.ndarray]:
        at = theta + problem.basis @ (scale * step)
        r = problem.residuals(at)
        push = np.clip(r, -delta, delta)
        return float(huber_numpy(r, delta).sum()), scale * (jacobian(problem, at).T @ push)

    with np.errstate(all="ignore"):
        made = scipy.optimize.minimize(value, np.zeros(scale.size), jac=True, method="L-BFGS-B",
                                       options={"maxiter": 500, "ftol": 0.0, "gtol": 0.0})  # fmt: skip
    return theta + problem.basis @ (scale * made.x)
