"""Batches from corpora that `python -m data tokenize` wrote: windows, whole documents packed, and mixtures by weight.

Every batch is a function of (seed, step): order is a permutation by formula, shares of a mixture are counted out, and a
checkpoint holds no iterator.  Tokens are read where they lie: memory-mapped, or by ranges from a bucket.
"""

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from data import cache, remote, tokenize
from data.mixture import SLOTS, Mixture, shares
from data.packing import Packed, plain
from data.remote import Ranged
from data.source import Batch, Dataset, HeldOut, Source, pack, unpack
from data.text import Offsets

SMALLEST = {"context": 16}  # at which pages are tested


class Shards:
    """Windows of `context` tokens within each of several streams, `stride` apart: y is x shifted by one.

    As `source.Windows`; a window lies within one stream, so of each the last tokens that fill none are dropped, or,
    `last="pad"`, padded and masked.
    """

    def __init__(self, streams: Sequence[np.ndarray | Ranged], context: int, stride: int, last: str = "drop"):
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
        tokens = np.empty(at.shape, np.int32)
        parts = [(int(i), stream == i) for i in np.unique(stream)]
        if isinstance(self.streams[0], Ranged):
            remote.ahead([(self.streams[i], np.minimum(at[rows], len(self.streams[i]) - 1)) for i, rows in parts])
        for i, rows in parts:
            flat = plain(self.streams[i])
            tokens[rows] = flat[np.minimum(at[rows], flat.size - 1)]
        found = {"x": tokens[:, :-1], "y": tokens[:, 1:]}
        if self.last == "drop":
            return found
        size = np.array([len(tokens) for tokens in self.streams])[stream]
        return {**found, "mask": (at[:, 1:] < size[:, None]).astype(np.float32)}

    def __getstate__(self):
        return {**self.__dict__, "streams": [pack(s) for s in self.streams]}

    def __setstate__(self, state):
        self.__dict__.update(state, streams=[unpack(s) for s in state["streams"]])


def windows(path: str, *, context: int, offsets: Offsets = "blocks") -> Dataset:
    """Windows of a tokenised corpus; `offsets` as for text."""
    meta, columns = read(path)
    streams = {split: _streams(columns, split, "") for split in ("train", "valid")}
    train = Shards(streams["train"], context, context if offsets == "blocks" else 1)
    valid = Shards(streams["valid"], context, context, last="pad")
    return _dataset(path, meta, train, valid, context)


def packed(path: str, *, context: int) -> Dataset:
    """Whole documents of a tokenised corpus, packed into rows."""
    meta, columns = read(path)
    ends = {s: [column[:] for column in _streams(columns, s, ".ends")] for s in ("train", "valid")}
    made = {s: Packed(_streams(columns, s, ""), ends[s], context) for s in ends}
    return _dataset(path, meta, made["train"], made["valid"], context)._replace(filled=made["train"].filled)


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
    metas = [read(path)[0] for path in paths.values()]
    first = next(iter(made.values()))
    for name, other in made.items():
        if (other.tokenizer.spec, other.tokenizer.state) != (first.tokenizer.spec, first.tokenizer.state):
            raise ValueError(f"the corpus {name!r} was tokenised with another tokenizer than {next(iter(made))!r}")
    held_out = {kind: sum(meta[kind]["valid"] for meta in metas) for kind in ("text_bytes", "tokens")}
    part = shares([weights[name] for name in made]) / SLOTS
    seen = sum(p * other.train_bytes_per_unit for p, other in zip(part, made.values(), strict=True))
    steps = sorted((int(step), given) for step, given in {"0": weights, **later}.items())
    phases = [(step * batch_size, given) for step, given in steps]
    half = lambda split: {name: getattr(other, split) for name, other in made.items()}
    marks = np.array([int(other.fingerprint, 16) for other in made.values()], np.uint64)
    return first._replace(
        train=Mixture(half("train"), phases, repeat),
        valid=Mixture(half("valid"), [(0, dict.fromkeys(made, 1.0))], True),
        unique=sum(other.unique for other in made.values()),
        sources=tuple(made),
        fingerprint=cache.fingerprint({"sources": marks}),
        bytes_per_unit=held_out["text_bytes"] / held_out["tokens"],
        train_bytes_per_unit=0.0 if later else float(seen),  # where weights change, it depends on the step
        held_out=HeldOut("; ".join(dict.fromkeys(other.held_out.rule for other in made.values()))),
    )


def read(path: str) -> tuple[dict[str, Any], Mapping[str, np.ndarray | Ranged]]:
    """Meta data and columns of a whole corpus."""
    if remote.is_address(path):
        return remote.opened(path)
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


def _streams(columns: Mapping[str, np.ndarray | Ranged], split: str, suffix: str) -> list[np.ndarray | Ranged]:
    names = sorted(n for n in columns if n.startswith(f"{split}.") and n.endswith(".ends") == (suffix == ".ends"))
    return [columns[name] for name in names]
