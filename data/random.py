"""Records of the shape of a real set, drawn when they are asked for: to plan, compile and time without the set."""

import math

import numpy as np
from jaxtyping import Int64, UInt64

from data import cache, tfds
from data.source import Batch, Dataset

SMALLEST = {"context": 16, "vocab": 256, "valid_tokens": 512, "side": 16, "train": 256, "valid": 64}


def tokens(*, vocab: int, context: int, train_tokens: int = 10_000_000_000, valid_tokens: int = 1_000_000) -> Dataset:
    """Independent, uniform tokens.  No model has a lower expected loss than ln(vocab) on tokens it has not seen."""
    if vocab < 2 or context < 1 or min(train_tokens, valid_tokens) < context:
        raise ValueError(f"{vocab=}, {context=}, {train_tokens=}, {valid_tokens=}: 2 tokens and one context at least")
    halves = {
        "train": Tokens(train_tokens // context, vocab, context, 1),
        "valid": Tokens(valid_tokens // context, vocab, context, 2),
    }
    return Dataset(
        **halves,
        classes=vocab,
        unit="token",
        per_record=context,
        unique=len(halves["train"]) * context,
        fingerprint=cache.fingerprint({"tokens": np.array([vocab, context, train_tokens, valid_tokens])}),
        entropy=math.log(vocab),
    )


def images(*, side: int, classes: int, channels: int = 3, train: int = 1_281_167, valid: int = 50_000) -> Dataset:
    """Uniform pixels with a uniform class (as many as ImageNet has, unless told)."""
    if min(side, classes, channels, train, valid) < 1:
        raise ValueError(f"{side=}, {classes=}, {channels=}, {train=}, {valid=}: each must be positive")
    return _images((side, side, channels), classes, train, valid)


def like(
    dataset: str, *, train: str = "train", valid: str = "auto", x: str = "image", y: str = "label", size: int = 0
) -> Dataset:
    """Takes the arguments of `arrays.columns`: random images in the shape and classes of that TFDS set.

    The set need not be prepared; there are as many images as ImageNet has.
    """
    features = tfds.builder(dataset).info.features
    missing = [name for name in (x, y) if name not in features]
    if missing:
        raise ValueError(f"the records of {dataset!r} have no {missing[0]!r}; they have {', '.join(features)}")
    shape = (size, size, features[x].shape[-1]) if size else tuple(features[x].shape)
    if None in shape:
        raise ValueError(f"the images of {dataset!r} differ in shape: give data.size, the pixels of a side")
    return _images(shape, features[y].num_classes, 1_281_167, 50_000)


def _images(shape: tuple[int, int, int], classes: int, train: int, valid: int) -> Dataset:
    return Dataset(
        train=Images(train, shape, classes, 1),
        valid=Images(valid, shape, classes, 2),
        classes=classes,
        unit="example",
        per_record=1,
        unique=train,
        fingerprint=cache.fingerprint({"images": np.array([*shape, classes, train, valid])}),
    )


class Tokens:
    """`count` windows."""

    def __init__(self, count: int, vocab: int, context: int, seed: int):
        self.count, self.vocab, self.context, self.seed = count, vocab, context, seed

    def __len__(self) -> int:
        return self.count

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        row = (mixed(words(ids, self.context + 1, self.seed)) % np.uint64(self.vocab)).astype(np.int32)
        return {"x": row[:, :-1], "y": row[:, 1:]}


class Images:
    def __init__(self, count: int, shape: tuple[int, int, int], classes: int, seed: int):
        self.count, self.shape, self.classes, self.seed = count, shape, classes, seed

    def __len__(self) -> int:
        return self.count

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        noise = mixed(words(ids, math.prod(self.shape) + 1, self.seed))
        return {
            "x": uniform(noise[:, 1:]).reshape(-1, *self.shape),
            "y": (noise[:, 0] % np.uint64(self.classes)).astype(np.int32),
        }


def words(ids: Int64[np.ndarray, " B"], length: int, seed: int) -> UInt64[np.ndarray, "B length"]:
    """A different number for every place of every record of every seed."""
    place = ids.astype(np.uint64)[:, None] * np.uint64(length) + np.arange(length, dtype=np.uint64)
    return place + np.uint64(seed << 60)


def mixed(x: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """SplitMix64 (Steele, Lea & Flood 2014): from consecutive numbers to independent ones."""
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(noise: UInt64[np.ndarray, "..."]) -> np.ndarray:
    """float32 in [0, 1)."""
    return (noise >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def below(noise: UInt64[np.ndarray, "..."], count: int) -> np.ndarray:
    """Integers from 0 to count - 1."""
    return (noise % np.uint64(count)).astype(np.int64)
