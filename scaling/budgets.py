"""What one budget is: runs that were made with the same compute.  Every threshold on it stands here.

R rows.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from scaling.counting import c_6nd

GAP = 1.2  # sorted FLOPs: a new budget starts where a value is this many times the one before it
EVEN = 1.25  # ratio of FLOPs within a budget beyond which a profile mixes size with compute, and a reader is told
ONE = 1.5  # ratio of FLOPs beyond which the rows are no profile of one budget at all
SIZES = 3  # that a profile needs


def group(c: np.ndarray) -> np.ndarray:
    """The budget [R] of each row: FLOPs `c` [R] in groups, named by their geometric mean.

    Runs that were not made budget by budget form chains or stand alone: where one group spans more than an octave, or
    more than a third of them have fewer than three rows, all are grouped by octaves from the largest instead.
    """
    if not len(c):
        return c
    order = np.argsort(c)
    log_c = np.log(c[order])
    groups = np.split(log_c, np.flatnonzero(np.diff(log_c) > math.log(GAP)) + 1)
    if max(np.ptp(g) for g in groups) > math.log(2.0) or sum(g.size < SIZES for g in groups) > len(groups) / 3:
        octave = np.floor((log_c[-1] - log_c) / math.log(2.0) * (1 - 1e-12))
        groups = [np.empty(0)]
        for part in reversed(np.split(log_c, np.flatnonzero(np.diff(octave)) + 1)):
            if groups[0].size < SIZES:  # from the top, so that the largest group is enough to judge a forecast by
                groups[0] = np.r_[part, groups[0]]
            else:
                groups.insert(0, part)
    shared = np.empty(len(c))
    shared[order] = np.concatenate([np.full(g.size, np.exp(g.mean())) for g in groups])
    return shared


def profile_rows(columns: Mapping[str, np.ndarray]) -> Iterator[np.ndarray]:
    """Indices of the rows of each budget that is an isoFLOP profile, budgets ascending.

    Columns n, d and budget [R].  A profile has three sizes or more at one compute.
    """
    for budget in np.unique(columns["budget"]):
        rows = np.flatnonzero(columns["budget"] == budget)
        if is_profile(columns["n"][rows], columns["d"][rows]):
            yield rows


def is_profile(n: np.ndarray, d: np.ndarray) -> bool:
    """Are these rows several sizes at one compute?"""
    return bool(np.unique(n).size >= SIZES and unevenness(n, d) < ONE)


def unevenness(n: np.ndarray, d: np.ndarray) -> float:
    """The largest over the smallest 6 N D of the rows."""
    c = c_6nd(n, d)
    return float(c.max() / c.min())


def is_sweep(columns: Mapping[str, np.ndarray]) -> bool:
    """Were the rows made budget by budget?  At least two budgets, and most of all budgets, are profiles."""
    profiles = sum(1 for _ in profile_rows(columns))
    return profiles >= 2 and 2 * profiles > np.unique(columns["budget"]).size
