"""What a log is: rows of (step, values), constants said once, an origin.  Columns of numbers or objects.

R rows.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Columns = dict[str, np.ndarray]

MOST = 1000  # rows listed one by one
# Marks a cell that says nothing, apart from one that says NaN: a run whose loss is NaN at the end has diverged.
ABSENT = np.array([0x7FF8_0000_0000_0A85], np.uint64).view(np.float64)[0]
MISSING = frozenset(("", "n/a", "na", "#n/a", "null", "none", "nil", "-", "--", "—", "–", "missing", "?", "<na>"))


class Log(NamedTuple):
    """The log of one run, or a table of many."""

    columns: Columns  # name -> [R]
    where: Sequence[str]  # [R]: the path of each row's file or folder, and its line or row there
    origin: str  # the file or folder; where `run` is given, what all rows below it share
    run: str = ""  # the one run that all rows are of: a name, or its file or folder; "": rows say so, or are runs
    constants: Mapping[str, Any] = {}  # said once, for every row
    said: Sequence[str] = ()  # sentences about how it was read
    ours: bool = False  # a record of this project's own run


class Refusal(NamedTuple):
    """A file, folder or row that is not read."""

    where: str  # "": the reason is about the whole
    reason: str
    final: bool = True  # False: a file that need not be a log, not worth a word beside others that are


class Table(NamedTuple):
    """Rows of any origin, column by column."""

    columns: Columns  # name -> [R]: float64 where all that is present are numbers (ABSENT: no cell), else object (None)
    where: np.ndarray  # [R] object: "file:line" of CSV and JSON, "file:row" of Parquet, or the run's folder; no machine
    dropped: list[dict[str, str]]  # {"row": where it was, "reason": why it is not in `columns`}
    said: list[str] = []  # noqa: RUF012  one sentence for each thing that was understood and could be otherwise


class Unreadable(Exception):
    """The file is in none of the formats, and this is why."""


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"config": {"lr": 1}} as {"config.lr": 1}; lists stay as their text."""
    if not prefix and {dict, list}.isdisjoint(map(type, row.values())):
        return dict(row)
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and prefix.count(".") < 20:  # deeper is a cell, not columns
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[prefix + str(name)] = json.dumps(value, default=str) if isinstance(value, list | dict) else value
    return out


def pack_rows(rows: Sequence[dict[str, Any]]) -> Columns:
    names = dict.fromkeys(itertools.chain.from_iterable(rows))
    return {name: pack([row.get(name) for row in rows]) for name in names}


def pack(values: list[Any]) -> np.ndarray:
    """[R] of numbers, truth values and None as float64; of anything else as objects."""
    kinds = set(map(type, values))
    if kinds <= {float, int, bool, type(None)}:
        try:
            out = np.array(values, np.float64)  # also of integers that int64 cannot hold
        except OverflowError:  # nor float64
            out = np.array([number(value) for value in values])
        if type(None) in kinds:
            out[[value is None for value in values]] = ABSENT
        return out
    out = np.empty(len(values), object)
    out[:] = values
    return out


def full(value: Any, rows: int) -> np.ndarray:
    """[rows] of one value."""
    return np.repeat(pack([value]), rows)


def join(parts: Sequence[tuple[np.ndarray | None, int]]) -> np.ndarray:
    """Concatenates one column's parts (values, length); None is a part without that column."""
    numbers = all(values is None or values.dtype == np.float64 for values, _ in parts)
    kind, nothing = (np.float64, ABSENT) if numbers else (object, None)

    def alike(values: np.ndarray | None, rows: int) -> np.ndarray:
        if values is None:
            return np.full(rows, nothing, kind)
        return values if values.dtype == kind else np.where(absent(values), None, values)

    return np.concatenate([alike(*part) for part in parts])


def numeric(values: np.ndarray) -> np.ndarray:
    """A column of texts that are all numbers or words for a missing one, as numbers."""
    if values.dtype == np.float64:
        return values
    out, numbers = np.empty(values.size), False
    for i, value in enumerate(values):
        if isinstance(value, str) and value.strip().lower() in MISSING:
            out[i] = ABSENT
        elif (found := number(value)) is None:
            values[values == ""] = None
            return values
        else:
            out[i] = found
            numbers |= value is not None
    if not numbers:  # "-" in every row of a column of notes
        values[values == ""] = None
        return values
    return out


def number(value: Any) -> float | None:
    """The float that `value` says, NaN where it is missing, None where it says something else: "12M", "1,000"."""
    if value is None or value == "":
        return ABSENT
    if isinstance(value, str):
        if (word := value.strip().lower()) in ("true", "false"):
            return float(word == "true")
        if "_" in value:  # which float() takes for a thousands separator
            return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None


def missing(values: np.ndarray) -> np.ndarray:
    """bool [R]: nothing is said, or NaN."""
    if values.dtype == np.float64:
        return np.isnan(values)
    return np.array([v is None or v != v for v in values.tolist()], bool)


def absent(values: np.ndarray) -> np.ndarray:
    """bool [R]: nothing is said; a NaN that was written down is said."""
    if values.dtype == np.float64:
        return values.view(np.uint64) == np.float64(ABSENT).view(np.uint64)
    return np.array([v is None for v in values.tolist()], bool)
