"""Whole documents side by side in rows of one length, which attention does not cross."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from data.remote import Ranged, ahead
from data.source import Batch, pack, unpack


class Packed:
    """Whole documents side by side in rows of `context` tokens; one longer than a row is cut into several pieces.

    Besides x, y and mask a batch has `segments` [B, L], 1, 2, … for the pieces of a row and 0 for padding, which
    attention must not cross.  The first token of a piece is not predicted from the piece before.
    """

    def __init__(self, streams: Sequence[np.ndarray | Ranged], ends: Sequence[np.ndarray], context: int):
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

    @property
    def filled(self) -> float:
        """Share of the places of a batch's y that hold a token to predict; the rest is masked."""
        return float((self.pieces[:, 2] - 1).sum()) / (len(self) * self.context)

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        shape = ids.size, self.context + 1
        tokens, segments = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        if isinstance(self.streams[0], Ranged):
            pieces = [piece for i in ids for piece in self.pieces[self.first[i] : self.first[i + 1]]]
            ahead([(self.streams[stream], np.array([start, start + size - 1])) for stream, start, size in pieces])
        for row, i in enumerate(ids):
            at = 0
            for number, (stream, start, size) in enumerate(self.pieces[self.first[i] : self.first[i + 1]], 1):
                here = slice(at, at + size)
                tokens[row, here] = plain(self.streams[stream])[start : start + size]
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


def plain(array: np.ndarray | Ranged) -> np.ndarray | Ranged:
    """The same numbers without numpy's bookkeeping of memory maps, which costs more than a small read."""
    return array.view(np.ndarray) if isinstance(array, np.ndarray) else array
