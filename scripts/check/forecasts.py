"""Do 90 % intervals of forecasts hold 90 % of them, at every reach?  Public runs and worlds whose law is known.

    python -m scripts.check.forecasts --data DIR [--law chinchilla]      DIR: the folder of published runs
    python -m scripts.check.forecasts                                    the generated worlds alone

Each set is fitted below every cutoff, and every larger run is forecast.  A set is scored with a prior that it played no
part in: the ratio of discrepancy to error at which the other sets' intervals hold closest to `AIM` at every reach.
What one sweep of a generated world shows is mostly its luck, since its forecasts err together: each world is drawn with
several seeds, and counts as one sweep, the mean of them.  Winkler's interval score is width + 2 / 0.1 times what lies
outside, relative to the loss: less is better.  `--keep DIR` keeps fits and resamples, which no prior has a part in.
"""

import argparse
import csv
import hashlib
import itertools
import json
import pathlib
import pickle
from typing import NamedTuple

import numpy as np

from scaling import budgets
from scaling.counting import c_6nd
from scaling.fit import discrepancy
from scaling.fit.backtest import HORIZONS, Window, backtest, horizon_of, known_errors, residual
from scaling.fit.discrepancy import Past, Prior, learn, standard_error
from scaling.fit.estimate import Fit, fit, predict
from scaling.fit.intervals import Draws, bootstrap, draw_runs, interval
from scaling.fit.question import Question
from scaling.laws import LAWS, hoffmann
from train.devices import runtime

LEVEL, DRAWS = 0.9, 200
AIM = 0.92  # what intervals of the sets that a prior is made of are to hold
PRIORS = [
    discrepancy.PRIOR._replace(ratio=float(ratio), power=power)
    for ratio in np.arange(0.7, 1.41, 0.05).round(2)
    for power in (0.6, 0.7, 0.8)
]
REACHES = len(HORIZONS) + 1  # and what lies further
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


class Forecast(NamedTuple):
    """What one cutoff says of the later runs, as far as no prior has a part in it."""

    window: Window
    past: Past
    drawn: np.ndarray  # [draws, runs] by constants and scatter
    expected: np.ndarray  # [runs]
    residual: float
    error: float


def forecasts(columns: Columns, law: str, keep: pathlib.Path | None = None) -> list[Forecast]:
    """Of every cutoff."""
    columns = {**columns, "budget": budgets.group(c_6nd(columns["n"], columns["d"]))}
    ask, made, found = Question(LAWS[law]), resampled(columns, law, keep), []
    for i, (window, fitted, drawn) in enumerate(made):
        past = known_errors([w for w, *_ in made[:i]], columns["budget"] <= window.cutoff, columns["budget"])
        left = {name: v[window.rows] for name, v in columns.items()}
        below = Fit(ask, *fitted)
        residuals, sample = below.residuals, Draws(below, *drawn)
        found.append(
            Forecast(window, past, draw_runs(sample, left), predict(below.law, below.theta, left), residual(below),
                     standard_error(residuals, ask.free))
        )  # fmt: skip
    return found


def resampled(columns: Columns, law: str, keep: pathlib.Path | None) -> list[tuple[Window, tuple, tuple]]:
    """Of every cutoff the errors, the fit without its question, and the draws without their fit: laws are code."""
    key = hashlib.sha256(law.encode() + b"".join(columns[name].tobytes() for name in sorted(columns))).hexdigest()
    kept = keep / f"{key[:16]}.pkl" if keep else None
    if kept and kept.exists():
        return pickle.loads(kept.read_bytes())
    ask, made = Question(LAWS[law]), []
    for window in backtest(ask, columns, draws=0):
        below = {name: v[columns["budget"] <= window.cutoff] for name, v in columns.items()}
        sample = bootstrap(fit(ask, below, certify=False), draws=DRAWS)
        made.append((window, tuple(sample.fit)[1:], tuple(sample)[1:]))
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(made))
    return made


def score(cutoffs: list[Forecast], prior: Prior) -> np.ndarray:
    """[forecasts, 3]: horizon, inside, Winkler's score over the loss."""
    rows = []
    for one in cutoffs:
        off, measured = learn(one.past, one.error, prior), one.window.measured
        values = np.exp(off.beyond(one.drawn, one.expected, one.window.reach, one.residual))
        low, high = np.array([interval(v, LEVEL) for v in values.T]).T
        outside = np.maximum(low - measured, 0) + np.maximum(measured - high, 0)
        inside = (low <= measured) & (measured <= high)
        rows.append(np.stack([horizon_of(one.window.reach), inside, (high - low + 20 * outside) / measured], 1))
    return np.concatenate(rows)


class Score(NamedTuple):
    """Of the forecasts of one set at one reach; the sweeps of a generated world are averaged."""

    count: float
    inside: float  # how many of them
    winkler: float  # summed
    spread: float  # standard error of the share inside, over sweeps of a world


def scores(name: str, several: list[np.ndarray]) -> list[Score]:
    """Of each horizon, and of all, from what `score` said of each sweep."""
    over, found = len(several) if name in worlds(0) else 1, []
    for horizon in (*range(REACHES), None):
        here = [rows[rows[:, 0] == horizon] if horizon is not None else rows for rows in several]
        rows, shares = np.concatenate(here), [one[:, 1].mean() for one in here if len(one)]
        spread = np.std(shares, ddof=1) / len(shares) ** 0.5 if len(shares) > 1 else np.nan
        found.append(Score(len(rows) / over, rows[:, 1].sum() / over, rows[:, 2].sum() / over, float(spread)))
    return found


def shares(found: list[list[Score]], at: int) -> tuple[float, float, float, float]:
    """Inside of all sets' forecasts at one reach, and of sets alike, each with its standard error.

    Forecasts of one set err together, so what varies is the sets: their number inside less what the pooled share says.
    """
    count, inside = np.array([(of[at].count, of[at].inside) for of in found if of[at].count]).T
    pooled, sets = inside.sum() / count.sum(), inside / count
    error = np.sqrt(np.sum((inside - pooled * count) ** 2) * count.size / max(count.size - 1, 1)) / count.sum()
    return pooled, error, sets.mean(), np.std(sets, ddof=1) / count.size**0.5


def miss(found: list[list[Score]]) -> float:
    """How far from `AIM` the shares inside are: root mean square over reaches, of all forecasts and of sets alike."""
    every = np.array([shares(found, at) for at in range(REACHES)])[:, [0, 2]]
    return float(np.sqrt(np.mean((every - AIM) ** 2)))


def size(forecast: Forecast) -> np.ndarray:
    """Errors [runs] over g, in standard errors of the fit."""
    return forecast.window.missed / discrepancy.growth(forecast.window.reach) / forecast.error


def together(cutoffs: list[list[Forecast]]) -> tuple[float, float, float]:
    """Of successive cutoffs' mean `size` over the runs that both forecast: sums of squares, and of products."""
    sums = np.zeros(3)
    for sweep in cutoffs:
        for one, other in itertools.pairwise(sweep):
            x, y = (np.mean(size(a)[np.isin(a.window.rows, b.window.rows)]) for a, b in ((one, other), (other, one)))
            sums += np.array([x * x, y * y, x * y]) / len(cutoffs)
    return tuple(sums)


def sizes(several: list[list[Forecast]]) -> tuple[float, float]:
    """Root mean square of `size` over cutoffs, and median over cutoffs of that of each; medians over sweeps."""
    squares = [[np.mean(size(one) ** 2) for one in sweep] for sweep in several]
    return tuple(float(np.median([np.sqrt(of(sweep)) for sweep in squares])) for of in (np.mean, np.median))


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--data", metavar="DIR", type=pathlib.Path)
    flags.add_argument("--law", default="chinchilla")
    flags.add_argument("--seeds", type=int, default=8, help="sweeps of each generated world")
    flags.add_argument("--keep", metavar="DIR", type=pathlib.Path)
    options = flags.parse_args()
    runtime.set_up()
    made = {
        name: [forecasts(columns, options.law, options.keep) for columns in several]
        for name, several in sets(options.data, options.seeds).items()
    }
    scored = {
        prior: {name: scores(name, [score(cutoffs, prior) for cutoffs in several]) for name, several in made.items()}
        for prior in PRIORS
    }
    chosen, told = {}, {}
    for name in made:
        best = min(PRIORS, key=lambda prior: miss([of for other, of in scored[prior].items() if other != name]))
        chosen[name], told[name] = scored[best][name], (best.ratio, best.power)
    best = min(PRIORS, key=lambda prior: miss([*scored[prior].values()]))
    print(
        f"{options.law}; ratio and power of the prior over all sets {best.ratio:g}, {best.power:g}; the others': {told}"
    )
    sums = {name: together(several) for name, several in made.items()}
    x, y, xy = np.sum([*sums.values()], axis=0)
    alone = {name: round(float(sums[name][2] / (sums[name][0] * sums[name][1]) ** 0.5), 2) for name in sums}
    print(f"errors of successive cutoffs correlate by {xy / np.sqrt(x * y):.2f}; of each set alone: {alone}")
    print("errors over g and standard error, root mean square and median over cutoffs: ", end="")
    print("; ".join(f"{name} {' and '.join(f'{v:.2f}' for v in sizes(several))}" for name, several in made.items()))
    table(chosen)


def table(found: dict[str, list[Score]]) -> None:
    heads, width = (*HORIZONS, "further", "all"), max(map(len, found))
    print(f"{'inside 90 %':<{width}}" + "".join(f"{head:>18}" for head in heads))
    for name, of in found.items():
        cells = [f"{s.inside / s.count:.1%} of {s.count:<4.0f}" if s.count else "" for s in of]
        print(
            f"{name:<{width}}"
            + "".join(f"{cell:>18}" for cell in cells)
            + (f"  ± {of[-1].spread:.1%}" if name in worlds(0) else "")
        )
    every = [shares([*found.values()], at) for at in range(len(heads))]
    for name, i in (("pooled", 0), ("sets alike", 2)):
        print(f"{name:<{width}}" + "".join(f"{f'{one[i]:.1%} ± {one[i + 1]:.1%}':>18}" for one in every))
    winkler = [
        sum(of[at].winkler for of in found.values()) / sum(of[at].count for of in found.values())
        for at in range(len(heads))
    ]
    print(f"{'Winkler':<{width}}" + "".join(f"{value:>18.4f}" for value in winkler))


if __name__ == "__main__":
    main()
