"""What simpler predictors make of `ratings:drawn`, in mean squared error of what is held out.

    uv run python -m scripts.score.ratings [--rank 4] [--l2 3e-4] [--rounds 50]

item means   the mean of an item's known ratings
both means   an item's mean and a user's, by least squares
ALS          alternating least squares (Zhou et al. 2008) on what the page's network minimises: the mean squared error
             of known ratings and ½ l2 Σ w² over tastes, traits and means of users and items
noise        of who knows the table that the ratings were drawn around
"""

import argparse

import numpy as np

from data.ratings import drawn

NOISE = 0.5


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rank", type=int, default=4)
    flags.add_argument("--l2", type=float, default=3e-4)
    flags.add_argument("--rounds", type=int, default=50)
    options = flags.parse_args()
    dataset = drawn(noise=NOISE)
    known, held = (half.gather(np.arange(len(half))) for half in (dataset.train, dataset.valid))
    users, items = known["x"].max(0) + 1
    mse = lambda found: float(((found - held["y"][:, 0]) ** 2).mean())
    item_means = np.bincount(known["x"][:, 1], known["y"][:, 0], items) / np.bincount(known["x"][:, 1], minlength=items)
    print(f"item means   {mse(item_means[held['x'][:, 1]]):.4f}")
    print(f"both means   {mse(als(known, held, users, items, 0, options.l2, options.rounds)):.4f}")
    print(f"ALS          {mse(als(known, held, users, items, options.rank, options.l2, options.rounds)):.4f}")
    print(f"noise        {NOISE**2:.4f}")


def als(known: dict, held: dict, users: int, items: int, rank: int, l2: float, rounds: int) -> np.ndarray:
    """The held-out ratings as alternating least squares has them."""
    (u, i), y = known["x"].T, known["y"][:, 0].astype(np.float64)
    ridge, rng = l2 / 2 * len(y), np.random.default_rng(0)
    p, q = (
        np.zeros((users, rank + 1)),
        np.concatenate([0.1 * rng.standard_normal((items, rank)), np.zeros((items, 1))], 1),
    )
    for _ in range(rounds):
        p = solved(u, users, q[i], y, ridge)
        q = solved(i, items, p[u], y, ridge)
    a, b = held["x"].T
    return (p[a, :-1] * q[b, :-1]).sum(1) + p[a, -1] + q[b, -1]


def solved(which: np.ndarray, count: int, other: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """For each of `count` the weights, and last its own mean, that fit its ratings best, `other` being fixed."""
    made = np.empty_like(other, shape=(count, other.shape[1]))
    for k in range(count):
        rows = which == k
        a = np.concatenate([other[rows, :-1], np.ones((rows.sum(), 1))], 1)
        made[k] = np.linalg.solve(a.T @ a + ridge * np.eye(a.shape[1]), a.T @ (y[rows] - other[rows, -1]))
    return made


if __name__ == "__main__":
    main()
