"""Batches from corpora that `python -m data tokenize` wrote: windows, whole documents packed, and mixtures by weight.

Every batch is a function of (seed, step): order is a permutation by formula, shares of a mixture are counted out, and a
checkpoint holds no iterator.  Tokens are read where they lie, memory-mapped.
"""

import functools
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from data import cache, tokenize
from data.permute import permute, shuffled
from data.source import Batch, Dataset, HeldOut, Source, pack, unpack
from data.text import Offsets

SMALLEST = {"context": 16}  # at which pages are tested
SLOTS = 1 << 14  # records in which the shares of a mixture are exact to one record each


class Shards:
    """Windows of `context` tokens within each of several streams, `stride` apart: y is x shifted by one.

    As `source.Windows`; a window lies within one stream, so of each the last tokens that fill none are dropped, or,
    `last="pad"`, padded and masked.
    """

    def __init__(self, streams: Sequence[np.ndarray], context: int, stride: int, last: str = "drop"):
        self.streams, self.context, self.stride, self.last = list(streams), context, stride, last
        spare = np.array([len(tokens) - context - 1 for tokens in streams])
        full = spare // stride if last == "drop" else -(-np.maximum(spare, 0) // stride)
        least = 0 if last == "drop" else -context + 1  # a stream too short for one window; of one token none
        counts = np.where(spare >= least, 1 + full, 0)
        self.first = np.concatenate([[0], np.cumsum(counts)])  # window that each stream begins with

    def __len__(self) -> int:
        return int(self.first[-1])

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        stream = np.searchsorted(self.first, ids, side="right") - 1
        at = ((ids - self.first[stream]) * self.stride)[:, None] + np.arange(self.context + 1)
        tokens, mask = np.empty(at.shape, np.int32), np.ones((ids.size, self.context), np.float32)
        for i in np.unique(stream):
            rows, flat = stream == i, _plain(self.streams[i])
            if self.last == "pad":
                mask[rows] = at[rows, 1:] < flat.size
            tokens[rows] = flat[np.minimum(at[rows], flat.size - 1)]
        found = {"x": tokens[:, :-1], "y": tokens[:, 1:]}
        return found if self.last == "drop" else {**found, "mask": mask}

    def __getstate__(self):
        return {**self.__dict__, "streams": [pack(s) for s in self.streams]}

    def __setstate__(self, state):
        self.__dict__.update(state, streams=[unpack(s) for s in state["streams"]])


class Packed:
    """Whole documents side by side in rows of `context` tokens; one longer than a row is cut into several pieces.

    Besides x, y and mask a batch has `segments` [B, L], 1, 2, … for the pieces of a row and 0 for padding, which
    attention must not cross.  The first token of a piece is not predicted from the piece before.
    """

    def __init__(self, streams: Sequence[np.ndarray], ends: Sequence[np.ndarray], context: int):
        self.streams, self.context = list(streams), context
        pieces = [_cut(end, context, i) for i, end in enumerate(ends)]
        self.pieces = np.concatenate(pieces)  # [pieces, 3]: stream, first token, tokens
        row = fill_rows(self.pieces[:, 2], context + 1)
        order = np.argsort(row, kind="stable")
        self.pieces = self.pieces[order]
        self.first = np.searchsorted(row[order], np.arange(row.max() + 2))

    def __len__(self) -> int:
        return self.first.size - 1

    @property
    def padding(self) -> float:
        """Share of the places in rows that hold no token."""
        return 1.0 - float(self.pieces[:, 2].sum()) / (len(self) * (self.context + 1))

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        shape = ids.size, self.context + 1
        tokens, segments = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for row, i in enumerate(ids):
            at = 0
            for number, (stream, start, size) in enumerate(self.pieces[self.first[i] : self.first[i + 1]], 1):
                here = slice(at, at + size)
                tokens[row, here] = _plain(self.streams[stream])[start : start + size]
                segments[row, here] = number
                at += size
        same = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
        return {
            "x": tokens[:, :-1], "y": tokens[:, 1:], "mask": same.astype(np.float32),
            "segments": segments[:, :-1],
        }  # fmt: skip

    def __getstate__(self):
        return {**self.__dict__, "streams": [pack(s) for s in self.streams]}

    def __setstate__(self, state):
        self.__dict__.update(state, streams=[unpack(s) for s in state["streams"]])


def fill_rows(sizes: Int64[np.ndarray, " P"], room: int) -> Int64[np.ndarray, " P"]:
    """The row of each piece: the longest piece first, into the fullest row that has room for it (best-fit decreasing).

    Johnson et al. 1974: at most 11/9 of the fewest rows, and far fewer where pieces are many.
    """
    rows = np.empty(sizes.size, np.int64)
    with_room: list[list[int]] = [[] for _ in range(room + 1)]  # rows by the room that is left in them
    some, count = 0, 0  # bit k of `some`: is there a row with room for k?
    for i in np.argsort(-sizes, kind="stable"):
        size = int(sizes[i])
        least = some >> size
        if least:
            left = size + (least & -least).bit_length() - 1
            row = with_room[left].pop()
            if not with_room[left]:
                some &= ~(1 << left)
        else:
            left, row, count = room, count, count + 1
        rows[i] = row
        if left > size:
            with_room[left - size].append(row)
            some |= 1 << (left - size)
    return rows


def _cut(ends: np.ndarray, context: int, stream: int) -> Int64[np.ndarray, "P 3"]:
    """Pieces of at most context + 1 tokens; each begins with the last of the one before, so none goes uncounted."""
    starts = np.concatenate([[0], ends[:-1]])
    size = ends - starts
    count = np.maximum(1, -(-(size - 1) // context))
    which = np.repeat(np.arange(size.size), count)
    number = np.arange(which.size) - np.repeat(np.cumsum(count) - count, count)
    first = starts[which] + number * context
    return np.stack([np.full(which.size, stream), first, np.minimum(context + 1, ends[which] - first)], 1)


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
            before = self._before(int(p), seed)
            for c in np.unique(cycle):
                here = cycle == c
                plan, rank = _cycle(tuple(self.phases[p].slots.tolist()), seed, int(p), int(c))
                kind = plan[slot[here]]
                source[rows[here]] = kind
                nth[rows[here]] = before[kind] + c * self.phases[p].slots[kind] + rank[slot[here]]
        return source, nth

    def _before(self, phase: int, seed: int) -> np.ndarray:
        """Records of each source that earlier phases took."""
        taken = np.zeros(len(self.sources), np.int64)
        for p in range(phase):
            cycles, rest = divmod(self.phases[p + 1].first - self.phases[p].first, SLOTS)
            plan, _ = _cycle(tuple(self.phases[p].slots.tolist()), seed, p, cycles)
            taken += cycles * self.phases[p].slots + np.bincount(plan[:rest], minlength=taken.size)
        return taken

    def epochs(self, records: int, seed: int) -> dict[str, float]:
        """How often each source has been seen after so many records."""
        if not records:
            return dict.fromkeys(self.names, 0.0)
        at = np.concatenate([np.arange(max(0, records - SLOTS), records)])
        source, nth = self.at(at, seed)
        sizes = np.diff(self.first)
        most = {int(i): int(nth[source == i].max()) + 1 for i in np.unique(source)}
        return {name: most.get(i, 0) / int(sizes[i]) for i, name in enumerate(self.names)}

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
    start = permute(np.arange(len(slots)), SLOTS, seed, (phase << 40) + cycle) / SLOTS if len(slots) <= SLOTS else None
    when = np.concatenate([(np.arange(n) + start[i]) / max(n, 1) for i, n in enumerate(slots)])
    plan = np.repeat(np.arange(len(slots)), slots)[np.argsort(when, kind="stable")]
    rank = np.empty(SLOTS, np.int64)
    for i, n in enumerate(slots):
        rank[plan == i] = np.arange(n)
    return plan, rank


# Data sets for config pages.


def windows(path: str, *, context: int, offsets: Offsets = "blocks") -> Dataset:
    """Windows of a tokenised corpus; `offsets` as for text."""
    meta, columns = _read(path)
    streams = {split: _streams(columns, split, "") for split in ("train", "valid")}
    train = Shards(streams["train"], context, context if offsets == "blocks" else 1)
    valid = Shards(streams["valid"], context, context, last="pad")
    return _dataset(path, meta, train, valid, context)


def packed(path: str, *, context: int) -> Dataset:
    """Whole documents of a tokenised corpus, packed into rows."""
    meta, columns = _read(path)
    made = {s: Packed(_streams(columns, s, ""), _streams(columns, s, ".ends"), context) for s in ("train", "valid")}
    return _dataset(path, meta, made["train"], made["valid"], context)


def _dataset(path: str, meta: dict[str, Any], train: Source, valid: Source, context: int) -> Dataset:
    for split, source in (("train", train), ("valid", valid)):
        if not len(source):
            tokens = meta["tokens"][split]
            raise ValueError(
                f"context={context} is more than any part of the {split} split of {path!r} holds ({tokens:,} tokens in "
                f"{meta['parts']} parts): lower --config.data.context, or hold out more documents"
            )
    tokenizer = tokenize.load(meta["tokenizer"]["spec"], meta["tokenizer"]["state"])
    return Dataset(
        train=train, valid=valid, classes=tokenizer.vocab, unit="token", per_record=context,
        unique=meta["tokens"]["train"], fingerprint=meta["fingerprint"], tokenizer=tokenizer,
        held_out=HeldOut(f"{meta['request']['valid']:g} of the documents, by a hash of their text"),
        bytes_per_unit=meta["text_bytes"]["valid"] / meta["tokens"]["valid"],
        train_bytes_per_unit=meta["text_bytes"]["train"] / meta["tokens"]["train"],
    )  # fmt: skip


def mixture(
    paths: Mapping[str, str],
    weights: Mapping[str, float | int],
    *,
    context: int,
    later: Mapping[str, Mapping[str, float | int]] = types.MappingProxyType({}),
    batch_size: int = 0,
    offsets: Offsets = "blocks",
    repeat: bool = True,
) -> Dataset:
    """Corpora of one tokenizer by weight, name -> folder and name -> share of the records.

    `later` holds the weights from a step on, {"1000": {...}}, and then needs the run's `batch_size`.  A source that
    ends begins anew, in another order; without `repeat` that is an error.
    """
    for step, given in {"0": weights, **later}.items():
        if set(given) != set(paths) or not step.isdecimal():
            raise ValueError(
                f"the mixture's weights at step {step} are of {', '.join(given) or 'nothing'} and its paths of "
                f"{', '.join(paths) or 'nothing'}; each source needs both, and a step is a whole number"
            )
    if later and not batch_size:
        raise ValueError("weights that change at a step need batch_size, to know the record of that step")
    made = {name: windows(path, context=context, offsets=offsets) for name, path in paths.items()}
    first = next(iter(made.values()))
    for name, other in made.items():
        if other.tokenizer[-2:] != first.tokenizer[-2:]:
            raise ValueError(f"the corpus {name!r} was tokenised with another tokenizer than {next(iter(made))!r}")
    total = sum(other.unique for other in made.values())
    mean = lambda key: sum(getattr(other, key) * other.unique for other in made.values()) / total
    steps = sorted((int(step), given) for step, given in {"0": weights, **later}.items())
    phases = [(step * batch_size, given) for step, given in steps]
    half = lambda split: {name: getattr(other, split) for name, other in made.items()}
    marks = np.array([int(other.fingerprint, 16) for other in made.values()], np.uint64)
    return first._replace(
        train=Mixture(half("train"), phases, repeat),
        valid=Mixture(half("valid"), [(0, dict.fromkeys(made, 1.0))], True),
        unique=total,
        sources=tuple(made),
        fingerprint=cache.fingerprint({"sources": marks}),
        bytes_per_unit=mean("bytes_per_unit"),
        train_bytes_per_unit=mean("train_bytes_per_unit"),
    )


def _read(path: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    folder = Path(path).expanduser()
    if not (folder / "meta.json").exists():
        begun = (folder / "parts").is_dir()
        raise ValueError(
            f"{path!r} holds no whole corpus: "
            + ("repeat the command that began it, to go on" if begun else "python -m data tokenize SOURCES --out DIR")
        )
    try:
        return cache.opened(folder)
    except cache.Damaged as damage:
        raise ValueError(f"the corpus {path!r} is damaged ({damage}): delete it and tokenise again") from None


def _streams(columns: dict[str, np.ndarray], split: str, suffix: str) -> list[np.ndarray]:
    names = sorted(n for n in columns if n.startswith(f"{split}.") and n.endswith(".ends") == (suffix == ".ends"))
    return [columns[name] for name in names]


def _plain(array: np.ndarray) -> np.ndarray:
    """The same numbers without numpy's bookkeeping of memory maps, which costs more than a small read."""
    return array.view(np.ndarray)
