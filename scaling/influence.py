"""What moves an exponent: runs, outliers, delta, counting, the floor, and the law itself, in one table."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from scaling.fit.backtest import axis
from scaling.fit.estimate import Columns, Fit, fit
from scaling.fit.intervals import Draws, jackknife
from scaling.fit.question import LOG_MSE, Question
from scaling.fit.select import candidates
from scaling.laws.api import Law
from scaling.laws.optimum import optimum
from scaling.logs import records, roles
from scaling.logs.choice import best_of

OUTLIERS = 5  # largest losses left out by the rule of Besiroglu et al. 2024
ROUNDING = 1e-9  # residuals below are the rounding of a table's digits, and no outliers
ALONE = 300  # runs that are left out one by one; more go in groups


class Row(NamedTuple):
    """One choice, and the exponent that follows from it."""

    what: str
    choice: str
    value: float
    shift: float  # from the fit as it was made
    shift_in_errors: float  # over the bootstrap's standard error: nan without one


def quantity(law: Law) -> str:
    """What the table is about: a of N_opt ~ C^a where the law splits compute, else the law's own first exponent."""
    return "a" if law.splits else law.headline


def read(law: Law, theta: np.ndarray, at: float) -> np.ndarray:
    """`quantity` [...] of theta [..., P]: for laws whose a is not constant, the slope of ln N_opt at `at` FLOPs."""
    if not law.splits:
        return np.asarray(law.published(theta)[law.headline])
    if law.exponents:
        return np.asarray(law.derived["a"](law.published(theta)))
    ends = np.log(optimum(law, theta[..., None, :], np.array([at / 1.1, at * 1.1]))["n"])
    return np.asarray((ends[..., 1] - ends[..., 0]) / (2 * np.log(1.1)))


def table(fitted: Fit, draws: Draws, runs: records.Runs | None = None) -> list[Row]:
    """Every choice that a reader may question, each changed alone."""
    asked, columns = fitted.question, fitted.columns
    law, delta, pin = asked.law, asked.delta, asked.pin
    at = float(axis(law, columns).max())
    base, spread = float(read(law, fitted.theta, at)), _spread(read(law, draws.theta, at))
    rows = [Row("as fitted", f"{law.name}, δ = {delta:g}, {len(fitted.residuals)} rows", base, 0.0, 0.0)]

    def add(what: str, choice: str, other: Question = asked, columns: Columns = columns) -> None:
        try:
            value = float(read(other.law, fit(other, columns, certify=False).theta, at))
        except ValueError as error:
            rows.append(Row(what, f"{choice}: {error}", np.nan, np.nan, np.nan))
            return
        rows.append(Row(what, choice, value, value - base, (value - base) / spread))

    for what, choice, keep in _outliers(fitted, names(runs, fitted)):
        if keep.sum() < keep.size:
            add(what, choice, columns={k: v[keep] for k, v in columns.items()})
    rows += _one_out(fitted, draws, at, base, spread, names(runs, fitted))
    for other in (1e-4, 1e-3, 1e-2, 1e-1, LOG_MSE):
        if other != delta:
            choice = (
                f"least squares on {'log ' * (law.space == 'log')}{law.output}"
                if other == LOG_MSE
                else f"δ = {other:g}"
            )
            add("δ", choice, dataclasses.replace(asked, delta=other))
    if law.exponents and not asked.tie and not set(law.exponents) & set(pin):
        first, second = law.exponents
        add("exponents", "α = β", dataclasses.replace(asked, tie={second: first}))
    floor = law.floor
    if floor and floor not in pin and fitted.params[floor] > 0:
        for part in (0.9, 1.1):
            value = fitted.params[floor] * part
            if value < columns[law.output].min():
                choice = f"{floor} pinned at {value:.4g} ({part - 1:+.0%})"
                add("floor", choice, dataclasses.replace(asked, pin={**pin, floor: value}))
    if runs is not None and "n" in law.inputs:
        for convention, n in counts(runs).items():
            if not np.array_equal(n, columns["n"]):
                add(
                    "counting",
                    f"N: {convention} ({roles.counts(runs.table)[convention]})",
                    columns={**columns, "n": n},
                )
    if law.splits:
        for other in candidates(asked).values():
            if other.law.name not in (law.name, law.in_logs.name):
                add("law", f"{other.law.name}: {other.law.equation}", other)
    return rows


def counts(runs: records.Runs) -> dict[str, np.ndarray]:
    """convention -> N [rows], of those that the rows have throughout."""
    counted = {}
    for convention, column in roles.counts(runs.table).items():
        n = roles.chosen(runs.table, "n", column).values
        if (np.isfinite(n) & (n > 0)).all():
            counted[convention] = n
    return counted


def _spread(values: np.ndarray) -> float:
    """The standard error that draws [draws] of the quantity show; nan where they do not vary."""
    values = values[np.isfinite(values)]
    if not values.size:
        return np.nan
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float(high - low) / 2 or np.nan


def names(runs: records.Runs | None, fitted: Fit) -> list[str]:
    """What each row is called: its own name, or its place in the file."""
    if runs is None:
        return [f"row {i + 1}" for i in range(fitted.residuals.size)]
    own = runs.table.get("name")
    return [str(v).rsplit("/", 1)[-1] for v in runs.where] if own is None else [str(v) for v in own]


def _outliers(fitted: Fit, where: Sequence[str]) -> list[tuple[str, str, np.ndarray]]:
    loss, size = fitted.columns[fitted.law.output], np.abs(fitted.residuals)
    scale = np.median(size) / 0.6745
    wide = (size <= 4.0 * scale) | (size < ROUNDING)
    far = np.flatnonzero(~wide)
    named = ", ".join(where[i] for i in far[:5]) + (f" and {far.size - 5} more" if far.size > 5 else "")
    rules = []
    best = np.zeros(loss.size, bool)
    best[best_of(np.stack([fitted.columns[k] for k in fitted.law.inputs]), loss)] = True
    if best.mean() < 0.95:
        rules.append(("same inputs", f"the best row of each {', '.join(fitted.law.inputs)} (--best)", best))
    rules += [("outliers", f"without the {far.size} rows beyond 4 robust deviations ({named})", wide)]
    if loss.size >= 5 * OUTLIERS:
        choice = f"without the {OUTLIERS} largest values of {fitted.law.output}"
        rules.append(("outliers", choice, loss < np.sort(loss)[-OUTLIERS]))
    return rules


def _one_out(fitted: Fit, draws: Draws, at: float, base: float, spread: float, where: Sequence[str]) -> list[Row]:
    """The two runs (or groups) whose absence moves the quantity furthest down and up."""
    law = fitted.law
    run = draws.run if draws.run is not None else np.arange(fitted.residuals.size)
    values = read(law, jackknife(fitted, run, ALONE), at)
    groups = np.unique(run).size
    if not np.isfinite(values).any():
        return []
    what = "one run out" if groups <= ALONE else f"one of {ALONE} groups of runs out"
    inputs = fitted.columns
    rows = []
    for i in (int(np.nanargmin(values)), int(np.nanargmax(values))):
        first = int(np.flatnonzero(np.unique(run, return_inverse=True)[1] == i)[0])
        text = ", ".join(f"{k.upper()} {inputs[k][first]:.3g}" for k in law.inputs)
        called = where[first] if groups <= ALONE else f"group {i + 1} of {ALONE}"
        shift = float(values[i] - base)
        rows.append(Row(what, f"{called} ({text})", float(values[i]), shift, shift / spread))
    return rows


def sentences(rows: list[Row], name: str) -> list[str]:
    """Choices of data that move the quantity by more than its own standard error."""
    found = []
    lead = {
        "outliers": "outlier-sensitive: ", "one run out": "one run decides: without ",
        "same inputs": "rows of the same inputs differ by more than noise: with only ",
    }  # fmt: skip
    for row in rows:
        shown = f"{row.value:.4g}", f"{row.value - row.shift:.4g}"
        many = abs(row.shift_in_errors) > (2.0 if row.what == "one run out" else 1.0)
        if row.what in lead and many and shown[0] != shown[1]:  # of noise-free runs the error is rounding too
            found.append(
                f"{lead[row.what]}{row.choice}, {name} is {shown[0]} instead of {shown[1]}, "
                f"{abs(row.shift_in_errors):.1f} standard errors away"
            )
    return found


def conventions(fitted: Fit, runs: records.Runs) -> list[dict[str, Any]]:
    """Exponents under every way of counting N and C that the rows allow, side by side.

    The law is fitted with each N.  Where C is not 6 N D but k N^(1+s) D over these runs, the best split of it has
    a = beta / (alpha + beta (1 + s)), b = 1 - a (1 + s).
    """
    law = fitted.law
    if not (law.splits and law.exponents and law.floor):
        return []
    rows = []
    known: list[np.ndarray] = []
    for convention, n in counts(runs).items():
        if any(np.array_equal(n, other) for other in known):  # a network without experts has as many active as in all
            continue
        known.append(n)
        columns = {**fitted.columns, "n": n}
        try:
            refitted = fit(fitted.question, columns, certify=False)
        except ValueError:
            continue
        for name, column in roles.computes(runs.table).items():
            s = 0.0
            if column is not None:
                c = roles.chosen(runs.table, "c", column).values
                if not (np.isfinite(c) & (c > 0)).all():
                    continue
                s = float(np.polyfit(np.log(n), np.log(c) - np.log(6 * n * columns["d"]), 1)[0])
            alpha, beta = (refitted.params[name] for name in law.exponents)
            a = beta / (alpha + beta * (1 + s))
            rows.append(
                {"n": convention, "n_column": roles.counts(runs.table)[convention], "c": name, "a": a,
                 "b": 1 - a * (1 + s), "alpha": alpha, "beta": beta, "E": refitted.params[law.floor],
                 "objective": refitted.objective}
            )  # fmt: skip
    return rows
