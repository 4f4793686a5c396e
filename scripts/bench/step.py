"""Time of the GPT train step beside PyTorch eager, alternating on the same machine.

    uv run python -m scripts.bench.step --torch /path/to/python/with/torch [--rounds 12]

The step is the one of configs/text/shakespeare_gpt.py (4 layers × 4 heads × 128, context 64, batch 12, vocabulary 65).
Each round makes ten steps on either side; the ratio is the median of the rounds' ratios, since machines drift.
"""

import argparse
import functools
import json
import os
import pathlib
import random
import statistics
import string
import subprocess
import sys
import tempfile
import time

SIZES = {"layers": 4, "heads": 4, "width": 128, "context": 64, "batch": 12, "vocab": 65}
STEPS = 10
ROOT = pathlib.Path(__file__).parents[2]


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--torch", metavar="PYTHON", help="a Python with torch; without it only our own step is timed")
    flags.add_argument("--rounds", type=int, default=12)
    flags.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = flags.parse_args()
    if options.serve:
        return serve()
    sizes = [f"--{name}={size}" for name, size in {**SIZES, "threads": os.cpu_count()}.items()]
    sides = {"isoflop": [sys.executable, __file__, "--serve"]}
    if options.torch:
        sides["torch"] = [options.torch, str(ROOT / "scripts" / "bench" / "torch_gpt.py"), *sizes]
    compare(sides, options.rounds, STEPS)


def compare(sides: dict[str, list[str]], rounds: int, steps: int) -> None:
    """Prints the seconds a step of each command in `sides`, and the ratio of the first to the second.

    A command makes as many steps as each line of its input says and prints their seconds, after a line with its name.
    """
    start = lambda command: subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    servers = {name: start(command) for name, command in sides.items()}
    versions = {name: read(server) for name, server in servers.items()}
    measured: dict[str, list[float]] = {name: [] for name in servers}
    for i in range(rounds + 1):
        for name, server in servers.items():
            server.stdin.write(f"{steps}\n")
            server.stdin.flush()
            seconds = statistics.median(read(server))
            if i:  # the first round warms up
                measured[name].append(seconds)
    for name, seconds in measured.items():
        best, middle = min(seconds) * 1e3, statistics.median(seconds) * 1e3
        print(f"{versions[name]:<24} median {middle:6.1f} ms   best round {best:6.1f} ms   {len(seconds)} rounds")
        servers[name].stdin.close()
        servers[name].wait()
    if len(sides) == 2:
        ratios = [a / b for a, b in zip(*measured.values(), strict=True)]
        print(f"{' / '.join(sides):<24} median {statistics.median(ratios):.2f}")


def read(server):
    return json.loads(server.stdout.readline())


def serve() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare = Bare(load("configs/text/shakespeare_gpt.py", pathlib.Path(folder)))
    answer(bare)


def answer(bare: "Bare") -> None:
    """For each number read from stdin, makes as many steps and prints their seconds."""
    import jax

    print(json.dumps(f"isoflop, jax {jax.__version__}"), flush=True)
    for line in sys.stdin:
        print(json.dumps([bare.seconds(1) for _ in range(int(line))]), flush=True)


def load(path: str, folder: pathlib.Path, **changes):
    """The config, on random characters where it wants a text file, and its devices set up."""
    from train import configs
    from train.devices import runtime

    module = configs.load(path)
    page = module.get_config()
    if page.data.name == "text:file":
        changes["data.path"] = folder / "random.txt"
        characters = string.printable[: page.model.vocab]
        changes["data.path"].write_text("".join(random.Random(0).choices(characters, k=200_000)))
    config = configs.config_of(module, [f"{key}={value}" for key, value in changes.items()])
    runtime.set_up(config.cpu_devices)
    return config


class Bare:
    """The steps that `train` would make, and nothing around them: batches are in place before the clock starts."""

    def __init__(self, config):
        import jax

        from data.pipeline import batch_at
        from train.devices import mesh
        from train.experiment import build_experiment
        from train.program import initial_state, step_program

        self.experiment = experiment = build_experiment(config)
        devices = mesh.make_mesh(config.mesh.to_dict(), config.cpu_devices)
        place = mesh.share(devices, config.batch_size).place
        read = functools.partial(batch_at, experiment.dataset.train, batch_size=config.batch_size, seed=config.seed)
        self.batch = lambda step: place(read(step))
        init_key, self.key, _ = jax.random.split(jax.random.key(config.seed), 3)  # as train/loop.py does
        self.program = step_program(experiment, devices, print)
        self.state, self.step = initial_state(experiment, devices, init_key, self.batch(0)), 0

    def seconds(self, steps: int) -> float:
        """Seconds a step of the next `steps` steps, dispatched one after the other."""
        import jax
        import numpy as np

        todo = range(self.step, self.step + steps)
        inputs = [(self.batch(i), np.float32(self.experiment.schedule(i))) for i in todo]
        jax.block_until_ready(inputs)
        start = time.perf_counter()
        for batch, rate in inputs:
            self.state, metrics = self.program(self.state, batch, self.key, rate)
        jax.block_until_ready(metrics)
        self.step += steps
        return (time.perf_counter() - start) / steps


if __name__ == "__main__":
    main()
