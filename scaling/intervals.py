"""How far a fit can be trusted: bootstrap intervals of its constants, its optima, and the losses it predicts.

Two ways to resample.  "residual" (the default) keeps every run's N and D and redraws its error.  "pairs" redraws whole
runs (Besiroglu et al. 2024).  With delta = 1e-3 the fit is nearly a median regression, and the plain residual bootstrap
of one is too narrow for three reasons, each mended in `scatter` or `bootstrap`: residuals are lumpy where the median
needs their density (so they are smoothed: De Angelis, Hall & Young 1993), the fit passes exactly through as many runs
as it has parameters (those residuals are left out), and residuals are smaller than errors by a factor that is itself
uncertain (a first bootstrap measures its distribution).  scripts/check_coverage.py measures what comes of it.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from scaling.fit import Columns, Fit, centre, fit, solve
from scaling.flops import c_6nd
from scaling.laws import Law

Interval = tuple[float, float]
LEVEL = 0.9
PILOTS = 200  # refits that measure by how much residuals are smaller than errors


class Draws(NamedTuple):
    """A fit to each of many resamples of the data."""

    fit: Fit
    method: str
    params: dict[str, np.ndarray]  # name -> [draws]
    scale: np.ndarray  # [draws], of the errors over that of the residuals

    def __len__(self) -> int:
        return len(next(iter(self.params.values())))


def bootstrap(fit: Fit, *, draws: int = 1000, seed: int = 0, method: str = "residual") -> Draws:
    """Refits `fit` to `draws` resamples of its data, each from the optimum of all the data."""
    if method not in ("residual", "pairs"):
        raise ValueError(f"method {method!r} is not a bootstrap; choose 'residual' or 'pairs'")
    x, y, units = centre(fit.law, fit.columns)
    rng = np.random.default_rng(seed)

    def refit(targets, weights):
        theta = solve(fit.law, x, targets, weights, np.tile(fit.theta, (len(targets), 1)), fit.delta).theta
        return fit.law.natural(theta, *units)

    fitted = y - fit.residuals
    errors = scatter(fit, rng, np.ones(PILOTS), y.size)
    pilot = {name: v[:, None] for name, v in refit(fitted + errors, np.ones_like(errors)).items()}
    left = fitted + units[0] + errors - np.log(fit.law.loss(pilot, *(fit.columns[name] for name in fit.law.inputs)))
    scale = rng.choice(np.sqrt(np.mean(errors**2)) / np.sqrt(np.mean(left**2, axis=1)), draws)
    targets, weights = np.tile(y, (draws, 1)), np.ones((draws, y.size))
    if method == "residual":
        targets = fitted + scatter(fit, rng, scale, y.size)
    else:
        weights = rng.multinomial(y.size, np.full(y.size, 1 / y.size), size=draws).astype(np.float64)
    return Draws(fit, method, refit(targets, weights), scale)


def scatter(fit: Fit, rng: np.random.Generator, scale: np.ndarray, runs: int) -> Float[np.ndarray, "draws runs"]:
    """Errors of log loss as new runs would show them, for each draw of `scale`: at 1 they are as large as residuals.

    Residuals, without those of the runs that the fit passes through, plus a Gaussian of Silverman's width.
    """
    size = np.abs(fit.residuals)
    pool = fit.residuals[np.argsort(size)[len(fit.params) :]]
    width = 1.06 * min(np.std(pool), np.ptp(np.quantile(pool, [0.25, 0.75])) / 1.349) * pool.size**-0.2
    drawn = rng.choice(pool, (scale.size, runs)) + width * rng.standard_normal((scale.size, runs))
    return scale[:, None] * drawn * np.sqrt(np.mean(size**2) / (np.mean(pool**2) + width**2))


def interval(values: Any, level: float = LEVEL) -> Interval:
    """The central `level` of `values`: equal tails, so it carries over to any monotone function of them.

    Weibull's ranks: the truth is one more draw, which falls below the k-th of B with probability k / (B + 1).
    """
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]  # `undefined` counts the others
    if not values.size:
        return math.nan, math.nan
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2], method="weibull")
    return float(low), float(high)


def constants(draws: Draws, level: float = LEVEL) -> dict[str, Interval]:
    """Intervals of the law's parameters and of what is derived from them."""
    return {name: interval(v, level) for name, v in _constants(draws).items()}


def _constants(draws: Draws) -> dict[str, np.ndarray]:
    return {**draws.params, **{name: of(draws.params) for name, of in draws.fit.law.derived.items()}}


def undefined(draws: Draws) -> list[str]:
    """A sentence where resamples sent an exponent off, so that some constant of theirs is infinite or undefined."""
    lost = np.count_nonzero(~np.all([np.isfinite(v) for v in _constants(draws).values()], axis=0))
    if not lost:
        return []
    return [
        f"{lost} of {len(draws)} resamples ran off to infinite constants, since these runs hardly bound some exponent; "
        f"the intervals are of the others, and too narrow. More sizes, further apart, would bound it."
    ]


def optimum(draws: Draws, c: float, level: float = LEVEL) -> dict[str, Interval]:
    """Intervals of N_opt, D_opt and L_opt at C FLOPs: of the law's own curve, without the scatter of a run about it."""
    return {name: interval(v, level) for name, v in _optimum(draws.fit.law)(draws.params, c).items()}


def predict_runs(draws: Draws, n: Any, d: Any, *, seed: int = 1) -> Float[np.ndarray, "draws runs"]:
    """Losses that runs of N parameters on D tokens may measure.

    What varies: the law's constants (one draw per row) and each run's scatter about the law.  What does not: that the
    law itself may bend away beyond the runs it was fitted to; `discrepancy` is for that.
    """
    n, d = np.atleast_1d(n).astype(np.float64), np.atleast_1d(d).astype(np.float64)
    columns = {"n": n, "d": d}
    params = {name: v[:, None] for name, v in draws.params.items()}
    losses = draws.fit.law.loss(params, *(columns[name] for name in draws.fit.law.inputs))
    return losses * np.exp(scatter(draws.fit, np.random.default_rng(seed), draws.scale, n.size))


def discrepancy(errors: Any, draws: int, *, seed: int = 2) -> Float[np.ndarray, " draws"]:
    """Factors by which a forecast may be off beyond what its own fit knows, learnt from earlier forecasts.

    `errors` are relative errors of forecasts one budget ahead.  If theirs and the next are Gaussian about zero, the
    next over their root mean square is Student's t with as many degrees of freedom as there are errors.  Without any,
    nothing is known of it and every factor is 1.
    """
    errors = np.asarray(errors, np.float64)
    if not errors.size:
        return np.ones(draws)
    rng = np.random.default_rng(seed)
    return np.exp(np.sqrt(np.mean(errors**2)) * rng.standard_t(errors.size, draws))


class Heldout(NamedTuple):
    """A forecast of the runs of one budget by the law of the smaller ones."""

    budget: float  # FLOPs, as the runs counted them: 6 N D
    fit: Fit  # of the runs below the budget
    predicted: float  # L_opt(budget): the law's best loss
    interval: Interval  # for the best held-out run: constants, scatter, the choice of the best, discrepancy
    measured: float  # the best held-out run's loss
    relative_error: float  # predicted / measured - 1
    inside: bool
    level: float
    draws: Draws  # of `fit`
    past: list[float]  # relative errors of the same forecast from fewer budgets, one budget ahead each
    optimum: dict[str, Interval]  # N_opt, D_opt and L_opt at the budget
    runs: list[dict[str, Any]]  # n, d, measured, predicted, interval, relative_error, inside


def heldout(
    law: Law,
    columns: Columns,
    budget: float | str = "largest",
    *,
    delta: float = 1e-3,
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Heldout:
    """Leaves out the runs of `budget` and all above it, fits the rest, and compares forecast with measurement."""
    below, out = split(columns, budget)
    found = fit(law, below, delta=delta)
    sample = bootstrap(found, draws=draws, seed=seed)
    c = _mean_c(out)
    earlier = {row["budgets_fitted"]: row["relative_error"] for row in reversed(backtest(law, below, delta=delta))}
    past = [earlier[fitted] for fitted in sorted(earlier)]  # of each fit the nearest budget
    losses = predict_runs(sample, out["n"], out["d"]) * discrepancy(past, draws)[:, None]
    predicted, best = float(_optimum(law)(found.params, c)["loss"]), float(out["loss"].min())
    at_best = interval(losses.min(axis=1), level)
    runs = []
    for i, (n, d, measured) in enumerate(zip(out["n"], out["d"], out["loss"], strict=True)):
        one = float(law.loss(found.params, n, d))
        low, high = interval(losses[:, i], level)
        runs.append(
            {"n": float(n), "d": float(d), "measured": float(measured), "predicted": one, "interval": (low, high),
             "relative_error": float(one / measured - 1), "inside": bool(low <= measured <= high)}
        )  # fmt: skip
    return Heldout(
        budget=c, fit=found, predicted=predicted, interval=at_best, measured=best,
        relative_error=predicted / best - 1, inside=at_best[0] <= best <= at_best[1], level=level, draws=sample,
        past=past, optimum=optimum(sample, c, level), runs=runs,
    )  # fmt: skip


def split(columns: Columns, budget: float | str = "largest") -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Runs below `budget`, and the runs of the budget nearest to it."""
    known = np.unique(columns["budget"])
    if known.size < 2:
        raise ValueError("every run has the same budget, so none can be held out; add runs at another budget")
    at = known[-1] if budget == "largest" else known[np.argmin(np.abs(np.log(known / float(budget))))]
    pick = lambda mask: {name: np.asarray(v)[mask] for name, v in columns.items()}
    return pick(columns["budget"] < at), pick(columns["budget"] == at)


def backtest(law: Law, columns: Columns, *, delta: float = 1e-3) -> list[dict[str, Any]]:
    """What smaller sweeps would have forecast: fits the smallest budgets, predicts the best loss of each larger one.

    `relative_error` is predicted / measured - 1; `reach` is the forecast's budget over the largest one fitted.
    """
    known, rows = np.unique(columns["budget"]), []
    for fitted in range(2, known.size):
        below, _ = split(columns, known[fitted])
        try:
            params = fit(law, below, delta=delta).params
        except ValueError:  # too few of the small runs to identify the law
            continue
        for budget in known[fitted:]:
            _, out = split(columns, budget)
            c = _mean_c(out)
            predicted, measured = float(_optimum(law)(params, c)["loss"]), float(out["loss"].min())
            if not math.isfinite(predicted):  # a term of the law is zero in those runs, so it has no optimum
                continue
            rows.append(
                {"budgets_fitted": fitted, "runs_fitted": below["loss"].size, "budget": c,
                 "reach": float(budget / known[fitted - 1]), "predicted": predicted, "measured": measured,
                 "relative_error": predicted / measured - 1}
            )  # fmt: skip
    return rows


def _mean_c(columns: Columns) -> float:
    """Geometric mean of 6 N D, FLOPs."""
    return float(np.exp(np.log(c_6nd(columns["n"], columns["d"])).mean()))


def _optimum(law: Law) -> Any:
    if law.optimum is None:
        raise ValueError(f"{law.name} has no compute-optimal run: {law.equation} does not trade n against d")
    return law.optimum
