"""Training curves of runs: of our own folders their metrics.jsonl, of other logs the rows by step."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scaling.counting import c_6nd
from train.bucket import local
from train.files import NUMBER, Damaged, read_json, read_rows

MOST = 500  # runs whose logs are read
POINTS = 200  # of a curve that are kept
ROW = {"step": int, "split": str}


class Curve(NamedTuple):
    """Of one run."""

    n: float
    c: np.ndarray  # [points]: FLOPs, 6 N D
    loss: np.ndarray  # [points]


def curves(paths: Iterable[Any], tried: Mapping[str, np.ndarray]) -> list[Curve]:
    """Training loss of our runs at any depth below `paths`; where there are none, losses by step in a table's rows.

    `tried` are columns n, d, loss and run [rows] of a table whose runs have several rows each; {} of others.
    """
    folders = [path.parent for each in paths if isinstance(each, str | Path) for path in records_in(local(each))]
    found = [curve for folder in folders[:MOST] if (curve := ours(folder)) is not None]
    return found or list(of_table(tried))


def records_in(path: Path) -> list[Path]:
    return sorted(path.rglob("record.json")) if path.is_dir() else []


def ours(folder: Path) -> Curve | None:
    """A run that cannot be read has no curve; whoever reads its record says so."""
    try:
        row = read_json(folder / "record.json", {"params_total": int, "batch_tokens": NUMBER}, "")
        log = read_rows(folder / "metrics.jsonl", ROW, "")
    except (Damaged, OSError):
        return None
    seen = [(r["step"], r["loss"]) for r in log if r["split"] == "train" and isinstance(r.get("loss"), float)]
    if not seen or not row["batch_tokens"]:
        return None
    step, loss = np.array(seen, np.float64).T
    return Curve(row["params_total"], *thinned(c_6nd(row["params_total"], step * row["batch_tokens"]), loss))


def of_table(rows: Mapping[str, np.ndarray]) -> Iterator[Curve]:
    if not rows:
        return
    order = np.lexsort((rows["d"], rows["run"]))
    for at in np.split(order, np.flatnonzero(np.diff(rows["run"][order])) + 1)[:MOST]:
        if np.unique(rows["d"][at]).size > 1:
            n, d, loss = (rows[role][at] for role in ("n", "d", "loss"))
            yield Curve(float(n[0]), *thinned(c_6nd(n, d), loss))


def thinned(c: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """About `POINTS` of a curve's points, evenly in log C, and its last."""
    known = (c > 0) & np.isfinite(loss) & (loss > 0)
    c, loss = c[known], loss[known]
    if c.size <= POINTS:
        return c, loss
    at = np.unique(np.r_[np.searchsorted(c, np.geomspace(c[0], c[-1], POINTS)), c.size - 1])
    return c[at], loss[at]
