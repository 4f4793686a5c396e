"""Sweeps drawn from a known law, and how often the intervals of their fits hold the truth."""

import json
import pathlib
from typing import NamedTuple

import numpy as np
import pytest
from jaxtyping import Bool

from scaling import analyse, laws
from scaling.fit.estimate import fit
from scaling.fit.intervals import bootstrap, constants, interval, predict_runs
from scaling.fit.profile import profile
from scaling.report import page
from train.errors import UserError

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


def only_fit_json(out: str, analysis: analyse.Analysis, *_: object) -> None:
    """What `page.write` writes for programs, without figures and page."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fit.json").write_text(json.dumps(page.as_json(analysis)))


def only_the_fit(monkeypatch: pytest.MonkeyPatch, influence: bool = False) -> None:
    """Of an analysis leaves out what has tests of its own: forecasts, other laws and intervals, drawing.

    With `influence` the tables of what moves the exponent stay.
    """

    def none(*_, **__):
        raise UserError("left out")

    monkeypatch.setattr(analyse, "backtest", none)
    if influence:
        monkeypatch.setattr(analyse, "select", lambda *_, **__: None)
        monkeypatch.setattr(analyse, "other_intervals", lambda *_: {})
    else:
        monkeypatch.setattr(analyse, "FEW", 0)
    monkeypatch.setattr(analyse, "kaplan", lambda *_: {})
    monkeypatch.setattr(page, "write", only_fit_json)


class Covered(NamedTuple):
    constants: Bool[np.ndarray, "trials constants"]  # does the 95 % interval of each of `NAMES` hold the truth?
    ahead: Bool[np.ndarray, " trials"]  # does the 90 % interval of one more run, at ten times the compute, hold it?


def covered(
    rows: int, method: str, *, trials: int, draws: int, seed: int, noise: float = 0.005, uneven: float = 0.0
) -> Covered:
    """Of so many sweeps; a profile forecasts nothing.

    `noise` is the sd of log loss at the middle compute; it falls with compute to the power `uneven`.
    """
    budgets, sizes = ROWS[rows] if rows in ROWS else (5, rows // 5)
    runs, rng, later = design(sizes, budgets), np.random.default_rng(seed), np.random.default_rng((seed, 1))
    run = np.arange(runs["n"].size)
    if method == "cluster":
        keep = np.repeat(run, CHECKPOINTS)
        share = np.tile(np.geomspace(0.25, 1.0, CHECKPOINTS), run.size)
        runs, run = {"n": runs["n"][keep], "d": runs["d"][keep] * share}, keep
    truth = {**TRUTH, "a": laws.a(TRUTH)}
    c = runs["n"] * runs["d"]
    next_run = {"n": laws.n_opt(TRUTH, 60 * c.max()), "d": laws.d_opt(TRUTH, 60 * c.max())}
    next_loss = laws.chinchilla(TRUTH, next_run["n"], next_run["d"])
    size = (c / np.exp(np.log(c).mean())) ** -uneven
    constants_hold, ahead_holds = [], []
    for trial in range(trials):
        errors = noise * size * rng.standard_normal(np.unique(run).size)[run]
        if method == "cluster":
            errors += 0.5 * noise * rng.standard_normal(run.size)
        loss = laws.chinchilla(TRUTH, runs["n"], runs["d"]) * np.exp(errors)
        found = fit(laws.chinchilla, {**runs, "loss": loss}, certify=False)
        if method == "profile":
            ends = profile(found, 0.95)
        else:
            by_run = run if method == "cluster" else None
            sample = bootstrap(found, draws=draws, seed=trial, method=method, run=by_run)
            ends = constants(sample, 0.95)
            low, high = interval(predict_runs(sample, next_run), 0.9)
            ahead_holds.append(low <= next_loss * np.exp(noise * later.standard_normal()) <= high)
        constants_hold.append([ends[name][0] <= truth[name] <= ends[name][1] for name in NAMES])
    return Covered(np.array(constants_hold), np.array(ahead_holds))
