"""Approach 1 of Hoffmann et al. 2022 (arXiv:2203.15556): the lowest of many training curves at every C.

R rows (checkpoints), B bootstrap draws, P values of C on the envelope.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scaling.approaches.lines import LEVEL, Line, checked, least_squares, line
from train.errors import UserError
from train.numbers import si as say


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
    curves = [_curve(table, np.flatnonzero(which == i)) for i in range(labels.size)]
    order = np.argsort([n for n, _, _, _ in curves], kind="stable")
    curves, labels = [curves[i] for i in order], labels[order]
    sizes = np.array([n for n, _, _, _ in curves])
    if np.unique(sizes).size < 3:
        raise UserError(f"an envelope over {np.unique(sizes).size} sizes brackets no best size; it needs 3 or more")
    log_c = np.linspace(min(c[0] for _, c, _, _ in curves), max(c[-1] for _, c, _, _ in curves), points)
    losses = np.stack([np.interp(log_c, c, y, np.inf, np.inf) for _, c, _, y in curves])
    best, why = _lowest(losses, sizes)
    left_out = {name: int(np.sum(why == name)) for name in ("one size", "smallest size", "largest size")}
    kept = np.flatnonzero(why == "")
    if np.unique(sizes[best[kept]]).size < 2:
        raise UserError(
            f"of {points} values of C {kept.size} have their best size inside the sizes run, too few for a line "
            f"({', '.join(f'{name}: {count}' for name, count in left_out.items())}); add larger and smaller models "
            f"trained over the same C"
        )
    log_d = np.stack([np.interp(log_c, c, d) for _, c, d, _ in curves])
    log_n, columns_kept = np.log(sizes), np.arange(log_c.size)
    drawn = _redraw(log_c, losses, log_n, log_d, draws, seed)
    ones = np.ones(kept.size)
    at = best[kept], columns_kept[kept]
    lines = [line(log_c[kept], y, ones, drawn[:, k], level) for k, y in enumerate((log_n[best[kept]], log_d[at]))]
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
        np.exp(log_c[kept]), sizes[best[kept]], np.exp(log_d[at]), np.exp(losses[at]), labels[best[kept]],
        *lines, left_out, warnings,
    )  # fmt: skip


def _curve(table: dict[str, np.ndarray], rows: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """n, ln C ascending, ln D and ln loss of one run; of checkpoints with the same C the last given is kept."""
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


def _redraw(
    log_c: np.ndarray, losses: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, draws: int, seed: int
) -> np.ndarray:
    """Lines of n and d [B, 2, 2] of envelopes over runs drawn with replacement; nan where they have none.

    A run drawn twice is as low as one drawn once, so a draw is a subset; every fifth C is enough for it.
    """
    rng, step = np.random.default_rng(seed), max(1, log_c.size // 300)
    log_c, losses, log_d = log_c[::step], losses[:, ::step], log_d[:, ::step]
    found = np.full((draws, 2, 2), np.nan)
    for i in range(draws):
        chosen = np.unique(rng.integers(len(losses), size=len(losses)))
        best, why = _lowest(losses[chosen], log_n[chosen])
        kept = np.flatnonzero(why == "")
        run = chosen[best[kept]]
        if np.unique(log_n[run]).size > 1:
            y = np.stack([log_n[run], log_d[run, kept]])
            found[i] = least_squares(log_c[kept], y, np.ones(kept.size))
    return found
