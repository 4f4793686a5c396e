"""How often do 95 % intervals hold the truth?  Sweeps drawn from a known law, fitted as a user's would be.

python -m scripts.check.coverage                        20, 40 and 240 runs, every method, 200 sweeps each
python -m scripts.check.coverage --trials 1000 --rows 40 --methods residual
"""

import argparse
import time

import numpy as np

from tests.support.planted import METHODS, NAMES, ROWS, covered


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--trials", type=int, default=200)
    flags.add_argument("--draws", type=int, default=400)
    flags.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    flags.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    flags.add_argument("--noise", type=float, default=0.005)
    flags.add_argument("--uneven", type=float, default=0.0, help="noise falls with compute to this power")
    flags.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = flags.parse_args()
    print(
        f"covered, %, of {options.trials} sweeps a line; noise {options.noise:.1%}, uneven {options.uneven:g}, "
        f"{options.draws} draws"
    )
    print(f"{'method':<10}{'rows':<6}{'seed':<6}" + "".join(f"{name:>7}" for name in NAMES) + "  seconds", flush=True)
    for method in options.methods:
        for rows in options.rows:
            for seed in options.seeds:
                start = time.monotonic()
                hits = covered(
                    rows,
                    method,
                    trials=options.trials,
                    draws=options.draws,
                    seed=seed,
                    noise=options.noise,
                    uneven=options.uneven,
                )
                shares = "".join(f"{100 * share:>7.1f}" for share in hits.constants.mean(0))
                print(f"{method:<10}{rows:<6}{seed:<6}{shares}{time.monotonic() - start:>9.0f}", flush=True)
    error = 100 * np.sqrt(0.05 * 0.95 / options.trials)
    print(f"(± {error:.1f} from the number of sweeps alone)")


if __name__ == "__main__":
    main()
