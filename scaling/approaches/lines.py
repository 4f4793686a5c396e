"""Lines in logs, y = k C^exponent, and the tables that they are drawn through; for approaches 1 and 2.

K points, B bootstrap draws, R rows.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from train.errors import UserError

LEVEL = 0.9


class Line(NamedTuple):
    """y = k C^exponent."""

    k: float
    exponent: float
    interval: tuple[float, float]  # of the exponent, central `level`; nan where there is none
    draws: np.ndarray  # [B, 2]: ln k and exponent of each bootstrap draw
    level: float

    def __call__(self, c: Any) -> Any:
        """y at C FLOPs."""
        return np.exp(np.log(self.k) + self.exponent * np.log(np.asarray(c, np.float64)))

    def band(self, c: Any) -> tuple[Any, Any]:
        """The central `level` of y at C FLOPs."""
        log_y = self.draws[:, 0] + self.draws[:, 1] * np.log(np.asarray(c, np.float64))[..., None]
        low, high = central(log_y, self.level)
        return np.exp(low), np.exp(high)

    def at(self, c: float) -> tuple[float, tuple[float, float]]:
        """y at C FLOPs and its interval; nan where there are no draws."""
        low, high = self.band(c) if len(self.draws) else (np.nan, np.nan)
        return float(self(c)), (float(low), float(high))


def slope(c: Any, n: Any, weights: Any = None) -> float:
    """The exponent of n ~ c^exponent, by least squares of ln n on ln c; `weights` are 1 / variance of ln n, not 1 / sd.

    The `sigma` of scipy's curve_fit is the sd itself.
    """
    c, n = positive("c", c), positive("n", n)
    if np.unique(c).size < 2:
        raise UserError("a slope needs two different values of c")
    weights = np.ones(c.size) if weights is None else np.asarray(weights, np.float64)
    return float(least_squares(np.log(c), np.log(n), weights)[..., 1])


def least_squares(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Intercept and slope [..., 2] of weighted least squares of y [..., K] on x [K]; what is nan in y is left out."""
    weights = np.where(np.isfinite(y), weights, 0.0)
    y = np.where(np.isfinite(y), y, 0.0)
    with np.errstate(all="ignore"):
        total = weights.sum(-1, keepdims=True)
        mean_x, mean_y = ((weights * v).sum(-1, keepdims=True) / total for v in (x, y))
        rise = (weights * (x - mean_x) * (y - mean_y)).sum(-1) / (weights * (x - mean_x) ** 2).sum(-1)
        found = np.stack([mean_y[..., 0] - rise * mean_x[..., 0], rise], -1)
    return np.where((weights > 0).sum(-1)[..., None] > 1, found, np.nan)


def line(x: np.ndarray, y: np.ndarray, weights: np.ndarray, draws: np.ndarray, level: float) -> Line:
    """The line through y [K] on x [K], with those of the draws [B, 2]."""
    log_k, exponent = (float(v) for v in least_squares(x, y, weights))
    low, high = central(draws[:, 1], level)
    return Line(float(np.exp(log_k)), exponent, (float(low), float(high)), draws, level)


def central(values: np.ndarray, level: float) -> tuple[Any, Any]:
    """The central `level` of the numbers along the last axis; nan where fewer than half are numbers."""
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan), np.full(values.shape[:-1], np.nan)
    known = np.isfinite(values).mean(-1) >= 0.5
    filled = np.where(known[..., None], values, 0.0)
    low, high = np.nanquantile(filled, (0.5 - level / 2, 0.5 + level / 2), axis=-1, method="weibull")
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def checked(columns: Mapping[str, Any], further: tuple[str, ...]) -> dict[str, np.ndarray]:
    """n, d, loss, c as float64 [R], and `further` labels as they are."""
    missing = [name for name in ("n", "d", "loss", *further) if name not in columns]
    if missing:
        raise UserError(f"there is no column {missing[0]!r}; these are given: {', '.join(columns)}")
    table = {name: positive(name, columns[name]) for name in ("n", "d", "loss", "c") if name in columns}
    table |= {name: np.asarray(columns[name]) for name in further}
    lengths = {name: values.size for name, values in table.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"columns are of different lengths: {lengths}")
    table.setdefault("c", 6.0 * table["n"] * table["d"])
    return table


def positive(name: str, values: Any) -> np.ndarray:
    """`values` as float64; those of a column must be positive."""
    values = np.asarray(values, np.float64).ravel()
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        raise UserError(f"{name} of row {bad[0]} is {values[bad[0]]:g}; every {name} must be finite and positive")
    return values
