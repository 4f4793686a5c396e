"""The held-out numbers of a page over several seeds: mean, standard deviation, and each.

uv run python -m scripts.score.seeds --config configs/graphs/cora_gcn.py --seeds 20 [--config.KEY=VALUE ...]
"""

import argparse
import pathlib
import statistics
import tempfile
import time

from train import configs
from train.devices import runtime
from train.display import Display
from train.loop import train
from train.writer import read_log


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--config", required=True, metavar="PAGE")
    flags.add_argument("--seeds", type=int, default=20)
    flags.add_argument("--vary", default="seed", metavar="KEY", help="what is 0, 1, …: default seed")
    options, rest = flags.parse_known_args()
    overrides = [each.removeprefix("--config.") for each in rest]
    module = configs.load(options.config)
    runtime.set_up(1)
    found: dict[str, list[float]] = {}
    start = time.process_time()
    for seed in range(options.seeds):
        config = configs.config_of(module, [*overrides, f"{options.vary}={seed}"])
        with tempfile.TemporaryDirectory() as folder:
            train(config, pathlib.Path(folder) / "run", Display(quiet=True))
            last = [row for row in read_log(pathlib.Path(folder) / "run") if row["split"] == "valid"][-1]
        for name, value in last.items():
            if isinstance(value, float):
                found.setdefault(name, []).append(value)
    for name, values in found.items():
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{name:<16} {statistics.fmean(values):.4f} ± {deviation:.4f}   {' '.join(f'{v:.4f}' for v in values)}")
    print(f"{options.seeds} runs, {time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
