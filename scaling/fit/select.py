"""Which of the laws of the same inputs forecasts best, and whether these runs can tell.

Every law is fitted below each cutoff and forecasts the runs above, as in `backtest`.  One law replaces another only for
a reason that outlasts its uncertainty:

* forecasts: its errors are smaller over three cutoffs or more, by twice their standard error (cutoffs are the unit:
  errors of one cutoff go together).  Longer reaches weigh more, so that a law without a floor, which is good on small
  compute, does not win by its next octave alone; or
* the fit: it has a floor and further constants, its Bayesian information criterion is lower by 10 ("very strong", Kass
  & Raftery 1995), and its forecasts so far were no worse.

Without either the answer is "cannot tell", and the law that was asked for stays.  `python -m scripts.check.forecasts`
measures what comes of it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from scaling.fit.backtest import Window, backtest
from scaling.fit.estimate import Columns, Fit, fit
from scaling.fit.question import Question
from scaling.laws import LAWS

CUTOFFS = 3  # that a difference of forecasts needs
SURE = 2.0  # standard errors that it needs
STRONG = 10.0  # difference of the criterion that a better fit needs
SMALL = 1e-5  # relative error below which forecasts are equally good
STARTS = 16  # of each fit
MOST = 6  # constants of the laws that every fit is compared with; `auto` compares with all

Verdict = Literal["asked", "better", "worse", "cannot tell"]
Made = Mapping[str, tuple[Fit, Sequence[Window]]]


class Score(NamedTuple):
    """How a law did beside the one that was asked for."""

    law: str
    forecasts: int  # runs forecast at the cutoffs that both were fitted at, each cutoff counted
    cutoffs: int
    rms_error: float  # relative, over those
    mean_error: float
    asked_rms_error: float  # of the law that was asked for, over the same
    ratio: float  # of root mean square errors, a geometric mean over cutoffs, longer reaches weighing more
    ratio_interval: tuple[float, float]  # two standard errors to each side; nan of fewer than two cutoffs
    evidence: float  # by how much its Bayesian information criterion is lower, all rows fitted
    objective: float  # all rows fitted
    params: dict[str, float]
    verdict: Verdict


class Selection(NamedTuple):
    """The laws, the best ratio first, and what follows."""

    scores: list[Score]
    asked: str
    chosen: str  # `asked`, unless another law is clearly better
    sentence: str

    @property
    def clear(self) -> bool:
        """Is a law clearly better than the one that was asked for?"""
        return self.chosen != self.asked


def candidates(asked: Question, most: int | None = MOST) -> dict[str, Question]:
    """name -> question: what was asked first, then every law of the same inputs and output of `most` constants."""
    law = asked.law.in_logs
    alone = dataclasses.replace(asked, law=law, pin={}, tie={})
    found = {called(asked): asked}
    for other in LAWS.values():
        same = other.inputs == law.inputs and other.output == law.output and not other.groups and not other.same_as
        if same and other.name not in found and (most is None or len(other.params) <= most):
            found[other.name] = dataclasses.replace(alone, law=other)
    if "chinchilla" in found:  # with one exponent for both, which is all that many small sweeps can show
        one = dataclasses.replace(alone, law=LAWS["chinchilla"], tie={"beta": "alpha"})
        found.setdefault(called(one), one)
    return found


def called(question: Question) -> str:
    """The name of a candidate: "chinchilla, beta = alpha"."""
    return ", ".join([question.law.name, *question.held])


def flags(name: str) -> str:
    """What the command takes to fit the law `called` so."""
    law, *held = name.split(", ")
    return " ".join([f"--law {law}", *("--tie " + text.replace(" ", "") for text in held)])


def select(questions: Mapping[str, Question], columns: Columns, *, made: Made = MappingProxyType({})) -> Selection:
    """Scores `questions` (the first of them was asked) on runs `columns` that have budgets.

    `made` holds fits and windows that are at hand, by name.  Laws that these runs cannot fit are left out, and so is
    a law that is another one in other letters.
    """
    tried: dict[str, tuple[Fit, dict[float, Window]]] = {}
    for name, question in questions.items():
        try:
            few = thinned(question)
            whole, windows = made.get(name) or (fit(few, columns, certify=False), backtest(few, columns, draws=0))
        except ValueError:
            continue
        if not any(_same(whole, other) for other, _ in tried.values()):
            tried[name] = whole, {window.cutoff: window for window in windows}
    asked = next(iter(questions))
    if asked not in tried:
        return Selection([], asked, asked, "these runs cannot fit the law, so it was compared with no other")
    budget = np.asarray(columns["budget"])
    known = np.ones(budget.size, bool)
    scores = [score(name, *tried[name], *tried[asked], known, budget) for name in tried]
    scores = [found._replace(verdict="asked") if found.law == asked else found for found in scores]
    return choose(sorted(scores, key=lambda s: s.ratio if math.isfinite(s.ratio) else math.inf), asked)


def thinned(question: Question) -> Question:
    """The same from `STARTS` of the law's starts: the same optima on public runs, at a third of the cost."""
    law = question.law
    if len(law.starts) <= STARTS:
        return question
    kept = np.sort(np.random.default_rng(0).permutation(len(law.starts))[:STARTS])
    return dataclasses.replace(question, law=dataclasses.replace(law, starts=tuple(law.starts[i] for i in kept)))


def choose(scores: list[Score], asked: str) -> Selection:
    """The best of the laws that are clearly better, or the one that was asked for."""
    better = [found for found in scores if found.verdict == "better"]
    if better:
        best = better[0]
        errors = f"whose errors at {best.cutoffs} cutoff{'s' * (best.cutoffs > 1)} were {best.ratio:.2g} times as large"
        if not _by_forecasts(best):
            errors += f", and which fits better than further constants explain (BIC lower by {best.evidence:.0f})"
        return Selection(scores, asked, best.law, f"another law forecasts clearly better: {best.law}, {errors}")
    others = [found for found in scores if found.verdict != "asked"]
    if not others or not any(found.cutoffs for found in others):
        sentence = f"no other law could be compared with {asked}: too few runs at too few budgets"
    elif all(found.verdict == "worse" for found in others):
        sentence = f"no other law forecasts as well as {asked}"
    else:
        open_ = [found.law for found in others if found.verdict == "cannot tell"]
        sentence = f"these runs cannot tell whether {' or '.join(open_)} forecasts better than {asked}"
    return Selection(scores, asked, asked, sentence)


def score(
    name: str, whole: Fit, windows: Mapping[float, Window], base: Fit, base_windows: Mapping[float, Window],
    known: np.ndarray, budget: np.ndarray,
) -> Score:  # fmt: skip
    """A law beside the one that was asked for, `base`, by errors on the rows that are `known` [rows]."""
    pairs = []
    for cutoff in sorted(set(windows) & set(base_windows)):
        seen = known[windows[cutoff].rows] & np.isfinite(base_windows[cutoff].error)
        if seen.any():
            pairs.append((windows[cutoff], base_windows[cutoff], seen))
    ratios = np.array([math.log(error(w, seen, budget) / error(b, seen, budget)) for w, b, seen in pairs])
    errors = np.concatenate([w.error[seen] for w, _, seen in pairs]) if pairs else np.empty(0)
    asked = np.concatenate([b.error[seen] for _, b, seen in pairs]) if pairs else np.empty(0)
    rms = lambda v: float(np.sqrt(np.mean(v**2))) if v.size else math.nan
    mean, wide = (float(ratios.mean()) if ratios.size else math.nan), math.nan
    if ratios.size > 1:
        wide = SURE * float(ratios.std(ddof=1)) / math.sqrt(ratios.size)
    found = Score(
        law=name, forecasts=errors.size, cutoffs=ratios.size, rms_error=rms(errors),
        mean_error=float(errors.mean()) if errors.size else math.nan, asked_rms_error=rms(asked), ratio=math.exp(mean),
        ratio_interval=(math.exp(mean - wide), math.exp(mean + wide)), evidence=evidence(whole, base),
        objective=whole.objective, params=whole.params, verdict="cannot tell",
    )  # fmt: skip
    return found._replace(verdict=judge(found, whole, base))


def judge(found: Score, whole: Fit, base: Fit) -> Verdict:
    """Is the law clearly better than `base`, or clearly worse?"""
    more = whole.question.free > base.question.free and whole.law.floor is not None
    if _by_forecasts(found) or (more and found.evidence > STRONG and found.ratio < 1.0):
        return "better"
    return "worse" if found.cutoffs >= CUTOFFS and found.ratio_interval[0] > 1.0 else "cannot tell"


def _by_forecasts(found: Score) -> bool:
    """Do its forecasts alone show that it is better?"""
    return found.cutoffs >= CUTOFFS and found.ratio_interval[1] < 1.0


def error(window: Window, seen: np.ndarray, budget: np.ndarray) -> float:
    """Root mean square error of the rows `seen`: each budget weighs as the log of its reach."""
    of = budget[window.rows]
    groups = [seen & (of == value) for value in np.unique(of[seen])]
    squares = [float(np.mean(np.minimum(np.nan_to_num(window.error[g], nan=9.0), 9.0) ** 2)) for g in groups]
    weights = [max(float(np.log(window.reach[g]).mean()), 0.3) for g in groups]
    return math.sqrt(float(np.average(squares, weights=weights))) + SMALL


def evidence(whole: Fit, base: Fit) -> float:
    """How much lower the law's Bayesian information criterion is than that of `base`.

    A summed Huber loss S of R residuals is a Laplace likelihood, 2 R log S, where most residuals lie beyond delta, and
    a Gaussian one, R log S, where most lie within.
    """
    rows, delta = base.residuals.size, base.question.delta
    power = 1.0 + float(np.mean(np.abs(base.residuals) > delta))
    least = rows * 0.5e-12  # of residuals of a millionth, which say nothing
    gain = rows * power * math.log((base.objective + least) / (whole.objective + least))
    return gain - (whole.question.free - base.question.free) * math.log(rows)


def _same(fit: Fit, other: Fit) -> bool:
    """Is one the other in other letters: as many constants and the same residuals?"""
    close = np.abs(fit.residuals - other.residuals).max() < 1e-6 * np.abs(other.residuals).max() + 1e-12
    return fit.law.name != other.law.name and fit.question.free == other.question.free and bool(close)
