"""What a forecast's interval is worth: one that holds everything holds the measurement too, and says nothing."""

import math
from typing import Literal, NamedTuple

import numpy as np
import scipy.special

from scaling.fit.backtest import Heldout, Run
from train.numbers import digits

WIDE = 0.1  # half-width over the prediction beyond which an interval says little
CHANCE = 0.05  # fewer runs inside than this quantile of luck at the stated level are too few

Kind = Literal["inside", "outside", "little"]


class Verdict(NamedTuple):
    """How to read a forecast: the colour of its number, and the words beside it."""

    kind: Kind  # "little": inside an interval that says little
    words: str
    width: float  # half the interval over the prediction; inf where it has no bound


def judge(run: Run, measured: np.ndarray) -> Verdict:
    """Of one forecast; `measured` [rows] are all outputs: an interval wider than their range says nothing new."""
    low, high = run.interval
    width = float((high - low) / 2 / abs(run.predicted)) if math.isfinite(high - low) else math.inf
    if math.isnan(low + high):
        return Verdict("little", "and no interval could be made", width)
    if not run.inside:
        return Verdict("outside", "outside", width)
    if high - low > np.ptp(measured):
        return Verdict("little", "inside, but the interval says little: all measurements span less", width)
    if width > WIDE:
        return Verdict("little", f"inside, but the interval says little ({shown(width)})", width)
    return Verdict("inside", "inside", width)


def judge_mean(heldout: Heldout, measured: np.ndarray) -> Verdict:
    """Of several runs at once: are as many inside as their level lets expect, and are their intervals narrow?"""
    each = [judge(run, measured) for run in heldout.runs]
    inside, width = sum(run.inside for run in heldout.runs), float(np.median([one.width for one in each]))
    if scipy.special.bdtr(inside, len(each), heldout.level) < CHANCE:
        return Verdict("outside", f"too few are inside their intervals ({shown(width)})", width)
    if 2 * sum(one.kind == "little" for one in each) > len(each):
        return Verdict("little", f"most of their intervals say little ({shown(width)})", width)
    return Verdict("inside", f"as many are inside their intervals ({shown(width)}) as expected", width)


def headline(heldout: Heldout, measured: np.ndarray) -> Verdict:
    """Of the first number of a report."""
    return judge(heldout.best, measured) if heldout.isoflop else judge_mean(heldout, measured)


def shown(width: float) -> str:
    """Half an interval, over the prediction."""
    return f"± {digits(100 * width, 2)}%" if math.isfinite(width) else "without bounds"
