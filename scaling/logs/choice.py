"""Which rows of a table a law is fitted to: filters, the last of each run, the best of equal inputs, no outliers.

What is left out is listed with why.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from scaling.logs.cells import distinct, measured, shown
from scaling.logs.gather import usable_values
from scaling.logs.roles import Choice
from scaling.logs.table import MOST, Columns, missing, number
from train.errors import UserError, suggest


def reason(i: int, roles: Iterable[str], choices: Mapping[str, Choice], columns: Columns) -> str:
    """Why row `i` cannot be fitted: "loss is nan, n is 'many'"."""
    read = {role: choices[role] for role in roles if role in choices}
    bad = {role: choice for role, choice in read.items() if not usable_values(role, choice.values[i : i + 1])[0]}
    return ", ".join(f"{role} is {shown(columns[choice.name][i])}" for role, choice in bad.items())


def listed(dropped: list[dict[str, str]], where: np.ndarray, rows: np.ndarray, why: Callable[[int], str]) -> None:
    """Lists the first MOST of `rows` with their reason, then a count of the rest."""
    dropped += [{"row": str(where[i]), "reason": why(i)} for i in rows[:MOST].tolist()]
    if rows.size > MOST:
        dropped.append({"row": "…", "reason": f"and {rows.size - MOST} more"})


def selected(columns: Columns, filters: Sequence[str], said: list[str]) -> np.ndarray:
    """Indices of the rows that pass every filter."""
    rows = np.arange(len(next(iter(columns.values()), ())))
    for text in filters:
        signs = re.finditer(r"!=|<=|>=|==?|<|>", text)
        splits = [(text[: m.start()].strip(), m[0], text[m.end() :].strip()) for m in signs]
        if not splits:
            raise UserError(f"filter {text!r} compares nothing; write COL=VALUE, or !=, <, <=, >, >= for the =")
        name, sign, value = next((s for s in splits if s[0] in columns), splits[0])
        if name not in columns:
            raise UserError(f"filter {text!r}: there is no column {name!r}{suggest(name, columns)}")
        values = columns[name][rows]
        passing = rows[passes(values, sign, value, text)]
        if rows.size and not passing.size:
            raise UserError(f"filter {text!r} leaves none of {rows.size} rows; {name!r} is {distinct(values)}")
        said.append(f"filter {text} keeps {passing.size} of {rows.size} rows")
        rows = passing
    return rows


def passes(values: np.ndarray, sign: str, value: str, text: str) -> np.ndarray:
    """bool [rows].  Numbers compare as numbers, texts as texts, and what is missing equals only the empty value."""
    wanted = number(value)
    if sign in ("=", "==", "!="):
        if value == "":
            equal = missing(values)
        else:
            same = np.array([values.dtype == object and str(v) == value for v in values], bool)
            equal = same | (measured(values) == (math.nan if wanted is None else wanted))
        return ~equal if sign == "!=" else equal
    if wanted is None or math.isnan(wanted):
        raise UserError(f"filter {text!r}: {value!r} is no number; {sign} compares numbers, = and != also texts")
    compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[sign]
    return compare(measured(values), wanted)


def reduced(
    run: np.ndarray, values: Columns, inputs: Sequence[str], output: str, by: str, same: np.ndarray,
    drop_outliers: int, last: bool, said: list[str],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The rows left by `last`, the best of the same `inputs` (where named) and `drop_outliers`; and those outliers.

    Rows of equal `same` [rows] differ only in their seed.  The best is chosen among means over seeds, which are put
    into `values`: the least of several seeds would be a lucky one.
    """
    rows = np.arange(run.size)
    if last:
        end = next((values[role] for role in ("step", "d") if role in values and np.isfinite(values[role]).all()), rows)
        rows = firsts(run, np.argsort(end, kind="stable")[::-1])
        said.append(f"the last row of each run: {rows.size} of {run.size} rows")
    if inputs:
        rows = averaged(rows, values, [*inputs, output], by, same, said)
        sign, most = (-1.0, "most") if by == "accuracy" else (1.0, "least")
        least = best_of(np.stack([values[role][rows] for role in inputs]), sign * values[by][rows])
        said.append(f"the row of {most} {by} of each {', '.join(inputs)} (--best): {least.size} of {rows.size} rows")
        rows = rows[least]
    if not 0 <= drop_outliers < rows.size:
        raise UserError(
            f"--drop-outliers {drop_outliers} of {rows.size} rows leaves nothing; give 0 to {rows.size - 1}"
        )
    largest = np.argsort(-values[output][rows], kind="stable")[:drop_outliers]
    return np.delete(rows, largest), np.sort(rows[largest])


def averaged(
    rows: np.ndarray, values: Columns, keys: Sequence[str], by: str, same: np.ndarray, said: list[str]
) -> np.ndarray:
    """The first of the `rows` that are alike in `same` and `keys`; its `by` in `values` is their mean."""
    labels = np.stack([same[rows], *(values[role][rows] for role in keys if role != by)])
    _, first, group = np.unique(labels, axis=1, return_index=True, return_inverse=True)
    if first.size == rows.size:
        return rows
    group = group.reshape(-1)
    means = np.bincount(group, values[by][rows]) / np.bincount(group)
    values[by] = values[by].copy()
    values[by][rows[first]] = means
    said.append(f"{by}: the mean over rows that differ only in their seed; {rows.size} rows become {first.size}")
    return rows[np.sort(first)]


def best_of(inputs: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Indices, ascending, of the least output [rows] among rows of the same inputs [inputs, rows]."""
    return firsts(inputs, np.argsort(output, kind="stable"))


def firsts(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Indices, ascending, of the row that comes first in `order` among those of the same labels [..., rows]."""
    return np.sort(order[np.unique(labels[..., order], axis=-1, return_index=True)[1]])
