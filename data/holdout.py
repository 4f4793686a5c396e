"""Which records are held out where the data have no split: a share of each class, whatever the order of the records."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

SHARE = 0.2


def by_name(names: Sequence[str], labels: Int[np.ndarray, " N"], share: float, seed: int) -> Bool[np.ndarray, " N"]:
    """Those whose names come first by SHA-256: where records are added, the others stay nearly all on their side."""
    digests = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in names]
    return first(np.array(sorted(range(len(names)), key=digests.__getitem__), np.int64), labels, share)


def by_seed(labels: Int[np.ndarray, " N"], share: float, seed: int) -> Bool[np.ndarray, " N"]:
    return first(np.random.default_rng(seed).permutation(len(labels)), labels, share)


def first(order: Int[np.ndarray, " N"], labels: Int[np.ndarray, " N"], share: float) -> Bool[np.ndarray, " N"]:
    """Of each class its `share` that stands first in `order`, rounded: one at least of two, and never all."""
    if not 0 < share < 1:
        raise ValueError(f"valid={share} must be the part that is held out, such as {SHARE}")
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        held[mine[: min(max(1, round(share * len(mine))), len(mine) - 1)]] = True
    if not held.any():
        raise ValueError(f"no class has two records, of which one could be held out; there are {len(labels)} in all")
    return held
