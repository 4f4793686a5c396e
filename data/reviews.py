"""Generated reviews whose verdict depends on the order of their words.  B reviews, L tokens, S sentences.

A sentence praises one thing and blames another; its form says which of the two weighs:

    the food was great , but the music was awful .          the second
    although the food was great , the music was awful .     the second
    the food was great , although the music was awful .     the first

A review is of one sentence or three, and its verdict that of most.  Which clause praises is an even chance of its own
for each sentence: with all of them turned round the words are the same, and the verdict is the other.  So of every bag
of words both verdicts are equally likely.
"""

import functools

import numpy as np
from jaxtyping import UInt64

from data.random import below
from data.sequences import check, generated
from data.source import Batch, Dataset

THINGS = ["food", "music", "room", "staff", "price", "view", "plot", "cast", "light", "sound"]
GOOD = ["great", "fine", "superb", "lovely", "bright", "fresh", "clever", "warm"]
BAD = ["awful", "poor", "dreadful", "ugly", "dull", "stale", "silly", "cold"]
FORMS = (  # T things, A the first adjective, Z the second; and which of the two weighs
    ("the T was A , but the T was Z .", 1),
    ("although the T was A , the T was Z .", 1),
    ("the T was A , although the T was Z .", 0),
)
WORDS = ("[pad]", "[cls]", ".", ",", "the", "was", "but", "although", *THINGS, *GOOD, *BAD)
SENTENCES = 3
NUMBERS = 6  # random ones of a sentence
SMALLEST = {"train": 256, "valid": 64}  # at which pages are tested


def reviews(*, train: int = 1_000_000, valid: int = 2_000, seed: int = 0) -> Dataset:
    """x int32 [L]: "[cls]" (1), words, and zeros behind the last.  y int32: 1 where the verdict praises, else 0."""
    check(train, valid, SENTENCES, least=1)
    made = generated(functools.partial(drawn), 1 + SENTENCES * NUMBERS, train, valid, seed, 2)
    return made._replace(names=("blame", "praise"))


def drawn(noise_BN: UInt64[np.ndarray, "B N"]) -> Batch:
    noise_BSN = noise_BN[:, 1:].reshape(len(noise_BN), SENTENCES, NUMBERS)
    praised_first_BS = below(noise_BSN[..., 0], 2)
    x_BSL, weighs_BS = sentences(noise_BSN[..., 1:], praised_first_BS)
    count_B1 = np.where(below(noise_BN[:, :1], 2) > 0, SENTENCES, 1)
    is_there_BS = np.arange(SENTENCES) < count_B1
    praise_BS = np.where(weighs_BS == 0, praised_first_BS, 1 - praised_first_BS)
    y_B = 2 * (praise_BS * is_there_BS).sum(1) > count_B1[:, 0]
    x_BL = (x_BSL * is_there_BS[..., None]).reshape(len(x_BSL), -1)
    return {"x": np.pad(x_BL, ((0, 0), (1, 0)), constant_values=1).astype(np.int32), "y": y_B.astype(np.int32)}


def sentences(noise: UInt64[np.ndarray, "B S 5"], praised_first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [B, S, l] and which clause weighs [B, S]."""
    number, forms = WORDS.index, [form.split() for form, _ in FORMS]
    form_BS = below(noise[..., 0], len(FORMS))
    first = below(noise[..., 1], len(THINGS))
    second = (first + 1 + below(noise[..., 2], len(THINGS) - 1)) % len(THINGS)  # another thing
    good, bad = number(GOOD[0]) + below(noise[..., 3], len(GOOD)), number(BAD[0]) + below(noise[..., 4], len(BAD))
    filled = {"A": np.where(praised_first > 0, good, bad), "Z": np.where(praised_first > 0, bad, good)}
    made = np.zeros((*form_BS.shape, len(forms[0])), np.int64)
    for k, form in enumerate(forms):
        things = iter((number(THINGS[0]) + first, number(THINGS[0]) + second))
        slots = [filled[w] if w in filled else next(things) if w == "T" else number(w) for w in form]
        is_k = form_BS == k
        for place, slot in enumerate(slots):
            made[is_k, place] = np.broadcast_to(slot, form_BS.shape)[is_k]
    return made, np.array([weighs for _, weighs in FORMS])[form_BS]
