"""How often do 95 % intervals hold the truth?  Sweeps drawn from a known law, fitted as a user's would be.

python -m scripts.check_coverage                   two designs, two seeds, 200 sweeps each; a few minutes
python -m scripts.check_coverage --trials 1000 --draws 400
"""

import argparse
import time

import numpy as np

from scaling import laws
from scaling.fit import fit
from scaling.intervals import bootstrap, interval

TRUTH = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}  # Hoffmann et al. 2022, rounded
NAMES = (*TRUTH, "a")
DESIGNS = {"25 runs": 5, "50 runs": 10}  # sizes at each of five budgets


def design(sizes: int, low: float = 1e17, high: float = 1e19, reach: float = 4.0) -> dict[str, np.ndarray]:
    """n and d of `sizes` runs at each of five budgets of `low` to `high` FLOPs, from N_opt / reach to N_opt * reach."""
    c = np.repeat(np.geomspace(low, high, 5), sizes)
    n = laws.n_opt(TRUTH, c) * np.tile(np.geomspace(1 / reach, reach, sizes), 5)
    return {"n": n, "d": c / (6 * n)}


def covered(sizes: int, *, trials: int, draws: int, seed: int, noise: float = 0.005) -> np.ndarray:
    """[trials, constants]: did the 95 % interval of each of `NAMES` hold the truth?  `noise` is sd of log loss."""
    runs, rng = design(sizes), np.random.default_rng(seed)
    truth = {**TRUTH, "a": laws.a(TRUTH)}
    found = []
    for trial in range(trials):
        loss = laws.chinchilla_loss(TRUTH, runs["n"], runs["d"]) * np.exp(noise * rng.standard_normal(runs["n"].size))
        sample = bootstrap(fit(laws.chinchilla, {**runs, "loss": loss}), draws=draws, seed=trial)
        values = {**sample.params, "a": laws.a(sample.params)}
        ends = {name: interval(values[name], 0.95) for name in NAMES}
        found.append([ends[name][0] <= truth[name] <= ends[name][1] for name in NAMES])
    return np.array(found)


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--trials", type=int, default=200)
    flags.add_argument("--draws", type=int, default=1000)
    flags.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = flags.parse_args()
    print(f"covered, %, of {options.trials} sweeps; noise 0.5 %, {options.draws} draws")
    print(f"{'design':<10}{'seed':<6}" + "".join(f"{name:>7}" for name in NAMES) + "  seconds", flush=True)
    every = []
    for name, sizes in DESIGNS.items():
        for seed in options.seeds:
            start = time.monotonic()
            every.append(covered(sizes, trials=options.trials, draws=options.draws, seed=seed))
            print(f"{name:<10}{seed:<6}{row(every[-1])}{time.monotonic() - start:>9.0f}", flush=True)
    pooled = np.concatenate(every)
    error = 100 * np.sqrt(0.05 * 0.95 / len(pooled))
    print(f"{'pooled':<16}{row(pooled)}   (± {error:.1f} from {len(pooled)} sweeps alone)")


def row(hits: np.ndarray) -> str:
    return "".join(f"{100 * share:>7.1f}" for share in hits.mean(0))


if __name__ == "__main__":
    main()
