"""What the loop costs on top of the bare jitted step, and how long it waits for data.

    uv run python -m scripts.bench_loop [--config configs/shakespeare_gpt.py] [--rounds 6]

Each round trains through the loop (logs, writers, data, non-finite checks) and then runs the same compiled step in a
bare `for`, on one batch that is already in place; the overhead is the median of the rounds' ratios.
"""

import argparse
import functools
import pathlib
import random
import statistics
import string
import tempfile
import time

STEPS, CHUNK = 200, 20


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--config", default="configs/shakespeare_gpt.py")
    flags.add_argument("--rounds", type=int, default=6)
    options = flags.parse_args()

    from train import mesh
    from train.configs import config_of, load

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        config = config_of(load(options.config), [f"steps={STEPS}", f"log_every={CHUNK}"])
        if config.data.name == "text:file":
            config.data.path = str(work / "random.txt")
            text = random.Random(0).choices(string.printable[: config.model.vocab], k=200_000)
            (work / "random.txt").write_text("".join(text))
        mesh.set_up(config.cpu_devices)
        bare = bare_step(config)
        overhead, waits = [], []
        for i in range(options.rounds):
            seconds, wait = through_the_loop(config, work / f"run{i}")
            ratio = seconds / bare()
            overhead.append(ratio - 1)
            waits.append(wait)
            print(f"round {i + 1}: {seconds * 1e3:.2f} ms a step, {ratio - 1:+.1%} over the bare step, data {wait:.2%}")
    print(f"{options.config}: overhead {statistics.median(overhead):+.1%}, data wait {statistics.median(waits):.2%}")


def through_the_loop(config, workdir: pathlib.Path) -> tuple[float, float]:
    """Median seconds a step and share of the time that data took, without compilation and evaluation."""
    from train.display import Display
    from train.loop import train
    from train.writer import read_rows

    train(config, workdir, Display(quiet=True))
    rows = read_rows(workdir / "timing.jsonl")[1:]
    return tuple(statistics.median(row[key] for row in rows) for key in ("seconds_per_step", "data_wait"))


def bare_step(config):
    """A function that times the compiled step alone: the median over chunks of seconds a step."""
    import jax
    import numpy as np

    from data.pipeline import batch_at
    from train import mesh
    from train.experiment import build_experiment
    from train.program import Program
    from train.step import init_state, train_step

    experiment = build_experiment(config)
    devices = mesh.make_mesh(config.cpu_devices)
    batch = batch_at(experiment.dataset.train, 0, batch_size=config.batch_size, seed=config.seed)
    batch = mesh.batch_placer(devices)(batch)
    step = functools.partial(train_step, task=experiment.task, tx=experiment.tx)
    program = Program("train step", step, say=print, donate=(0,), options=mesh.compiler_options(devices))
    state = mesh.replicated(devices, init_state(experiment.task, experiment.tx, jax.random.key(0), batch))
    key = jax.random.key(1)

    def run() -> float:
        nonlocal state
        chunks = []
        for _ in range(STEPS // CHUNK):
            start = time.perf_counter()
            for _ in range(CHUNK):
                state, metrics = program(state, batch, key, np.float32(1))
            jax.block_until_ready(metrics)
            chunks.append((time.perf_counter() - start) / CHUNK)
        return statistics.median(chunks)

    run()
    return run


if __name__ == "__main__":
    main()
