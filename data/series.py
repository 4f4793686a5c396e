"""Forecasting: windows of a series of numbers, and the numbers that follow.  L lookback, F columns, H horizon."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from data import cache, tables
from data.source import Batch, Column, Dataset, HeldOut, Scale

Level = Literal["mean", "last"]
SMALLEST = {"lookback": 16, "rows": 200, "steps": 1000}  # at which pages are tested
PERIODIC, NEARLY = 0.3, 0.9  # autocorrelation of a period, and share of the highest one
ROUNDING = 1e-12  # of a variance, of what is a straight line
FARTHEST = 48  # steps that a horizon is taken for, where nobody says


def table(
    path: str,
    *,
    target: str = "last",
    lookback: int = 0,
    horizon: int = 0,
    season: int = 24,
    inputs: Literal["all", "target"] = "all",
    level: Level = "mean",
    rows: int = 0,
    train: float = 0.6,
    valid: float = 0.2,
    header: tables.Header = "auto",
) -> Dataset:
    """A CSV file with a header, one row a step of time, the oldest first; columns that hold no numbers are left out.

    `header` is that of `tables.regression`; `target` "last" is the last column of numbers.

    `inputs` are "all" columns, `target` first, or only the "target".  The first `train` of the rows is trained on, the
    last `valid` is held out, what lies between is left for choices; `rows` > 0 reads only so many.  Numbers are
    standardised by mean and standard deviation of the training rows, in which errors are measured too.  With `level`
    "last" a window, and what follows, is counted from its last step instead of the mean (NLinear, Zeng et al. 2022):
    errors stay what they are, and a level that was never trained on is none.

    A `season` of 0 is the period of the training rows (`period`), a `horizon` of 0 a season, 48 or a tenth of the
    training rows, whichever is least, and a `lookback` of 0 twice the horizon, 8 at least.
    """
    columns = tables.read(Path(path).expanduser(), header)
    known = [name for name, values in columns.items() if tables.has_numbers(values)]
    target = known[-1] if target == "last" and known else target
    if target not in known:
        raise ValueError(f"target={target!r} is no column of numbers in {path!r}; choose one of {', '.join(known)}")
    names = [target, *(name for name in known if name != target and inputs == "all")]
    series = np.stack([tables.numbers(name, columns[name][: rows or None]) for name in names], axis=1)
    cut = int(train * len(series))
    asked = {"season": season, "horizon": horizon, "lookback": lookback}
    season = season or period(series[:cut, 0])
    horizon = horizon or max(1, min(season, cut // 10, FARTHEST))
    lookback = lookback or max(8, 2 * horizon)
    made = forecasting(series, lookback, horizon, season, level, train, valid, names)
    now = {"season": season, "horizon": horizon, "lookback": lookback}
    return made._replace(chosen={name: value for name, value in now.items() if not asked[name]})


def period(values_T: Float64[np.ndarray, " T"]) -> int:
    """The lag of the first peak of the autocorrelation that is nearly as high as the highest, if above 0.3; else 1.

    A straight line is taken away first.  Lags go up to a third of the series.
    """
    T = len(values_T)
    most = T // 3
    if most < 4:
        return 1
    line = np.polynomial.Polynomial.fit(np.arange(T), values_T, 1)
    spectrum = np.fft.rfft(values_T - line(np.arange(T)), 2 * T)  # padded, so that it does not go round
    r = np.fft.irfft(np.abs(spectrum) ** 2)[: most + 1] / (T - np.arange(most + 1))
    if r[0] <= ROUNDING * (values_T**2).mean():
        return 1
    inner = r[1:-1]
    peaks = 1 + np.flatnonzero((r[:-2] < inner) & (inner >= r[2:]))
    high = [int(lag) for lag in peaks if lag > 1 and r[lag] > max(PERIODIC * r[0], NEARLY * r[peaks].max())]
    return high[0] if high else 1


def seasonal(
    *,
    lookback: int,
    horizon: int,
    season: int = 24,
    level: Level = "mean",
    noise: float = 0.3,
    steps: int = 10_000,
    train: float = 0.6,
    valid: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """A pattern of `season` Gaussian numbers, again and again, with independent Gaussian noise.

    No forecast has a lower expected squared error than noise², before standardising; the value of a season before
    has twice that.
    """
    rng = np.random.default_rng(seed)
    pattern = rng.standard_normal(season)
    series = np.resize(pattern, steps) + noise * rng.standard_normal(steps)
    return forecasting(series[:, None], lookback, horizon, season, level, train, valid, ["value"])


def forecasting(
    series_TF: Float64[np.ndarray, "T F"],
    lookback: int,
    horizon: int,
    season: int,
    level: Level,
    train: float,
    valid: float,
    names: Sequence[str],
) -> Dataset:
    """Windows from every step; the first column is forecast.  No held-out target is in any training window."""
    if min(lookback, horizon, season) < 1 or min(train, valid) <= 0 or train + valid > 1:
        raise ValueError(
            f"{lookback=}, {horizon=}, {season=} must be 1 or more, and {train=} and {valid=} parts of 1 in all"
        )
    past, T = max(lookback, season), len(series_TF)
    cut, start = int(train * T), T - int(valid * T)
    if cut < past + horizon or T - start < horizon:
        raise ValueError(
            f"{T} rows are too few: the training part has {cut} and the held-out {T - start}, windows {past + horizon}"
            f".  Lower data.lookback={lookback}, data.horizon={horizon} or data.season={season}"
        )
    numbers, scale = tables.standard(series_TF, np.arange(cut))
    standard = numbers.astype(np.float32)
    halves = {
        "train": Forecasts(standard[:cut], lookback, horizon, season, level),
        # The steps before the held-out part are inputs of its first windows, and targets of none.
        "valid": Forecasts(standard[max(0, start - past) :], lookback, horizon, season, level),
    }
    return Dataset(
        **halves,
        classes=0,
        unit="example",
        per_record=1,
        unique=len(halves["train"]),  # they overlap: about one new number a window
        fingerprint=cache.fingerprint({split: half.series_TF for split, half in halves.items()}),
        scales={"x": scale, "y": Scale(scale.mean[:1], scale.deviation[:1])},
        columns={"x": tuple(map(Column, names)), "y": (Column(names[0]),)},
        level=level,
        held_out=HeldOut(f"the last {valid:g} of the {T} rows; the first {train:g} is trained on"),
    )


def last(path: Path, columns: Sequence[Column], lookback: int) -> Float64[np.ndarray, "L F"]:
    """The last `lookback` rows of a CSV file that has these columns, in its own units."""
    table = tables.read(path)
    missing = [column.name for column in columns if column.name not in table]
    if missing:
        raise ValueError(f"{path}: the column {missing[0]!r} is missing; it has {', '.join(table)}")
    rows = len(table[columns[0].name])
    if rows < lookback:
        raise ValueError(f"{path} has {rows} rows, and a forecast is made from the last {lookback}; give it more")
    first = rows - lookback
    try:
        return np.stack([tables.numbers(name, table[name][first:], first + 1) for name, _ in columns], axis=1)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


class Forecasts:
    """x float32 [L, F], y float32 [H] of the first column, and `naive` float32 [H]: its values whole seasons before."""

    def __init__(
        self, series_TF: Float32[np.ndarray, "T F"], lookback: int, horizon: int, season: int, level: Level = "mean"
    ):
        self.series_TF, self.lookback, self.horizon, self.season = series_TF, lookback, horizon, season
        self.level, self.past = level, max(lookback, season)

    def __len__(self) -> int:
        return len(self.series_TF) - self.past - self.horizon + 1

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        now, ahead = ids[:, None] + self.past, np.arange(self.horizon)
        origin_B1F = self.series_TF[now - 1] * np.float32(self.level == "last")
        target, origin_B1 = self.series_TF[:, 0], origin_B1F[..., 0]
        return {
            "x": self.series_TF[now + np.arange(-self.lookback, 0)] - origin_B1F,
            "y": target[now + ahead] - origin_B1,
            "naive": target[now + ahead % self.season - self.season] - origin_B1,
        }
