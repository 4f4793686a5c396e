"""Cells as lines of CSV or of JSON, many rows in one formatting: a row at a time takes several times as long."""

import json
import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from train.predictions import Cells
from train.writer import finite

DIGITS = "%.8g"  # about what a float32 holds; its 0.1 stays 0.1


def csv_header(cells: Cells) -> str:
    return ",".join(map(quoted, cells)) + "\n"


def csv_lines(cells: Cells) -> str:
    return formatted(cells, lambda places: ",".join(places.values()), quoted_cell, "")


def json_lines(cells: Cells) -> str:
    name = lambda key: json.dumps(key, ensure_ascii=False).replace("%", "%%")
    row = lambda places: "{" + ", ".join(f"{name(key)}: {place}" for key, place in places.items()) + "}"
    return formatted(cells, row, lambda value: json.dumps(finite(value), ensure_ascii=False), "null")


def formatted(cells: Cells, row: Callable[[dict[str, str]], str], text: Callable[[Any], str], missing: str) -> str:
    """All rows: `row` makes one line of the columns' formats, `text` a cell of what is no number.

    `missing` stands for a number that is not finite; without it such a number is written as it is.
    """
    columns = {name: column(values, text, missing) for name, values in cells.items()}
    values = [values for _, values in columns.values()]
    line = row({name: place for name, (place, _) in columns.items()}) + "\n"
    return (line * len(values[0])) % tuple(chain.from_iterable(zip(*values, strict=True)))


def column(values: Sequence[Any] | np.ndarray, text: Callable[[Any], str], missing: str) -> tuple[str, Sequence[Any]]:
    """The format of a column, and its values for it."""
    if isinstance(values, range):
        return "%d", values
    if not isinstance(values, np.ndarray):
        if not all(isinstance(value, str) for value in values):
            return "%s", list(map(text, values))
        known = {value: text(value) for value in set(values)}  # a file's name or a class comes again and again
        return "%s", [known[value] for value in values]
    if values.dtype.kind in "iu":
        return "%d", values.tolist()
    if missing and not np.isfinite(values).all():
        return "%s", [DIGITS % value if math.isfinite(value) else missing for value in values.tolist()]
    return DIGITS, values.tolist()


def quoted_cell(value: Any) -> str:
    return quoted(value if isinstance(value, str) else json.dumps(finite(value)))


def quoted(text: str) -> str:
    """As RFC 4180 has it: in quotes where a comma, a quote or the end of a line is in it."""
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n\r') else text
