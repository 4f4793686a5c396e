"""Reads finished runs as rows, and rows as the columns that laws are fitted to.  Every row left out is listed with why."""

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
    """The records below `paths`: run folders (`record.json`), folders of run folders, or JSON-lines tables.

    The line that a killed writer left half-written, and a folder whose run has not finished, are listed as dropped.
    """
    rows, dropped = [], []
    for path in map(pathlib.Path, paths):
        if not path.exists():
            raise ValueError(f"{path} does not exist; give a run folder, a folder of runs, or a runs.jsonl")
        for where, text in _texts(path):
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                dropped.append({"row": where, "reason": f"not JSON ({error.msg}): half-written"})
                continue
            rows.append(row)
        if path.is_dir() and not (path / "record.json").exists():
            unfinished = sorted(p.parent for p in path.glob("*/config.json") if not (p.parent / "record.json").exists())
            dropped += [{"row": str(p), "reason": "no record.json: the run has not finished"} for p in unfinished]
    return _without_repeats(rows, dropped)


def _texts(path: pathlib.Path) -> list[tuple[str, str]]:
    """(where, JSON text) of every record at `path`."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    files = sorted(path.rglob("record.json"))
    if not files and (path / "runs.jsonl").exists():
        return _texts(path / "runs.jsonl")
    if not files:
        raise ValueError(
            f"{path} holds no record.json, in itself or below, and no runs.jsonl: no run has finished there"
        )
    return [(str(file), file.read_text()) for file in files]


def _without_repeats(rows: list[Row], dropped: list[dict[str, str]]) -> Records:
    """One run reached by two paths would count twice and narrow every interval."""
    seen: set[tuple] = set()
    kept = []
    for row in rows:
        key = (row.get("name"), row.get("config_hash"), row.get("seed"), row.get("wall_seconds"))
        if row.get("config_hash") and key in seen:
            dropped.append({"row": str(row.get("name", "?")), "reason": "the same run again"})
            continue
        seen.add(key)
        kept.append(row)
    return Records(kept, dropped)


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


def columns(rows: Sequence[Row], count: str = "params_total", flops: str = "flops_6nd") -> dict[str, np.ndarray]:
    """n, d, c, loss and budget of usable rows, float64 [rows].

    c is the field `flops`, or 6 N D with N = `count` for "flops_6nd", so that C = 6 N D holds for the N that is fitted.
    budget is the row's nominal FLOPs where every row has one; otherwise c, with neighbours within 20 % sharing one.
    """
    read = lambda name: np.array([float(row[name]) for row in rows], np.float64)
    n, d, loss = read(count), read("tokens_seen"), read("loss")
    c = c_6nd(n, d) if flops == "flops_6nd" else read(flops)
    budget = read("budget") if all(row.get("budget") for row in rows) else budgets(c)
    return {"n": n, "d": d, "c": c, "loss": loss, "budget": budget}


def budgets(c: np.ndarray, gap: float = 1.2) -> np.ndarray:
    """Groups FLOPs [rows] into budgets: sorted, a new one starts where a value is `gap` times the one before it."""
    order = np.argsort(c)
    group = np.zeros(len(c), np.int64)
    group[order[1:]] = np.cumsum(c[order[1:]] > gap * c[order[:-1]])
    means = [np.exp(np.log(c[group == g]).mean()) for g in range(group.max(initial=0) + 1)]
    return np.array(means, np.float64)[group]
