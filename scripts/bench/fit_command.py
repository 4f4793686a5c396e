"""CPU seconds (user + system) of `python -m scaling fit`, from the shell, with a warm compilation cache.

python -m scripts.bench.fit_command                     100 rows by budgets, 100 scattered, 400 rows x nine constants
python -m scripts.bench.fit_command --against DIR       the same in another checkout, in turns, and the ratio
"""

import argparse
import csv
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

import numpy as np

from scaling.laws import chinchilla
from tests.support.planted import TRUTH, design

NOISE = 0.003  # sd of log loss


def scattered(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "n": np.exp(rng.uniform(np.log(5e7), np.log(1e10), rows)),
        "d": np.exp(rng.uniform(np.log(1e9), np.log(3e11), rows)),
    }


def write(path: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
    noise = NOISE * np.random.default_rng(1).standard_normal(columns["n"].size)
    loss = chinchilla(TRUTH, columns["n"], columns["d"]) * np.exp(noise)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*columns, "loss"])
        table.writerows(zip(*columns.values(), loss, strict=True))


def seconds(checkout: pathlib.Path, runs: pathlib.Path, law: str, out: pathlib.Path) -> float:
    """Of one command, its children's included."""
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before = spent()
    command = [sys.executable, "-m", "scaling", "fit", str(runs), "--law", law, "--out", str(out)]
    subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    return spent() - before


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--against", metavar="DIR", type=pathlib.Path, help="another checkout")
    flags.add_argument("--repeats", metavar="N", type=int, default=2, help="after one that fills the cache; default: 2")
    flags.add_argument("--only", nargs="+", choices=("sweep", "scattered", "nine"), help="default: all three")
    options = flags.parse_args()
    here = pathlib.Path(__file__).resolve().parents[2]
    checkouts = [here, *([options.against] if options.against else [])]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        cases = {
            "sweep": (design(20, 5), "chinchilla"),
            "scattered": (scattered(100), "chinchilla"),
            "nine": (scattered(400), "farseer"),
        }
        for name in options.only or cases:
            columns, law = cases[name]
            write(root / f"{name}.csv", columns)
            best = dict.fromkeys(checkouts, np.inf)
            for repeat in range(1 + options.repeats):
                for checkout in checkouts:
                    spent = seconds(checkout, root / f"{name}.csv", law, root / "out")
                    if repeat:
                        best[checkout] = min(best[checkout], spent)
            text = ", ".join(f"{spent:.1f} CPU s" for spent in best.values())
            ratio = f", ratio {best[here] / best[checkouts[-1]]:.2f}" if options.against else ""
            print(
                f"{name:<10} {columns['n'].size} rows, {law}: {text}{ratio}; load {os.getloadavg()[0]:.1f}", flush=True
            )


if __name__ == "__main__":
    main()
