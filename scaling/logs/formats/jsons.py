"""JSON: a record a line, an array of records, one object that holds them in any of the usual shapes."""

import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scaling.logs.formats import File, Format, contents
from scaling.logs.shapes import from_records
from scaling.logs.table import Log, Refusal, flat, pack_rows

DECODER = json.JSONDecoder()
BATCH = 10_000  # rows that are Python objects at a time
SUFFIXES = (".jsonl", ".ndjson", ".json")
# What a list of records is called inside an object, and what a record calls the rows of its own run.
LISTS = (
    "runs", "rows", "data", "results", "records", "trials", "experiments", "points", "observations", "entries", "items",
    "measurements", "models", "checkpoints", "evaluations", "logs",
)  # fmt: skip
CURVES = ("history", "log_history", "logs", "log", "curve", "metrics", "steps", "rows", "checkpoints", "evaluations")
PARTS = ("config", "summary", "params", "metrics", "hparams", "results", "args", "tags", "system", "model", "optimizer")


def fits(file: File) -> bool:
    head = file.head.lstrip()
    return head[:1] in (b"{", b"[") or bool(re.match(rb"(?:\s*(?://|#)[^\n]*\n)+\s*[{\[]", head))


def read(file: File) -> Iterator[Log | Refusal]:
    path, data = str(file.path), contents(file)
    lines = io.BytesIO(data)
    several = any(is_record(line) for line in itertools.islice(lines, 30)) and bool(
        next(lines, b"") or data.count(b"\n", 0, -1)
    )
    whole = re.match(rb"\s*\[", data) or not several
    if whole and (values := [*json_values(path, data)]):
        if len(values) == 1 and isinstance(values[0][1], dict | list):
            yield from of_value(values[0][1], values[0][0], path)
        else:
            yield from of_rows(values, path)
    elif not whole:
        numbered = enumerate(io.BytesIO(data), 1)
        yield from of_rows(((f"{path}:{at}", v) for at, line in numbered if (v := parse(line)) is not SKIPPED), path)


SKIPPED = object()


def is_record(line: bytes) -> bool:
    """Whether one line is an object by itself."""
    return line.lstrip().startswith(b"{") and isinstance(parse(line), dict)


def parse(line: bytes) -> Any:
    """The value, the exception that says why there is none, or SKIPPED of a blank line and a comment."""
    text = line.decode("utf-8", "replace").strip().removesuffix(",")
    if not text or text.startswith(("//", "#")):
        return SKIPPED
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        return error


def json_values(path: str, data: bytes) -> Iterator[tuple[str, Any]]:
    """Place and value of an array's elements, or of values one after the other; ends at the first that is not JSON."""
    text, line = data.decode("utf-8", "replace"), 1
    at = past(r"(?:\s*(?://|#)[^\n]*\n)*\s*\[?", text, 0)
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


def of_rows(rows: Iterable[tuple[str, Any]], origin: str) -> Iterator[Log | Refusal]:
    """Logs of rows that are (place, value or exception)."""
    for batch in itertools.batched(rows, BATCH):
        kept: list[dict[str, Any]] = []
        where: list[str] = []
        for place, row in batch:
            if isinstance(row, Exception):
                yield Refusal(place, f"half-written or not JSON ({getattr(row, 'msg', row)})")
            elif not isinstance(row, dict):
                yield Refusal(place, "not a record: no JSON object")
            elif row.get("config_hash"):
                yield Log(pack_rows([flat(row)]), [place], origin, ours=True)
            elif any(type(value) is list or type(value) is dict for value in row.values()):
                made = [*curve(row)]
                kept += made
                where += [place] * len(made)
            else:
                kept.append(row)
                where.append(place)
        yield from from_records(kept, where, origin)


def curve(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A record that holds the rows of its own run, as {"config": …, "history": [{"step": …}, …]}: one row each."""
    name = next((n for n in CURVES if n in row and is_rows(row[n])), None)
    if name is None:
        yield flat(row)
        return
    rows = row[name] if isinstance(row[name], list) else transposed(row[name])
    shared = flat({n: v for n, v in row.items() if n != name})
    yield from (shared | flat(inner) for inner in rows)


def is_rows(value: Any) -> bool:
    """A list of records of which each says several things, or lists of equal length by name."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(v, dict) and len(v) > 1 for v in value)
    return is_columns(value)


def is_columns(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) < 2 or not all(isinstance(v, list) for v in value.values()):
        return False
    sizes = {len(v) for v in value.values()}
    return len(sizes) == 1 and sizes != {0} and not any(isinstance(v, dict) for vs in value.values() for v in vs)


def transposed(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def of_value(value: Any, place: str, origin: str) -> Iterator[Log | Refusal]:
    """The logs of one object, or of one array in an array."""
    if isinstance(value, list):
        yield Refusal(place, "a matrix: numbers without names of columns; give a record a run, with N, D and the loss")
        return
    constants: dict[str, Any] = {}
    rows = records(value, constants)
    if rows is None:
        yield Refusal(place, "a matrix: numbers without names of columns; give a record a run, with N, D and the loss")
        return
    for found in of_rows(
        ((f"{place}", row) if len(rows) == 1 else (f"{place}#{i}", row) for i, row in enumerate(rows, 1)), origin
    ):
        yield found._replace(constants=constants) if isinstance(found, Log) else found


def records(value: dict[str, Any], constants: dict[str, Any]) -> list[Any] | None:
    """The records in an object, however they are laid out; None where their columns have no names."""
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):  # pandas: split
        return [
            dict(zip(map(str, value["columns"]), row, strict=False)) for row in value["data"] if isinstance(row, list)
        ]
    if isinstance(value.get("schema"), dict) and isinstance(value.get("data"), list):  # pandas: table
        return value["data"]
    if is_columns(value):
        return transposed(value)
    inner = [*value.values()]
    if len(inner) > 1 and not {*value} & {*LISTS, *CURVES, *PARTS} and all(map(is_rows, inner)):  # the curves of runs
        each = {name: v if isinstance(v, list) else transposed(v) for name, v in value.items()}
        return [{"run": name, **row} for name, rows in each.items() for row in rows]
    if len(inner) > 1 and all(isinstance(v, dict) for v in inner) and not {*value} <= {*PARTS}:
        keys = [{*v} for v in inner]
        shared = set.intersection(*keys)
        if all(map(str.isdecimal, shared)) and 2 * len(shared) > max(map(len, keys)):  # pandas: columns
            order = [k for k in inner[0] if k in shared]
            return [{name: column[k] for name, column in value.items()} for k in order]
        if 2 * len(shared) >= max(map(len, keys)) and shared:  # an object of runs, or pandas: index
            return [{"name": name, **row} for name, row in value.items()]
    for name in (*LISTS, *value):
        found = value.get(name)
        if isinstance(found, dict) and name in LISTS and found:
            inside = records(found, constants)
            found = found if inside == [found] else inside
        several = isinstance(found, list) and (len(found) > 1 or (found and name in LISTS))
        if several and all(isinstance(v, dict) for v in found) and (name in LISTS or len(found[0]) > 1):
            if isinstance(value[name], dict) and len(found) == 1:
                continue  # one record, with a part of that name
            constants |= flat({n: v for n, v in value.items() if n != name and not isinstance(v, list)})
            return found
    if any(isinstance(v, list) and v and isinstance(v[0], list) for v in inner) and len(inner) == 1:
        return None
    return [value]


FORMAT = Format("JSON (.jsonl, .ndjson, .json)", lambda file: fits(file) or file.suffix in SUFFIXES, read, last=1)
