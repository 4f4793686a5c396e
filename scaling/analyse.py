"""From a table of runs to all that a report says: one fit, its intervals, and its forecasts of runs it had not seen."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scaling import budgets, influence
from scaling.approaches import envelope as approach1
from scaling.approaches import isoflop
from scaling.fit import outliers
from scaling.fit.backtest import Heldout, Window, axis, backtest, by_horizon, heldout, sampled, select
from scaling.fit.estimate import Fit, fit
from scaling.fit.flags import design_flags, flags, frontier
from scaling.fit.intervals import LEVEL, METHODS, Draws, Interval, bootstrap, constants, undefined
from scaling.fit.profile import profile
from scaling.fit.question import Question
from scaling.laws import LAWS
from scaling.laws.kaplan import kaplan_d, kaplan_n
from scaling.logs import records
from scaling.logs.table import Table

FEW = 2_000  # rows beyond which the tables that refit again and again are left out


class Analysis(NamedTuple):
    """All that a report says."""

    runs: records.Runs
    count: str  # the column that counted as N, or the convention
    columns: dict[str, np.ndarray]
    fit: Fit  # of every row
    draws: Draws
    level: float
    intervals: dict[str, Interval]  # of constants, made as draws.how says
    other_intervals: dict[str, dict[str, Interval]]  # method -> the same constants
    heldout: Heldout | None
    windows: list[Window]
    horizons: list[dict[str, Any]]
    selection: list[dict[str, Any]]  # laws by what they forecast
    influence: list[influence.Row]
    conventions: list[dict[str, Any]]  # exponents under every way of counting
    profiles: Any  # approach 2, where runs were made budget by budget
    envelope: Any  # approach 1, where runs left several checkpoints
    kaplan: dict[str, Fit]  # one-dimensional laws, name -> fit; those the rows allow
    warnings: list[str]


def analyse(
    table: Table,
    heldout_budget: float | str = "largest",
    *,
    question: Question = Question(LAWS["chinchilla"]),  # noqa: B008  (frozen)
    given: Mapping[str, str] | None = None,
    count: str | None = None,
    filters: Sequence[str] = (),
    drop_outliers: int = 0,
    last: bool = False,
    best: bool = False,
    draws: int = 1000,
    method: str | None = None,
    seed: int = 0,
    level: float = LEVEL,
    thorough: bool = True,
) -> Analysis:
    """Asks `question` of the rows of `table` and forecasts `heldout_budget` from the smaller ones.

    `given`, `count`, `filters`, `drop_outliers`, `last` and `best` are those of `records.assign`; without
    `thorough` the tables that refit again and again (law selection, influence, conventions) stay empty.
    """
    law = question.law
    runs = records.assign(
        table, inputs=law.inputs, output=law.output, given=dict(given or {}), count=count, filters=filters,
        drop_outliers=drop_outliers, last=last, best=best,
    )  # fmt: skip
    columns = dict(runs.columns)
    if "budget" not in columns:
        columns["budget"] = budgets.group(axis(law, columns))
    run = runs.run if np.unique(runs.run).size < runs.run.size else None
    found = fit(question, columns)
    sample = bootstrap(found, draws=draws, seed=seed, run=run, method=method)
    forecast, windows = None, []
    far = outliers.sentences(found, influence.names(runs, found))
    own = flags(found)
    warnings = (
        (far + own if found.certificate.converged else own + far)
        + undefined(sample)
        + design_flags(law, columns)
        + mixed(runs)
    )
    try:
        windows = backtest(question, columns, seed=seed, level=level, run=run)
        forecast = heldout(
            question, columns, heldout_budget, draws=draws, seed=seed, level=level, run=run, windows=windows
        )
        warnings += sampled(found.residuals.size)
        warnings += [
            f"without the held-out budget: {sentence}"
            for sentence in flags(forecast.fit) + undefined(forecast.draws)
            if sentence not in warnings
        ]
    except ValueError as error:
        warnings.append(f"no held-out forecast: {error}")
    few = thorough and found.residuals.size <= FEW
    moves = influence.table(found, sample, runs) if few else []
    warnings += influence.sentences(moves, influence.quantity(law))
    return Analysis(
        runs=runs, count=runs.mapping.get("n", ""), columns=columns, fit=found, draws=sample, level=level,
        intervals=constants(sample, level), other_intervals=other_intervals(found, sample, run, level) if few else {},
        heldout=forecast, windows=windows, horizons=by_horizon(windows),
        selection=select(candidates(question), columns, made={law.name: (found, windows)})
        if few and windows else [],
        influence=moves, conventions=influence.conventions(found, runs) if few else [],
        profiles=profiles(columns) if law.trades else None, envelope=envelope(columns, run) if law.trades else None,
        kaplan=kaplan(columns, runs) if law.trades else {}, warnings=warnings,
    )  # fmt: skip


def mixed(runs: records.Runs) -> list[str]:
    """A sentence where losses are of different texts or different tokens."""
    found = []
    for name in ("tokenizer", "dataset", "data", "vocab"):
        columns = [c for c in runs.table if c.lower().split(".")[-1] == name]
        values = sorted({str(v) for c in columns for v in runs.table[c]})
        if len(values) > 1:
            found.append(
                f"rows differ in {name} ({', '.join(values[:4])}): losses per token are not comparable across it; keep "
                f"one with --filter, or fit bits per byte on one validation text (--loss COL)"
            )
    return found


def other_intervals(found: Fit, sample: Draws, run: Any, level: float) -> dict[str, dict[str, Interval]]:
    """The same constants by every other method, so that a reader sees how much the method decides."""
    others = [m for m in METHODS if m != sample.method and (m != "cluster" or run is not None)]
    drawn = [bootstrap(found, draws=min(sample.size, 1000), seed=1, run=run, method=m) for m in others]
    return {draws.how: constants(draws, level) for draws in drawn} | {"profile": profile(found, level)}


def candidates(question: Question) -> dict[str, Question]:
    """Laws of the same columns that could have been fitted instead."""
    law = question.law
    names: tuple[str, ...] = ()
    if law.splits:
        names = ("chinchilla", "overtrained", "kaplan_nd")
    elif law.inputs == ("x",):
        names = ("m1", "m2", "m3", "bnsl")
    elif law.output == "loss" and law.inputs in (("n",), ("d",), ("c",)):
        names = (f"kaplan_{law.inputs[0]}", f"henighan_{law.inputs[0]}")
    found = {law.name: question} | {name: Question(LAWS[name], question.delta) for name in names if name != law.name}
    if law.splits:
        found["chinchilla, α = β"] = Question(LAWS["chinchilla"], question.delta, tie={"beta": "alpha"})
    return found


def profiles(columns: Mapping[str, np.ndarray]) -> Any:
    """Approach 2, where at least two budgets have three sizes each."""
    rows = list(budgets.profile_rows(columns))
    if len(rows) < 2:
        return None
    kept = np.sort(np.concatenate(rows))
    try:
        return isoflop.profiles({name: v[kept] for name, v in columns.items()})
    except ValueError:
        return None


def envelope(columns: Mapping[str, np.ndarray], run: np.ndarray | None) -> Any:
    """Approach 1, where runs left several checkpoints."""
    if run is None:
        return None
    try:
        return approach1.envelope({**columns, "run": run})
    except ValueError:
        return None


def kaplan(columns: Mapping[str, np.ndarray], runs: records.Runs) -> dict[str, Fit]:
    """L(N) and L(D) on the runs least limited by the other of the two: those no smaller N (or D) did better than.

    N without embeddings, as Kaplan et al. count, where every row has that count.
    """
    columns = {**columns, "n": influence.counts(runs).get("non_embedding", columns["n"])}
    fits = {}
    for law in (kaplan_n, kaplan_d):
        best = frontier(columns[law.inputs[0]], columns["loss"])
        try:
            fits[law.name] = fit(law, {name: v[best] for name, v in columns.items()}, certify=False)
        except ValueError:  # too few runs are limited by one of the two alone
            continue
    return fits
