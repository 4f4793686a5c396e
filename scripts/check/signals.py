"""Signals at every phase of a run: it ends without a traceback, and the same command again ends where it should.

    uv run python -m scripts.check.signals [--only SIGTERM checkpoint …]

The signal comes when the process first calls the function that begins a phase.  Then the same command is given again,
and must end, bit for bit, where an undisturbed run ends.  Prints signal, phase, how the process ended, and whether the
second ended equal; exits with 1 after a traceback or another end.
"""

import argparse
import pathlib
import signal
import subprocess
import sys
import tempfile

from scripts.check.kill import ROOT, STEPS, same_arrays
from train.signals import EXIT_INTERRUPTED

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")
PHASES = {  # the end of a file's path, a function of it
    "imports": ("jax/__init__.py", "<module>"),
    "config": ("train/configs.py", "config_of"),
    "data": ("train/experiment.py", "check_records"),
    "folder": ("train/record.py", "open_folder"),
    "state": ("train/program.py", "initial_state"),
    "compile": ("train/program.py", "compile"),
    "step": ("train/loop.py", "flush"),
    "evaluation": ("train/loop.py", "evaluate"),
    "checkpoint": ("train/checkpoint.py", "save"),
    "record": ("train/record.py", "write"),
}
PAGE = "markov_gpt"
COMMON = {"steps": STEPS, "log_every": 10, "checkpoint.every": 40, "eval.every": 45, "schedule.warmup": 20}
SENDS = """
import os, runpy, signal, sys
_, number, file, function, *line = sys.argv
def called(frame, event, _):
    code = frame.f_code
    if event == "call" and code.co_name == function and code.co_filename.endswith(file):
        sys.setprofile(None)
        os.kill(os.getpid(), int(number))
for each in signal.SIGINT, signal.SIGHUP:  # ignored in the background and under nohup
    signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
sys.argv = ["train", *line]
sys.setprofile(called)
runpy.run_module("train", run_name="__main__", alter_sys=True)
"""


def main(argv: list[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--only", nargs="+", metavar="NAME", default=[*SIGNALS, *PHASES], help="signals and phases")
    only = flags.parse_args(argv).only
    failed = count = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        run([sys.executable, "-m", "train"], folder / "whole")
        for named in [each for each in SIGNALS if each in only] or SIGNALS:
            for phase in [each for each in PHASES if each in only] or PHASES:
                workdir, number = folder / f"{named}_{phase}", signal.Signals[named]
                first = run([sys.executable, "-c", SENDS, str(int(number)), *PHASES[phase]], workdir)
                again = run([sys.executable, "-m", "train"], workdir)
                clean = "Traceback" not in first.stderr + again.stderr
                ends = {-number, 128 + number, EXIT_INTERRUPTED}
                equal = again.returncode == 0 and same(workdir, folder / "whole")
                good = clean and equal and first.returncode in ends
                count, failed = count + 1, failed + (not good)
                said = (first.stderr.strip().split("\n") or [""])[-1].replace(str(workdir), "WORKDIR")
                print(f"{named:<8} {phase:<11} {'ok' if good else 'WRONG':<6}{first.returncode:>4}  {said}", flush=True)
    print(f"{count} signals, {failed} wrong")
    return int(failed > 0)


def run(command: list[str], workdir: pathlib.Path) -> subprocess.CompletedProcess:
    line = [*command, "--config", PAGE, "--workdir", str(workdir)]
    line += [f"--config.{key}={value}" for key, value in COMMON.items()]
    return subprocess.run(line, cwd=ROOT, text=True, capture_output=True, check=False)


def same(a: pathlib.Path, b: pathlib.Path) -> bool:
    return (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes() and same_arrays(a, b)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
