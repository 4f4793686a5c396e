"""From rows to all that a report says: one fit, its intervals, and its forecast of runs it has not seen."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from scaling import records
from scaling.fit import Columns, Fit, fit
from scaling.flops import c_6nd
from scaling.intervals import LEVEL, Draws, Heldout, Interval, backtest, bootstrap, constants, heldout, undefined
from scaling.laws import LAWS, Law, kaplan_d, kaplan_n


class Analysis(NamedTuple):
    """All that a report says."""

    rows: list[records.Row]
    dropped: list[dict[str, str]]
    count: str  # the record field that counted as N
    columns: dict[str, np.ndarray]
    fit: Fit  # of every row
    draws: Draws
    level: float
    intervals: dict[str, Interval]
    heldout: Heldout | None
    backtest: list[dict[str, Any]]
    kaplan: dict[str, Fit]  # one-dimensional laws, name -> fit; those the rows allow
    warnings: list[str]


def analyse(
    rows: Sequence[records.Row],
    heldout_budget: float | str = "largest",
    *,
    law: str = "chinchilla",
    count: str = "params_total",
    delta: float = 1e-3,
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
    dropped: Sequence[dict[str, str]] = (),
) -> Analysis:
    """Fits `law` to `rows`, and forecasts `heldout_budget` from the smaller ones.

    `dropped` are rows that were lost before, for the report; those that cannot be fitted are added to them.
    """
    if law not in LAWS:
        raise ValueError(f"there is no law {law!r}; choose from {sorted(LAWS)}")
    kept = records.usable(rows, count)
    if not kept.rows:
        reasons = "; ".join(f"{d['row']}: {d['reason']}" for d in kept.dropped[:3])
        raise ValueError(f"none of {len(rows)} rows can be fitted ({reasons or 'no run has finished'})")
    columns = records.columns(kept.rows, count)
    found = fit(LAWS[law], columns, delta=delta)
    sample = bootstrap(found, draws=draws, seed=seed)
    forecast, past, warnings = None, [], found.warnings + undefined(sample) + design_warnings(found.law, columns)
    if found.law.optimum is not None:
        try:
            forecast = heldout(found.law, columns, heldout_budget, delta=delta, draws=draws, seed=seed, level=level)
            past = backtest(found.law, columns, delta=delta)
            warnings += [
                f"without the held-out budget: {sentence}"
                for sentence in forecast.fit.warnings + undefined(forecast.draws)
            ]
        except ValueError as error:
            warnings.append(f"no held-out forecast: {error}")
    return Analysis(
        rows=kept.rows, dropped=[*dropped, *kept.dropped], count=count, columns=columns, fit=found, draws=sample,
        level=level, intervals=constants(sample, level), heldout=forecast, backtest=past,
        kaplan=kaplan(kept.rows), warnings=warnings,
    )  # fmt: skip


def design_warnings(law: Law, columns: Columns) -> list[str]:
    """What these runs cannot tell, whatever the fit says."""
    found = []
    for name in law.inputs:
        values = np.unique(columns[name]).size
        if values < 5:
            found.append(
                f"{name.upper()} takes only {values} values, and its exponent rests on them; five or more would do"
            )
    if law.optimum is None:
        name = law.inputs[0]
        limited = columns["loss"].size - frontier(columns[name], columns["loss"]).size
        if limited:
            found.append(
                f"{limited} runs did no better than a run of smaller {name.upper()}, so something else limits them, "
                f"and {law.equation} says nothing of that; fit runs that only {name.upper()} limits"
            )
        return found
    edges, spread = [], 1.0
    for budget in np.unique(columns["budget"]):
        rows = columns["budget"] == budget
        n, loss, c = columns["n"][rows], columns["loss"][rows], c_6nd(columns["n"], columns["d"])[rows]
        spread = max(spread, c.max() / c.min())
        if np.unique(n).size > 2 and n[loss.argmin()] in (n.min(), n.max()):
            edges.append(f"{budget:.2g} (the {'smallest' if n[loss.argmin()] == n.min() else 'largest'})")
    if edges:
        found.append(
            f"the best run is at the edge of its sizes at {', '.join(edges)} FLOPs, so the optimum there is "
            f"extrapolated; add sizes beyond it"
        )
    if spread > 1.2:
        found.append(
            f"runs of one budget differ {spread:.2g}-fold in 6 N D with the N that was fitted; forecasts are for their "
            f"geometric mean"
        )
    return found


def kaplan(rows: Sequence[records.Row]) -> dict[str, Fit]:
    """L(N) and L(D) on the runs least limited by the other of the two: those no smaller N (or D) did better than.

    N without embeddings, as Kaplan et al. count, where every row has that count.
    """
    inner = all(row.get("params_non_embedding") for row in rows)
    columns = records.columns(rows, "params_non_embedding" if inner else "params_total")
    fits = {}
    for law in (kaplan_n, kaplan_d):
        best = frontier(columns[law.inputs[0]], columns["loss"])
        try:
            fits[law.name] = fit(law, {name: v[best] for name, v in columns.items()})
        except ValueError:  # too few runs are limited by one of the two alone
            continue
    return fits


def frontier(x: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Indices of the runs whose loss no run of smaller or equal `x` reaches, from the smallest `x`."""
    order = np.lexsort((loss, x))
    best = np.minimum.accumulate(loss[order])
    return order[np.r_[True, best[1:] < best[:-1]]]
