"""The best N and D for a budget, read off the runs without a law of loss: every approach by its number.

A new one is an `Approach` in a file of this folder, and nothing else: the command, terminal, page, fit.json and `plan`
take it from here.  The third of Hoffmann et al. 2022 is the law itself, which is always fitted.

K points, R rows.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from scaling.approaches.elasticity import Elasticity
from scaling.approaches.lines import LEVEL, Line
from scaling.laws.api import Law
from train.errors import UserError
from train.numbers import digits, si

LAW, ALL = "3", "all"  # what `--approach` takes beside numbers of approaches: the law alone, whatever the runs allow
THIRD = "law (approach 3)"
SAME = 1.001  # ratio of the ends of two intervals that is no disagreement, whatever the noise
STANDS_OUT = 6.0  # residual over the robust sd beyond which a row is called an outlier


class Choice(NamedTuple):
    """What the reader asks of the approaches beside the law, which is always fitted."""

    approach: str = "all"  # a number, or "all": whatever the runs allow
    options: Mapping[str, Any] = MappingProxyType({})  # of the approaches; those left out are as their flags default


class Rows(NamedTuple):
    """What an approach looks at."""

    columns: Mapping[str, np.ndarray]  # [R]: n, d, loss, budget
    run: np.ndarray | None = None  # [R] which run a row is a checkpoint of; None where each row is a run
    noise: float | None = None  # sd of a loss that seeds show, nats; None where nothing shows it
    level: float = LEVEL  # of intervals


class Marks(NamedTuple):
    """Points of the figure of the best N and D."""

    text: str  # what they are, for the caption
    points: Sequence[tuple[float, float, float]]  # C, N, D


class Estimate(NamedTuple):
    """What an approach finds."""

    n: Line  # N* of C
    d: Line  # D* of C
    how: str = ""  # said after its name
    fields: Mapping[str, Any] = MappingProxyType({})  # that fit.json has beside the lines
    marks: Marks | None = None
    minima: Sequence[NamedTuple] = ()  # of isoFLOP profiles, also those that are not used
    elasticity: Elasticity | None = None
    advice: Sequence[str] = ()  # what a reader must know before using the lines
    cause: str = ""  # a sentence: what these rows show that may make the lines wrong
    decides: str = ""  # a sentence: the rows that decide them


class Option(NamedTuple):
    """A flag of an approach: its default, and what argparse takes beside it."""

    default: Any
    metavar: str
    help: str
    choices: Sequence[str] | None = None
    type: Callable[[str], Any] | None = None


class Approach(NamedTuple):
    """A way to read N* and D* of C off runs."""

    number: str  # as `--approach` takes it
    text: str  # what it is, in a few words
    suits: Callable[[Rows], bool]  # were the runs made for it?  Where they were not it is made if asked for by number
    estimate: Callable[[Rows, Mapping[str, Any]], Estimate]  # of all its options; UserError: what is missing
    options: Mapping[str, Option] = MappingProxyType({})

    @property
    def name(self) -> str:
        return f"{self.text} (approach {self.number})"

    @property
    def defaults(self) -> dict[str, Any]:
        return {name: option.default for name, option in self.options.items()}


class Answer(NamedTuple):
    """The best run for a budget, by one approach."""

    approach: str
    n: float
    d: float
    n_interval: tuple[float, float]  # nan where there is none
    d_interval: tuple[float, float]


def estimates(law: Law, rows: Rows, choice: Choice) -> tuple[dict[str, Estimate], list[str]]:
    """name -> what each approach finds that is asked for and that the runs were made for; sentences on the others."""
    found, missing = {}, []
    for one in APPROACHES.values():
        alone = choice.approach == one.number
        if alone and not law.trades:
            missing.append(f"approach {one.number} needs N and D, and {law.name} does not trade one against the other")
        elif law.trades and (alone or (choice.approach == ALL and one.suits(rows))):
            try:
                found[one.name] = one.estimate(rows, one.defaults | choice.options)
            except UserError as error:
                missing.append(f"approach {one.number} cannot be made: {error}")
    return found, missing


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
    found: Sequence[Estimate],
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
    said += [one.cause for one in found if one.cause]
    if not said:
        said.append("Here no row stands out and every profile is centred, so the form of the law is the likeliest.")
    said += [one.decides for one in found if one.decides]
    shifts = [(what, shift) for what, shift in moves if np.isfinite(shift)]
    if shifts:
        what, shift = max(shifts, key=lambda move: abs(move[1]))
        said.append(f"The law rests most on {what}: without it a moves by {digits(shift, 2)}.")
    return said


def found() -> dict[str, Approach]:
    """number -> every approach in a file of this folder."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    values = [value for module in modules for value in vars(module).values() if isinstance(value, Approach)]
    return {one.number: one for one in sorted(values, key=lambda one: one.number)}


APPROACHES = found()
