"""Signals at every phase of a run: it ends without a traceback, and the same command again ends where it should.

    uv run python -m scripts.check.signals [--only SIGTERM checkpoint …]

The signal comes when the process first calls the function that begins a phase.  Then the same command is given again,
and must end, bit for bit, where an undisturbed run ends.  Prints signal, phase, how the process ended, and whether the
second ended equal; exits with 1 after a traceback or another end.
"""

import argparse
import functools
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple

from scripts.check.kill import STEPS
from scripts.check.operations import send_at
from tests.support.forks import Training, nothing
from tests.support.processes import ROOT
from tests.support.runs import same_arrays
from train.signals import EXIT_INTERRUPTED

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")
PHASES = {  # the end of a file's path, a function of it
    "imports": ("jax/__init__.py", "<module>"),
    "config": ("train/configs.py", "config_of"),
    "data": ("train/experiment.py", "check_records"),
    "folder": ("train/record.py", "open_folder"),
    "state": ("train/program.py", "init_program"),
    "compile": ("train/program.py", "compile"),
    "step": ("train/loop.py", "flush"),
    "evaluation": ("train/loop.py", "evaluate"),
    "checkpoint": ("train/checkpoint.py", "save"),
    "record": ("train/record.py", "write"),
}
PAGE = "markov_gpt"
COMMON = {"steps": STEPS, "log_every": 10, "checkpoint.every": 40, "eval.every": 45, "schedule.warmup": 20}
IMPORTS = """
import runpy, signal, sys
from scripts.check.operations import send_at
_, number, file, function, *line = sys.argv
for each, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    signal.signal(each, handler)  # ignored in the background and under nohup
sys.argv = ["train", *line]
send_at(int(number), file, function)
runpy.run_module("train", run_name="__main__", alter_sys=True)
"""


class Ended(NamedTuple):
    code: int | None
    errors: str


def main(argv: list[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--only", nargs="+", metavar="NAME", default=[*SIGNALS, *PHASES], help="signals and phases")
    only = flags.parse_args(argv).only
    failed = count = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        train(folder / "whole")
        for named in [each for each in SIGNALS if each in only] or SIGNALS:
            for phase in [each for each in PHASES if each in only] or PHASES:
                workdir, number = folder / f"{named}_{phase}", signal.Signals[named]
                first, again = signalled(number, phase, workdir), train(workdir)
                clean = "Traceback" not in first.errors + again.errors
                ends = {-number, 128 + number, EXIT_INTERRUPTED}
                equal = again.code == 0 and same(workdir, folder / "whole")
                good = clean and equal and first.code in ends
                count, failed = count + 1, failed + (not good)
                said = (first.errors.strip().split("\n") or [""])[-1].replace(str(workdir), "WORKDIR")
                print(f"{named:<8} {phase:<11} {'ok' if good else 'WRONG':<6}{first.code:>4}  {said}", flush=True)
    print(f"{count} signals, {failed} wrong")
    return int(failed > 0)


def signalled(number: signal.Signals, phase: str, workdir: pathlib.Path) -> Ended:
    if phase != "imports":
        return train(workdir, functools.partial(send_at, int(number), *PHASES[phase]))
    command = [sys.executable, "-c", IMPORTS, str(int(number)), *PHASES[phase], *line(workdir)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    return Ended(done.returncode, done.stderr)


def train(workdir: pathlib.Path, first: Callable[[], object] = nothing) -> Ended:
    process = Training(line(workdir), first)
    _, errors = process.communicate()
    return Ended(process.returncode, errors)


def line(workdir: pathlib.Path) -> list[str]:
    return ["--config", PAGE, "--workdir", str(workdir), *(f"--config.{key}={value}" for key, value in COMMON.items())]


def same(a: pathlib.Path, b: pathlib.Path) -> bool:
    return (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes() and same_arrays(a, b)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
