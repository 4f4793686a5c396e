"""Sequences whose rule is known, and so the loss of those who do not find it.  B batch, L length.

Records are drawn when they are asked for, each a function of seed and number: a million cost no memory.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Int64, UInt64

from data import cache
from data.random import below, mixed, uniform, words
from data.source import Batch, Dataset

SYMBOLS, SHOWN = 8, 10  # of the copy task
SMALLEST = {"length": 16, "blanks": 8, "shown": 3, "noise": 8, "train": 256, "valid": 64}  # at which pages are tested


def adding(*, length: int = 100, train: int = 1_000_000, valid: int = 2_000, seed: int = 0) -> Dataset:
    """The adding problem (Hochreiter & Schmidhuber 1997, section 5.4, with the numbers of Arjovsky et al. 2016).

    x float32 [L, 2]: numbers uniform in [0, 1), and marks, 1 at one place of each half and else 0.  y float32 [1]: the
    sum of the two marked numbers.  The lowest mean squared error is 0; that of the best constant, 1, is 1/6.
    """
    check(train, valid, length, least=2)
    return generated(functools.partial(_adding, length), length + 2, train, valid, seed, 0)


def _adding(length: int, noise_BN: UInt64[np.ndarray, "B N"]) -> Batch:
    numbers_BL, half, rows = uniform(noise_BN[:, 2:]), length // 2, np.arange(len(noise_BN))
    marks_BL = np.zeros_like(numbers_BL)
    marks_BL[rows, below(noise_BN[:, 0], half)] = 1
    marks_BL[rows, half + below(noise_BN[:, 1], length - half)] = 1
    y = (numbers_BL * marks_BL).sum(1, keepdims=True)
    return {"x": np.stack([numbers_BL, marks_BL], axis=-1), "y": y}


def copying(*, blanks: int = 100, train: int = 1_000_000, valid: int = 2_000, seed: int = 0) -> Dataset:
    """The copy task (Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016, section 4.1): L = blanks + 20, 10 classes.

    x int32 [L]: ten of 8 symbols, blanks (8), a sign (9), and ten blanks in which y int32 [L], else blank, repeats the
    symbols.  The lowest loss is 0 nats; who has forgotten the symbols reaches `copying_baseline(blanks)`.
    """
    check(train, valid, blanks, least=1)
    return generated(functools.partial(_copying, blanks), SHOWN, train, valid, seed, SYMBOLS + 2)


def _copying(blanks: int, noise_BN: UInt64[np.ndarray, "B N"]) -> Batch:
    blank, sign = SYMBOLS, SYMBOLS + 1
    symbols = below(noise_BN, SYMBOLS).astype(np.int32)
    x_BL = np.full((len(symbols), blanks + 2 * SHOWN), blank, np.int32)
    y_BL = x_BL.copy()
    x_BL[:, :SHOWN], x_BL[:, -SHOWN - 1], y_BL[:, -SHOWN:] = symbols, sign, symbols
    return {"x": x_BL, "y": y_BL}


def copying_baseline(blanks: int) -> float:
    """Nats a step of who knows where symbols stand, and not which."""
    return SHOWN * math.log(SYMBOLS) / (blanks + 2 * SHOWN)


def selecting(
    *, shown: int = 10, noise: int = 80, train: int = 1_000_000, valid: int = 2_000, seed: int = 0
) -> Dataset:
    """Selective copying (Jing et al. 2019; Gu & Dao 2023, section 4.1): L = noise + 2 shown, 10 classes.

    x int32 [L]: `shown` of 8 symbols in order, among them at random places `noise` blanks (8); then as many signs (9).
    At the signs y int32 [L] repeats the symbols; `mask` counts those alone.  The lowest loss is 0 nats; who has
    forgotten the symbols is at ln 8, and right once in 8.  Distances differ from record to record, so no fixed delay
    finds a symbol.
    """
    check(train, valid, min(shown, noise), least=1)
    return generated(functools.partial(_selecting, shown, noise), noise + 2 * shown, train, valid, seed, SYMBOLS + 2)


def _selecting(shown: int, noise: int, noise_BN: UInt64[np.ndarray, "B N"]) -> Batch:
    blank, sign, B = SYMBOLS, SYMBOLS + 1, len(noise_BN)
    symbols = below(noise_BN[:, :shown], SYMBOLS).astype(np.int32)
    places = np.sort(np.argsort(noise_BN[:, shown:], axis=1, kind="stable")[:, :shown], axis=1)
    x_BL = np.full((B, noise + 2 * shown), blank, np.int32)
    y_BL, mask_BL = np.zeros_like(x_BL), np.zeros(x_BL.shape, np.float32)
    np.put_along_axis(x_BL, places, symbols, axis=1)
    x_BL[:, -shown:], y_BL[:, -shown:], mask_BL[:, -shown:] = sign, symbols, 1
    return {"x": x_BL, "y": y_BL, "mask": mask_BL}


def neighbours(
    *, length: int = 50, distance: int = 3, train: int = 1_000_000, valid: int = 1_000, seed: int = 0
) -> Dataset:
    """Of random bits x int32 [L], y[t] int32 [L] is x[t - distance] xor x[t + distance]; `mask` says where both exist.

    The past alone tells nothing of y: without the future no loss is below ln 2, no accuracy above a half.  Nor is one
    below where logits are a sum of a part that knows the past and one that knows the future: one layer in both
    directions under a linear head.
    """
    check(train, valid, length, least=2 * distance + 1)
    return generated(functools.partial(_neighbours, distance), length, train, valid, seed, 2)


def _neighbours(distance: int, noise_BL: UInt64[np.ndarray, "B L"]) -> Batch:
    x_BL = below(noise_BL, 2).astype(np.int32)
    y_BL, mask_BL = np.zeros_like(x_BL), np.zeros(x_BL.shape, np.float32)
    inside = slice(distance, -distance or None)
    y_BL[:, inside] = x_BL[:, : x_BL.shape[1] - 2 * distance] ^ x_BL[:, 2 * distance :]
    mask_BL[:, inside] = 1
    return {"x": x_BL, "y": y_BL, "mask": mask_BL}


class Drawn:
    """`count` records, each made by `record` of `numbers` independent 64-bit numbers; another stream, others."""

    def __init__(self, record: Callable[[np.ndarray], Batch], numbers: int, count: int, stream: int):
        self.record, self.numbers, self.count = record, numbers, count
        self.first = mixed(np.array([stream % 2**64], np.uint64))

    def __len__(self) -> int:
        return self.count

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        return self.record(mixed(words(ids, self.numbers, 0) + self.first))


def generated(record: functools.partial, numbers: int, train: int, valid: int, seed: int, classes: int) -> Dataset:
    """Training and held-out records of the same rule, from streams of their own."""
    made = np.array([*record.args, train, valid, seed % 2**63])
    return Dataset(
        train=Drawn(record, numbers, train, 2 * seed),
        valid=Drawn(record, numbers, valid, 2 * seed + 1),
        classes=classes,
        unit="example",
        per_record=1,
        unique=train,
        fingerprint=cache.fingerprint({record.func.__name__: made}),
        entropy=0.0 if classes else float("nan"),
    )


def check(train: int, valid: int, length: int, least: int) -> None:
    if length < least or min(train, valid) < 1:
        raise ValueError(f"{train=}, {valid=} must be 1 or more, and the length, {length}, {least} or more")
