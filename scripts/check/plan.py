"""How far a plan is from the truth on this machine: parameters, FLOPs, peak memory and step time.

    uv run python -m scripts.check.plan [PAGE ...]

Each page is planned (`python -m train plan --json`), and trained in a process of its own, on a few hundred steps.
The truth is:
parameters   the arrays of the trained state
FLOPs        products and convolutions of the compiled program
memory       state and batch, and how much the resident memory of a process grows, at its peak, during three steps (in
             brackets, how far off XLA's own plan is, which does not know what its libraries take beside)
step         the median of timing.jsonl
"""

import argparse
import json
import multiprocessing
import pathlib
import statistics
import subprocess
import sys
import tempfile

import jax
import numpy as np

from train import configs
from train.devices import mesh, runtime
from train.experiment import build_experiment
from train.files import read_rows
from train.program import initial_state, step_program
from train.writer import LAP

PAGES = ("digits_mlp", "mnist_lenet", "mnist_resnet", "markov_gpt", "text_gpt", "gpt_wide")
CHANGES = {  # too little to measure, or too long, as they are
    "digits_mlp": {"model.width": 4096, "batch_size": 1024},
    "mnist_lenet": {"batch_size": 2048},
    "mnist_resnet": {"batch_size": 512},
    "markov_gpt": {"batch_size": 256, "model.width": 64},
}


def main(argv: list[str]) -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("pages", nargs="*", default=list(PAGES), metavar="PAGE")
    print(f"{'page':<14}{'parameters':>12}{'FLOPs':>10}{'memory':>31}{'step':>26}")
    for page in flags.parse_args(argv).pages:
        name, changes = ("text_gpt", {"model.width": 512}) if page == "gpt_wide" else (page, CHANGES.get(page, {}))
        steps = {"steps": 60, "schedule.warmup": 1, "log_every": 5, "eval.every": 0}
        line = ["--config", name]
        line += [f"--config.{key}={value}" for key, value in {**changes, **steps}.items()]
        plan = json.loads(run("train", "plan", *line, "--json"))
        with tempfile.TemporaryDirectory() as folder:
            run("train", *line, "--workdir", folder)
            rows = read_rows(pathlib.Path(folder) / "timing.jsonl", LAP, "")
            record = json.loads((pathlib.Path(folder) / "record.json").read_text())
        step = statistics.median(row["seconds_per_step"] for row in rows[1:])
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            counted, grown = pool.apply(measure, (name, {**changes, **steps}))
        assert plan["params_total"] == record["params_total"] == counted, page
        in_brackets = f"({off(plan['xla_bytes'], grown)})"
        print(
            f"{page:<14}{counted:>12,}{off(plan['flops_per_step'], plan['flops_compiled']):>10}"
            f"{plan['peak_bytes'] / 1e6:>9.0f} MB {off(plan['peak_bytes'], grown):>8} {in_brackets:>8}"
            f"{plan['step_seconds_estimate'] * 1e3:>13.1f} ms {off(plan['step_seconds_estimate'], step):>8}",
            flush=True,
        )


def off(planned: float, true: float) -> str:
    return f"{planned / true - 1:+.1%}"


def run(*line: str) -> str:
    done = subprocess.run([sys.executable, "-m", *line], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def measure(page: str, changes: dict) -> tuple[int, float]:
    """Parameters of the state, and bytes by which the process grew while it trained a few steps."""
    config = configs.load(page).get_config()
    config.update_from_flattened_dict(changes)
    runtime.set_up()
    experiment, devices = build_experiment(config), mesh.make_mesh()
    program = step_program(experiment, devices, print)
    key = jax.random.key(0)

    batch = zeros(experiment, devices, config)
    state = initial_state(experiment, devices, key, batch)

    def steps() -> None:
        nonlocal state
        for _ in range(3):  # one after the other: a CPU gives a step its memory when it is dispatched
            state, _ = jax.block_until_ready(program(state, batch, key, np.float32(0)))

    steps()  # code and threads are in memory from here on
    grown = [runtime.grown(steps) for _ in range(3)]
    if None in grown:
        raise OSError("this check reads the memory of a process from /proc, as Linux has it; there is none here")
    held = sum(leaf.nbytes for leaf in jax.tree.leaves((state, batch)))
    return sum(leaf.size for leaf in jax.tree.leaves(state.params)), statistics.median(grown) + held


def zeros(experiment, devices, config) -> dict:
    batch = {name: np.zeros(value.shape, value.dtype) for name, value in experiment.batch.items()}
    return mesh.share(devices, config.batch_size).place(batch)


if __name__ == "__main__":
    main(sys.argv[1:])
