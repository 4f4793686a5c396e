"""Sweeps drawn from a known law, and how often the intervals of their fits hold the truth."""

import numpy as np

from scaling import laws
from scaling.fit.estimate import Fit, fit
from scaling.fit.intervals import bootstrap, constants
from scaling.fit.profile import profile

TRUTH = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}  # Hoffmann et al. 2022, rounded
NAMES = (*TRUTH, "a")
ROWS = {20: (5, 4), 40: (5, 8), 240: (12, 20)}  # rows -> budgets, sizes of each
METHODS = ("residual", "pairs", "cluster", "profile")
CHECKPOINTS = 4  # of each run, for "cluster": their errors are the run's own and half as much again of their own


def design(sizes: int, budgets: int = 5, low: float = 1e17, high: float = 1e19, reach: float = 4.0):
    """n and d of `sizes` runs at each of `budgets` of `low` to `high` FLOPs, from N_opt / reach to N_opt * reach."""
    c = np.repeat(np.geomspace(low, high, budgets), sizes)
    n = laws.n_opt(TRUTH, c) * np.tile(np.geomspace(1 / reach, reach, sizes), budgets)
    return {"n": n, "d": c / (6 * n)}


def intervals(found: Fit, method: str, draws: int, seed: int, run: np.ndarray | None) -> dict[str, tuple[float, float]]:
    """95 % intervals of `NAMES`."""
    if method == "profile":
        return profile(found, 0.95)
    sample = bootstrap(found, draws=draws, seed=seed, method=method, run=run if method == "cluster" else None)
    return constants(sample, 0.95)


def covered(
    rows: int, method: str, *, trials: int, draws: int, seed: int, noise: float = 0.005, uneven: float = 0.0
) -> np.ndarray:
    """[trials, constants]: did the 95 % interval of each of `NAMES` hold the truth?

    `noise` is the sd of log loss at the middle compute; it falls with compute to the power `uneven`.
    """
    budgets, sizes = ROWS[rows] if rows in ROWS else (5, rows // 5)
    runs, rng = design(sizes, budgets), np.random.default_rng(seed)
    run = np.arange(runs["n"].size)
    if method == "cluster":
        keep = np.repeat(run, CHECKPOINTS)
        share = np.tile(np.geomspace(0.25, 1.0, CHECKPOINTS), run.size)
        runs, run = {"n": runs["n"][keep], "d": runs["d"][keep] * share}, keep
    truth = {**TRUTH, "a": laws.a(TRUTH)}
    c = runs["n"] * runs["d"]
    size = (c / np.exp(np.log(c).mean())) ** -uneven
    found = []
    for trial in range(trials):
        errors = noise * size * rng.standard_normal(np.unique(run).size)[run]
        if method == "cluster":
            errors += 0.5 * noise * rng.standard_normal(run.size)
        loss = laws.chinchilla(TRUTH, runs["n"], runs["d"]) * np.exp(errors)
        ends = intervals(fit(laws.chinchilla, {**runs, "loss": loss}, certify=False), method, draws, trial, run)
        found.append([ends[name][0] <= truth[name] <= ends[name][1] for name in NAMES])
    return np.array(found)
