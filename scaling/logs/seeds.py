"""Runs that differ only in their random seed are one measurement: its mean, its spread, and how many seeds it has.

The least loss of several seeds is a lucky one, so nothing downstream sees them one by one.  R rows, K kept.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scaling.logs import vocabulary
from scaling.logs.runs import VARIES
from scaling.logs.table import Columns
from scaling.logs.vocabulary import rank, ranked
from train.numbers import digits

# Normalised names of columns that a run is not set up by: results, times and identities.
MEASURED = re.compile(
    r"loss|error|acc|perplexity|ppl|bpb|time|seconds|hours|persec|speed|throughput|memory|date|hash|path|folder|url|"
    r"grad|name$|^id$|^model$|^label$|^index$|origin|bitsperbyte|^host|^pid$|^created|^updated|^notes$"
)
RESULTS = re.compile(r"(metrics|scores|summary|results?)[./]", re.I)  # how the names of what was measured begin
COUNT = "seeds"  # the column that says of how many seeds a row is the mean


class Merged(NamedTuple):
    """The rows that are left: one for all seeds of a setting."""

    columns: Columns  # name -> [K], with `COUNT` and the spread where rows were brought together
    values: Columns  # role -> [K]
    where: np.ndarray  # [K]
    run: np.ndarray  # int64 [K]


def settings(columns: Columns) -> np.ndarray:
    """int64 [R]: equal where rows differ only in their seed, their names and what was measured of them."""
    size = len(next(iter(columns.values())))
    if not any(rank(name, "seed") for name in columns):
        return np.arange(size)
    found = np.zeros(size, np.int64)
    for name, values in columns.items():
        if is_set(name):
            each = np.unique(values.astype(str) if values.dtype == object else values, return_inverse=True)[1]
            found = np.unique(found * (each.max(initial=0) + 1) + each, return_inverse=True)[1]
    return found


def is_set(name: str) -> bool:
    """Whether a column is part of how a run was set up."""
    text = vocabulary.plain(name.lower())
    idle = rank(name, "seed") or rank(name, "run") or MEASURED.search(text) or VARIES.search(text)
    return not (idle or RESULTS.match(name))


def spread_of(output: str) -> str:
    """The column of the sd of `output` over seeds."""
    return f"{output}_sd"


def merged(
    columns: Columns, values: Columns, where: np.ndarray, run: np.ndarray, inputs: Sequence[str], output: str,
    said: list[str],
) -> Merged:  # fmt: skip
    """One row for the rows of equal settings and `inputs` whose seeds all differ; what was measured becomes its mean.

    Rows alike whose seed is the same differ in something that no column says: they stay as they are.
    """
    naming = ranked(columns, "seed")
    same = settings(columns)
    keys = [same, *(values[role] for role in inputs if role in values and role != output)]
    first, group, count = np.unique(np.stack(keys), axis=1, return_index=True, return_inverse=True, return_counts=True)[
        1:
    ]
    group = group.reshape(-1)
    if not naming or count.max(initial=1) == 1:
        return Merged(columns, values, where, run)
    seeds = np.unique(np.stack([columns[name].astype(str) for name in naming]), axis=1, return_inverse=True)[1]
    different = np.unique(np.stack([group, seeds.reshape(-1)]), axis=1)[0]
    twice = np.bincount(different, minlength=count.size) < count  # a seed comes more than once
    if twice.any():
        rows = int(count[twice].sum())
        said.append(
            f"{rows} rows have the settings and the seed of others, so they differ in something that no column says; "
            "each counts by itself"
        )
    several = (count > 1) & ~twice
    if not several.any():
        return Merged(columns, values, where, run)
    member = several[group]
    lead = np.where(member, first[group], np.arange(group.size))  # the row that stands for each
    kept = np.unique(lead)
    at = np.searchsorted(kept, lead)
    sizes = np.bincount(at)
    spread = _sd(values[output], at)
    out = {role: v[kept] if role in inputs and role != output else _mean(v, at) for role, v in values.items()}
    made = {name: _brought(name, v, lead, kept, at, sizes) for name, v in columns.items()}
    made |= {COUNT: sizes.astype(np.float64), spread_of(output): spread}
    runs = np.arange(int(run.max()) + 1)
    runs[run[member]] = run[lead[member]]
    pooled = noise(made, output)
    seeds_each = f"{sizes[sizes > 1].min()}" + (f" to {sizes.max()}" if np.ptp(sizes[sizes > 1]) else "")
    said.append(
        f"{output}: the mean over {seeds_each} seeds, {lead.size} rows become {kept.size}; sd over seeds "
        f"{digits(pooled, 2)}; --keep seeds fits each run"
    )
    return Merged(made, out, where[kept], runs[run[kept]])


def noise(columns: Columns, output: str) -> float:
    """The sd of one seed's `output`, pooled over the rows that have several; nan where none has."""
    if COUNT not in columns or spread_of(output) not in columns:
        return float("nan")
    sd, freedom = columns[spread_of(output)], columns[COUNT] - 1
    if sd.dtype != np.float64 or freedom.dtype != np.float64:
        return float("nan")
    rows = np.isfinite(sd) & (freedom > 0)
    return float(np.sqrt((sd[rows] ** 2 * freedom[rows]).sum() / freedom[rows].sum())) if rows.any() else float("nan")


def of_means(columns: Columns, output: str) -> float | None:
    """The sd of a row's mean over its seeds, of which it has as many as the rows have on average; None if unknown."""
    sd = noise(columns, output)
    return float(sd / np.sqrt(columns[COUNT].mean())) if np.isfinite(sd) and sd > 0 else None


def _mean(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """float64 [K], over the numbers among `values` [R]."""
    known = np.isfinite(values)
    count = np.bincount(at[known], minlength=int(at.max()) + 1)
    total = np.bincount(at[known], values[known], minlength=count.size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _sd(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """float64 [K], nan where there is one row."""
    count, mean = np.bincount(at), _mean(values, at)
    squares = np.bincount(at, (values - mean[at]) ** 2)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def _brought(
    name: str, values: np.ndarray, lead: np.ndarray, kept: np.ndarray, at: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """A column of the rows that are left: equal values stay, numbers become means, names and seeds are joined."""
    first = values[kept]
    several = np.flatnonzero(sizes > 1)
    if values.dtype == np.float64 and not rank(name, "seed"):
        same = np.isclose(values, values[lead], rtol=0, atol=0, equal_nan=True)
        differs = np.unique(at[~same])
        out = first.copy()
        out[differs] = _mean(values, at)[differs]
        return out
    if not (rank(name, "seed") or rank(name, "run")):
        return first
    out = np.empty(kept.size, object)
    out[:] = [f"{v:g}" if isinstance(v, float) and np.isfinite(v) else v for v in first.tolist()]
    order = np.argsort(at, kind="stable")
    parts = np.split(order, np.cumsum(sizes)[:-1])
    for i in several.tolist():
        texts = [f"{v:g}" if isinstance(v, float) else str(v) for v in values[parts[i]].tolist()]
        if len(dict.fromkeys(texts)) > 1:
            out[i] = ", ".join(texts) if rank(name, "seed") else f"{common(texts)} ({len(texts)} seeds)"
    return out


def common(names: Sequence[str]) -> str:
    """What the names of a setting's runs share: w8_s0 and w8_s1 are of w8; the first name where they share nothing."""
    head = alike(names)
    tail = alike([name[len(head) :][::-1] for name in names])[::-1]
    cut = re.sub(r"(^|[_\-./ ,]+)(seed|s|rng|run)?[=\-_ ]?$", "", head, flags=re.I)
    return (cut + tail).strip("_-./ ,") or names[0]


def alike(texts: Sequence[str]) -> str:
    """The characters that all texts begin with."""
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in same)


def said_of(row: Mapping[str, object], output: str) -> str:
    """ "± 0.012 (3 seeds)" of a row's record, "" of one seed's."""
    count, sd = row.get(COUNT), row.get(spread_of(output))
    if not isinstance(count, float) or not isinstance(sd, float) or count < 2:
        return ""
    return f"± {digits(sd, 2)} ({count:.0f} seeds)"
