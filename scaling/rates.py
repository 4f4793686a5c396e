"""The best learning rate of each size, of runs that tried several.

What is compared are means over seeds.  R rows, as `records.Runs.tried` has them.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from train.numbers import si


class Best(NamedTuple):
    """Of one N and D."""

    n: float
    d: float
    rates: np.ndarray  # [rates tried], ascending
    losses: np.ndarray  # [rates tried]
    sd: float  # of the best one's loss over seeds; nan where it has one
    lr: float  # of the least loss
    between: float  # the vertex of the parabola in ln lr through it and its neighbours; nan at the end of the rates
    cost: float  # how many times the loss grows for a rate twice too high or low, by that parabola; nan likewise
    edge: str  # "smallest", "largest" of the rates tried, or ""


def best(tried: Mapping[str, np.ndarray]) -> list[Best]:
    """One for each N and D with two rates or more, by size; other settings at one rate count with their best."""
    if not tried:
        return []
    found = []
    pairs, group = np.unique(np.stack([tried["n"], tried["d"]]), axis=1, return_inverse=True)
    for i, (n, d) in enumerate(pairs.T.tolist()):
        rows = np.flatnonzero(group.reshape(-1) == i)
        order = rows[np.lexsort((tried["loss"][rows], tried["lr"][rows]))]
        order = order[np.unique(tried["lr"][order], return_index=True)[1]]  # of each rate the least loss
        if order.size > 1:
            found.append(one(n, d, tried["lr"][order], tried["loss"][order], tried.get("sd", np.full(0, 0.0)), order))
    return found


def one(n: float, d: float, lr: np.ndarray, loss: np.ndarray, sd: np.ndarray, rows: np.ndarray) -> Best:
    at = int(loss.argmin())
    edge = "smallest" if at == 0 else "largest" if at == lr.size - 1 else ""
    spread = float(sd[rows[at]]) if sd.size else math.nan
    between = cost = math.nan
    if not edge:
        a, b, _ = np.polyfit(np.log(lr[at - 1 : at + 2] / lr[at]), loss[at - 1 : at + 2], 2)
        between = float(lr[at] * np.exp(-b / (2 * a))) if a > 0 else math.nan
        cost = float(1 + a * math.log(2) ** 2 / loss[at]) if a > 0 else math.nan
    return Best(n, d, lr, loss, spread, float(lr[at]), between, cost, edge)


def sentences(found: list[Best]) -> list[str]:
    """What the rates tried do not settle."""
    said = []
    for edge, way in (("largest", "larger"), ("smallest", "smaller")):
        sizes = [*dict.fromkeys(si(one.n) for one in found if one.edge == edge)]
        if sizes:
            shown = ", ".join(sizes[:4]) + (f" and {len(sizes) - 4} more" if len(sizes) > 4 else "")
            said.append(f"the best learning rate is the {edge} tried at N = {shown}: try {way} ones there")
    return said


def unsettled(tried: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray]) -> list[str]:
    """A sentence where a law is fitted to runs of several rates at one N and D."""
    found = best(tried)
    if not found or columns["n"].size < tried["n"].size:
        return []
    worst = max(found, key=lambda one: one.losses.max() / one.losses.min())
    return [
        f"{len(found)} sizes were run at several learning rates, and the law is fitted to all of them (up to "
        f"{worst.losses.max() / worst.losses.min() - 1:.1%} above the best at N = {si(worst.n)}); --best keeps the "
        "best of each"
    ]
