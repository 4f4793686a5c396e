"""Approach 1 of Hoffmann et al. 2022 (arXiv:2203.15556): the lowest of many training curves at every C.

R rows (checkpoints), B bootstrap draws, P values of C on the envelope.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scaling.approaches import Approach, Estimate, Rows
from scaling.approaches.lines import LEVEL, Line, checked, least_squares, line
from train.errors import UserError
from train.numbers import si as say

CELLS = 2_000_000  # losses that are looked through together
DEEP = 64  # runs of each C, best first, among which a draw finds its best: it misses all of them once in e^64
Curve = tuple[float, np.ndarray, np.ndarray, np.ndarray]  # of one run: n, ln C ascending, ln D, ln loss


class Envelope(NamedTuple):
    """Approach 1."""

    c: np.ndarray  # [P] FLOPs, where a run of inner size is the best
    n: np.ndarray  # [P] parameters of that run
    d: np.ndarray  # [P] its tokens
    loss: np.ndarray  # [P] its loss, nats per token
    run: np.ndarray  # [P] its label
    n_line: Line
    d_line: Line
    left_out: dict[str, int]  # why -> values of C that say nothing about the best size
    warnings: list[str]

    @property
    def a(self) -> float:
        """Exponent of N* = k_n C^a."""
        return self.n_line.exponent

    @property
    def b(self) -> float:
        """Exponent of D* = k_d C^b."""
        return self.d_line.exponent


def envelope(
    columns: Mapping[str, Any],
    *,
    points: int = 1500,
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Envelope:
    """Approach 1: lines through the runs of least loss at each of `points` values of C, log-spaced.

    Columns [R], one row a checkpoint: n, d, loss, run (label), and c if C is not 6 n d.  Between checkpoints of a run
    ln loss is linear in ln C; beyond its ends there is none.  A checkpoint is worth the loss of a run that ends there
    only if the learning rate had decayed by then: Hoffmann et al. 2022 train each size over four horizons.

    A value of C says nothing about the best size, and is left out and counted, where only one size was run or where the
    best is the smallest or largest of the sizes that were.  Intervals redraw whole runs, whose checkpoints err
    together; they are rough where a size has one run, since a draw then misses sizes.
    """
    table = checked(columns, ("run",))
    labels, which = np.unique(table["run"], return_inverse=True)
    order = np.argsort(which, kind="stable")
    curves = [_curve(table, rows) for rows in np.split(order, np.flatnonzero(np.diff(which[order])) + 1)]
    order = np.argsort([n for n, _, _, _ in curves], kind="stable")
    curves, labels = [curves[i] for i in order], labels[order]
    sizes = np.array([n for n, _, _, _ in curves])
    if np.unique(sizes).size < 3:
        raise UserError(f"an envelope over {np.unique(sizes).size} sizes brackets no best size; it needs 3 or more")
    log_c = np.linspace(min(c[0] for _, c, _, _ in curves), max(c[-1] for _, c, _, _ in curves), points)
    parts = np.array_split(log_c, -(-points * len(curves) // CELLS))
    best, why = (np.concatenate(v) for v in zip(*(_lowest(_losses(curves, c), sizes) for c in parts), strict=True))
    left_out = {name: int(np.sum(why == name)) for name in ("one size", "smallest size", "largest size")}
    kept = np.flatnonzero(why == "")
    if np.unique(sizes[best[kept]]).size < 2:
        raise UserError(
            f"of {points} values of C {kept.size} have their best size inside the sizes run, too few for a line "
            f"({', '.join(f'{name}: {count}' for name, count in left_out.items())}); add larger and smaller models "
            f"trained over the same C"
        )
    log_n = np.log(sizes)
    drawn = _redraw(log_c, curves, log_n, draws, seed)
    ones = np.ones(kept.size)
    at = [(curves[i], c) for i, c in zip(best[kept].tolist(), log_c[kept].tolist(), strict=True)]
    log_d = np.array([np.interp(x, c, d) for (_, c, d, _), x in at])
    losses = np.array([np.interp(x, c, y) for (_, c, _, y), x in at])
    lines = [line(log_c[kept], y, ones, drawn[:, k], level) for k, y in enumerate((log_n[best[kept]], log_d))]
    short = int(np.sum(~np.isfinite(drawn[:, 0, 1])))
    warnings = [
        f"{short} of {draws} draws of runs bracket no best size, so the intervals describe the others; add runs"
    ] * (short > 0.1 * draws)
    if np.unique(sizes[best[kept]]).size < 4:
        warnings.append(
            f"the envelope passes through {np.unique(sizes[best[kept]]).size} inner sizes: its steps decide the slope; "
            f"add sizes between {say(sizes[0])} and {say(sizes[-1])}"
        )
    return Envelope(
        np.exp(log_c[kept]), sizes[best[kept]], np.exp(log_d), np.exp(losses), labels[best[kept]],
        *lines, left_out, warnings,
    )  # fmt: skip


def _losses(curves: Sequence[Curve], log_c: np.ndarray) -> np.ndarray:
    """ln loss [runs, P] of each run at each C; inf beyond its ends."""
    found = np.empty((len(curves), log_c.size))
    for row, (_, c, _, y) in zip(found, curves, strict=True):
        row[:] = np.interp(log_c, c, y, np.inf, np.inf)
    return found


def _curve(table: dict[str, np.ndarray], rows: np.ndarray) -> Curve:
    """One run; of checkpoints with the same C the last given is kept."""
    if np.unique(table["n"][rows]).size > 1:
        sizes = ", ".join(say(v) for v in np.unique(table["n"][rows])[:3])
        raise UserError(f"run {table['run'][rows[0]]} has rows of several sizes ({sizes}); a run is one model")
    rows = rows[np.argsort(table["c"][rows], kind="stable")]
    rows = rows[np.r_[np.diff(table["c"][rows]) > 0, True]]
    return float(table["n"][rows[0]]), *(np.log(table[name][rows]) for name in ("c", "d", "loss"))


def _lowest(losses: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The run of least loss at each C [P] of `losses` [runs, P] (sizes ascending), and why it does not count, or ""."""
    there = np.isfinite(losses)
    best = np.argmin(losses, axis=0)
    smallest = sizes[np.argmax(there, axis=0)]
    largest = sizes[len(sizes) - 1 - np.argmax(there[::-1], axis=0)]
    alone = (smallest == largest) | ~there.any(0)
    size = sizes[best]
    return best, np.select(
        [alone, size == smallest, size == largest], ["one size", "smallest size", "largest size"], ""
    )


def _redraw(log_c: np.ndarray, curves: Sequence[Curve], log_n: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Lines of n and d [B, 2, 2] of envelopes over runs drawn with replacement; nan where they have none.

    A run drawn twice is as low as one drawn once, so a draw is a subset; every fifth C is enough for it.
    """
    rng, step = np.random.default_rng(seed), max(1, log_c.size // 300)
    log_c = log_c[::step]
    losses = _losses(curves, log_c)
    log_d = np.empty_like(losses)
    for row, (_, c, d, _) in zip(log_d, curves, strict=True):
        row[:] = np.interp(log_c, c, d)
    there = np.isfinite(losses)
    lowest = np.argsort(losses, axis=0, kind="stable")[:DEEP]
    first = np.argsort(~there, axis=0, kind="stable")[:DEEP]
    last = len(losses) - 1 - np.argsort(~there[::-1], axis=0, kind="stable")[:DEEP]
    found = np.full((draws, 2, 2), np.nan)
    for i in range(draws):
        chosen = np.zeros(len(losses), bool)
        chosen[rng.integers(len(losses), size=len(losses))] = True
        best, smallest, largest = (_first(rank, chosen, there) for rank in (lowest, first, last))
        kept = np.flatnonzero((best >= 0) & (log_n[smallest] < log_n[best]) & (log_n[best] < log_n[largest]))
        run = best[kept]
        if np.unique(log_n[run]).size > 1:
            y = np.stack([log_n[run], log_d[run, kept]])
            found[i] = least_squares(log_c[kept], y, np.ones(kept.size))
    return found


def _first(ranked: np.ndarray, chosen: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The first run [P] of `ranked` [K, P] that was chosen and has a loss at that C; -1 where there is none."""
    each = np.arange(ranked.shape[1])
    good = chosen[ranked] & there[ranked, each]
    at = good.argmax(0)
    return np.where(good[at, each], ranked[at, each], -1)


def estimate(rows: Rows, _: Mapping[str, Any]) -> Estimate:
    if rows.run is None:
        raise UserError(
            "it takes the lowest of many training curves, and every run has one row here; give the checkpoints of each "
            "run, and --run COL for the column that names it"
        )
    found = envelope({**rows.columns, "run": rows.run}, level=rows.level)
    return Estimate(found.n_line, found.d_line, advice=found.warnings)


APPROACH = Approach("1", "envelope of curves", lambda rows: rows.run is not None, estimate)
