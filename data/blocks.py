"""Long tables, many rows at a time by Arrow: what data/tables.py makes of them, several times as fast.

N rows, F features.
"""

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from data import tables
from data.source import Column

LONG = 1 << 20  # bytes of a file below which Arrow, which takes time to load, does not pay


class Odd(Exception):
    """Arrow may read this otherwise than data/tables.py, which says what is wrong with it."""


def parts(path: Path, columns: Sequence[Column], target: str, rows: int) -> Iterator[Float64[np.ndarray, "N F"]]:
    """As `tables.parts`, `rows` at a time; from where Arrow stops, that function goes on."""
    done = 0
    if path.is_file() and path.stat().st_size >= LONG:
        try:
            for block in resized(blocks(path, columns, target), rows):
                yield block
                done += 1
            return
        except Odd:
            pass
    yield from itertools.islice(tables.parts(path, columns, target, rows), done, None)


def blocks(path: Path, columns: Sequence[Column], target: str) -> Iterator[Float64[np.ndarray, "N F"]]:
    """As many rows at a time as Arrow reads."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = [cell.strip() for cell in next(csv.reader(file), [])]
        names, has_header = tables.named(path, first, [column.name for column in columns], target)
        if len(set(names)) < len(names):
            raise Odd
        kinds = {column.name: pa.string() if column.words else pa.float64() for column in columns}
        reader = arrow.open_csv(
            path,
            read_options=arrow.ReadOptions(column_names=names, skip_rows=int(has_header)),
            parse_options=arrow.ParseOptions(newlines_in_values=True),
            convert_options=arrow.ConvertOptions(column_types=kinds, include_columns=list(kinds), null_values=[]),
        )
        for block in reader:
            made = [features(column, block.column(column.name)) for column in columns]
            yield np.concatenate(made, axis=1)
    except (pa.ArrowInvalid, pa.ArrowKeyError, ValueError, csv.Error) as error:
        raise Odd(str(error)) from error


def features(column: Column, cells) -> Float64[np.ndarray, "N F"]:
    """As `tables.features` of Arrow's column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not column.words:
        made = cells.to_numpy(zero_copy_only=False)
        if not np.isfinite(made).all():
            raise Odd
        return made[:, None]
    ids = pc.index_in(pc.utf8_trim_whitespace(cells), pa.array(column.words))
    if ids.null_count:
        raise Odd
    return np.eye(len(column.words))[ids.to_numpy(zero_copy_only=False)]


def resized(parts: Iterator[Float64[np.ndarray, "N F"]], rows: int) -> Iterator[Float64[np.ndarray, "N F"]]:
    """The same rows, so many at a time, the last fewer."""
    held: list[np.ndarray] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) < rows:
            continue
        whole = np.concatenate(held)
        full = len(whole) // rows * rows
        yield from np.split(whole[:full], full // rows)
        held = [whole[full:]]
    if held and sum(map(len, held)):
        yield np.concatenate(held)
