"""Reads finished runs as rows, and rows as the columns that laws are fitted to.  Rows left out are listed with why."""

import json
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from scaling.flops import c_6nd

Row = dict[str, Any]

# What may count as N.  The choice moves the exponents, so it is an argument everywhere and printed in every report.
COUNTS = {
    "params_total": "all parameters, embeddings included (Hoffmann et al. 2022)",
    "params_non_embedding": "parameters without embeddings (Kaplan et al. 2020)",
    "params_active": "parameters that one token passes through",
}


class Records(NamedTuple):
    rows: list[Row]
    dropped: list[dict[str, str]]  # {"row": where it was, "reason": why it is not in `rows`}


def load(paths: Iterable[str | pathlib.Path]) -> Records:
    """The records at `paths`: JSON-lines tables, and folders of runs or sweeps at any depth.

    The line that a killed writer left half-written, and a folder whose run has not finished, are listed as dropped; so
    is a run that two paths reach, since counting it twice would narrow every interval.
    """
    rows: dict[Any, Row] = {}
    dropped: list[dict[str, str]] = []
    for path in map(pathlib.Path, paths):
        if not path.exists():
            raise ValueError(f"{path} does not exist; give a run's folder, a sweep's folder, or a table of JSON lines")
        found = _folder(path, dropped) if path.is_dir() else _table(path, dropped)
        if not found:
            why = f" ({'; '.join(d['reason'] for d in dropped[:3])})" if dropped else ""
            raise ValueError(
                f"{path} holds no finished run{why}; give a folder with a record.json or a runs.jsonl in it"
            )
        dropped += [
            {"row": str(found[key].get("name", path)), "reason": "the same run again"} for key in found.keys() & rows
        ]
        rows = found | rows
    return Records(list(rows.values()), dropped)


def _folder(path: pathlib.Path, dropped: list[dict[str, str]]) -> dict[Any, Row]:
    """A sweep's table knows the budget its runs were planned for; a sweep that is not finished has records only."""
    rows: dict[Any, Row] = {}
    for table in sorted(path.rglob("runs.jsonl")):
        rows |= _table(table, dropped)
    for file in sorted(path.rglob("record.json")):
        rows = _parse(str(file), file.read_text(encoding="utf-8", errors="replace"), dropped) | rows
    unfinished = [p.parent for p in sorted(path.rglob("config.json")) if not (p.parent / "record.json").exists()]
    dropped += [{"row": str(p), "reason": "no record.json: the run has not finished"} for p in unfinished]
    return rows


def _table(path: pathlib.Path, dropped: list[dict[str, str]]) -> dict[Any, Row]:
    rows: dict[Any, Row] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.strip():
            rows |= _parse(f"{path}:{number}", line, dropped)
    return rows


def _parse(where: str, text: str, dropped: list[dict[str, str]]) -> dict[Any, Row]:
    """{what identifies the run: its record}, or nothing and one more entry in `dropped`."""
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        dropped.append({"row": where, "reason": f"half-written or not JSON ({error.msg})"})
        return {}
    if not isinstance(row, dict):
        dropped.append({"row": where, "reason": "not a record: no JSON object"})
        return {}
    made_here = row.get("config_hash")  # rows of another origin have nothing that identifies them but their place
    return {(row.get("name"), made_here, row.get("seed"), row.get("wall_seconds")) if made_here else where: row}


def usable(rows: Sequence[Row], count: str = "params_total") -> Records:
    """Splits off the rows that no law can be fitted to: a missing count, a diverged loss."""
    if count not in COUNTS:
        raise ValueError(f"count {count!r} is not a way to count parameters; choose from {sorted(COUNTS)}")
    kept, dropped = [], []
    for row in rows:
        values = {name: row.get(name) for name in (count, "tokens_seen", "loss")}
        bad = [name for name, v in values.items() if not isinstance(v, int | float) or not math.isfinite(v) or v <= 0]
        if bad:
            reason = ", ".join(f"{name} is {values[name]}" for name in bad)
            dropped.append({"row": str(row.get("name", "?")), "reason": reason})
        else:
            kept.append(row)
    return Records(kept, dropped)


def columns(rows: Sequence[Row], count: str = "params_total") -> dict[str, np.ndarray]:
    """n, d, loss and budget of usable rows, float64 [rows].

    budget is the FLOPs a row was planned for where every row says so; otherwise 6 n d, with neighbours within 20 %
    sharing one.
    """
    read = lambda name: np.array([float(row[name]) for row in rows], np.float64)
    n, d = read(count), read("tokens_seen")
    budget = read("budget") if all(row.get("budget") for row in rows) else budgets(c_6nd(n, d))
    return {"n": n, "d": d, "loss": read("loss"), "budget": budget}


def budgets(c: np.ndarray, gap: float = 1.2) -> np.ndarray:
    """Groups FLOPs [rows] into budgets: sorted, a new one starts where a value is `gap` times the one before it."""
    order = np.argsort(c)
    group = np.zeros(len(c), np.int64)
    group[order[1:]] = np.cumsum(c[order[1:]] > gap * c[order[:-1]])
    means = [np.exp(np.log(c[group == g]).mean()) for g in range(group.max(initial=0) + 1)]
    return np.array(means, np.float64)[group]
