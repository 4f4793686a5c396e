"""The rows of a run: those of one step are one row, what was said once holds for all, what was taken back is gone.

R rows.
"""

import re
from typing import NamedTuple

import numpy as np

from scaling.logs.runs import VARIES
from scaling.logs.table import Columns, absent, missing
from scaling.logs.vocabulary import plain, rank

TIME = re.compile(r"time|date|duration|elapsed|seconds|created|updated|hours|wall|persec|host|pid", re.I)
MOST = 64  # rows of one step: beyond it the column is no step


class Curves(NamedTuple):
    """The rows that are left, in the order in which they came."""

    columns: Columns
    rows: np.ndarray  # int64: the first row of which each is made
    said: list[str]
    two: dict[int, str]  # run -> that its log is of two


def tables(columns: Columns, run: np.ndarray) -> Curves:
    """Rows of a run that say no step, as several tables of the same runs: one row where they do not contradict."""
    columns, rows, repeats, _ = merged(columns, [run], in_order=False, nan_is_said=True)
    said = [f"{repeats} rows say again what another row of the same run says; each counts once"] if repeats else []
    return Curves(columns, rows, said, {})


def curves(columns: Columns, run: np.ndarray, step: np.ndarray, names: list[str], by_place: bool) -> Curves:
    """Brings the rows of each run together.  `names` [runs]; `by_place`: the run is a file, its rows do not name it."""
    said: list[str] = []
    rows = np.arange(run.size)
    last = np.full(int(run.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(last, run[~np.isnan(step)], step[~np.isnan(step)])
    step = np.where(np.isnan(step) & np.isfinite(last[run]), last[run], step)  # a summary is of the end
    order = np.argsort(run, kind="stable")
    part = np.zeros(run.size, np.int64)
    part[order] = np.cumsum(np.r_[False, (np.diff(run[order]) != 0) | (np.diff(step[order]) < 0)])
    columns, kept, repeats, replaced = merged(columns, [run, part, step], True)
    rows, run, step, part = rows[kept], run[kept], step[kept], part[kept]
    gone, two, back = taken_back(columns, run, step, part, by_place)
    if gone.any():
        shown = ", ".join(names[i] for i in back[:3]) + (", …" if len(back) > 3 else "")
        said.append(
            f"steps go back in {len(back)} run{'s' * (len(back) > 1)} ({shown}): {gone.sum()} rows of attempts that "
            f"were given up are left out"
        )
        stay = ~gone
        columns = {name: v[stay] for name, v in columns.items()}
        rows, run, step = rows[stay], run[stay], step[stay]
    columns, kept, more, _ = merged(columns, [run, step], False)
    rows, run = rows[kept], run[kept]
    repeats += more
    if replaced:
        said.append(f"{replaced} rows say something else than an earlier row of the same run and step, and replace it")
    if repeats:
        said.append(f"{repeats} rows say again what a row of the same run and step said; each counts once")
    return Curves(constants(columns, run), rows, said, two)


def merged(
    columns: Columns, keys: list[np.ndarray], in_order: bool, nan_is_said: bool = False
) -> tuple[Columns, np.ndarray, int, int]:
    """Rows of equal keys [R] as one, where they do not contradict each other; a clock may differ.

    Where rows are `in_order` of time, what a step says again replaces what it said, if nothing else differs.
    Returns the columns, which rows are left, how many of the others said nothing new, and how many something else.
    """
    size = keys[0].size
    order = np.lexsort((np.arange(size), *reversed(keys)))
    same = np.logical_and.reduce([k[order][1:] == k[order][:-1] for k in keys]) if size > 1 else np.zeros(0, bool)
    if not same.any():
        return columns, np.arange(size), 0, 0
    first = np.r_[True, ~same]
    group = np.cumsum(first) - 1
    place = np.arange(size) - np.flatnonzero(first)[group]
    if place.max() > MOST:
        return columns, np.arange(size), 0, 0
    heads = order[first]
    columns = {name: v.copy() for name, v in columns.items()}
    left, repeats, replaced = np.ones(size, bool), 0, 0
    for k in range(1, int(place.max()) + 1):
        at = np.flatnonzero(place == k)
        row, head = order[at], heads[group[at]]
        good = agree(columns, head, row, "all" if nan_is_said else "")
        again = ~good & agree(columns, head, row, "not measured") if in_order else np.zeros(row.size, bool)
        new = np.zeros(row.size, bool)
        for v in columns.values():
            fill = (missing(v[head]) | again) & ~absent(v[row]) & (good | again)
            v[head[fill]] = v[row[fill]]
            new |= fill
        left[row[good | again]] = False
        repeats += int((good & ~new).sum())
        replaced += int(again.sum())
    kept = np.flatnonzero(left)
    return {name: v[kept] for name, v in columns.items()}, kept, repeats, replaced


def agree(columns: Columns, a: np.ndarray, b: np.ndarray, only: str = "") -> np.ndarray:
    """bool [pairs]: whether rows `a` and `b` say nothing different; of some columns only, where asked.

    "all": of all, and a NaN that was written down is a value too;
    "settings": texts, rates, batches, seeds and tokens; "not measured": all that is named like no measurement.
    """
    out = np.ones(a.size, bool)
    for name, v in columns.items():
        if TIME.search(plain(name.lower())) or name == "origin":
            continue
        if only == "not measured" and VARIES.search(plain(name.lower())):
            continue
        if only == "settings" and not (
            v.dtype == object or any(rank(name, role) for role in ("lr", "batch", "seed", "d"))
        ):
            continue
        unsaid = absent if only == "all" else missing
        out &= unsaid(v[a]) | unsaid(v[b]) | (v[a] == v[b])
    return out


def taken_back(
    columns: Columns, run: np.ndarray, step: np.ndarray, part: np.ndarray, by_place: bool
) -> tuple[np.ndarray, dict[int, str], list[int]]:
    """bool [R]: rows that a later part of the same run went back before; runs that are two; runs that went back.

    Steps alone do not say so: a log may be in any order.  Steps that come again with other values do, unless other
    settings come with them, which are other runs.
    """
    gone = np.zeros(run.size, bool)
    order = np.lexsort((part, step, run))
    a, b = order[:-1], order[1:]
    pairs = (run[a] == run[b]) & (step[a] == step[b]) & (part[a] != part[b])
    a, b = a[pairs], b[pairs]
    if not a.size:
        return gone, {}, []
    other = {*run[a[~agree(columns, a, b)]].tolist()} - {*run[a[~agree(columns, a, b, "settings")]].tolist()}
    two: dict[int, str] = {}
    back = []
    for each in sorted(other):
        rows = np.flatnonzero(run == each)
        begins = rows[np.r_[True, np.diff(part[rows]) != 0]]
        if begins.size > rows.size / 2 or other_settings(columns, rows, part[rows]):  # in no order of time, or several
            continue
        starts = step[begins]
        if by_place and (starts[1:] <= starts[0]).any():
            two[each] = (
                f"holds two runs: its steps begin at {starts[0]:g} again, with other values; give each a file or folder"
            )
            continue
        later = np.r_[np.minimum.accumulate(starts[::-1])[::-1][1:], np.inf]
        gone[rows] = step[rows] >= later[np.searchsorted(begins, rows, side="right") - 1]
        back.append(each)
    return gone, two, back


def other_settings(columns: Columns, rows: np.ndarray, part: np.ndarray) -> bool:
    """Whether a column is one number in each part of a run, and not the same in all: these are different runs."""
    for name, v in columns.items():
        if v.dtype == np.float64 and not VARIES.search(plain(name.lower())) and not TIME.search(plain(name.lower())):
            pairs = np.unique(np.stack([part, v[rows]])[:, ~np.isnan(v[rows])], axis=1)
            if pairs.shape[1] == np.unique(pairs[0]).size > 1 and np.unique(pairs[1]).size > 1:
                return True
    return False


def constants(columns: Columns, run: np.ndarray) -> Columns:
    """What a run says once, or always the same, holds for all its rows; what is measured does not."""
    runs = int(run.max(initial=-1)) + 1
    if runs == run.size:
        return columns
    out = {}
    for name, v in columns.items():
        there = ~missing(v)
        varies = VARIES.search(plain(name.lower())) or rank(name, "d") or rank(name, "c")
        if there.all() or not there.any() or varies:
            out[name] = v
            continue
        rows = np.flatnonzero(there)
        head = np.full(runs, -1)
        head[run[rows[::-1]]] = rows[::-1]  # the first row of each run that says something
        single = np.ones(runs, bool)
        single[run[rows[v[rows] != v[head[run[rows]]]]]] = False
        fill = absent(v) & (head[run] >= 0) & single[run]
        out[name] = v.copy()
        out[name][fill] = v[head[run[fill]]]
    return out
