"""How far a fit can be trusted: bootstrap intervals of its constants, its optima, and its predictions.

Three ways to resample.  "residual" (the default) keeps every run's inputs and redraws its error.  "pairs" redraws whole
runs (Besiroglu et al. 2024); of few runs a redrawn sweep is much poorer than the sweep and its percentiles are too
wide, so that its intervals are BCa.  "cluster" reweights runs with all their checkpoints, whose errors are not
independent, by smooth weights that leave no run out (the Bayesian bootstrap: Rubin 1981).
With delta = 1e-3 the fit is nearly a median regression, and the plain residual bootstrap of one is too narrow for three
reasons, each mended in `scatter` or `bootstrap`: residuals are lumpy where the median needs their density (so they are
smoothed: De Angelis, Hall & Young 1993), the fit passes exactly through as many runs as it has parameters (those
residuals are left out), and residuals are smaller than errors by a factor that is itself uncertain (a first bootstrap
measures its distribution).  scripts/check/coverage.py measures what comes of it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

from scaling.fit import boundary
from scaling.fit.estimate import Fit
from scaling.fit.outliers import gross
from scaling.fit.problem import Columns, Problem, centre, jacobian, predict
from scaling.fit.question import METHODS
from scaling.laws.optimum import optimum as optimum_of
from train.errors import UserError

Interval = tuple[float, float]
LEVEL = 0.9
PILOTS = 200  # refits that measure by how much residuals are smaller than errors; with 50, forecasts hold less
MANY = 2_000  # rows beyond which a resample is one Newton step: its error falls faster than the interval does
GAUSSIAN = 50_000  # groups of rows beyond which the sum that such a step needs is drawn from its normal limit


class Draws(NamedTuple):
    """A fit to each of many resamples of the data."""

    fit: Fit
    method: str
    theta: Float[np.ndarray, "draws P"]  # free coordinates in the units of the columns, as `fit.theta`
    scale: Float[np.ndarray, " draws"]  # of the errors over that of the residuals
    run: np.ndarray | None = None  # [rows] which run a row is a checkpoint of, where runs were redrawn

    @property
    def size(self) -> int:
        return len(self.theta)

    @property
    def groups(self) -> int:
        """How many runs were redrawn, or how many rows where each is a run."""
        return self.fit.residuals.size if self.run is None else np.unique(self.run).size

    @property
    def corrected(self) -> bool:
        """Whether intervals of constants are BCa rather than percentiles: of few redrawn runs.

        Not where a constant is zero: half of the draws then equal the estimate, and no bias can be read off them.
        """
        return self.method == "pairs" and self.fit.residuals.size <= MANY and not self.fit.certificate.at_zero

    @property
    def how(self) -> str:
        """How intervals of constants are made of these draws, for reports."""
        text = f"{self.method}, {'BCa' if self.corrected else 'percentile'}"
        if self.method == "residual" and (count := gross(self.fit).size):
            text += f", the errors of {count} outlying row{'s' * (count > 1)} left out"
        if self.groups > GAUSSIAN:
            text += ", from its normal limit"
        if self.fit.certificate.at_zero:
            text += f", refitted from several values of {' and '.join(self.fit.certificate.at_zero)}"
        return text

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Published name -> [draws]; inf where a resample's exponent ran off."""
        return self.fit.law.published(self.theta)


def bootstrap(
    fit: Fit, *, draws: int = 1000, seed: int = 0, method: str | None = None, run: np.ndarray | None = None
) -> Draws:
    """Refits `fit` to `draws` resamples of its data, each from the optimum of all the data.

    `run` says which run each row is a checkpoint of; the method is then "cluster" unless it is named.
    """
    method = method or ("cluster" if run is not None and np.unique(run).size < run.size else "residual")
    if method not in METHODS:
        raise UserError(f"method {method!r} is not a bootstrap; choose from {', '.join(METHODS)}")
    if method == "cluster" and (run is None or np.unique(run).size == run.size):
        raise UserError(
            "method 'cluster' reweights runs along with their checkpoints, and here every row is a run of its own; "
            "name the column of runs (--run COL), or choose residual or pairs"
        )
    problem = centre(fit.question, fit.columns)
    start = boundary.starts(problem, fit.law.rescale(fit.theta, problem.units, sign=-1.0))
    rng, rows = np.random.default_rng(seed), problem.y.size
    if rows > MANY and method == "residual":
        method = "pairs"
    if method != "residual":
        groups = run if method == "cluster" and run is not None else np.arange(rows)
        if rows > MANY:
            theta = problem.raw(_one_step(problem, start[0], groups, draws, rng, smooth=method == "cluster"))
        else:
            weights = resampled(rng, draws, groups, smooth=method == "cluster")
            theta = problem.raw(boundary.refit(problem, start, problem.y[None], weights).theta)
        wider = math.sqrt(rows / max(rows - problem.basis.shape[1], 1))  # residuals are that much smaller than errors
        return Draws(fit, method, theta, np.full(draws, wider), run if method == "cluster" else None)
    fitted, ones = problem.y - fit.residuals, np.ones((1, rows))
    expected = (fitted + problem.units.get(fit.law.output, 0.0))[None]
    errors = scatter(fit, rng, np.ones(PILOTS), expected)
    pilot = problem.raw(boundary.refit(problem, start, fitted + errors, ones).theta)
    left = fitted + errors + problem.units.get(fit.law.output, 0.0) - predict(fit.law, pilot[:, None], fit.columns)
    least = 1e-300  # of noise-free rows nothing is left
    scale = rng.choice((np.sqrt(np.mean(errors**2)) + least) / (np.sqrt(np.mean(left**2, axis=1)) + least), draws)
    targets = fitted + scatter(fit, rng, scale, expected)
    return Draws(fit, method, problem.raw(boundary.refit(problem, start, targets, ones).theta), scale)


def resampled(rng: np.random.Generator, draws: int, run: np.ndarray, smooth: bool) -> Float[np.ndarray, "draws rows"]:
    """Weights of rows, equal within a run and of mean 1 over runs.

    How often each run occurs when runs are drawn with replacement, or, `smooth`, uniform on the simplex.
    """
    _, which = np.unique(run, return_inverse=True)
    return np.stack([_weights(rng, int(which.max()) + 1, smooth)[which] for _ in range(draws)])


def _weights(rng: np.random.Generator, runs: int, smooth: bool) -> Float[np.ndarray, " runs"]:
    if smooth:
        return rng.dirichlet(np.ones(runs)) * runs
    return np.bincount(rng.integers(runs, size=runs), minlength=runs).astype(np.float64)


def _one_step(
    problem: Problem,
    start: Float[np.ndarray, " P"],
    run: np.ndarray,
    draws: int,
    rng: np.random.Generator,
    smooth: bool,
) -> Float[np.ndarray, "draws P"]:
    """Centred optima of resamples by a single Newton step from the optimum of all rows, where rows are many.

    A step needs only the gradients' sum, each run's times its weight.  Beyond `GAUSSIAN` runs the sum is drawn from its
    normal limit, so the draws are those of the sandwich covariance (Huber 1967).
    """
    delta = problem.question.delta
    push = np.clip(problem.residuals(start), -delta, delta)[:, None] * jacobian(problem, start)
    hessian = problem.solve(problem.y[None], np.ones((1, problem.y.size)), start[None]).hessian[0]
    inverse = np.linalg.pinv(hessian, rcond=1e-14, hermitian=True)  # a parameter at zero stays there
    _, which = np.unique(run, return_inverse=True)
    runs = int(which.max()) + 1
    if runs < which.size:
        push = np.stack([np.bincount(which, one, runs) for one in push.T], axis=1)
    if runs > GAUSSIAN:
        mean = push.mean(0)
        vary = runs / (runs + 1) if smooth else 1.0  # Dirichlet's weights vary less than counts
        spread = vary * (push - mean).T @ (push - mean)
        values, vectors = np.linalg.eigh(spread)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        sums = runs * mean + rng.standard_normal((draws, len(values))) @ root.T
    else:
        sums = np.stack([_weights(rng, runs, smooth) @ push for _ in range(draws)])
    return start - sums @ inverse @ problem.basis.T


def scatter(
    fit: Fit, rng: np.random.Generator, scale: np.ndarray, expected: Float[np.ndarray, "#draws runs"]
) -> Float[np.ndarray, "draws runs"]:
    """Errors of log loss as new runs would show them, for each draw of `scale`: at 1 they are as large as residuals.

    Residuals, without those of the runs that the fit passes through, plus a Gaussian of Silverman's width; larger or
    smaller where the `expected` log loss says so (`unevenness`).  Gross outliers are no errors that a next run would
    show (`outliers.gross`), and are left out too.
    """
    size = unevenness(fit)
    residuals = np.delete(fit.residuals / size(predict(fit.law, fit.theta, fit.columns)), gross(fit))
    through = min(fit.question.free, max(residuals.size - 3, 0))
    pool = residuals[np.argsort(np.abs(residuals))[through:]]
    width = 1.06 * min(np.std(pool), np.ptp(np.quantile(pool, [0.25, 0.75])) / 1.349) * pool.size**-0.2
    shape = scale.size, expected.shape[1]
    drawn = rng.choice(pool, shape) + width * rng.standard_normal(shape)
    whole = np.sqrt(np.mean(residuals**2) / (np.mean(pool**2) + width**2 + 1e-300))
    return scale[:, None] * drawn * whole * size(expected)


def unevenness(fit: Fit) -> Callable[[np.ndarray], np.ndarray]:
    """How much larger errors are at one log loss than at another: a power law where ranks show it, else 1.

    Small runs often scatter more.  Errors drawn alike for all would then make intervals too narrow.
    """
    kept = np.delete(np.arange(fit.residuals.size), gross(fit))
    expected, size = predict(fit.law, fit.theta, fit.columns)[kept], np.abs(fit.residuals)[kept]
    varied = size.size >= 12 and 0 not in (np.ptp(expected), np.ptp(size), np.median(size))
    if not (varied and _ranks_agree(expected, size) < 0.01):
        return np.ones_like
    low, high, middle = expected.min(), expected.max(), expected.mean()
    slope = np.polyfit(expected, np.log(np.maximum(size, 0.1 * np.median(size))), 1)[0]
    return lambda at: np.exp(slope * (np.clip(at, low, high) - middle))


def _ranks_agree(x: np.ndarray, y: np.ndarray) -> float:
    """p value of Spearman's rank correlation, by Student's t; ties share their mean rank."""

    def ranks(v: np.ndarray) -> np.ndarray:
        _, which, count = np.unique(v, return_inverse=True, return_counts=True)
        return (np.cumsum(count) - (count - 1) / 2.0)[which]

    r, dof = np.corrcoef(ranks(x), ranks(y))[0, 1], x.size - 2
    t = abs(r) * math.sqrt(dof / max((1.0 - r) * (1.0 + r), 1e-300))
    return 2.0 * float(scipy.special.stdtr(dof, -t))


def interval(values: Any, level: float = LEVEL) -> Interval:
    """The central `level` of `values`: equal tails, so it carries over to any monotone function of them."""
    return quantiles(values, (0.5 - level / 2, 0.5 + level / 2))


def quantiles(values: Any, at: tuple[float, float]) -> Interval:
    """Weibull's ranks: the truth is one more draw, which falls below the k-th of B with probability k / (B + 1).

    Draws that ran off to infinity are at their end of the order; those that are not numbers are left out, and
    `undefined` counts them.
    """
    values = np.sort(np.ravel(np.asarray(values, np.float64)))
    values = values[~np.isnan(values)]
    if not values.size:
        return math.nan, math.nan
    ends = []
    for p in at:
        rank = min(max(p * (values.size + 1) - 1, 0.0), values.size - 1.0)
        low, high = values[math.floor(rank)], values[math.ceil(rank)]
        ends.append(float(low if low == high else low + (rank - math.floor(rank)) * (high - low)))
    return ends[0], ends[1]


def constants(draws: Draws, level: float = LEVEL) -> dict[str, Interval]:
    """Intervals of the law's parameters and of what is derived from them, made as `draws.how` says."""
    values, held = quantities(draws.fit, draws.theta), draws.fit.question.pin
    if not draws.corrected:
        return {name: interval(v, level) for name, v in values.items() if name not in held}
    found = {**draws.fit.params, **draws.fit.derived}
    left = quantities(draws.fit, jackknife(draws.fit, draws.run))
    return {name: bca(v, found[name], left[name], level) for name, v in values.items() if name not in held}


def quantities(fit: Fit, theta: np.ndarray) -> dict[str, np.ndarray]:
    """Every constant of the law and what is derived from them -> [draws], of theta [draws, P]."""
    params = fit.law.published(theta)
    return {**params, **{name: of(params) for name, of in fit.law.derived.items()}}


def bca(values: np.ndarray, estimate: float, left_out: np.ndarray, level: float = LEVEL) -> Interval:
    """Bias-corrected and accelerated percentile interval (Efron 1987, equations 2.3 and 6.6).

    `left_out` are the estimates without one group of the data each; their skewness is the acceleration.
    """
    values, left_out = values[~np.isnan(values)], left_out[np.isfinite(left_out)]
    if not values.size:
        return math.nan, math.nan
    below = np.clip(np.mean(values < estimate) + 0.5 * np.mean(values == estimate), 1e-3, 1 - 1e-3)
    bias = scipy.special.ndtri(below)
    change = np.mean(left_out) - left_out if left_out.size else np.zeros(1)
    acceleration = np.sum(change**3) / (6.0 * np.sum(change**2) ** 1.5 + 1e-300)
    if not math.isfinite(acceleration):
        acceleration = 0.0
    at = bias + scipy.special.ndtri([0.5 - level / 2, 0.5 + level / 2])
    low, high = scipy.special.ndtr(bias + at / (1.0 - acceleration * at))
    return quantiles(values, (float(low), float(high)))


def jackknife(fit: Fit, run: np.ndarray | None = None, groups: int = 60) -> Float[np.ndarray, "groups P"]:
    """theta without each run in turn, or without each of `groups` groups of runs where there are more."""
    problem = centre(fit.question, fit.columns)
    _, which = np.unique(np.arange(problem.y.size) if run is None else run, return_inverse=True)
    group = which % min(groups, int(which.max()) + 1)
    weights = (group[None] != np.arange(group.max() + 1)[:, None]).astype(np.float64)
    start = boundary.starts(problem, fit.law.rescale(fit.theta, problem.units, sign=-1.0))
    return problem.raw(boundary.refit(problem, start, problem.y[None], weights).theta)


def undefined(draws: Draws) -> list[str]:
    """A sentence where resamples sent an exponent off, so that some constant of theirs is infinite or undefined."""
    found = quantities(draws.fit, draws.theta)
    lost = np.count_nonzero(~np.all([np.isfinite(v) for v in found.values()], axis=0))
    if not lost:
        return []
    return [
        f"{lost} of {draws.size} resamples ran off to infinite or undefined constants, since these runs hardly bound "
        f"some exponent; where that is more than a tail, the interval says so. More sizes, further apart, bound it."
    ]


def optimum(draws: Draws, c: float, level: float = LEVEL, **others: float) -> dict[str, Interval]:
    """Intervals of N_opt, D_opt and L_opt at C FLOPs: of the law's own curve, without the scatter of a run about it."""
    return {name: interval(v, level) for name, v in optimum_of(draws.fit.law, draws.theta, c, others).items()}


def predict_runs(draws: Draws, columns: Columns, *, seed: int = 1) -> Float[np.ndarray, "draws runs"]:
    """Outputs that runs with these inputs (name -> [runs]) may measure.

    What varies: the law's constants (one draw per row) and each run's scatter about the law.  What does not: that the
    law itself may bend away beyond the runs it was fitted to; `fit.discrepancy` is for that.
    """
    with np.errstate(over="ignore"):
        return draws.fit.law.natural(draw_runs(draws, columns, seed=seed))


def draw_runs(draws: Draws, columns: Columns, *, seed: int = 1) -> Float[np.ndarray, "draws runs"]:
    """The same in the law's space: logs of outputs, where the law is fitted to logs."""
    fit = draws.fit
    columns = {name: np.atleast_1d(np.asarray(columns[name], np.float64)) for name in fit.law.inputs}
    found = predict(fit.law, draws.theta[:, None], columns)
    return found + scatter(fit, np.random.default_rng(seed), draws.scale, found)
