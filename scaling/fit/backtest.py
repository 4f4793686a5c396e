"""How far off the law was on runs that it had not seen: the first number of every report.

A forecast fits the runs of small compute and predicts each larger one.  Done for every cutoff ("expanding window"), it
says how errors grow with reach, how often intervals held, which law forecasts best, and how wide the next interval
must be.  Where a law has no compute, its first input takes the place of compute.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from scaling import budgets
from scaling.approaches import isoflop
from scaling.counting import c_6nd
from scaling.fit.discrepancy import Discrepancy, Past, learn, standard_error
from scaling.fit.estimate import Columns, Fit, fit, mean_log, predict
from scaling.fit.intervals import LEVEL, Draws, Interval, bootstrap, draw_runs, interval, optimum, scatter
from scaling.fit.question import Below, Question, question
from scaling.laws.api import Law
from scaling.laws.optimum import optimum as optimum_of
from train.errors import UserError

HORIZONS = {"1 octave": 2.0, "2 octaves": 4.0, "3 octaves": 8.0, "1 decade": 10.0}
HEADLINE_SIZES = 5  # of a held-out budget whose profile's minimum is compared with the optimum
PROFILE_ERROR = 1e-6  # relative, of a minimum that a noise-free profile gives
CUTOFFS = 8  # windows at most; each is a fit and a bootstrap
MOST = 1000  # rows that one cutoff forecasts; of more, a sample
FITTED = 20_000  # rows that a forecast is fitted to; of more, a sample


class Run(NamedTuple):
    """One held-out run: what was forecast and what was measured."""

    row: int  # in the columns that were split
    c: float  # compute, or what takes its place
    reach: float  # c over the largest that was fitted, or the column that was split, whichever is further
    measured: float
    predicted: float
    interval: Interval  # for one run: constants, scatter, discrepancy
    relative_error: float  # predicted / measured - 1
    inside: bool


class Heldout(NamedTuple):
    """A forecast of the runs of the largest compute by the law of the smaller ones."""

    budget: float  # geometric mean of the held-out runs' compute (6 N D FLOPs)
    reach: float  # `budget` over the largest compute fitted
    fit: Fit  # of the runs below
    draws: Draws  # of `fit`
    level: float
    runs: list[Run]
    best: Run  # the best held-out run: forecast as L_opt(budget) where `isoflop`, else at its own inputs
    isoflop: bool  # were the held-out runs sizes of one budget, so that `best` is a forecast of L_opt?
    past: Past  # errors of the same forecast at each smaller cutoff, as far as they were known
    discrepancy: Discrepancy  # learnt from them: how far off the law may be beyond its runs
    optimum: dict[str, Interval]  # N_opt, D_opt and L_opt at the budget; empty where the law has none
    below: Below | None = None  # where training stopped, if that was asked for

    @property
    def relative_error(self) -> float:
        """The headline: of the best loss of a budget, or the mean over runs that were not made budget by budget.

        The best of those is the best of its luck too, so its error alone would say more of the choice than of the law.
        """
        return self.best.relative_error if self.isoflop else self.mean_error

    @property
    def mean_error(self) -> float:
        """Signed, over all held-out runs."""
        return float(np.mean([run.relative_error for run in self.runs]))

    @property
    def rms_error(self) -> float:
        return float(np.sqrt(np.mean([run.relative_error**2 for run in self.runs])))

    @property
    def coverage(self) -> float:
        """Share of the held-out runs inside their intervals."""
        return float(np.mean([run.inside for run in self.runs]))

    @property
    def horizons(self) -> list[dict[str, Any]]:
        """As `by_horizon`, of the held-out runs."""
        reach, error, inside = np.array([(run.reach, run.relative_error, run.inside) for run in self.runs]).T
        return horizons(reach, error, inside, None)


def axis(law: Law, columns: Columns) -> np.ndarray:
    """What runs are ordered by [runs]: compute, or the law's first input."""
    return c_6nd(columns["n"], columns["d"]) if law.trades else np.asarray(columns[law.inputs[0]], np.float64)


def heldout(
    ask: Law | Question,
    columns: Columns,
    budget: float | str | Below = "largest",
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
    run: np.ndarray | None = None,
    windows: "Sequence[Window] | None" = None,
) -> Heldout:
    """Leaves out the runs of `budget` and all above it, fits the rest, and compares forecast with measurement.

    Of a `Below`, every run that is not below is forecast.  `windows` are those of `backtest`, where they have been
    made: the ones that saw and forecast only smaller runs say how far off such forecasts were.
    """
    asked = budget if isinstance(budget, Below) else None
    below, out = split(question(ask).law, columns, budget)
    found = fit(ask, _pick(columns, below))
    if windows is None or asked:  # a column may be split where budgets are not
        seen = _pick(columns, below)
        past = known_errors(backtest(ask, seen, draws=0), np.ones(below.size, bool), seen["budget"])
    else:
        past = known_errors(windows, columns["budget"] < columns["budget"][out].min(), columns["budget"])
    sample = bootstrap(found, draws=draws, seed=seed, run=None if run is None else run[below])
    return forecast(found, sample, columns, out, past, level, asked)


def forecast(
    found: Fit, sample: Draws, columns: Columns, out: np.ndarray, past: Past, level: float, below: Below | None = None
) -> Heldout:
    """What the law that was `found` says of the rows `out` [rows], indices into `columns`."""
    law, left = found.law, _pick(columns, out)
    c, fitted = axis(law, left), float(axis(law, found.columns).max())
    reach = c / fitted
    if below:
        reach = np.maximum(reach, _along(law, left, below.role) / _along(law, found.columns, below.role).max())
    off = learn(past, standard_error(found.residuals, found.question.free))
    drawn = law.natural(draw_forecasts(sample, left, reach, off))
    expected = law.natural(predict(law, found.theta, left))
    measured = left[law.output]
    runs = [
        _run(int(out[i]), c[i], reach[i], measured[i], expected[i], interval(drawn[:, i], level))
        for i in range(out.size)
    ]
    budget, best = mean_log(c), int(np.argmin(measured))
    head, ends, planned = runs[best], {}, False
    if law.splits:
        ends = optimum(sample, budget, level)
        lowest = _least(columns, out)
        at = float(optimum_of(law, found.theta, budget)["loss"])
        if lowest is not None and math.isfinite(at):  # the optimum is compared with the minimum of the profile
            planned, reach = True, np.array([budget / fitted])
            least = law.response(optimum_of(law, sample.theta, budget)["loss"])
            noisy = least[:, None] + scatter(found, np.random.default_rng(1), sample.scale, least[:, None])
            held = off.beyond(noisy, law.response(np.array([at])), reach, residual(found), law.space == "log")
            held = law.natural(held)[:, 0]
            low, high = interval(held, level)
            rounding = PROFILE_ERROR * at  # of the minimum, which is read off a curve
            head = _run(int(out[best]), budget, reach[0], lowest, at, (low - rounding, high + rounding))
    return Heldout(budget, budget / fitted, found, sample, level, runs, head, planned, past, off, ends, below)


def draw_forecasts(
    sample: Draws, columns: Columns, reach: np.ndarray, off: Discrepancy
) -> Float[np.ndarray, "draws runs"]:
    """What runs at these inputs may measure, in the law's space: constants, scatter of a run, and discrepancy."""
    fit = sample.fit
    expected = predict(fit.law, fit.theta, columns)
    return off.beyond(draw_runs(sample, columns), expected, reach, residual(fit), fit.law.space == "log")


def residual(fit: Fit) -> float:
    """Root mean square residual, in the law's space."""
    return float(np.sqrt(np.mean(fit.residuals**2)))


def known_errors(windows: "Sequence[Window]", known: np.ndarray, budget: np.ndarray) -> Past:
    """Mean errors of each window over the budgets of the rows that are `known` [rows], and their reach."""
    past = []
    for window in windows:
        seen = known[window.rows] & np.isfinite(window.missed)
        groups = [seen & (budget[window.rows] == b) for b in np.unique(budget[window.rows][seen])]
        past.append([(float(window.missed[g].mean()), mean_log(window.reach[g])) for g in groups])
    return [errors for errors in past if errors]


def _run(row: int, c: float, reach: float, measured: float, predicted: float, ends: Interval) -> Run:
    error = float(predicted / measured - 1)
    inside = bool(ends[0] <= measured <= ends[1])
    return Run(row, float(c), float(reach), float(measured), float(predicted), ends, error, inside)


def _least(columns: Columns, out: np.ndarray) -> float | None:
    """Loss at the minimum of the profile of the rows `out` [rows]; None where they are no profile of five sizes.

    The smaller budgets' profiles are fitted along with it, since they share its shape.
    """
    here = {name: v[out] for name, v in columns.items()}
    if np.unique(here["n"]).size < HEADLINE_SIZES or not budgets.is_profile(here["n"], here["d"]):
        return None
    others = [rows for rows in budgets.profile_rows(columns) if not np.isin(rows, out).any()]
    rows = np.concatenate([*others, out])
    label = np.concatenate([columns["budget"][r] for r in others] + [np.full(out.size, np.inf)])
    try:
        found = isoflop.profiles({**{k: columns[k][rows] for k in ("n", "d", "loss")}, "budget": label}, draws=0)
    except UserError:
        return None
    lowest = found.minima[-1]
    return lowest.loss if lowest.status == "ok" else None


def _pick(columns: Columns, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(v)[rows] for name, v in columns.items()}


def training(law: Law, columns: Columns, budget: float | str | Below) -> dict[str, np.ndarray]:
    """The rows that `heldout` fits; all, where none can be held out."""
    try:
        return _pick(columns, split(law, columns, budget)[0])
    except ValueError:
        return dict(columns)


def split(law: Law, columns: Columns, budget: float | str | Below = "largest") -> tuple[np.ndarray, np.ndarray]:
    """Indices of the runs below `budget`, and of the runs of the budget nearest to it; of a `Below`, of all others."""
    if isinstance(budget, Below):
        return split_below(law, columns, budget)
    known = np.unique(columns["budget"])
    if known.size < 2:
        raise UserError("every run has the same budget, so none can be held out; add runs at another budget")
    at = known[-1] if budget == "largest" else known[np.argmin(np.abs(np.log(known / float(budget))))]
    return _some(columns["budget"] < at, FITTED), _some(columns["budget"] == at, MOST)


def split_below(law: Law, columns: Columns, below: Below) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the runs below, and of all others."""
    values = _along(law, columns, below.role)
    if not values.min() < below.most <= values.max():
        raise UserError(
            f"{below.role} of these runs is {values.min():.3g} to {values.max():.3g}, so training below "
            f"{below.most:.3g} leaves {'nothing to fit' if below.most <= values.min() else 'nothing to forecast'}"
        )
    return _some(values < below.most, FITTED), _some(values >= below.most, FITTED)


def _along(law: Law, columns: Columns, role: str) -> np.ndarray:
    """The column that training is stopped along [rows]."""
    if role == "c":
        return axis(law, columns)
    if role not in columns:
        raise UserError(f"there is no {role} to train below; these columns are known: {', '.join(columns)}")
    return np.asarray(columns[role], np.float64)


def sampled(rows: int) -> list[str]:
    """A sentence where forecasts are made from a sample of the rows."""
    if rows <= FITTED:
        return []
    return [
        f"held-out forecasts are fitted to {FITTED:,} rows at most and forecast {MOST:,} at most, drawn at random; the "
        f"law itself is fitted to all {rows:,}"
    ]


def _some(mask: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows where `mask` is, in order."""
    rows = np.flatnonzero(mask)
    return rows if rows.size <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def cutoffs(columns: Columns) -> np.ndarray:
    """Budgets after which a forecast may start, at most `CUTOFFS`, the largest last."""
    known = np.unique(columns["budget"])[1:-1]
    return known[np.unique(np.linspace(0, known.size - 1, CUTOFFS).round().astype(int))] if known.size else known


class Window(NamedTuple):
    """A cutoff of the expanding window, and each later run as it was forecast there."""

    cutoff: float  # the largest budget fitted
    following: float  # the next budget
    next_error: float  # mean of its runs' errors
    next_reach: float  # of its runs over the largest fitted, geometric mean
    fitted: int  # runs
    theta: Float[np.ndarray, " P"]
    rows: np.ndarray  # indices of the later runs
    reach: np.ndarray
    measured: np.ndarray
    error: np.ndarray  # predicted / measured - 1
    missed: np.ndarray  # predicted - measured in the law's space
    ends: Float[np.ndarray, "rows 2"]  # interval of one run; nan where none was made

    @property
    def inside(self) -> np.ndarray:
        """Did the intervals hold what was measured [rows]?"""
        measured = self.measured
        return (self.ends[:, 0] <= measured) & (measured <= self.ends[:, 1])


def backtest(
    ask: Law | Question,
    columns: Columns,
    *,
    draws: int = 200,
    seed: int = 0,
    level: float = LEVEL,
    run: np.ndarray | None = None,
) -> list[Window]:
    """Every cutoff's forecasts.  With `draws` = 0 there are no intervals, and `inside` is false throughout."""
    law, windows = question(ask).law, []
    known, compute = np.unique(columns["budget"]), axis(law, columns)
    for cutoff in cutoffs(columns):
        below, out = _some(columns["budget"] <= cutoff, FITTED), _some(columns["budget"] > cutoff, MOST)
        try:
            found = fit(ask, _pick(columns, below), certify=False)
        except ValueError:  # too few of the small runs to identify the law
            continue
        left, ends = _pick(columns, out), np.full((out.size, 2), np.nan)
        predicted = predict(law, found.theta, left)
        with np.errstate(over="ignore"):
            error = law.natural(predicted) / left[law.output] - 1
        if draws:
            past = known_errors(windows, columns["budget"] <= cutoff, columns["budget"])
            sample = bootstrap(found, draws=draws, seed=seed, run=None if run is None else run[below])
            ends = np.array([r.interval for r in forecast(found, sample, columns, out, past, level).runs])
        reach = compute[out] / compute[below].max()
        following = float(known[np.searchsorted(known, cutoff) + 1])
        next_rows = columns["budget"][out] == following
        if not next_rows.any():  # of many, the sample may hold none
            continue
        mean = float(np.mean(error[next_rows]))
        windows.append(
            Window(float(cutoff), following, mean, mean_log(reach[next_rows]), below.size, found.theta, out, reach,
                   left[law.output], error, predicted - law.response(left[law.output]), ends)
        )  # fmt: skip
    return windows


def by_horizon(windows: Sequence[Window]) -> list[dict[str, Any]]:
    """Forecast errors one, two and three octaves and a decade ahead (each run counted where it is nearest)."""
    if not windows:
        return []
    reach, error, inside = (
        np.concatenate([getattr(w, name) for w in windows]) for name in ("reach", "error", "inside")
    )
    return horizons(reach, error, inside, np.concatenate([np.full(w.rows.size, i) for i, w in enumerate(windows)]))


def horizons(
    reach: np.ndarray, error: np.ndarray, inside: np.ndarray, window: np.ndarray | None
) -> list[dict[str, Any]]:
    """The same of forecasts [forecasts], made by `window` [forecasts], or all by one."""
    nearest, rows = horizon_of(reach), []
    for i, name in enumerate((*HORIZONS, "further")):
        here = (nearest == i) & np.isfinite(error)
        if here.any():
            rows.append(
                {"horizon": name, "forecasts": int(here.sum()),
                 "windows": 1 if window is None else int(np.unique(window[nearest == i]).size),
                 "mean_error": float(error[here].mean()), "rms_error": float(np.sqrt(np.mean(error[here] ** 2))),
                 "coverage": float(inside[here].mean())}
            )  # fmt: skip
    return rows


def horizon_of(reach: np.ndarray) -> np.ndarray:
    """Index into `HORIZONS` of the nearest to each reach, in logs; their number for what lies beyond all of them."""
    known = np.log(list(HORIZONS.values()))
    nearest = np.abs(np.log(reach)[:, None] - known).argmin(1)
    return np.where(np.log(reach) > known[-1] + 0.5, len(known), nearest)
