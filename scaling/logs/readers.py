"""Reads the logs of runs, whoever wrote them, into one flat table.  Rows left out are listed with why.

What comes in says nothing of laws here: which column is N or the loss is `records.assign`'s to find.
"""

import codecs
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scaling.logs.events import events
from scaling.logs.names import called
from scaling.logs.table import DECODER, Found, Table, Unreadable, contents, flat, pack_rows
from scaling.logs.tabular import comma_separated, parquet
from train.errors import UserError

FORMATS = (
    "folders of runs and sweeps (record.json, runs.jsonl), JSON (.jsonl, .ndjson, .json), CSV (.csv, .tsv, .txt), "
    "Parquet (.parquet) and TensorBoard's events.out.tfevents.*"
)
BATCH = 10_000  # rows that are Python objects at a time
ABOUT_A_RUN = {"config.json", "environment.json"}
ABOUT_A_SWEEP = {"plan.json", "runs"}
WRITTEN_BY_A_FIT = {"fit.json", "rows.jsonl"}


def read(paths: Iterable[str | Path]) -> Table:
    """One table of all rows in `paths`: files of `FORMATS`, and folders of them at any depth, in sorted order.

    Raises UserError for a path that is missing, in no such format, or without a single row.
    """
    found, given = Found(), [Path(path) for path in paths]
    for found.argument, (path, name) in enumerate(zip(given, called(given), strict=True)):
        found.path = "" if path == Path() else str(path)
        found.name = name if len(given) > 1 or path.is_file() else ""  # runs of one folder: by their place in it
        if not path.exists():
            raise UserError(f"{path} does not exist; give {FORMATS}")
        rows, dropped = found.rows, len(found.dropped)
        try:
            folder(path, found) if path.is_dir() else file(path, found)
        except (Unreadable, OSError) as error:
            raise UserError(f"{path} cannot be read ({error}); give {FORMATS}") from None
        if found.rows == rows:
            why = "; ".join(d["reason"] for d in found.dropped[dropped:][:3])
            raise UserError(f"{path} holds no finished run{why and f' ({why})'}; give {FORMATS}")
    return found.table()


def from_rows(rows: Iterable[dict[str, Any]]) -> Table:
    """A table of records that are at hand."""
    found = Found()
    add_rows(found, ((str(row.get("name", f"row {i}")), row) for i, row in enumerate(rows, 1)))
    return found.table()


def folder(path: Path, found: Found) -> None:
    """A run's own folder is its record: the logs beside it are how it came about."""
    inside = [p for p in sorted(path.iterdir()) if not p.name.startswith(".")]
    names = {p.name for p in inside}
    if "record.json" in names:
        return add_rows(found, ((str(path), row) for _, row in json_values(path / "record.json")))
    unfinished = "no record.json: the run has not finished"
    if names >= ABOUT_A_RUN:
        return found.drop(str(path), unfinished)
    rows = found.rows
    skipped = ABOUT_A_RUN.union(*(each for each in (ABOUT_A_SWEEP, WRITTEN_BY_A_FIT) if names >= each))
    logs = [p for p in inside if p.is_file() and p.name not in skipped]
    tensorboard = [p for p in logs if "tfevents" in p.name]
    for log in (p for p in logs if p.suffix.lower() in READERS and p not in tensorboard):
        try:
            file(log, found)
        except (Unreadable, OSError) as error:
            found.drop(str(log), f"not read: {error}")
    events(tensorboard, found)
    for below in (p for p in inside if p.is_dir() and not p.is_symlink()):
        folder(below, found)
    if "config.json" in names and found.rows == rows:
        found.drop(str(path), unfinished)


def file(path: Path, found: Found) -> None:
    """By its name, or else by its first bytes."""
    if "tfevents" in path.name:
        return events([path], found)
    if reader := READERS.get(path.suffix.lower()):
        return reader(path, found)
    with open(path, "rb") as opened:
        head = opened.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    for start, reader in ((b"PAR1", parquet), (b"[", json_array), (b"{", json_lines)):
        if head.startswith(start):
            return reader(path, found)
    raise Unreadable(f"{path.suffix or 'a name without a suffix'!r} names no format, and neither does its beginning")


# Rows as Python objects: JSON.


def json_lines(path: Path, found: Found) -> None:
    lines = enumerate(io.BytesIO(contents(path)), 1)
    add_rows(found, ((f"{path}:{number}", parse(line)) for number, line in lines if not line.isspace()))


def json_array(path: Path, found: Found) -> None:
    add_rows(found, json_values(path))


def json_values(path: Path) -> Iterator[tuple[str, Any]]:
    """Place and value of an array's elements, or of values one after the other; ends at the first that is not JSON."""
    text, line = contents(path).decode("utf-8", "replace"), 1
    at = past(r"\s*\[?", text, 0)
    while (begin := past(r"[\s,\]]*", text, at)) < len(text):
        line += text.count("\n", at, begin)
        try:
            value, end = DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            yield f"{path}:{line}", error
            return
        yield f"{path}:{line}", value
        line, at = line + text.count("\n", begin, end), end


def past(pattern: str, text: str, at: int) -> int:
    """Where what `pattern` matches at `at` ends."""
    found = re.compile(pattern).match(text, at)
    return found.end() if found else at


def parse(line: bytes) -> Any:
    """The value, or the exception that says why there is none."""
    try:
        return DECODER.decode(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        return error


def add_rows(found: Found, rows: Iterable[tuple[str, Any]]) -> None:
    """Rows are (place, value or exception)."""
    for batch in itertools.batched(rows, BATCH):
        kept, where = [], []
        for place, row in batch:
            if isinstance(row, Exception):
                found.drop(place, f"half-written or not JSON ({getattr(row, 'msg', row)})")
            elif not isinstance(row, dict):
                found.drop(place, "not a record: no JSON object")
            elif row.get("config_hash"):
                found.add_ours(flat(row), place)
            else:
                kept.append(flat(row))
                where.append(place)
        found.add(pack_rows(kept), where)


READERS = {
    **dict.fromkeys((".jsonl", ".ndjson"), json_lines),
    ".json": json_array,
    **dict.fromkeys((".csv", ".tsv", ".txt"), comma_separated),
    ".parquet": parquet,
}
