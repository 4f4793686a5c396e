"""Generated reports of games, each with its summary.  B reports, S = 35 tokens of a report, L = 9 of a summary.

    the pilot came third . it rained . the king came last . they played in the park . the nurse came first . …

    the nurse beat the king in the park

A report tells the ranks of five players, the place and the weather, in random order; the summary who came first, who
last, and where: three of seven sentences.

Any order of the players is as likely as another.  So who takes the first that is named for the winner and the last for
the loser, and knows the place, is right in 1 of 20 reports; who copies one sentence is right in none.
"""

import functools
import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt64

from data import tokenize
from data.answers import PEOPLE, PLACES, some
from data.rewriting import END, FILLER
from data.sequences import check, generated
from data.source import Batch, Dataset

RANKS = ["first", "second", "third", "fourth", "last"]
WEATHER = ["rained", "snowed", "froze", "thawed"]
UNKNOWN = "[unk]"
WORDS = (FILLER, END, UNKNOWN, ".", "the", "came", "they", "played", "in", "it", "beat", *PEOPLE, *PLACES, *RANKS,
         *WEATHER)  # fmt: skip
NUMBERS = 2 * len(RANKS) + 4  # random ones of a report
SMALLEST = {"train": 256, "valid": 64}  # at which pages are tested


def summaries(*, train: int = 1_000_000, valid: int = 2_000, seed: int = 0) -> Dataset:
    """x int32 [S]: a report; y int32 [L]: its summary.  Token 1, a new line, ends each."""
    check(train, valid, len(RANKS), least=2)
    made = generated(functools.partial(drawn), NUMBERS, train, valid, seed, len(WORDS))
    return made._replace(tokenizer=tokenize.load("json", tokenize.of_words(WORDS, UNKNOWN)))


def drawn(noise_BN: UInt64[np.ndarray, "B N"]) -> Batch:
    reports, summaries = zip(*(report(iter(map(int, row))) for row in noise_BN), strict=True)
    number = {word: i for i, word in enumerate(WORDS)}
    ids = lambda texts: np.array([[number[word] for word in (*text, END)] for text in texts], np.int32)
    return {"x": ids(reports), "y": ids(summaries)}  # reports have the same number of words, and so have summaries


def report(noise: Iterator[int]) -> tuple[list[str], list[str]]:
    """The words of a report and of its summary."""
    players, place = some(PEOPLE, len(RANKS), noise), PLACES[next(noise) % len(PLACES)]
    told = [["the", who, "came", rank, "."] for who, rank in zip(players, RANKS, strict=True)]
    told += [["they", "played", "in", "the", place, "."], ["it", WEATHER[next(noise) % len(WEATHER)], "."]]
    words = list(itertools.chain.from_iterable(some(told, len(told), noise)))
    return words, f"the {players[0]} beat the {players[-1]} in the {place}".split()
