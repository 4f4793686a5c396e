"""How easily parameters replace tokens: the elasticity of substitution at the best split, without a law.

Write L(N, D), x = ln N and y = ln D, with C = 6 N D.  Along a curve of equal loss the elasticity is
sigma = d ln(D / N) / d ln(MRTS), where MRTS = (dL/dN) / (dL/dD) = (L_x / L_y) (D / N).  At the best split L_x = L_y =
-s, so that the curve runs along (1, -1) dt there: d ln(D / N) = -2 dt, and d ln(L_x / L_y) = -(k / s) dt, where k =
L_xx - 2 L_xy + L_yy.  Hence

    sigma = 1 / (1 + k / 2 s).

k is the second derivative of the isoFLOP profile by ln N, and s = -dL*/d ln C is the slope of the frontier (envelope
theorem), so both can be read off runs.  A monotone transform of L scales both alike.  Chinchilla's law has k = (alpha +
beta) s: sigma = 2 / (2 + alpha + beta) at every budget.

K budgets, B bootstrap draws.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scaling.approaches.lines import central
from scaling.laws.api import Law
from scaling.laws.optimum import optimum

STEP = 1e-3  # of ln N and ln D, for the derivatives of a law


class Elasticity(NamedTuple):
    """Of substitution between N and D at the best split."""

    value: float  # nan with fewer than three budgets
    interval: tuple[float, float]  # central `level`; nan where there is none
    each: list[float]  # of every budget that has a minimum, budgets ascending


def elasticity(
    log_c: np.ndarray, loss: np.ndarray, bend: np.ndarray, drawn: tuple[np.ndarray, np.ndarray] | None, level: float
) -> Elasticity:
    """From minima at ln C [K]: their losses [K], the bends of the profiles [K], and draws of both [B, K]."""
    if log_c.size < 3:
        return Elasticity(np.nan, (np.nan, np.nan), [])
    value, each = _pooled(log_c, loss[None], bend[None])
    ends = (np.nan, np.nan)
    if drawn is not None:
        whole = np.isfinite(drawn[0]).all(1)
        low, high = central(np.where(whole, _pooled(log_c, *drawn)[0], np.nan), level)
        ends = (float(low), float(high))
    return Elasticity(float(value[0]), ends, each[0].tolist())


def _pooled(log_c: np.ndarray, loss: np.ndarray, bend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Elasticity of all budgets [B] and of each [B, K], of losses and bends [B, K].

    The frontier's slope is that of a polynomial of ln L* in ln C: of second degree, and with six budgets of third.  The
    ratio k / 2 s is the sum of the k over the sum of the 2 s.
    """
    x = (log_c - log_c.mean()) / max(float(np.ptp(log_c)), 1e-12)
    degree = 3 if log_c.size > 5 else min(2, log_c.size - 1)
    with np.errstate(all="ignore"):
        fitted = np.linalg.pinv(np.vander(x, degree + 1)) @ np.nan_to_num(np.log(loss)).T  # [degree + 1, B]
        powers = np.arange(degree, 0, -1)
        slope = (np.vander(x, degree) @ (powers[:, None] * fitted[:-1])).T / np.ptp(log_c) * -loss
        ratio = bend.sum(1) / (2 * slope.sum(1))
        return 1 / (1 + ratio), 1 / (1 + bend / (2 * slope))


def by_law(law: Law, theta: np.ndarray, c: float) -> float:
    """Of a law with constants `theta` [P] at its best run for C FLOPs; nan where it has none."""
    best = optimum(law, theta, c)
    n, d = float(best["n"]), float(best["d"])
    if not (np.isfinite(n) and np.isfinite(d)):
        return np.nan
    return of_surface(lambda x, y: law.natural(law.at(theta[None], x, y)), np.log(n), np.log(d))


def of_surface(loss: Callable[[np.ndarray, np.ndarray], np.ndarray], log_n: float, log_d: float) -> float:
    """Of a law's loss(ln N, ln D) at its best split, by central differences."""
    h = STEP
    along, across = np.array([-h, 0.0, h]), np.array([h, 0.0, -h])
    profile = np.asarray(loss(log_n + along, log_d + across), np.float64)
    ray = np.asarray(loss(log_n + along / 2, log_d + along / 2), np.float64)
    bend, slope = (profile[0] - 2 * profile[1] + profile[2]) / h**2, (ray[0] - ray[2]) / (2 * h)
    return float(1 / (1 + bend / (2 * slope)))
