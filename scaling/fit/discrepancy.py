"""How far off a law may be beyond the runs it was fitted to: learnt from its own earlier forecasts and public ones.

A law bends away from its runs by an amount that no resample of them shows.  At a reach r (compute of the run over the
largest compute fitted) its log error is taken as Student's t times s g(r), where g grows as a power of log r.  s^2 has
a prior, in units of the errors of the fit's own runs, made of forecasts on public runs; every earlier cutoff of the
same law on the same runs adds half a degree of freedom.  So a law that was never tested is neither trusted nor given
up, and one that was tested is judged by its own errors.  `python -m scripts.check.forecasts` measures what comes of it.
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

    ratio: float  # s over the residual standard error of the fit
    freedom: float  # cutoffs that it is worth
    power: float  # g(r) = (log r)^power
    least: float  # log reach below which g stays where it is
    bound: float  # largest sd of what the constants do not know, over g: an exponent that ran off says nothing more


# Chosen so that 90 % intervals hold 90 % of the forecasts of a set that had no part in the choice, over Gemstones
# (McLeish et al. 2025), Epoch's points of Hoffmann et al. 2022, (Mis)Fitting (Li et al. 2025) and four generated worlds
# (`scripts/check/forecasts.py`).  s over the errors of those sets, each by itself: `docs/forecasts.md`.
PRIOR = Prior(ratio=1.0, freedom=2.0, power=0.7, least=0.3, bound=0.1)
# Degrees of freedom of one earlier cutoff.  Two in a row share most of the runs that they are fitted to and that they
# forecast, and their errors over g correlate by r = 0.6 on those sets: k of them tell a variance as well as
# k (1 - r^2) / (1 + r^2) that had nothing in common (Bretherton et al. 1999).
WORTH = 0.5


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

    def beyond(
        self,
        drawn: Float[np.ndarray, "draws runs"],
        expected: Float[np.ndarray, " runs"],
        reach: np.ndarray,
        residual: float,
        logs: bool = True,
    ) -> Float[np.ndarray, "draws runs"]:
        """What runs may measure, of what a fit alone says that they may: `bounded`, and how far the law may be off."""
        return bounded(drawn, expected, reach, residual, self.prior, logs) + self.draw(reach, len(drawn))


def learn(past: Past, error: float, prior: Prior | None = None) -> Discrepancy:
    """From earlier cutoffs' errors and the `standard_error` of the fit, both in the law's space.

    The posterior of a variance under a scaled inverse chi-squared prior: the errors of one cutoff go together, so each
    cutoff is one piece of evidence, the mean over the budgets it forecast, and is `WORTH` less than a whole one.
    """
    prior = prior or PRIOR
    seen = [np.mean([(missed / growth(reach, prior)) ** 2 for missed, reach in window]) for window in past if window]
    freedom = prior.freedom + WORTH * len(seen)
    variance = (prior.freedom * (prior.ratio * error) ** 2 + WORTH * sum(seen)) / freedom
    return Discrepancy(float(np.sqrt(variance)), freedom, prior)


def standard_error(residuals: Float[np.ndarray, " rows"], free: int) -> float:
    """Of one run about the law: residuals are smaller than errors, the more so the fewer rows for `free` constants."""
    return float(np.sqrt(np.sum(residuals**2) / max(residuals.size - free, 1)))


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
