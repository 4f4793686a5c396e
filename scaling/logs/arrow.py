"""Columns of an Arrow table.  R rows."""

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from scaling.logs.table import ABSENT, Columns, pack


def columns_of(table: Any) -> Columns:
    return {name: from_arrow(table.column(i)) for i, name in enumerate(unique(table.column_names))}


def unique(names: Iterable[str]) -> list[str]:
    """Names that come twice are numbered, those that are empty named by their place."""
    seen: dict[str, int] = {}
    out = []
    for place, name in enumerate(names, 1):
        name = name.strip() or f"column {place}"
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def from_arrow(column: Any) -> np.ndarray:
    """One Arrow column [R] as float64, or as objects where it is not numbers."""
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
            return texts(column)
        return np.concatenate([np.empty(0), *map(floats, numbers.chunks)])
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind) or types.is_duration(kind):
        if types.is_timestamp(kind):
            column = column.cast(pyarrow.timestamp(kind.unit))  # whose zone may be unknown here
        column = column.cast(pyarrow.string())  # Python's own dates end with the year 9999
    as_text = lambda v: json.dumps(v, default=str) if isinstance(v, list | dict) else str(v)
    return pack([None if value is None else as_text(value) for value in column.to_pylist()])


def texts(column: Any) -> np.ndarray:
    """An Arrow column of texts [R] as objects; cells that are equal share one, of few that is most of the memory."""
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")  # an empty cell is one text more, None
    values = np.empty(len(encoded.dictionary), object)
    values[:] = encoded.dictionary.to_pylist()
    indices = encoded.indices
    return values[np.frombuffer(indices.buffers()[1], np.int32)[indices.offset :][: len(indices)]]


def floats(chunk: Any) -> np.ndarray:
    """A float64 Arrow array [R], ABSENT where it is null.  Arrow's own to_numpy would load pandas: a second or two."""
    valid, data = chunk.buffers()
    rows = slice(chunk.offset, chunk.offset + len(chunk))
    if data is None or chunk.null_count == len(chunk):
        return np.full(len(chunk), ABSENT)
    values = np.frombuffer(data, np.float64)[rows].copy()
    values[np.isnan(values)] = math.nan
    if valid is not None:
        values[np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[rows] == 0] = ABSENT
    return values
