"""Records of several sources by weight, as a function of (seed, position)."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from data.permute import permute, shuffled
from data.source import Batch, Source

SLOTS = 1 << 14  # records in which the shares of a mixture are exact to one record each


class Phase(NamedTuple):
    """Weights of a mixture from one record on."""

    first: int  # record, counted over the whole run
    slots: Int64[np.ndarray, " S"]  # of `SLOTS` records, how many come from each source


class Mixture:
    """Records of several sources by weight.  Of every `SLOTS` records each source gives its share, exact to one.

    `order` names the record at each position of an endless stream; it takes the place of the pipeline's permutation.
    Ids are numbers of records counted over all sources, one after the other.
    """

    def __init__(
        self, sources: Mapping[str, Source], phases: Sequence[tuple[int, Mapping[str, float | int]]], repeat: bool
    ):
        self.names, self.sources, self.repeat = tuple(sources), list(sources.values()), repeat
        self.first = np.concatenate([[0], np.cumsum([len(source) for source in self.sources])])
        self.phases = [Phase(first, shares([weights[name] for name in self.names])) for first, weights in phases]

    def __len__(self) -> int:
        return int(self.first[-1])

    def order(self, start: int, stop: int, seed: int) -> Int64[np.ndarray, " count"]:
        """Ids of the records at positions start..stop."""
        source, nth = self.at(np.arange(start, stop), seed)
        ids = np.empty(stop - start, np.int64)
        for i, size in enumerate(np.diff(self.first)):
            rows = np.flatnonzero(source == i)
            if rows.size:
                low, high = int(nth[rows].min()), int(nth[rows].max()) + 1
                if high > size and not self.repeat:
                    raise ValueError(
                        f"the source {self.names[i]!r} has {size:,} records and this step asks for number {high:,}: "
                        f"lower its weight, train fewer steps, or set repeat=True"
                    )
                ids[rows] = self.first[i] + shuffled(low, high, int(size), seed + i)[nth[rows] - low]
        return ids

    def at(self, positions: Int64[np.ndarray, " K"], seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The source of each position, and how many records of that source came before."""
        source, nth = np.empty(positions.size, np.int64), np.empty(positions.size, np.int64)
        starts = np.array([phase.first for phase in self.phases])
        which = np.searchsorted(starts, positions, side="right") - 1
        for p in np.unique(which):
            rows = np.flatnonzero(which == p)
            cycle, slot = np.divmod(positions[rows] - starts[p], SLOTS)
            before = self.taken(int(starts[p]), seed)
            for c in np.unique(cycle):
                here = cycle == c
                plan, rank = _cycle(tuple(self.phases[p].slots.tolist()), seed, int(p), int(c))
                kind = plan[slot[here]]
                source[rows[here]] = kind
                nth[rows[here]] = before[kind] + c * self.phases[p].slots[kind] + rank[slot[here]]
        return source, nth

    def taken(self, records: int, seed: int) -> Int64[np.ndarray, " S"]:
        """How many of the first `records` come from each source."""
        taken = np.zeros(len(self.sources), np.int64)
        ends = [phase.first for phase in self.phases[1:]] + [records]
        for p, (phase, end) in enumerate(zip(self.phases, ends, strict=True)):
            cycles, rest = divmod(max(0, min(end, records) - phase.first), SLOTS)
            plan, _ = _cycle(tuple(phase.slots.tolist()), seed, p, cycles)
            taken += cycles * phase.slots + np.bincount(plan[:rest], minlength=taken.size)
        return taken

    def epochs(self, records: int, seed: int) -> dict[str, float]:
        """How often each source has been seen after so many records."""
        return dict(zip(self.names, (self.taken(records, seed) / np.diff(self.first)).tolist(), strict=True))

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        source = np.searchsorted(self.first, ids, side="right") - 1
        found: dict[str, np.ndarray] = {}
        for i in np.unique(source):
            rows = np.flatnonzero(source == i)
            for name, values in self.sources[i].gather(ids[rows] - self.first[i]).items():
                into = found.setdefault(name, np.empty((ids.size, *values.shape[1:]), values.dtype))
                into[rows] = values
        return {**found, "source": source.astype(np.int32)}


def shares(weights: Sequence[float | int]) -> Int64[np.ndarray, " S"]:
    """`SLOTS` records by weight, largest remainders first; no source of positive weight gets none."""
    weight = np.asarray(weights, np.float64)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
        raise ValueError(f"weights of a mixture are {list(weights)}; they are numbers from 0 up, one of them positive")
    exact = weight / weight.sum() * SLOTS
    slots = np.floor(exact).astype(np.int64)
    slots[np.argsort(slots - exact, kind="stable")[: SLOTS - slots.sum()]] += 1
    if ((slots == 0) & (weight > 0)).any():
        raise ValueError(f"weights of a mixture are {list(weights)}; the least is below 1/{SLOTS} of all")
    return slots


@functools.lru_cache(maxsize=64)
def _cycle(slots: tuple[int, ...], seed: int, phase: int, cycle: int) -> tuple[np.ndarray, np.ndarray]:
    """The source of each of `SLOTS` records, and its rank among those of that source.

    Each source is spread evenly (its k-th record near (k + u) / slots of the way, u by source and cycle), so that a
    batch has its share to about one record.
    """
    start = permute(np.arange(len(slots)), SLOTS, seed, (phase << 40) + cycle) / SLOTS
    when = np.concatenate([(np.arange(n) + start[i]) / max(n, 1) for i, n in enumerate(slots)])
    plan = np.repeat(np.arange(len(slots)), slots)[np.argsort(when, kind="stable")]
    rank = np.empty(SLOTS, np.int64)
    for i, n in enumerate(slots):
        rank[plan == i] = np.arange(n)
    return plan, rank
