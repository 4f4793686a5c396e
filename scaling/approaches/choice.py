"""Which approaches a fit is asked for, and what each answers; where two disagree, a sentence says so and why.

R rows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scaling import budgets
from scaling.approaches import envelope as approach1
from scaling.approaches import isoflop
from scaling.approaches.lines import Line
from train.errors import UserError
from train.numbers import digits, si

APPROACHES = ("1", "2", "3", "all")
FIRST, SECOND, THIRD = "envelope of curves (approach 1)", "isoFLOP profiles (approach 2)", "law (approach 3)"
SAME = 1.001  # ratio of the ends of two intervals that is no disagreement, whatever the noise
STANDS_OUT = 6.0  # residual over the robust sd beyond which a row is called an outlier


class Choice(NamedTuple):
    """What the reader asks of approaches 1 and 2; approach 3, the law, is always fitted."""

    approach: str = "all"  # "all": whatever the runs allow
    profile: str = isoflop.DEFAULT
    weights: str = "equal"
    noise: float | None = None  # sd of a loss, nats; None to take it from the residuals


class Answer(NamedTuple):
    """The best run for a budget, by one approach."""

    approach: str
    n: float
    d: float
    n_interval: tuple[float, float]  # nan where there is none
    d_interval: tuple[float, float]


def profiles(columns: Mapping[str, np.ndarray], choice: Choice, level: float) -> tuple[isoflop.Profiles | None, str]:
    """Approach 2 where the runs allow it, or a sentence that says what is missing; "" where it was not asked for."""
    if choice.approach not in ("2", "all"):
        return None, ""
    rows = list(budgets.profile_rows(columns))
    if choice.approach == "all" and not budgets.is_sweep(columns):
        return None, ""
    if len(rows) < 2:
        few = (
            f"approach 2 needs two budgets of 4 sizes or more, each at one compute; these rows have {len(rows)} such "
            f"budget{'s' * (len(rows) != 1)}; add sizes at equal 6 N D"
        )
        return None, few if choice.approach == "2" else ""
    kept = np.sort(np.concatenate(rows))
    try:
        return isoflop.profiles(
            {name: v[kept] for name, v in columns.items()}, method=choice.profile, weights=choice.weights,
            noise=choice.noise, level=level,
        ), ""  # fmt: skip
    except UserError as error:
        return None, f"approach 2 cannot be made: {error}"


def envelope(
    columns: Mapping[str, np.ndarray], run: np.ndarray | None, choice: Choice, level: float
) -> tuple[approach1.Envelope | None, str]:
    """Approach 1 where the runs allow it, or a sentence that says what is missing, where it was asked for alone."""
    if choice.approach not in ("1", "all"):
        return None, ""
    sentence = (
        "approach 1 takes the lowest of many training curves, and every run has one row here; give the checkpoints "
        "of each run, and --run COL for the column that names it"
    )
    if run is not None:
        try:
            return approach1.envelope({**columns, "run": run}, level=level), ""
        except UserError as error:
            sentence = f"approach 1 cannot be made: {error}"
    return None, sentence if choice.approach == "1" else ""


def answer(approach: str, n: Line, d: Line, c: float) -> Answer:
    """What the lines of an approach say at C FLOPs."""
    ends = [tuple(float(v) for v in line.band(c)) if len(line.draws) else (np.nan, np.nan) for line in (n, d)]
    return Answer(approach, float(n(c)), float(d(c)), ends[0], ends[1])


def disagreement(answers: Sequence[Answer], c: float, causes: Sequence[str]) -> str:
    """A sentence where the intervals of N of two answers do not overlap, with what may cause it; "" where they do."""
    for i, one in enumerate(answers):
        for other in answers[i + 1 :]:
            (low, high), (least, most) = one.n_interval, other.n_interval
            if high * SAME < least or most * SAME < low:
                told = lambda a: f"{a.approach} says N {si(a.n)} ({si(a.n_interval[0])} to {si(a.n_interval[1])})"
                return (
                    f"the approaches disagree at {si(c)} FLOPs: {told(one)}, {told(other)}, and the intervals do not "
                    f"overlap. Usual causes are outliers, a law of the wrong form, and sizes off the centre of a "
                    f"profile. {' '.join(causes)}"
                ).rstrip()
    return ""


def causes(
    found: isoflop.Profiles | None,
    residuals: np.ndarray,
    names: Callable[[np.ndarray], Sequence[str]],
    moves: Sequence[tuple[str, float]],
) -> list[str]:
    """What the runs show of the usual causes, and which rows decide each answer, as sentences.

    residuals [R] of the law; `names` of some rows, by index; `moves`: what is left out -> how far a of the law moves.
    """
    said = []
    spread = 1.4826 * float(np.median(np.abs(residuals - np.median(residuals))))
    out = np.flatnonzero(np.abs(residuals - np.median(residuals)) > STANDS_OUT * max(spread, 1e-300))
    out = out[np.argsort(-np.abs(residuals[out]), kind="stable")]
    if out.size and spread > 1e-8:
        shown = ", ".join(names(out[:3]))
        said.append(f"Here {out.size} row{'s lie' if out.size > 1 else ' lies'} far off the law: {shown}.")
    if found is not None:
        off = [m for m in found.minima if m.status != "ok" or _off_centre(m)]
        if off:
            said.append(f"Off centre or refused: the profiles at {', '.join(si(m.c) for m in off[:4])} FLOPs.")
    if not said:
        said.append("Here no row stands out and every profile is centred, so the form of the law is the likeliest.")
    if found is not None:
        label, moved = _decides(found)
        if label:
            said.append(f"Approach 2 rests most on the rows at {label} FLOPs: without them a moves by {moved}.")
    known = [(what, shift) for what, shift in moves if np.isfinite(shift)]
    if known:
        what, shift = max(known, key=lambda move: abs(move[1]))
        said.append(f"The law rests most on {what}: without it a moves by {digits(shift, 2)}.")
    return said


def _off_centre(m: isoflop.Minimum) -> bool:
    """Does a third of the sizes or less lie on one side of the minimum?"""
    below = float(np.mean(m.sizes < m.n))
    return min(below, 1 - below) < 1 / 3


def _decides(found: isoflop.Profiles) -> tuple[str, str]:
    """The budget whose leaving out moves a the most, and by how much; "" with fewer than three."""
    used = [m for m in found.minima if m.status == "ok"]
    if len(used) < 3:
        return "", ""
    c, n = np.log([m.c for m in used]), np.log([m.n for m in used])
    moved = [np.polyfit(np.delete(c, i), np.delete(n, i), 1)[0] - np.polyfit(c, n, 1)[0] for i in range(c.size)]
    most = int(np.argmax(np.abs(moved)))
    return si(used[most].c), digits(moved[most], 2)
