"""Forecasting: windows of a series of numbers, and the numbers that follow.  L lookback, F columns, H horizon."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from data import cache, tables
from data.source import Batch, Column, Dataset, Scale

Level = Literal["mean", "last"]
SMALLEST = {"lookback": 16, "rows": 200, "steps": 1000}  # at which pages are tested


def table(
    path: str,
    *,
    target: str,
    lookback: int,
    horizon: int,
    season: int = 24,
    inputs: Literal["all", "target"] = "all",
    level: Level = "mean",
    rows: int = 0,
    train: float = 0.6,
    valid: float = 0.2,
    header: tables.Header = "auto",
) -> Dataset:
    """A CSV file with a header, one row a step of time, the oldest first; columns that hold no numbers are left out.

    `header` is that of `tables.regression`.

    `inputs` are "all" columns, `target` first, or only the "target".  The first `train` of the rows is trained on, the
    last `valid` is held out, what lies between is left for choices; `rows` > 0 reads only so many.  Numbers are
    standardised by mean and standard deviation of the training rows, in which errors are measured too.  With `level`
    "last" a window, and what follows, is counted from its last step instead of the mean (NLinear, Zeng et al. 2022):
    errors stay what they are, and a level that was never trained on is none.
    """
    columns = tables.read(Path(path).expanduser(), header)
    known = [name for name, values in columns.items() if tables.has_numbers(values)]
    if target not in known:
        raise ValueError(f"target={target!r} is no column of numbers in {path!r}; choose one of {', '.join(known)}")
    names = [target, *(name for name in known if name != target and inputs == "all")]
    series = np.stack([tables.numbers(name, columns[name][: rows or None]) for name in names], axis=1)
    return forecasting(series, lookback, horizon, season, level, train, valid, names)


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
