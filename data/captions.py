"""Generated pictures of two shapes, and captions that say what is where.  B pictures, S pixels along a side, L words.

    a large red triangle left of a small blue ellipse

There are 5,184 captions, two for what can be seen: either shape may come first.  Of 64 pictures 1.6 show what another
shows, on average.
"""

import functools

import numpy as np
from jaxtyping import Int, UInt64

from data.random import below, uniform
from data.scenes import SHAPES, inside
from data.sequences import check, generated
from data.source import Batch, Dataset

COLOURS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.8, 0.1),
    "blue": (0.2, 0.2, 1.0),
    "yellow": (0.9, 0.9, 0.1),
    "white": (1.0, 1.0, 1.0),
    "purple": (0.7, 0.1, 0.8),
}
SIZES = {"small": 0.11, "large": 0.2}  # half axes, in shares of S
WHERE = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}  # of the first from the middle
END = "[end]"  # the last token of all, which a text is read at
WORDS = ("[pad]", "a", *SIZES, *COLOURS, *SHAPES, "left", "right", "of", "above", "below", END)
LENGTH = 11  # words of the longest caption, with the end
NUMBERS = 13  # random ones of a picture, before its pixels' own
SMALLEST = {"side": 16, "train": 256, "valid": 64}  # at which pages are tested


def captions(*, side: int = 32, noise: int = 10, train: int = 1_000_000, valid: int = 1_024, seed: int = 0) -> Dataset:
    """x: float32 [B, S, S, 3]; `text`: int32 [B, L], words, their end, and zeros behind.

    To every pixel a number is added, uniform up to `noise` percent of white in either direction.
    """
    if side < 16 or not 0 <= noise <= 100:
        raise ValueError(f"{side=}, {noise=}: needs side >= 16, and noise of 0 to 100 percent")
    check(train, valid, side, least=16)
    return generated(functools.partial(_captions, side, noise), NUMBERS + 3 * side**2, train, valid, seed, 0)


def _captions(side: int, noise: int, noise_BN: UInt64[np.ndarray, "B N"]) -> Batch:
    sizes, colours, kinds = (below(noise_BN[:, i : i + 2], n) for i, n in ((0, 2), (2, len(COLOURS)), (4, len(SHAPES))))
    where, shift, ground = below(noise_BN[:, 6], len(WHERE)), uniform(noise_BN[:, 7:11]), uniform(noise_BN[:, 11:12])
    images = np.broadcast_to(0.3 * ground[:, None, None], (len(noise_BN), side, side, 3)).copy()
    for which, sign in ((0, 1), (1, -1)):
        half = np.array([*SIZES.values()])[sizes[:, which], None] * side * np.ones(2)
        away = sign * np.array([*WHERE.values()])[where] * side / 4
        middle = side / 2 + away + side / 12 * (2 * shift[:, 2 * which : 2 * which + 2] - 1)
        covered = inside(kinds[:, which], middle, half, side)
        colour = np.array([*COLOURS.values()], np.float32)[colours[:, which]]
        images = np.where(covered[..., None], colour[:, None, None], images)
    images = images + noise / 100 * (2 * uniform(noise_BN[:, NUMBERS:]).reshape(images.shape) - 1)
    return {"x": images.clip(0, 1).astype(np.float32), "text": written(sizes, colours, kinds, where)}


def written(
    sizes: Int[np.ndarray, "B 2"], colours: Int[np.ndarray, "B 2"], kinds: Int[np.ndarray, "B 2"], where: np.ndarray
) -> Int[np.ndarray, "B L"]:
    """The captions."""
    number = lambda words: np.array([WORDS.index(word) for word in words])
    thing = lambda i: [np.full(len(where), 1), number(SIZES)[sizes[:, i]], number(COLOURS)[colours[:, i]],
                       number(SHAPES)[kinds[:, i]]]  # fmt: skip
    relations = [number(words.split()) for words in WHERE]
    ends, made = np.full(len(where), len(WORDS) - 1), np.zeros((len(where), LENGTH), np.int32)
    for k, relation in enumerate(relations):
        is_k = where == k
        columns = [*thing(0), *(np.full(len(where), word) for word in relation), *thing(1), ends]
        made[is_k, : len(columns)] = np.stack(columns, axis=1)[is_k]
    return made
