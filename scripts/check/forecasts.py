"""Do 90 % intervals of forecasts hold 90 % of them, at every reach?  Public runs and worlds whose law is known.

    python -m scripts.check.forecasts --data DIR [--law chinchilla]      DIR: the folder of published runs
    python -m scripts.check.forecasts                                    the generated worlds alone

Each set is fitted below every cutoff, and every larger run is forecast.  A set is scored with a prior that it played no
part in: the ratio of discrepancy to residual at which the other sets' intervals hold closest to 92 % at every reach.
A set that had no part in a prior is covered some points less than those it was made of.
Winkler's interval score is width + 2 / 0.1 times what lies outside, relative to the loss: less is better.
"""

import argparse
import csv
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from scaling import budgets
from scaling.counting import c_6nd
from scaling.fit import backtest as testing
from scaling.fit import discrepancy
from scaling.fit.backtest import HORIZONS, Window, backtest, horizon_of
from scaling.fit.question import Question
from scaling.laws import LAWS, hoffmann
from train.devices import runtime

LEVEL, DRAWS = 0.9, 200
AIM = 0.92  # what intervals of the sets that a prior is made of are to hold
PRIORS = [discrepancy.PRIOR._replace(ratio=float(ratio)) for ratio in np.arange(0.9, 1.61, 0.05).round(2)]
Columns = dict[str, np.ndarray]


def gemstones(data: pathlib.Path, name: str) -> Columns:
    lines = (data / "gemstones" / f"wandb_df_for_fitting_{name}.jsonl").read_text().splitlines()
    names = {"n": "params_active_precise", "d": "tokens", "loss": "final_loss"}
    return {role: np.array([json.loads(line)[column] for line in lines], np.float64) for role, column in names.items()}


def epoch(data: pathlib.Path) -> Columns:
    """The 240 rows of Besiroglu et al. 2024."""
    rows = list(csv.DictReader((data / "epoch_chinchilla" / "svg_extracted_data.csv").open()))
    n, c, loss = (np.array([float(row[k]) for row in rows]) for k in ("Model Size", "Training FLOP", "loss"))
    kept = loss < np.sort(loss)[-5]
    return {"n": n[kept], "d": (c / 6 / n)[kept], "loss": loss[kept]}


def misfitting(data: pathlib.Path) -> Columns:
    """The best of several learning rates for each N and D."""
    best: dict[tuple[float, float], float] = {}
    for row in csv.DictReader((data / "misfitting" / "scaling_results_last_ckpt_only.csv").open()):
        key = float(row["N"]), float(row["D"])
        best[key] = min(float(row["loss"]), best.get(key, np.inf))
    n, d = np.array(list(best)).T
    return {"n": n, "d": d, "loss": np.array(list(best.values()))}


def worlds(seed: int, noise: float = 0.004) -> dict[str, Columns]:
    """Nine sizes, each at seven ratios of tokens to parameters, over five decades of compute."""
    sizes, ratios = np.meshgrid(np.geomspace(3e7, 3e9, 9), np.geomspace(3, 200, 7))
    n = sizes.ravel()
    d = n * ratios.ravel()
    of_n, of_d, c = 406.4 / n**0.34, 410.7 / d**0.28, c_6nd(n, d)
    exact = {
        "exact form": LAWS["chinchilla"](hoffmann.ROUNDED, n, d),
        "power mean": 1.69 + 1.2 * np.hypot(of_n, of_d),
        "Farseer": np.exp(0.9 - 0.1 * n**0.05) + np.exp(8 * n**-0.02) * d ** -np.exp(2 * n**-0.12 - 1.35),
        "broken power law": 1.5 + (of_n + of_d) * (1 + (c / 3e20) ** 2) ** 0.015,
    }
    rng = np.random.default_rng(seed)
    return {
        name: {"n": n, "d": d, "loss": loss * np.exp(noise * rng.standard_normal(n.size))}
        for name, loss in exact.items()
    }


def sets(data: pathlib.Path | None, seeds: int) -> dict[str, list[Columns]]:
    """name -> runs; those of one name were trained together or drawn from one law, and are left out together."""
    found: dict[str, list[Columns]] = {}
    if data is not None:
        found |= {
            "Gemstones": [gemstones(data, "hot"), gemstones(data, "cool_end")],
            "Epoch": [epoch(data)],
            "(Mis)Fitting": [misfitting(data)],
        }
    for seed in range(seeds):
        for name, columns in worlds(seed).items():
            found.setdefault(name, []).append(columns)
    return found


def forecasts(columns: Columns, law: str, prior: discrepancy.Prior) -> list[Window]:
    """Every cutoff's forecasts under this prior."""
    columns = {**columns, "budget": budgets.group(c_6nd(columns["n"], columns["d"]))}
    kept = discrepancy.PRIOR
    try:
        discrepancy.PRIOR = prior
        return backtest(Question(LAWS[law]), columns, draws=DRAWS, level=LEVEL)
    finally:
        discrepancy.PRIOR = kept


def once(function: Callable[..., Any], rows: Callable[[Any], np.ndarray]) -> Callable[..., Any]:
    """`function`, asked once for the same rows: fits and resamples do not depend on the prior."""
    known: dict[bytes, Any] = {}

    def call(first: Any, *others: Any, **named: Any) -> Any:
        key = rows(others[0] if others else first).tobytes()
        if key not in known:
            known[key] = function(first, *others, **named)
        return known[key]

    return call


def score(windows: list[Window]) -> np.ndarray:
    """[forecasts, 3]: horizon, inside, Winkler's score over the loss."""
    rows = []
    for window in windows:
        low, high, measured = window.ends[:, 0], window.ends[:, 1], window.measured
        outside = np.maximum(low - measured, 0) + np.maximum(measured - high, 0)
        rows.append(np.stack([horizon_of(window.reach), window.inside, (high - low + 20 * outside) / measured], 1))
    return np.concatenate(rows)


def miss(scores: dict[str, np.ndarray]) -> float:
    """How far from `AIM` the shares inside are: root mean square over reaches, of all forecasts and of sets alike."""
    pooled = np.concatenate(list(scores.values()))
    gaps = []
    for horizon in np.unique(pooled[:, 0]):
        shares = [found[found[:, 0] == horizon, 1] for found in (pooled, *scores.values())]
        every, *each = [share.mean() for share in shares if share.size]
        gaps += [every - AIM, np.mean(each) - AIM]
    return float(np.sqrt(np.mean(np.square(gaps))))


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--data", metavar="DIR", type=pathlib.Path)
    flags.add_argument("--law", default="chinchilla")
    flags.add_argument("--seeds", type=int, default=2)
    options = flags.parse_args()
    runtime.set_up()
    testing.fit = once(testing.fit, lambda columns: columns["loss"])
    testing.bootstrap = once(testing.bootstrap, lambda found: found.columns["loss"])
    scored = {
        prior: {
            name: np.concatenate([score(forecasts(columns, options.law, prior)) for columns in several])
            for name, several in sets(options.data, options.seeds).items()
        }
        for prior in PRIORS
    }
    chosen, priors = {}, {}
    for name in scored[PRIORS[0]]:
        others = {prior: {k: v for k, v in found.items() if k != name} for prior, found in scored.items()}
        priors[name] = min(PRIORS, key=lambda prior, others=others: miss(others[prior]))
        chosen[name] = scored[priors[name]][name]
    best = min(PRIORS, key=lambda prior: miss(scored[prior]))
    told = {name: prior.ratio for name, prior in priors.items()}
    print(f"{options.law}; prior's ratio over all sets {best.ratio:g}; each set scored with the others': {told}")
    table(chosen)


def table(scores: dict[str, np.ndarray]) -> None:
    heads = (*HORIZONS, "further")
    print(f"{'inside 90 %':<18}" + "".join(f"{head:>16}" for head in heads) + f"{'all':>16}")
    pooled = np.concatenate(list(scores.values()))
    for name, found in {**scores, "pooled": pooled}.items():
        cells = [found[found[:, 0] == h] for h in range(len(heads))] + [found]
        print(f"{name:<18}" + "".join(f"{c[:, 1].mean():>9.0%} of {len(c):<3}" if len(c) else " " * 16 for c in cells))
    # Forecasts of one set err together, so the standard error is that of the sets' own shares.
    shares = [[s[s[:, 0] == h, 1].mean() for s in scores.values() if (s[:, 0] == h).any()] for h in range(len(heads))]
    print(f"{'sets alike':<18}" + "".join(f"{np.mean(v):>9.0%} ± {np.std(v) / len(v) ** 0.5:<4.0%}" for v in shares))
    print(f"{'Winkler':<18}" + "".join(f"{pooled[pooled[:, 0] == h, 2].mean():>16.3f}" for h in range(len(heads))))


if __name__ == "__main__":
    main()
