"""From a table of runs to all that a report says: one fit, its intervals, and its forecasts of runs it had not seen."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scaling import advice, approaches, budgets, influence, rates
from scaling.approaches import Choice, Estimate, causes, elasticity
from scaling.fit import outliers
from scaling.fit.backtest import Heldout, Window, axis, backtest, by_horizon, heldout, sampled, training
from scaling.fit.estimate import Fit, fit
from scaling.fit.flags import design_flags, flags, frontier
from scaling.fit.intervals import LEVEL, Draws, Interval, bootstrap, constants, undefined
from scaling.fit.profile import profile
from scaling.fit.question import METHODS, Below, Question
from scaling.fit.select import Selection, candidates, select
from scaling.laws import LAWS
from scaling.laws.kaplan import kaplan_d, kaplan_n
from scaling.logs import records, roles, seeds
from scaling.logs.names import names

FEWER = 400  # resamples by the methods that were not chosen, for comparison
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
    selection: Selection | None  # laws of the same inputs by what they forecast, and the better one, if there is one
    influence: list[influence.Row]
    conventions: list[dict[str, Any]]  # exponents under every way of counting
    choice: Choice  # of approaches
    estimates: dict[str, Estimate]  # name of an approach -> what it found, where the runs allow it
    elasticity: float  # of substitution between N and D, by the law at the largest compute; nan where it has none
    causes: list[str]  # why approaches may disagree
    kaplan: dict[str, Fit]  # one-dimensional laws, name -> fit; those the rows allow
    warnings: list[str]


def analyse(
    runs: records.Runs,
    question: Question = Question(LAWS["chinchilla"]),  # noqa: B008  (frozen)
    *,
    heldout_budget: float | str | Below = "largest",
    auto: bool = False,
    draws: int = 1000,
    method: str | None = None,
    seed: int = 0,
    level: float = LEVEL,
    thorough: bool = True,
    choice: Choice = Choice(),  # noqa: B008  (a tuple)
) -> Analysis:
    """Asks `question` of `runs` and forecasts `heldout_budget` from the smaller ones.

    With `auto` it is asked of another law where that is clearly the better one to forecast with; the runs below the
    held-out ones alone decide, so that the forecast stays one.  Without `thorough` the tables that refit again and
    again (law selection, influence, conventions) stay empty.
    """
    law = question.law
    if law.of_groups:
        question, runs = of_labels(question, runs)
        law = question.law
    columns = dict(runs.columns)
    if "budget" not in columns:
        columns["budget"] = budgets.group(axis(law, columns))
    run = runs.run if np.unique(runs.run).size < runs.run.size else None
    selection = None
    if auto:
        questions = candidates(question, None)
        selection = select(questions, training(law, columns, heldout_budget))
        question = questions[selection.chosen]
        law = question.law
    fitted = fit(question, columns)
    sample = bootstrap(fitted, draws=draws, seed=seed, run=run, method=method)
    forecast, windows = None, []
    far = outliers.sentences(fitted, influence.names(runs, fitted))
    own = flags(fitted)
    warnings = (
        (far + own if fitted.certificate.converged else own + far)
        + undefined(sample)
        + design_flags(law, columns)
        + mixed(runs)
        + records.doubts(runs)
    )
    try:
        windows = backtest(question, columns, seed=seed, level=level, run=run)
        forecast = heldout(
            question, columns, heldout_budget, draws=draws, seed=seed, level=level, run=run, windows=windows
        )
        warnings += sampled(fitted.residuals.size)
        warnings += [
            f"without the held-out budget: {sentence}"
            for sentence in advice.further(flags(forecast.fit) + undefined(forecast.draws), warnings)
        ]
    except ValueError as error:
        warnings.append(f"no held-out forecast: {error}")
    few = thorough and fitted.residuals.size <= FEW
    if few and selection is None:
        questions = candidates(question)
        selection = select(questions, columns, made={next(iter(questions)): (fitted, windows)})
    moves = influence.table(fitted, sample, runs) if few else []
    warnings += influence.sentences(moves, influence.quantity(law))
    noise = seeds.of_means(runs.table, law.output) if law.output == "loss" else None
    estimates, missing = approaches.estimates(law, approaches.Rows(columns, run, noise, level), choice)
    bend = np.nan
    if law.splits:
        bend = elasticity.by_law(law, fitted.theta, float(axis(law, columns).max()))
        if np.isnan(bend):
            missing.append(
                f"by the fitted {law.name} no N and D are best at the largest compute, so there is no optimum, no plan "
                f"and no table of next runs"
            )
    if law.trades:
        warnings += rates.unsettled(runs.tried, columns) + rates.sentences(rates.best(runs.tried))
    why = causes(
        [*estimates.values()],
        fitted.relative,
        functools.partial(names, runs.table, runs.where),
        [(row.choice, row.shift) for row in moves if row.what.startswith("one")],
    )
    return Analysis(
        runs=runs, count=runs.mapping.get("n", ""), columns=columns, fit=fitted, draws=sample, level=level,
        intervals=constants(sample, level), other_intervals=other_intervals(fitted, sample, run, level) if few else {},
        heldout=forecast, windows=windows, horizons=by_horizon(windows),
        selection=selection, influence=moves, conventions=influence.conventions(fitted, runs) if few else [],
        choice=choice, estimates=estimates, elasticity=bend, causes=why,
        kaplan=kaplan(columns, runs) if law.trades else {}, warnings=advice.once(missing + warnings),
    )  # fmt: skip


def of_labels(question: Question, runs: records.Runs) -> tuple[Question, records.Runs]:
    """The law of the groups that the rows left have, and the rows with their groups numbered as that law does."""
    groups = roles.labels(runs.table[runs.mapping["group"]])
    law = question.law.of_groups(groups) if question.law.of_groups else question.law
    said = f"group: the reference is {groups[0]!r}, the first row's; compared with it: {', '.join(groups[1:])}"
    runs = records.numbered(runs, groups)
    return dataclasses.replace(question, law=law), runs._replace(said=[*runs.said, said])


def mixed(runs: records.Runs) -> list[str]:
    """A sentence where losses are of different texts or different tokens."""
    sentences = []
    for name in ("tokenizer", "dataset", "data", "vocab"):
        columns = [c for c in runs.table if c.lower().split(".")[-1] == name]
        values = sorted({str(v) for c in columns for v in runs.table[c]})
        if len(values) > 1:
            sentences.append(
                f"rows differ in {name} ({', '.join(values[:4])}): losses per token are not comparable across it; keep "
                f"one with --filter, or fit bits per byte on one validation text (--loss COL)"
            )
    return sentences


def other_intervals(fitted: Fit, sample: Draws, run: np.ndarray | None, level: float) -> dict[str, dict[str, Interval]]:
    """The same constants by every other method, so that a reader sees how much the method decides."""
    others = [m for m in METHODS if m != sample.method and (m != "cluster" or run is not None)]
    drawn = [bootstrap(fitted, draws=min(sample.size, FEWER), seed=1, run=run, method=m) for m in others]
    return {draws.how: constants(draws, level) for draws in drawn} | {"profile": profile(fitted, level)}


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
