"""Kills training at random moments and checks that it ends, bit for bit, where the undisturbed run ends.

    uv run python -m scripts.check.kill [--kills 10] [--steps 200] [--seed 0] [--processes 1] [NETWORK ...]

Each network is a config page, with a checkpoint every 10 steps and every step logged.  It runs once undisturbed,
and once with `kill -9` at random steps: each time a little after the log shows the step, so that kills fall into
steps, checkpoints and evaluations alike.  With several processes each kill takes a random
one of them, and the undisturbed run has as many.  Then the last checkpoint's arrays (parameters, model state,
optimizer state) and metrics.jsonl of the two are compared.  Exits with 1 where they differ.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from tests.support.processes import ROOT, children, last_step
from tests.support.runs import same_arrays

PAGES = {"gpt": "markov_gpt", "resnet": "mnist_resnet", "vae": "mnist_vae", "gan": "ring_gan", "rbm": "digits_rbm"}
COMMON = {"log_every": 1, "checkpoint.every": 10, "eval.every": 45, "schedule.warmup": 20}


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("networks", metavar="NETWORK", nargs="*", help=f"of {', '.join(PAGES)}; default: all")
    flags.add_argument("--kills", type=int, default=10)
    flags.add_argument("--steps", type=int, default=200)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--processes", type=int, default=1)
    options = flags.parse_args()
    equal = []
    print(f"{'network':<8} {'kills':>5}  {'equal':<5} {'seconds':>7}  killed at step (of {options.steps})")
    for network in options.networks or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            since = time.monotonic()
            rng = random.Random(f"{network} {options.seed}")
            steps, same = check(network, pathlib.Path(folder), options.kills, options.steps, rng, options.processes)
            equal.append(same and len(steps) == options.kills)
            seconds = time.monotonic() - since
            print(f"{network:<8} {len(steps):>5}  {'yes' if same else 'NO':<5} {seconds:>7.0f}  {steps}", flush=True)
    return 0 if all(equal) else 1


def check(
    network: str, folder: pathlib.Path, kills: int, of: int, rng: random.Random, processes: int
) -> tuple[list[int], bool]:
    """The steps, `of` so many, at which the run was killed, and whether it ended as the undisturbed one."""
    whole, victim = folder / "whole", folder / "victim"
    finish(start(network, whole, processes, of))
    steps = []
    process = start(network, victim, processes, of)
    for target in sorted(rng.sample(range(1, of - 2 * kills), kills)):
        target = max(target, last_step(victim) + 1)  # beyond what an earlier start has logged
        while process.poll() is None and last_step(victim) < target:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        if processes > 1:
            ranks = children(process.pid)
            if len(ranks) == processes and kill(rng.choice(ranks)):
                steps.append(last_step(victim))
                while len(children(process.pid)) == processes and ranks == children(process.pid):
                    time.sleep(0.001)
            continue
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            steps.append(last_step(victim))
        process = start(network, victim, processes, of)
    finish(process)
    log = "metrics.jsonl"
    return steps, (whole / log).read_bytes() == (victim / log).read_bytes() and same_arrays(whole, victim)


def start(network: str, workdir: pathlib.Path, processes: int, steps: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "train"]
    if processes > 1:
        command = [
            sys.executable,
            "-m",
            "train",
            "supervise",
            "--processes",
            str(processes),
            "--retries",
            "30",
            "--",
        ]
    command += ["--config", PAGES[network], "--workdir", str(workdir)]
    command += [f"--config.{key}={value}" for key, value in {"steps": steps, **COMMON}.items()]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"training failed: {errors}")


if __name__ == "__main__":
    sys.exit(main())
