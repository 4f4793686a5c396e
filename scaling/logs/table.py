"""Rows gathered from many files, as columns of numbers or objects."""

import codecs
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Columns = dict[str, np.ndarray]

DECODER = json.JSONDecoder()
MOST = 1000  # rows listed one by one


class Table(NamedTuple):
    """Rows of any origin, column by column."""

    columns: Columns  # name -> [rows]: float64 where all that is present are numbers (NaN: missing), else object (None)
    where: (
        np.ndarray
    )  # [rows] object: "file:line" of CSV and JSON, "file:row" of Parquet, or the run's folder; no paths of the machine
    dropped: list[dict[str, str]]  # {"row": where it was, "reason": why it is not in `columns`}


class Unreadable(Exception):
    """The file is in none of the formats, and this is why."""


class Found:
    """What has been read so far."""

    def __init__(self) -> None:
        self.parts: list[tuple[Columns, Sequence[str]]] = []
        self.ours: dict[str, tuple[dict[str, Any], str, int]] = {}  # what identifies a run -> record, where, argument
        self.dropped: list[dict[str, str]] = []
        self.unlisted = 0
        self.rows = 0
        self.argument = 0  # which of the paths is being read
        self.path, self.name = "", ""  # that path as it was given, and what reports call it

    def shown(self, where: str) -> str:
        """A place below the path being read, as reports name it: without the way to that path on this machine."""
        if not self.path or not where.startswith(self.path):
            return where
        return f"{self.name}{where.removeprefix(self.path)}".lstrip("/") or Path(self.path).name

    def drop(self, where: str, reason: str) -> None:
        if len(self.dropped) < MOST:
            if self.path.startswith("/"):  # the system's own errors name the file
                reason = reason.replace(f"{self.path}/", f"{self.name}/".lstrip("/"))
            self.dropped.append({"row": self.shown(where), "reason": reason})
        else:
            self.unlisted += 1

    def add(self, columns: Columns, where: Sequence[str]) -> None:
        if len(where):
            self.parts.append((columns, [self.shown(place) for place in where]))
            self.rows += len(where)

    def add_ours(self, row: dict[str, Any], where: str) -> None:
        """Counting a run twice would narrow every interval.  A sweep's table knows the budgets, the records do not."""
        where = self.shown(where)
        key = repr([row.get(name) for name in ("name", "config_hash", "seed", "wall_seconds")])
        self.rows += 1
        if key not in self.ours:
            self.ours[key] = row, where, self.argument
            return
        first, before, argument = self.ours[key]
        in_table, was_in_table = ".jsonl:" in where, ".jsonl:" in before
        if argument != self.argument or in_table == was_in_table:
            self.drop(where, f"the same run again: {before} is counted")
        wins = in_table > was_in_table
        self.ours[key] = ({**first, **row}, where, argument) if wins else ({**row, **first}, before, argument)

    def table(self) -> Table:
        if self.ours:
            rows, where, _ = zip(*self.ours.values(), strict=True)
            self.parts.append((pack_rows(rows), where))
        places = np.array([place for _, where in self.parts for place in where], object)
        names = dict.fromkeys(name for columns, _ in self.parts for name in columns)
        columns = {name: numeric(join([(c.get(name), len(w)) for c, w in self.parts])) for name in names}
        more = [{"row": "…", "reason": f"and {self.unlisted} more"}] if self.unlisted else []
        return Table(columns, places, self.dropped + more)


def contents(path: Path) -> bytes:
    """UTF-8 without its byte order mark; spreadsheets write UTF-16 too."""
    data = path.read_bytes()
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return data.decode("utf-16", "replace").encode()
    return data.removeprefix(codecs.BOM_UTF8)


def flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"config": {"lr": 1}} as {"config.lr": 1}; lists stay as their text."""
    if not prefix and {dict, list}.isdisjoint(map(type, row.values())):
        return row
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and prefix.count(".") < 20:  # deeper is a cell, not columns
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = json.dumps(value) if isinstance(value, list | dict) else value
    return out


def pack_rows(rows: Sequence[dict[str, Any]]) -> Columns:
    names = dict.fromkeys(itertools.chain.from_iterable(rows))
    return {name: pack([row.get(name) for row in rows]) for name in names}


def pack(values: list[Any]) -> np.ndarray:
    """[rows] of numbers, truth values and None as float64; of anything else as objects."""
    if set(map(type, values)) <= {float, int, bool, type(None)}:
        try:
            return np.array(values, np.float64)  # also of integers that int64 cannot hold
        except OverflowError:  # nor float64
            return np.array([number(value) for value in values])
    out = np.empty(len(values), object)
    out[:] = values
    return out


def join(parts: Sequence[tuple[np.ndarray | None, int]]) -> np.ndarray:
    """Concatenates one column's parts (values, length); None is a part without that column."""
    numbers = all(values is None or values.dtype == np.float64 for values, _ in parts)
    kind, absent = (np.float64, math.nan) if numbers else (object, None)

    def alike(values: np.ndarray | None, rows: int) -> np.ndarray:
        if values is None:
            return np.full(rows, absent, kind)
        return values if values.dtype == kind else np.where(np.isnan(values), None, values)

    return np.concatenate([alike(*part) for part in parts])


def numeric(values: np.ndarray) -> np.ndarray:
    """A column of texts that are all numbers, as numbers."""
    if values.dtype == np.float64:
        return values
    out = np.empty(values.size)
    for i, value in enumerate(values):
        if (found := number(value)) is None:
            values[values == ""] = None
            return values
        out[i] = found
    return out


def number(value: Any) -> float | None:
    """The float that `value` says, NaN where it is missing, None where it says something else: "12M", "1,000"."""
    if value is None or value == "":
        return math.nan
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
    """bool [rows]."""
    if values.dtype == np.float64:
        return np.isnan(values)
    return np.array([v is None or v != v for v in values.tolist()], bool)
