"""Tables whose columns are not yet quantities: exports of charts, long tables, settings in one cell.

R rows.  A shape is a function from columns to columns; the next one is one more function in `logs`.
"""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from scaling.logs.numbers import unit
from scaling.logs.table import Columns, Log, absent, flat, number, pack, pack_rows

STEPS = re.compile(r"_?step|global_step|epoch|relative time.*|_?runtime|_?timestamp|wall time|tokens.*|samples", re.I)
LONG = {  # normalised names of the columns of a long table: one metric a row
    "metric": ("metricname", "metric", "key", "metrickey", "variable", "tag"),
    "value": ("value", "metricvalue"),
    "context": ("contextsubset", "context"),
    "time": ("timestamp", "time", "walltime", "epochtime", "contextname", "datetime"),
}


def logs(columns: Columns, lines: np.ndarray, origin: str) -> Iterator[Log]:
    """The logs in a table whose rows are on these `lines` [R] of a file; a row without a single cell is none."""
    said: list[str] = []
    for name in [n for n in columns if n.lower() in ("config", "summary")]:
        columns |= pack_rows([flat({name: cell(value)}) for value in columns.pop(name).tolist()])
    columns = {n: v for n, v in columns.items() if not (re.fullmatch(r"column \d+", n) and absent(v).all())}
    if columns:
        there = ~np.logical_and.reduce([absent(values) for values in columns.values()])
        if not there.all():
            columns, lines = {name: values[there] for name, values in columns.items()}, lines[there]
    columns, lines = with_units(of_keras(columns), lines)
    columns, kept = from_long(columns, said)
    lines = lines if kept is None else lines[kept]
    curves, shared = by_run(columns)
    for run, own in curves.items():
        there = ~np.logical_and.reduce([np.ones(len(lines), bool), *map(absent, own.values())])
        part = {name: values[there] for name, values in (shared | own).items()}
        yield Log(part, [f"{origin}:{line}" for line in lines[there].tolist()], origin, run, said=said)


def cell(value: Any) -> Any:
    """A `config` or `summary` that was written into one cell, as JSON or as Python prints it."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    words = {"nan": "None", "inf": "1e999", "-inf": "-1e999"}
    try:
        plain = re.sub(r"(?<=[:,\[] )(nan|-?inf)\b", lambda found: words[found[0]], value)
        return json.loads(json.dumps(ast.literal_eval(plain)))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return value


def of_keras(columns: Columns) -> Columns:
    """Keras calls the training loss `loss` where `val_loss` is beside it: epoch, loss, val_loss, accuracy, …"""
    if next(iter(columns), "") != "epoch":
        return columns
    return {f"train_{name}" if f"val_{name}" in columns else name: values for name, values in columns.items()}


def with_units(columns: Columns, lines: np.ndarray) -> tuple[Columns, np.ndarray]:
    """With a second row that says units, as (M) and (B), in the names instead."""
    first = {name: v[0] for name, v in columns.items() if v.dtype == object and len(v) > 1}
    inner = {name: re.sub(r"[\s(\[]*(?:in )?|[\s)\]]*$", "", str(cell).lower()) for name, cell in first.items() if cell}
    units = {name: text for name, text in inner.items() if unit(f"x ({text})") and number(columns[name][1]) is not None}
    if not units or any(number(cell) is not None for cell in first.values() if cell):
        return columns, lines
    named = {name: f"{name} ({units[name]})" if name in units else name for name in columns}
    return {named[name]: v[1:] for name, v in columns.items() if len(v) > 1}, lines[1:]


def from_long(columns: Columns, said: list[str]) -> tuple[Columns, np.ndarray | None]:
    """A row a step from a row a metric, as Aim, Comet and MLflow export; and the first row [R] that each is made of."""
    normal = {name: "".join(filter(str.isalnum, name.lower())) for name in columns}
    parts = {part: [n for n in columns if normal[n] in names] for part, names in LONG.items()}
    if len(parts["metric"]) != 1 or len(parts["value"]) != 1 or columns[parts["metric"][0]].dtype != object:
        return columns, None
    metric, value = columns[parts["metric"][0]], columns[parts["value"][0]]
    keys = [n for n in columns if not any(n in part for part in parts.values())]
    context = [columns[n] for n in parts["context"][:1]]
    context = [pack([subset(v) for v in c.tolist()]) for c in context]
    tags = [
        f"{c}/{m}" if c else str(m) for m, c in zip(metric, context[0] if context else [""] * len(metric), strict=True)
    ]
    places: dict[tuple[Any, ...], int] = {}
    alike = [[None if v != v else v for v in columns[n].tolist()] for n in keys]
    row = np.array(
        [places.setdefault(key, len(places)) for key in zip(*alike, strict=True)] or [0] * len(tags), np.int64
    )
    if len(set(tags)) > 1000 or len(set(tags)) * max(len(places), 1) > 100 * len(tags):
        return columns, None
    first = np.full(max(len(places), 1), len(tags))
    np.minimum.at(first, row, np.arange(len(tags)))
    out = {name: columns[name][first] for name in keys}
    tag = np.array(tags, object)
    for name in dict.fromkeys(tags):
        cells: list[Any] = [None] * len(first)
        for i, v in zip(row[tag == name].tolist(), value[tag == name].tolist(), strict=True):
            cells[i] = v
        out[name if name not in out else f"{name} (metric)"] = pack(cells)
    said.append(f"a long table: {len(set(tags))} metrics of column {parts['metric'][0]!r} are columns now")
    return out, first


def subset(context: Any) -> Any:
    """What a context says, as {"subset": "val"} or val."""
    found = cell(context)
    return "/".join(map(str, found.values())) if isinstance(found, dict) else context


def by_run(columns: Columns) -> tuple[dict[str, Columns], Columns]:
    """run -> its own columns, and those that all runs share; {"": columns} of what is no chart's export.

    A chart is exported as `Step`, `A - loss`, `A - loss__MIN`, `A - loss__MAX`, `B - loss`, …: a column a run.
    """
    runs: dict[str, Columns] = {}
    shared = dict(columns)
    pairs = {name: name.rpartition(" - ") for name in columns if " - " in name and not re.search("__M(IN|AX)$", name)}
    bounded = any(columns.keys() >= {f"{name}__MIN", f"{name}__MAX"} for name in pairs)
    metrics = {what for _, _, what in pairs.values()}
    whole = len(pairs) == len(metrics) * len({run for run, _, _ in pairs.values()})  # each run has each of them
    others = [n for n in columns if n not in pairs and not re.search("__M(IN|AX)$", n)]
    if not (bounded or (pairs and others and whole and all(STEPS.fullmatch(n) for n in others))):
        return {"": columns}, {}
    for name, (run, _, what) in pairs.items():
        if bounded and f"{name}__MIN" not in columns:
            continue
        runs.setdefault(run, {})[what] = columns[name]
        for side in (name, f"{name}__MIN", f"{name}__MAX"):
            shared.pop(side, None)
    return runs, shared


def from_records(rows: list[dict[str, Any]], where: list[str], origin: str) -> Iterator[Log]:
    """The logs of rows that are Python objects."""
    if rows:
        columns = pack_rows(rows)
        said: list[str] = []
        columns, kept = from_long(columns, said)
        yield Log(columns, where if kept is None else [where[i] for i in kept.tolist()], origin, said=said)
