"""CPU seconds of 4,000 bootstraps and of Hoffmann et al.'s 4,500 starts, after compilation.

python -m scripts.bench.fit                     240 runs drawn from a known law
python -m scripts.bench.fit --runs FILE.csv     columns "Model Size", "Training FLOP", "loss"; less 5 largest losses
"""

import argparse
import csv
import itertools
import time

import numpy as np

from scaling.fit.estimate import centre, fit
from scaling.laws import chinchilla
from scaling.laws.hoffmann import PUBLISHED


def planted() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(np.log(5e7), np.log(1e10), 240)), np.exp(rng.uniform(np.log(1e9), np.log(3e11), 240))
    return {"n": n, "d": d, "loss": chinchilla(PUBLISHED, n, d) * np.exp(0.004 * rng.standard_t(3, 240))}


def read(path: str) -> dict[str, np.ndarray]:
    with open(path) as file:
        table = list(csv.DictReader(file))
    n, c, loss = (np.array([float(row[name]) for row in table]) for name in ("Model Size", "Training FLOP", "loss"))
    keep = loss < np.sort(loss)[-5]
    return {"n": n[keep], "d": (c / (6 * n))[keep], "loss": loss[keep]}


def hoffmann_starts(units: dict[str, float]) -> np.ndarray:
    """Their grid (section D.2), in centred coordinates."""
    few, many = np.arange(0, 2.1, 0.5), np.arange(0, 26, 5)
    raw = np.array(list(itertools.product(np.arange(-1, 1.1, 0.5), many, many, few, few)))
    return chinchilla.rescale(raw, units, sign=-1.0)


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--runs", metavar="FILE")
    options = flags.parse_args()
    columns = read(options.runs) if options.runs else planted()
    found = fit(chinchilla, columns)
    print(f"{columns['loss'].size} runs; objective {found.objective:.15e}; {found.params}")
    problem = centre(chinchilla, columns)
    y, rows = problem.y[None], problem.y.size
    here = chinchilla.rescale(found.theta, problem.units, sign=-1.0)
    draw = np.random.RandomState(42)
    weights = np.stack([np.bincount(draw.choice(rows, rows), minlength=rows) for _ in range(4000)]).astype(float)
    starts = hoffmann_starts(problem.units)
    for name, theta, w in (
        ("4,000 bootstraps", np.tile(here, (4000, 1)), weights),
        ("4,500 starts", starts, y * 0 + 1),
    ):
        problem.solve(y, w[:64], theta[:64])
        wall, cpu = time.perf_counter(), time.process_time()
        made = problem.solve(y, w, theta)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if len(w) > 1:
            errors = chinchilla.published(problem.raw(made.theta))
            text = f"largest gradient norm {made.gradient_norm.max():.1e}; standard errors " + ", ".join(
                f"{k} {np.std(v):.4g}" for k, v in errors.items()
            )
        else:
            share = np.mean(made.objective <= np.nanmin(made.objective) * 1.01)
            text = f"best {np.nanmin(made.objective):.15e}, reached by {share:.1%}"
        print(f"{name}: {cpu:.2f} CPU s, {wall:.2f} s; {text}")


if __name__ == "__main__":
    main()
