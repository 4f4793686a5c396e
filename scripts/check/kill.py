"""Kills training at random moments and checks that it ends, bit for bit, where the undisturbed run ends.

    uv run python -m scripts.check.kill [--kills 10] [--steps 200] [--seed 0] [--processes 1] [NETWORK ...]

Each network is a config page, with a checkpoint every 10 steps and every step logged.  It runs once undisturbed,
and once with `kill -9`.  Half of the kills come in the midst of a random operation on a file of the work folder, and
leave half of what it wrote (the last one while the end of the run is written); half come at random steps: a little
after the log shows the step, so that kills fall into steps, checkpoints and evaluations alike.  With several processes
each kill takes a random one of them at a random step, and the undisturbed run has as many.  Then the last checkpoint's
arrays (parameters, model state, optimizer state) and metrics.jsonl of the two are compared.  Exits with 1 where they
differ, and where a start after a kill ended in a traceback.
"""

import argparse
import functools
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from scripts.check.operations import kill_at
from tests.support.forks import Training, nothing
from tests.support.processes import ROOT, children, last_step
from tests.support.runs import same_arrays

PAGES = {"gpt": "markov_gpt", "resnet": "mnist_resnet", "vae": "mnist_vae", "gan": "ring_gan", "rbm": "digits_rbm"}
PAGES |= {"gru": "adding_gru"}
STEPS = 200
COMMON = {"log_every": 1, "checkpoint.every": 10, "eval.every": 45, "schedule.warmup": 20}
OPERATIONS = 60  # a start makes more before its first checkpoint is whole
LAST = ("record.json", "sums.json", "metrics.csv", "run.html")  # written at the end, a few operations each


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("networks", metavar="NETWORK", nargs="*", help=f"of {', '.join(PAGES)}; default: all")
    flags.add_argument("--kills", type=int, default=10)
    flags.add_argument("--steps", type=int, default=STEPS)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--processes", type=int, default=1)
    options = flags.parse_args()
    equal = []
    print(f"{'network':<8} {'kills':>5}  {'equal':<5} {'seconds':>7}  killed at step (of {options.steps}), or in")
    for network in options.networks or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            since = time.monotonic()
            rng = random.Random(f"{network} {options.seed}")
            kills, same = check(network, pathlib.Path(folder), options.kills, options.steps, rng, options.processes)
            equal.append(same and len(kills) == options.kills)
            seconds = time.monotonic() - since
            shown = ", ".join(map(str, kills))
            print(f"{network:<8} {len(kills):>5}  {'yes' if same else 'NO':<5} {seconds:>7.0f}  {shown}", flush=True)
    return 0 if all(equal) else 1


def check(
    network: str, folder: pathlib.Path, kills: int, of: int, rng: random.Random, processes: int
) -> tuple[list[str], bool]:
    """Where the run, `of` so many steps, was killed, and whether it ended as the undisturbed one."""
    whole, victim = folder / "whole", folder / "victim"
    finish(start(network, whole, processes, of))
    torn = kills // 2 if processes == 1 else 0
    said = [torn_at(network, victim, of, rng.randint(1, OPERATIONS)) for _ in range(torn - 1)]
    steps = kills - torn
    said += (of_one if processes == 1 else of_several)(network, victim, of, rng, steps, processes)
    if torn:
        said.append(torn_at(network, victim, of, rng.randint(1, 6), LAST))
    finish(start(network, victim, processes, of))
    log = "metrics.jsonl"
    same = (whole / log).read_bytes() == (victim / log).read_bytes() and same_arrays(whole, victim)
    return [each for each in said if each], same


def torn_at(network: str, victim: pathlib.Path, of: int, count: int, names: tuple[str, ...] = ("",)) -> str:
    """The operation in which the run was killed; empty where it ended before."""
    first = functools.partial(kill_at, count, str(victim), names)
    process = Training(line(network, victim, of), first)
    _, errors = process.communicate()
    if process.returncode == -signal.SIGKILL:
        return errors.strip().split("\n")[-1].removeprefix("killed: ")
    finish(process)
    return ""


def of_one(network: str, victim: pathlib.Path, of: int, rng: random.Random, kills: int, processes: int) -> list[str]:
    said = []
    for target in sorted(rng.sample(range(1, of - 2 * kills), kills)):
        process = start(network, victim, processes, of)
        await_step(process, victim, target)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            finish(process)
            break
        said.append(str(last_step(victim)))
    return said


def of_several(
    network: str, victim: pathlib.Path, of: int, rng: random.Random, kills: int, processes: int
) -> list[str]:
    """One of the processes that `supervise` starts again."""
    said, process = [], start(network, victim, processes, of)
    for target in sorted(rng.sample(range(1, of - 2 * kills), kills)):
        await_step(process, victim, target)
        ranks = children(process.pid)
        if len(ranks) == processes and kill(rng.choice(ranks)):
            said.append(str(last_step(victim)))
            while len(children(process.pid)) == processes and ranks == children(process.pid):
                time.sleep(0.001)
    finish(process)
    return said


def await_step(process: "subprocess.Popen | Training", victim: pathlib.Path, target: int) -> None:
    target = max(target, last_step(victim) + 1)  # beyond what an earlier start has logged
    while process.poll() is None and last_step(victim) < target:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.02))


def start(network: str, workdir: pathlib.Path, processes: int, steps: int) -> "subprocess.Popen | Training":
    if processes == 1:
        return Training(line(network, workdir, steps), nothing)
    command = [sys.executable, "-m", "train", "supervise", "--processes", str(processes), "--retries", "30", "--"]
    command += line(network, workdir, steps)
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def line(network: str, workdir: pathlib.Path, steps: int) -> list[str]:
    changes = {"steps": steps, **COMMON}
    settings = [f"--config.{key}={value}" for key, value in changes.items()]
    return ["--config", PAGES[network], "--workdir", str(workdir), *settings]


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False


def finish(process: "subprocess.Popen | Training") -> None:
    _, errors = process.communicate()
    if process.returncode or "Traceback" in errors:
        sys.exit(f"training failed: {errors}")


if __name__ == "__main__":
    sys.exit(main())
