"""What data is to everyone else: records by number, many at a time.  B batch, L length (context)."""

import types
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from data import cache
from data.remote import Ranged
from data.tokenize import Tokenizer

LABELS_AT_ONCE = 1 << 16  # records, so that masks of many pixels need not fit in memory
Batch = dict[str, np.ndarray]  # x: float32 [B, ...] or int32 [B, L]; y: int32 [B] or [B, L]; mask: float32 like y


@runtime_checkable
class Source(Protocol):
    """Random access.  Every value that `gather` returns has the leading axis of `ids`."""

    def __len__(self) -> int: ...

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch: ...


class Scale(NamedTuple):
    """How a column was standardised: (number - mean) / deviation, one of each for every feature."""

    mean: list[float]
    deviation: list[float]


class Column(NamedTuple):
    """A column of a table: of numbers, or one that is one of `words`, each of which is a feature of 0 or 1."""

    name: str
    words: tuple[str, ...] = ()


class HeldOut(NamedTuple):
    """What a source kept from training where it chose that itself, instead of being told a split."""

    rule: str = ""  # in words
    records: tuple[str, ...] = ()  # names, or numbers of rows; empty where the rule says it all


class Dataset(NamedTuple):
    train: Source
    valid: Source
    classes: int  # classes of the target or size of the vocabulary; 0 where the target is not a class
    unit: str  # what one unit of D is: "token" or "example"
    per_record: int  # units in a record: the context length of text, 1 of an image
    unique: int  # units in the training split
    fingerprint: str  # of the decoded contents: two datasets with the same one hold the same numbers
    bytes_per_unit: float = (
        0.0  # of the held-out split, turns nats per token into bits per byte; 0 for what is not text
    )
    train_bytes_per_unit: float = 0.0  # of the training split: D in bytes; 0 for what is not text
    entropy: float = float("nan")  # lowest possible loss, nats per unit, where the source knows it
    tokenizer: Tokenizer | None = None  # of text
    words: int = 0  # of which inputs are made whose target is something else; 0 where inputs are no words
    names: tuple[str, ...] = ()  # of the classes, where they have any
    sources: tuple[str, ...] = ()  # of a mixture, in the order of the numbers in a batch's `source` [B]
    scales: Mapping[str, Scale] = types.MappingProxyType({})  # of the columns that were standardised
    columns: Mapping[str, tuple[Column, ...]] = types.MappingProxyType({})  # of a table: what "x" and "y" are made of
    level: str = "mean"  # "last" where the numbers of a window are counted from those of its last step
    held_out: HeldOut = HeldOut()
    chosen: Mapping[str, Any] = types.MappingProxyType({})  # options that were left to the source, and what it chose
    filled: float = 1.0  # share of the places of a record that are no padding, on average

    def units(self, places: int) -> int:
        """D, the units among so many places of records."""
        return places if self.filled == 1.0 else round(places * self.filled)


class Columns:
    """Whole arrays, in memory or memory-mapped.  A uint8 column is pixels and comes out as float32 in [0, 1]."""

    def __init__(self, **columns: np.ndarray):
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        return {name: floats(column[ids]) for name, column in self.columns.items()}

    def __getstate__(self):
        return {name: pack(column) for name, column in self.columns.items()}

    def __setstate__(self, state):
        self.columns = {name: unpack(column) for name, column in state.items()}


def examples(train: Columns, valid: Columns, classes: int = 0, **known: Any) -> Dataset:
    """A dataset of two splits in memory, whose records are examples.  `known` are further fields of it."""
    halves = {"train": train, "valid": valid}
    for split, half in halves.items():
        check_labels(half, classes, split)
    contents = {f"{split}.{name}": c for split, half in halves.items() for name, c in half.columns.items()}
    return Dataset(
        **halves,
        classes=classes,
        unit="example",
        per_record=1,
        unique=len(train),
        fingerprint=cache.fingerprint(contents),
        **known,
    )


def check_labels(source: Source, classes: int, split: str) -> None:
    """Refuses whole numbers `y` outside of 0 … classes - 1, which a loss would take for another class or make NaN."""
    y = source.columns.get("y") if isinstance(source, Columns) else None
    if y is None or not classes or not np.issubdtype(y.dtype, np.integer):
        return
    for first in range(0, len(y), LABELS_AT_ONCE):
        some = y[first : first + LABELS_AT_ONCE]
        if some.size and (some.min() < 0 or some.max() >= classes):
            wrong = (some < 0) | (some >= classes)
            at = np.flatnonzero(wrong.reshape(len(some), -1).any(1))[0]
            raise ValueError(
                f"record {first + at} of the {split} split has the label {some[wrong][0]}; labels are 0 to "
                f"{classes - 1} here.  Number the classes from 0; what should not count gets a class and mask 0"
            )


class Windows:
    """Windows of `context` tokens of one stream, `stride` apart, each with the token after it: y is x shifted by one.

    With stride = context every token is predicted once an epoch, with stride = 1 a window starts at every token.
    `last="drop"` gives full windows only; `last="pad"` also the ragged end, and a mask over y, so that no token of
    a held-out stream goes uncounted (its first excepted, which nothing precedes).
    """

    def __init__(self, tokens: np.ndarray, context: int, stride: int, last: str = "drop"):
        self.tokens, self.context, self.stride, self.last = tokens, context, stride, last

    def __len__(self) -> int:
        spare = len(self.tokens) - self.context - 1  # tokens beyond the first window
        return 1 + (spare // self.stride if self.last == "drop" else -(-spare // self.stride))

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        at = ids[:, None] * self.stride + np.arange(self.context + 1)
        if self.last == "drop":
            return self._shifted(at)
        mask = (at[:, 1:] < len(self.tokens)).astype(np.float32)
        return {**self._shifted(np.minimum(at, len(self.tokens) - 1)), "mask": mask}

    def _shifted(self, at: np.ndarray) -> Batch:
        tokens = self.tokens[at].astype(np.int32)
        return {"x": tokens[:, :-1], "y": tokens[:, 1:]}

    def __getstate__(self):
        return {**self.__dict__, "tokens": pack(self.tokens)}

    def __setstate__(self, state):
        self.__dict__.update(state, tokens=unpack(state["tokens"]))


def pack(array: np.ndarray | Ranged) -> np.ndarray | Ranged | str:
    """What another process needs to see `array`: of a memory-mapped one its path, not its contents."""
    return str(array.filename) if isinstance(array, np.memmap) else array


def unpack(packed: np.ndarray | Ranged | str) -> Any:
    return np.load(packed, mmap_mode="r") if isinstance(packed, str) else packed


def floats(column: np.ndarray) -> np.ndarray:
    return column * np.float32(1 / 255) if column.dtype == np.uint8 else column
