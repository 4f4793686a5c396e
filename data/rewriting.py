"""Lines to be rewritten by a rule.  B lines, S length of the source, L length of the target.

x int32 [B, S] and y int32 [B, L] are characters.  Token 1, a new line, ends each; token 0 fills up what is behind.
Records are drawn when they are asked for, each a function of seed and number.
"""

import functools
import string

import numpy as np
from jaxtyping import Int, UInt64

from data import tokenize
from data.random import below
from data.sequences import check, generated
from data.source import Batch, Dataset

FILLER, END = "\0", "\n"  # tokens 0 and 1: no other character is sorted before them
LETTERS, DIGITS = string.ascii_lowercase, string.digits
SMALLEST = {"length": 6, "digits": 2, "train": 256, "valid": 64}  # at which pages are tested


def reversal(*, length: int = 16, train: int = 1_000_000, valid: int = 2_000, seed: int = 0) -> Dataset:
    """Words of 1 to `length` random letters; y is the word backwards."""
    check(train, valid, length, least=1)
    made = generated(functools.partial(_reversal, length), length + 1, train, valid, seed, 2 + len(LETTERS))
    return made._replace(tokenizer=characters(LETTERS))


def _reversal(length: int, noise_BN: UInt64[np.ndarray, "B N"]) -> Batch:
    count_B1, letters_BL = 1 + below(noise_BN[:, :1], length), 2 + below(noise_BN[:, 1:], len(LETTERS))
    backwards = np.maximum(count_B1 - 1 - np.arange(length), 0)
    return {"x": ended(letters_BL, count_B1), "y": ended(np.take_along_axis(letters_BL, backwards, 1), count_B1)}


def addition(*, digits: int = 4, train: int = 1_000_000, valid: int = 2_000, seed: int = 0) -> Dataset:
    """Sums of two numbers, "0047+9958"; y is "10005", with one digit more.  Leading zeros are written.

    Pairs of numbers are drawn independently, so a share train / 100^digits of the held-out ones is trained on.
    """
    if digits < 1 or digits > 18:
        raise ValueError(f"{digits=} must be 1 to 18, so that a sum fits into 64 bits")
    check(train, valid, digits, least=1)
    made = generated(functools.partial(_addition, digits), 2, train, valid, seed, 3 + len(DIGITS))
    return made._replace(tokenizer=characters("+" + DIGITS))


def _addition(digits: int, noise_B2: UInt64[np.ndarray, "B 2"]) -> Batch:
    terms_B2 = below(noise_B2, 10**digits)
    plus_B1 = np.full((len(terms_B2), 1), 2)
    written = lambda numbers_B, count: 3 + numbers_B[:, None] // 10 ** np.arange(count)[::-1] % 10
    x = np.concatenate([written(terms_B2[:, 0], digits), plus_B1, written(terms_B2[:, 1], digits)], axis=1)
    y = written(terms_B2.sum(1), digits + 1)
    whole = lambda ids: ended(ids, np.full((len(ids), 1), ids.shape[1]))
    return {"x": whole(x), "y": whole(y)}


def ended(ids_BL: Int[np.ndarray, "B L"], count_B1: Int[np.ndarray, "B 1"]) -> Int[np.ndarray, "B L+1"]:
    """The first `count` ids of each row, then the end."""
    place, padded = np.arange(ids_BL.shape[1] + 1), np.pad(ids_BL, ((0, 0), (0, 1)))
    return np.where(place < count_B1, padded, place == count_B1).astype(np.int32)


def characters(symbols: str) -> tokenize.Tokenizer:
    """Tokens 2, 3, … are the symbols as Python sorts them."""
    return tokenize.load("chars", "".join(sorted({FILLER, END, *symbols})))
