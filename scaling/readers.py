"""Reads the logs of runs, whoever wrote them, into one flat table.  Rows left out are listed with why.

What comes in says nothing of laws here: which column is N or the loss is `records.assign`'s to find.
"""

import ast
import codecs
import csv
import io
import itertools
import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from train.errors import UserError

Columns = dict[str, np.ndarray]

FORMATS = (
    "folders of runs and sweeps (record.json, runs.jsonl), JSON (.jsonl, .ndjson, .json), CSV (.csv, .tsv, .txt), "
    "Parquet (.parquet) and TensorBoard's events.out.tfevents.*"
)
DECODER = json.JSONDecoder()
NESTED = {dict, list}
BATCH = 10_000  # rows that are Python objects at a time
MOST = 1000  # rows listed one by one
ABOUT_A_RUN = {"config.json", "environment.json"}
WRITTEN_BY_A_FIT = {"fit.json", "rows.jsonl"}


class Table(NamedTuple):
    """Rows of any origin, column by column."""

    columns: Columns  # name -> [rows]: float64 where all that is present are numbers (NaN: missing), else object (None)
    where: np.ndarray  # [rows] object: "file:line" of CSV and JSON, "file:row" of Parquet, else the run's folder
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

    def drop(self, where: str, reason: str) -> None:
        if len(self.dropped) < MOST:
            self.dropped.append({"row": where, "reason": reason})
        else:
            self.unlisted += 1

    def add(self, columns: Columns, where: Sequence[str]) -> None:
        if len(where):
            self.parts.append((columns, where))
            self.rows += len(where)

    def add_ours(self, row: dict[str, Any], where: str) -> None:
        """Counting a run twice would narrow every interval.  A sweep's table knows the budgets, the records do not."""
        key = repr([row.get(name) for name in ("name", "config_hash", "seed", "wall_seconds")])
        self.rows += 1
        if key not in self.ours:
            self.ours[key] = row, where, self.argument
            return
        first, before, argument = self.ours[key]
        wins = ".jsonl:" in where and ".jsonl:" not in before
        if argument != self.argument or (".jsonl:" in where) == (".jsonl:" in before):
            self.drop(where, f"the same run again: {before} is counted")
        self.ours[key] = ({**first, **row}, where, argument) if wins else ({**row, **first}, before, argument)

    def table(self) -> Table:
        if self.ours:
            rows = [row for row, _, _ in self.ours.values()]
            self.parts.append((pack_rows(rows), [where for _, where, _ in self.ours.values()]))
        where = np.array(list(itertools.chain.from_iterable(places for _, places in self.parts)), object)
        names = dict.fromkeys(name for columns, _ in self.parts for name in columns)
        columns = {name: numeric(join([(c.get(name), len(w)) for c, w in self.parts])) for name in names}
        more = [{"row": "…", "reason": f"and {self.unlisted} more"}] if self.unlisted else []
        return Table(columns, where, self.dropped + more)


def read(paths: Iterable[str | Path]) -> Table:
    """One table of all rows in `paths`: files of `FORMATS`, and folders of them at any depth, in sorted order.

    Raises UserError for a path that is missing, in no such format, or without a single row.
    """
    found = Found()
    for found.argument, path in enumerate(map(Path, paths)):
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
    skipped = ABOUT_A_RUN | (WRITTEN_BY_A_FIT if names >= WRITTEN_BY_A_FIT else set())
    logs = [p for p in inside if p.is_file() and (p.suffix.lower() in READERS or "tfevents" in p.name)]
    logs = [p for p in logs if p.name not in skipped]
    for log in (p for p in logs if "tfevents" not in p.name):
        try:
            file(log, found)
        except (Unreadable, OSError) as error:
            found.drop(str(log), f"not read: {error}")
    events([p for p in logs if "tfevents" in p.name], found)
    for below in (p for p in inside if p.is_dir() and not p.is_symlink()):
        folder(below, found)
    if "config.json" in names and found.rows == rows:
        found.drop(str(path), unfinished)
    return None


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


def contents(path: Path) -> bytes:
    """UTF-8 without its byte order mark; spreadsheets write UTF-16 too."""
    data = path.read_bytes()
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return data.decode("utf-16", "replace").encode()
    return data.removeprefix(codecs.BOM_UTF8)


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


def flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"config": {"lr": 1}} as {"config.lr": 1}; lists stay as their text."""
    if not prefix and NESTED.isdisjoint(map(type, row.values())):
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
    if all(values is None or values.dtype == np.float64 for values, _ in parts):
        return np.concatenate([np.full(rows, np.nan) if values is None else values for values, rows in parts])
    whole = [np.full(rows, None, object) if values is None else values.astype(object) for values, rows in parts]
    for (values, _), part in zip(parts, whole, strict=True):
        if values is not None and values.dtype == np.float64:
            part[np.isnan(values)] = None
    return np.concatenate(whole)


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


# Rows as columns: CSV and Parquet, and what Weights & Biases exports in them.


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
    columns = {name: from_arrow(table.column(i)) for i, name in enumerate(unique(table.column_names))}
    add_columns(found, columns, path, places)


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
    scores = {}
    for mark in ",;\t":
        rows = [len(row) for row in csv.reader(head, delimiter=mark) if row]
        scores[mark] = (sum(length == rows[0] for length in rows) / len(rows) * rows[0], rows[0]) if rows else (0, 0)
    best = max(scores, key=lambda mark: scores[mark])
    if scores[best][1] < 2:
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
    columns = {name: from_arrow(table.column(i)) for i, name in enumerate(unique(table.column_names))}
    add_columns(found, columns, path, np.arange(1, 1 + table.num_rows))


def from_arrow(column: Any) -> np.ndarray:
    """One Arrow column [rows] as float64, or as objects where it is not numbers."""
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    numbers = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    text = types.is_string(kind) or types.is_large_string(kind)
    if text or any(test(kind) for test in numbers):
        try:
            return column.cast(pyarrow.float64(), safe=False).to_numpy()
        except pyarrow.ArrowInvalid:  # some of it is text
            return column.to_numpy(zero_copy_only=False)
    as_text = lambda v: json.dumps(v, default=str) if isinstance(v, list | dict) else str(v)
    return pack([None if value is None else as_text(value) for value in column.to_pylist()])


def add_columns(found: Found, columns: Columns, path: Path, places: np.ndarray) -> None:
    """Adds columns after unfolding them; a row without a single cell is a blank line."""
    missing = lambda v: np.isnan(v) if v.dtype == np.float64 else np.equal(v, None)
    where = np.array([f"{path}:{place}" for place in places.tolist()], object)
    for name in [n for n in columns if n.lower() in ("config", "summary")]:
        values = columns.pop(name)
        columns |= pack_rows([flat({name: cell(value)}) for value in values.tolist()])
    for run, part in by_run(columns):
        names = [name for name in part if not run or name not in columns]
        blank = np.logical_and.reduce([missing(part[name]) for name in names]) if names else np.ones(len(where), bool)
        part = {name: values[~blank] for name, values in part.items()}
        labels = {"run": np.full((~blank).sum(), run, object)} if run else {}
        found.add(labels | part, where[~blank].tolist())


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


def by_run(columns: Columns) -> Iterator[tuple[str, Columns]]:
    """The columns as they are ("", columns), or, of a chart's export, run by run.

    A chart is exported as `Step`, `A - loss`, `A - loss__MIN`, `A - loss__MAX`, `B - loss`, …: a column a run.
    """
    curves = [n for n in columns if " - " in n and {f"{n}__MIN", f"{n}__MAX"} <= columns.keys()]
    if not curves:
        yield "", columns
        return
    sides = {f"{name}{side}" for name in curves for side in ("", "__MIN", "__MAX")}
    shared = {name: values for name, values in columns.items() if name not in sides}
    for run in dict.fromkeys(name.rpartition(" - ")[0] for name in curves):
        own = {name.rpartition(" - ")[2]: columns[name] for name in curves if name.rpartition(" - ")[0] == run}
        yield run, shared | own


# TensorBoard's event files, without TensorFlow.


def events(files: Sequence[Path], found: Found) -> None:
    """Adds one row a step; the files of one folder are one run, each going on where the one before it broke off."""
    if not files:
        return
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    run, steps, settings = str(files[0].parent), {}, {}
    for path in files:
        for payload in payloads(path, found):
            if (event := decoded(Event, payload)) is None:
                found.drop(str(path), "a record that is no event")
                continue
            if event.session_log.status == SessionLog.START and event.step:  # steps from here on were taken back
                steps = {step: row for step, row in steps.items() if step < event.step}
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "hparams":
                    given = decoded(HParamsPluginData, value.metadata.plugin_data.content) or HParamsPluginData()
                    settings |= {f"hparam.{name}": setting(v) for name, v in given.session_start_info.hparams.items()}
                elif (measured := scalar(value)) is not None:
                    steps.setdefault(event.step, {}).update({value.tag: measured, "wall_time": event.wall_time})
    rows = [{**settings, **row, "run": run, "step": float(step)} for step, row in sorted(steps.items())]
    found.add(pack_rows(rows), [run] * len(rows))


def payloads(path: Path, found: Found) -> Iterator[bytes]:
    """The records of a TFRecord file: length (8 bytes), its checksum (4), data, its checksum (4); little endian."""
    from tensorboardX.crc32c import crc32c

    def intact(part: bytes, checksum: int) -> bool:
        crc = crc32c(part)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF == checksum

    data, at = path.read_bytes(), 0
    while at < len(data):
        if at + 12 > len(data):
            return found.drop(str(path), f"half-written: ends inside the record at byte {at}")
        length, checksum = struct.unpack_from("<QI", data, at)
        if not intact(data[at : at + 8], checksum):
            return found.drop(str(path), f"damaged from byte {at} on: {len(data) - at} bytes are not read")
        end = at + 12 + length
        if end + 4 > len(data):
            return found.drop(str(path), f"half-written: ends inside the record at byte {at}")
        payload = data[at + 12 : end]
        if intact(payload, struct.unpack_from("<I", data, end)[0]):
            yield payload
        else:
            found.drop(str(path), f"damaged record at byte {at}")
        at = end + 4
    return None


def decoded(kind: Any, payload: bytes) -> Any:
    """The message, or None where the bytes are not one."""
    try:
        return kind.FromString(payload)
    except Exception:  # protobuf's own, which belongs to whoever wrote the message class
        return None


def setting(value: Any) -> Any:
    """A protobuf Value's number, text or truth value."""
    kind = value.WhichOneof("kind")
    return getattr(value, kind) if kind in ("number_value", "string_value", "bool_value") else None


def scalar(value: Any) -> float | None:
    """What a summary holds, if it is one number."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor":
        return None
    tensor = value.tensor
    width = {1: np.float32, 2: np.float64, 19: np.float16, 3: np.int32, 9: np.int64}.get(tensor.dtype)
    if width is None:
        return None
    if content := tensor.tensor_content:
        values = np.frombuffer(content, width) if len(content) == np.dtype(width).itemsize else []
    elif width is np.float16:
        values = np.array(tensor.half_val, np.uint16).view(np.float16)
    else:
        values = [*tensor.float_val, *tensor.double_val, *tensor.int_val, *tensor.int64_val]
    return float(values[0]) if len(values) == 1 else None


READERS = {
    **dict.fromkeys((".jsonl", ".ndjson"), json_lines),
    ".json": json_array,
    **dict.fromkeys((".csv", ".tsv", ".txt"), comma_separated),
    ".parquet": parquet,
}
