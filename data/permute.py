"""A shuffle without state: a keyed Feistel permutation of range(n), the same on every platform and numpy version."""

from functools import lru_cache

import numpy as np
from jaxtyping import Int64

U = np.uint64
BLOCK = 1 << 14  # positions shuffled at a time: numpy's cost per call is paid once in 16,384 records
ROUNDS = 4  # even, so that the halves end where they began


def permute(positions: np.ndarray, n: int, seed: int, epoch: int = 0) -> Int64[np.ndarray, "*positions"]:
    """The image of `positions`, each in range(n), under the permutation that (seed, epoch) names.

    A Feistel network over the next power of two, walked until it falls below n (Black & Rogaway 2002).
    """
    bits = max(2, (n - 1).bit_length())
    low = bits // 2
    masks = [U((1 << width) - 1) for width in (bits - low, low)]  # the halves change places, and so widths, every round
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        key = _mix(np.array([seed % 2**64], U) + _mix(np.array([epoch + 1], U)))
        keys = _mix(np.arange(1, ROUNDS + 1, dtype=U) * U(0x9E3779B97F4A7C15) + key)

        def network(x):
            left, right = x >> U(low), x & masks[1]
            for i, k in enumerate(keys):
                left, right = right, (left ^ _mix(right + k)) & masks[i % 2]
            return (left << U(low)) | right

        image = network(np.asarray(positions, U))
        outside = np.flatnonzero(image >= n)
        while len(outside):
            image[outside] = walked = network(image[outside])
            outside = outside[walked >= n]
    return image.astype(np.int64)


def shuffled(start: int, stop: int, n: int, seed: int) -> Int64[np.ndarray, " count"]:
    """The records at positions start..stop of an endless stream in which every n positions are a new permutation."""
    pieces = []
    while start < stop:
        epoch, at = divmod(start, n)
        block, offset = divmod(at, BLOCK)
        piece = _block(n, seed, epoch, block)[offset : offset + stop - start]
        pieces.append(piece)
        start += len(piece)
    return np.concatenate(pieces)


@lru_cache(maxsize=8)
def _block(n: int, seed: int, epoch: int, block: int) -> np.ndarray:
    return permute(np.arange(block * BLOCK, min(n, (block + 1) * BLOCK)), n, seed, epoch)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    x = (x ^ (x >> U(30))) * U(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U(27))) * U(0x94D049BB133111EB)
    return x ^ (x >> U(31))
