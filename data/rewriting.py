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


DICTIONARY = """
    autumn bridge candle captain desert dragon engine fabric forest garden harbour island jungle kitchen lantern market
    mountain napkin number orchard painter pencil planet pocket record shadow silver temple thunder velvet violin walnut
    window cinema doctor guitar hotel museum onion piano radio salad tiger
"""
WORDS = DICTIONARY.split()
MOST = 3  # words of a line


def correction(*, train: int = 1_000_000, valid: int = 2_000, seed: int = 0) -> Dataset:
    """Lines of two or three words, of which every second has a fault; y is the line without.

    A fault is a letter left out, doubled or replaced, or two neighbours exchanged.  No fault makes two words alike, so
    every line can be corrected.  Who changes nothing is right for (1/4 + 1/8) / 2 = 0.1875 of them.
    """
    check(train, valid, MOST, least=1)
    made = generated(functools.partial(_correction), 1 + 5 * MOST, train, valid, seed, 3 + len(LETTERS))
    return made._replace(tokenizer=characters(" " + LETTERS))


def _correction(noise_BN: UInt64[np.ndarray, "B N"]) -> Batch:
    rows = [line(*map(int, row)) for row in noise_BN]
    room = 1 + MOST * (2 + max(map(len, WORDS)))
    filled = lambda lines: np.array([[number(c) for c in (text + END).ljust(room, FILLER)] for text in lines], np.int32)
    return {"x": filled([wrong for wrong, _ in rows]), "y": filled([right for _, right in rows])}


def number(character: str) -> int:
    """The token of a letter, of the space, the end or the filler."""
    return (FILLER + END + " " + LETTERS).index(character)


def line(count: int, *noise: int) -> tuple[str, str]:
    """A line with faults, and without; of each word five of the random numbers."""
    right, wrong = [], []
    for i in range(2 + count % (MOST - 1)):
        which, has_fault, kind, place, letter = noise[5 * i : 5 * i + 5]
        word = WORDS[which % len(WORDS)]
        right.append(word)
        wrong.append(faulty(word, kind % 4, place, letter % 25) if has_fault % 2 else word)
    return " ".join(wrong), " ".join(right)


def faulty(word: str, kind: int, place: int, letter: int) -> str:
    """The word with one fault; no word has two equal letters side by side, so each changes it."""
    i = place % (len(word) - 1 if kind == 3 else len(word))
    before, own, after = word[:i], word[i], word[i + 1 :]
    match kind:
        case 0:
            return before + after
        case 1:
            return before + own + own + after
        case 2:
            return before + LETTERS.replace(own, "")[letter] + after
        case _:
            return before + after[0] + own + after[1:]
