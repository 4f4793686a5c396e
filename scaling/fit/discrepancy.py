"""How far off a law may be beyond the runs it was fitted to: learnt from its own earlier forecasts and public ones.

A law bends away from its runs by an amount that no resample of them shows.  At a reach r (compute of the run over the
largest compute fitted) its log error is taken as Student's t times s g(r), where g grows as a power of log r.  s^2 has
a prior, in units of the fit's own residuals, made of forecasts on public runs; every earlier cutoff of the same law on
the same runs adds one degree of freedom.  So a law that was never tested is neither trusted nor given up, and one that
was tested is judged by its own errors.  `python -m scripts.check.forecasts` measures what comes of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

Past = Sequence[
    Sequence[tuple[float, float]]
]  # of each cutoff: (mean error in the law's space, reach) of later budgets


class Prior(NamedTuple):
    """What forecasts on public runs have shown."""

    ratio: float  # s over the root mean square residual of the fit
    freedom: float  # cutoffs that it is worth
    power: float  # g(r) = (log r)^power
    least: float  # log reach below which g stays where it is
    bound: float  # largest sd of what the constants do not know, over g: an exponent that ran off says nothing more


# Chosen so that 90 % intervals hold 90 % of the forecasts of a set that had no part in the choice, over Gemstones
# (McLeish et al. 2025), Epoch's points of Hoffmann et al. 2022, (Mis)Fitting (Li et al. 2025) and four generated worlds
# (`scripts/check/forecasts.py`).  s over the residuals of those sets, each by itself: `docs/forecasts.md`.
PRIOR = Prior(ratio=1.3, freedom=2.0, power=0.8, least=0.3, bound=0.1)


class Discrepancy(NamedTuple):
    """The distribution of errors beyond what a fit knows: scale g(r) t."""

    scale: float
    freedom: float
    prior: Prior

    def draw(self, reach: np.ndarray, draws: int, seed: int = 2) -> Float[np.ndarray, "draws runs"]:
        """Errors in the law's space at each `reach` [runs]; one draw is one law, so its errors go together."""
        t = scipy.special.stdtrit(self.freedom, (np.arange(draws) + 0.5) / draws)  # stratified: no noise in the tails
        t = np.random.default_rng(seed).permutation(t)[:, None]
        return self.scale * growth(reach, self.prior) * t


def learn(past: Past, residual: float, prior: Prior | None = None) -> Discrepancy:
    """From earlier cutoffs' errors and the root mean square `residual` of the fit, both in the law's space.

    The posterior of a variance under a scaled inverse chi-squared prior: the errors of one cutoff go together, so each
    cutoff counts once, as the mean over the budgets it forecast.
    """
    prior = prior or PRIOR
    seen = [np.mean([(error / growth(reach, prior)) ** 2 for error, reach in window]) for window in past if window]
    freedom = prior.freedom + len(seen)
    variance = (prior.freedom * (prior.ratio * residual) ** 2 + sum(seen)) / freedom
    return Discrepancy(float(np.sqrt(variance)), freedom, prior)


def growth(reach: np.ndarray | float, prior: Prior | None = None) -> np.ndarray:
    """g(r); forecasts within the runs fitted are as uncertain as those just beyond."""
    prior = prior or PRIOR
    return np.asarray(np.maximum(np.log(np.maximum(reach, 1.0)), prior.least) ** prior.power)


def bounded(
    drawn: Float[np.ndarray, "draws runs"],
    expected: Float[np.ndarray, " runs"],
    reach: np.ndarray,
    residual: float,
    prior: Prior | None = None,
    logs: bool = True,
) -> Float[np.ndarray, "draws runs"]:
    """Draws about what is `expected`, drawn together where they are wider than any forecast has been off.

    The prior's bound is of log errors; where the law's space is no log, it is a part of what is expected.

    Resamples of few runs send exponents off, and the forecasts of such draws reach from nothing to infinity.
    """
    prior = prior or PRIOR
    drawn = np.where(np.isnan(drawn), expected, drawn)
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = np.quantile(drawn, (0.05, 0.95), axis=0)
        width = (high - low) / 3.29  # of a normal distribution: its sd
        bound = prior.bound * (1.0 if logs else np.abs(expected))
        most = np.sqrt((1.3 * residual) ** 2 + (bound * growth(reach, prior)) ** 2)
        share = np.where(np.isfinite(width), np.minimum(1.0, most / np.maximum(width, 1e-300)), 0.0)
        away = np.clip(drawn - expected, -1e3, 1e3)
        outside = np.where(np.isfinite(width), 0.0, most)  # draws to infinity: as wide as is allowed
    return expected + share * away + outside * np.sign(away)
