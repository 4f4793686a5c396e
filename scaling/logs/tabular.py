"""Rows as columns: CSV and Parquet, and what Weights & Biases exports in them."""

import ast
import csv
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from scaling.logs.table import DECODER, Columns, Found, Unreadable, contents, flat, missing, pack, pack_rows


def comma_separated(path: Path, found: Found) -> None:
    """Everything is read as text first: the kind of a column is known only when all of it has been seen."""
    import pyarrow
    import pyarrow.csv

    data = whole_quotes(utf8(contents(path)), path, found)
    ragged: list[int] = []

    def skip(row: Any) -> str:
        ragged.append(row.number)
        found.drop(f"{path}:{row.number}", f"{row.actual_columns} cells where the header has {row.expected_columns}")
        return "skip"

    parsing = pyarrow.csv.ParseOptions(
        delimiter=delimiter(data), newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
    )
    converting = pyarrow.csv.ConvertOptions(
        default_column_type=pyarrow.string(), null_values=[""], strings_can_be_null=True
    )
    reading = pyarrow.csv.ReadOptions(use_threads=False, block_size=2**24)  # threads would not count lines
    try:
        table = pyarrow.csv.read_csv(pyarrow.BufferReader(data), reading, parsing, converting)
    except pyarrow.ArrowInvalid as error:
        raise Unreadable(str(error)) from None
    places = np.delete(np.arange(2, 2 + table.num_rows + len(ragged)), np.array(ragged, np.int64) - 2)
    add_table(table, places, path, found)


def utf8(data: bytes) -> bytes:
    """What is not UTF-8 is taken for Latin-1, unless the file was only cut inside its last letter."""
    try:
        data.decode()
        return data
    except UnicodeDecodeError as error:
        cut = error.start >= len(data) - 4
        return (data.decode("utf-8", "replace") if cut else data.decode("latin-1")).encode()


def whole_quotes(data: bytes, path: Path, found: Found) -> bytes:
    """`data` up to a quote that is never closed, which would swallow all that follows it."""
    if data.count(b'"') % 2 == 0:
        return data
    cut = data.rfind(b"\n", 0, data.rfind(b'"')) + 1
    lost = data[cut:].strip().count(b"\n")
    more = f", and {lost} more are lost with it" if lost else ""
    found.drop(f"{path}:{data.count(b'\n', 0, cut) + 1}", f"half-written: a quote that is never closed{more}")
    return data[:cut]


def delimiter(data: bytes) -> str:
    """The one of , ; and tab that splits the first lines into the most cells, as many in each as in the header."""
    head = data[: 2**16].decode("utf-8", "replace").splitlines()[:20]

    def score(mark: str) -> tuple[float, int]:
        rows = [len(row) for row in csv.reader(head, delimiter=mark) if row] or [0]
        return rows.count(rows[0]) / len(rows) * rows[0], rows[0]

    best = max(",;\t", key=score)
    if score(best)[1] < 2:
        raise Unreadable("its first line is no header of two or more columns between commas, semicolons or tabs")
    return best


def unique(names: Iterable[str]) -> list[str]:
    """Names that come twice are numbered, those that are empty named by their place."""
    seen: dict[str, int] = {}
    out = []
    for place, name in enumerate(names, 1):
        name = name.strip() or f"column {place}"
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def parquet(path: Path, found: Found) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise Unreadable(str(error)) from None
    while any(pyarrow.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    add_table(table, np.arange(1, 1 + table.num_rows), path, found)


def add_table(table: Any, places: np.ndarray, path: Path, found: Found) -> None:
    """Adds an Arrow table's columns after unfolding them; a row without a single cell is a blank line."""
    columns = {name: from_arrow(table.column(i)) for i, name in enumerate(unique(table.column_names))}
    for name in [n for n in columns if n.lower() in ("config", "summary")]:
        columns |= pack_rows([flat({name: cell(value)}) for value in columns.pop(name).tolist()])
    where = np.array([f"{path}:{place}" for place in places.tolist()], object)
    curves, shared = by_run(columns)
    for run, own in curves.items():
        there = ~np.logical_and.reduce([np.ones(len(where), bool), *map(missing, own.values())])
        labels = {"run": np.full(there.sum(), run, object)} if run else {}
        part = {name: values[there] for name, values in (shared | own).items()}
        found.add(labels | part, where[there].tolist())


def from_arrow(column: Any) -> np.ndarray:
    """One Arrow column [rows] as float64, or as objects where it is not numbers."""
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    plain = (
        types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_string,
        types.is_large_string,
    )  # fmt: skip
    if any(test(kind) for test in plain):
        try:
            numbers = column.cast(pyarrow.float64(), safe=False)
        except pyarrow.ArrowInvalid:  # some of it is text
            found = np.empty(len(column), object)
            found[:] = column.to_pylist()
            return found
        return np.concatenate([np.empty(0), *map(floats, numbers.chunks)])
    as_text = lambda v: json.dumps(v, default=str) if isinstance(v, list | dict) else str(v)
    return pack([None if value is None else as_text(value) for value in column.to_pylist()])


def floats(chunk: Any) -> np.ndarray:
    """A float64 Arrow array [rows], NaN where it is null.  Arrow's own to_numpy would load pandas: a second or two."""
    valid, data = chunk.buffers()
    rows = slice(chunk.offset, chunk.offset + len(chunk))
    if data is None or chunk.null_count == len(chunk):
        return np.full(len(chunk), math.nan)
    values = np.frombuffer(data, np.float64)[rows].copy()
    if valid is not None:
        values[np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[rows] == 0] = math.nan
    return values


def cell(value: Any) -> Any:
    """A `config` or `summary` that was written into one cell, as JSON or as Python prints it."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return DECODER.decode(value)
    except (ValueError, RecursionError):
        pass
    words = {"nan": "None", "inf": "1e999", "-inf": "-1e999"}
    try:
        plain = re.sub(r"(?<=[:,\[] )(nan|-?inf)\b", lambda found: words[found[0]], value)
        return DECODER.decode(json.dumps(ast.literal_eval(plain)))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return value


def by_run(columns: Columns) -> tuple[dict[str, Columns], Columns]:
    """run -> its own columns, and those that all runs share; {"": columns} of what is no chart's export.

    A chart is exported as `Step`, `A - loss`, `A - loss__MIN`, `A - loss__MAX`, `B - loss`, …: a column a run.
    """
    runs: dict[str, Columns] = {}
    shared = dict(columns)
    for name, values in columns.items():
        sides = f"{name}__MIN", f"{name}__MAX"
        if " - " in name and columns.keys() >= {*sides}:
            run, _, what = name.rpartition(" - ")
            runs.setdefault(run, {})[what] = values
            for side in (name, *sides):
                shared.pop(side, None)
    return (runs, shared) if runs else ({"": columns}, {})
