"""The rows of a table by their runs, and which of them stand for a run.  What is left out is listed with why.

R rows.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from scaling.logs import vocabulary
from scaling.logs.curves import TIME, curves, tables
from scaling.logs.roles import Choice
from scaling.logs.runs import OWN, STATES, VARIES, Labels, codes, copies, labels, steps, unfinished
from scaling.logs.table import Columns, Table, absent, missing
from scaling.logs.vocabulary import rank, ranked
from train.errors import UserError

ANY_SIGN = {"t", "step", "accuracy"}  # the others go through a logarithm


def take(columns: Columns, rows: np.ndarray) -> Columns:
    return {name: values[rows] for name, values in columns.items()}


def usable_values(role: str, values: np.ndarray) -> np.ndarray:
    """bool [R]: what a law can take."""
    return np.isfinite(values) & ((values > 0) | (role in ANY_SIGN))


def gathered(
    table: Table, given: Mapping[str, str], filters: Sequence[str], keep: Sequence[str], said: list[str],
    dropped: list[dict[str, str]],
) -> tuple[Columns, np.ndarray, np.ndarray, Labels]:  # fmt: skip
    """Columns and places of the rows by run: steps together, copies once, runs that did not end well left out."""
    columns, where = table.columns, table.where
    if not where.size:
        return columns, where, np.zeros(0, np.int64), Labels(np.zeros(0, np.int64), OWN, True, [])
    step = steps(columns, given)
    told = labels(columns, given, step)
    run = told.run
    said += told.said
    if told.by != OWN and (step is not None or "copies" not in keep):
        naming = columns.get(told.by)
        first = np.unique(run, return_index=True)[1]
        names = [str(v) for v in (where if naming is None else naming)[first].tolist()]
        by_place = all(str(place).startswith(name) for name, place in zip(names, where[first].tolist(), strict=True))
        run = np.unique(run, return_inverse=True)[1].astype(np.int64)
        found = tables(columns, run) if step is None else curves(columns, run, step, names, by_place)
        said += found.said
        dropped += [{"row": names[each], "reason": why} for each, why in found.two.items()]
        run = run[found.rows]
        columns, where = found.columns, where[found.rows]
        if found.two:
            stay = ~np.isin(run, [*found.two])
            columns, where, run = take(columns, stay), where[stay], run[stay]
    if "copies" not in keep and where.size:
        run = np.unique(run, return_inverse=True)[1].astype(np.int64)
        again = copies(columns, run)
        if again.any():
            first = str(where[np.flatnonzero(again)[0]])
            said.append(
                f"{again.sum()} of {again.size} rows are copies of others in every column ({first} on) and count once; "
                f"--keep copies keeps them"
            )
            columns, where, run = take(columns, ~again), where[~again], run[~again]
    asked = any(any(name in text for name in columns if vocabulary.plain(name.lower()) in STATES) for text in filters)
    if "unfinished" not in keep and not asked and where.size:
        ended = unfinished(columns, run)
        for each, why in ended.items():
            first = int(np.flatnonzero(run == each)[0])
            dropped.append({"row": label(columns, where, first), "reason": f"{why}; --keep unfinished keeps it"})
        if ended:
            stay = ~np.isin(run, [*ended])
            if not stay.any():
                raise UserError(
                    f"none of {np.unique(run).size} runs has finished ({next(iter(ended.values()))}, …); "
                    f"--keep unfinished fits them as they are"
                )
            columns, where, run = take(columns, stay), where[stay], run[stay]
    return columns, where, run, told


def label(columns: Columns, where: np.ndarray, row: int) -> str:
    """What to call a run by one of its rows: its place, and its name where it has one."""
    names = [n for n in ranked(columns, "run") if n != "origin" and not missing(columns[n][row : row + 1])[0]]
    named = columns[names[0]].tolist()[row] if names else None
    text = f"{named:g}" if isinstance(named, float) else str(named or "")
    place = str(where[row])
    return f"{place} ({text})" if text and text not in place else place


def between(
    choices: Mapping[str, Choice], required: Sequence[str], good: np.ndarray, run: np.ndarray, said: list[str]
) -> np.ndarray:
    """bool [R]: rows that cannot be fitted only because they say less than others of their run; counted in `said`."""
    read = {role: choices[role].values for role in required if role in choices}
    unsaid = np.logical_and.reduce([usable_values(role, v) | absent(v) for role, v in read.items()])
    fitted = np.zeros(int(run.max(initial=-1)) + 1, bool)
    fitted[run[good]] = True
    rows = ~good & unsaid & fitted[run]
    if rows.any():
        least = [role for role, v in read.items() if np.isnan(v[rows]).any()]
        said.append(f"{rows.sum()} rows say no {' or '.join(least)}, unlike other rows of their runs, and are left out")
    return rows


def totals(
    columns: Columns, values: Columns, run: np.ndarray, step: np.ndarray | None, inputs: Sequence[str],
    mapping: Mapping[str, str], said: list[str],
) -> np.ndarray:  # fmt: skip
    """Indices of the rows that are left where d is a total, the same at every step: the last of each such run."""
    rows = np.arange(run.size)
    if step is None or "d" not in inputs or "d" not in values or not np.isfinite(step).all():
        return rows
    order = np.lexsort((step, run))
    idle = lambda name: any(rank(name, role) for role in ("step", "d", "lr", "c", "budget")) or name == mapping["d"]
    fixed = [n for n in columns if not (idle(n) or any(p.search(vocabulary.plain(n.lower())) for p in (TIME, VARIES)))]
    drop = np.zeros(run.size, bool)
    a, b = order[:-1], order[1:]
    same = (run[a] == run[b]) & (step[a] < step[b]) & (values["d"][a] == values["d"][b])
    for name in fixed:
        none, each = missing(columns[name]), codes(columns[name])
        same &= (each[a] == each[b]) | (none[a] & none[b])
    drop[a[same]] = True
    runs_with = np.unique(run[drop])
    if not runs_with.size:
        return rows
    spans = np.zeros(int(run.max()) + 1)
    for i in runs_with.tolist():
        spans[i] = np.ptp(values["d"][run == i])
    drop &= spans[run] == 0.0
    if not drop.any():
        return rows
    said.append(
        f"d: {mapping['d']!r} is one number a run, so of {np.unique(run[drop]).size} runs with several steps the "
        f"last row is kept"
    )
    return np.flatnonzero(~drop)


def sizes(values: Columns, run: np.ndarray) -> np.ndarray:
    """N [rows] of runs that say FLOPs and tokens, in one of their rows at least: the median of c / (6 d)."""
    with np.errstate(all="ignore"):
        each = values["c"] / (6.0 * values["d"])
    out = np.full(run.size, math.nan)
    known = np.flatnonzero(np.isfinite(each) & (each > 0))
    order = known[np.argsort(run[known], kind="stable")]
    for rows in np.split(order, np.flatnonzero(np.diff(run[order])) + 1):
        if rows.size:
            out[run == run[rows[0]]] = np.median(each[rows])
    return out


def checkpoints(columns: Columns, values: Columns) -> bool:
    """Whether most rows go on where the one before them, alike in n and every text, stopped: later step, larger d."""
    if not {"n", "d", "step"} <= values.keys() or values["n"].size < 3:
        return False
    alike = np.stack([codes(values["n"]), *(codes(v) for v in columns.values() if v.dtype == object)])
    goes_on = (np.diff(alike) == 0).all(0) & (np.diff(values["step"]) > 0) & (np.diff(values["d"]) > 0)
    return bool(goes_on.mean() > 0.5)


def like_runs(columns: Columns) -> str:
    """Columns that might be the run: texts with several rows each."""
    size = len(next(iter(columns.values()), ()))
    several = [n for n, v in columns.items() if v.dtype == object and 1 < np.unique(v.astype(str)).size < size]
    return f", perhaps {' or '.join(map(repr, several[:3]))}" if several else ""
