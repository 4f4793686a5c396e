"""Ratings that users gave to items: a table of which few cells are known.  U users, I items, K rank."""

import numpy as np

from data.source import Columns, Dataset, HeldOut, examples

SMALLEST = {"users": 24, "items": 16}  # at which pages are tested


def drawn(
    *,
    users: int = 400,
    items: int = 200,
    rank: int = 4,
    share: float = 0.2,
    noise: float = 0.5,
    valid: float = 0.05,
    seed: int = 0,
) -> Dataset:
    """A user's mean, an item's mean, the product of `rank` tastes of the user and as many traits of the item, noise.

    x int32 [2]: user, item.  y float32 [1]: the rating, less the mean of those that are trained on.  A `share` of all
    cells is trained on, another share `valid` held out.  No predictor has a lower expected squared error than noise².
    """
    cells = users * items
    if min(users, items, rank) < 1 or not 0 < share + valid <= 1 or min(share, valid) * cells < 1:
        raise ValueError(f"{users=}, {items=}, {rank=}, {share=}, {valid=}: shares of the cells, one of each at least")
    rng = np.random.default_rng(seed)
    means = 0.5 * rng.standard_normal((users, 1)) + 0.5 * rng.standard_normal(items)
    tastes, traits = rng.standard_normal((users, rank)), rng.standard_normal((items, rank))
    table = 3 + means + tastes @ traits.T / np.sqrt(rank) + noise * rng.standard_normal((users, items))
    order = rng.permutation(cells)
    known, held = np.split(order[: round((share + valid) * cells)], [round(share * cells)])
    mean = table.ravel()[known].mean()
    half = lambda at: Columns(
        x=np.stack([at // items, at % items], 1).astype(np.int32),
        y=(table.ravel()[at, None] - mean).astype(np.float32),
    )
    return examples(half(known), half(held), held_out=HeldOut(f"{valid:g} of the cells, drawn by the seed {seed}"))
