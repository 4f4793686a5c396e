"""Several processes on one work folder: does one of them train, do the others say who, and is nothing lost?

    uv run python -m scripts.check.owners [CASE ...]

    two, five                     so many commands at once in an empty folder
    killed, stopped               the owner, by SIGKILL and by SIGSTOP, and another command on the same host
    far killed, far stopped       the owner on another host; a stopped one goes on after another has taken over
    clock back, clock ahead       the time stamps of the owner's file move by ten years, on the same and another host

Another host is a network, process and host-name namespace of its own (root only).  Each case ends with the run finished
and compared, bit for bit, with an undisturbed one.  Exits with 1 where one is not as it should be.
"""

import argparse
import functools
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from scripts.check.kill import STEPS
from tests.support.forks import Training
from tests.support.processes import ROOT, children, last_step
from tests.support.runs import same_arrays
from train.owner import BEAT, NAME

PAGE = "markov_gpt"
COMMON = {"steps": STEPS, "log_every": 1, "checkpoint.every": 10, "eval.every": 45, "schedule.warmup": 20}
FAR = ["unshare", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
FAR += ["sh", "-c", 'hostname far; exec "$@"', "sh"]
YEARS = 10 * 365 * 86400.0
BUSY, TAKEN = r"process (\d+) on (\S+) is training here", r"has taken over .* stopped before it wrote there"


class Wrong(Exception):
    """A case is not as it should be."""


def main(argv: list[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all")
    options = flags.parse_args(argv)
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        whole = pathlib.Path(name) / "whole"
        end(start(whole), 0)
        for case in options.cases or CASES:
            workdir, since = pathlib.Path(name) / case.replace(" ", "_"), time.monotonic()
            try:
                said = CASES[case](workdir)
                check_equal(workdir, whole)
            except Wrong as wrong:
                failed, said = failed + 1, f"WRONG: {wrong}"
            print(f"{case:<12}{time.monotonic() - since:>5.0f} s  {said}", flush=True)
    return int(failed > 0)


def at_once(count: int, workdir: pathlib.Path) -> str:
    outputs = [(process, *process.communicate()) for process in [start(workdir) for _ in range(count)]]
    trained = [process.pid for process, _, _ in outputs if process.returncode == 0]
    busy = [re.search(BUSY, errors) for process, _, errors in outputs if process.returncode == 2]
    if len(trained) != 1 or len(busy) != count - 1 or any(b is None or int(b[1]) != trained[0] for b in busy):
        raise Wrong([(process.returncode, errors[-300:]) for process, _, errors in outputs])
    return f"1 trained, {count - 1} said that it does, and its number"


def on_this_host(what: signal.Signals, workdir: pathlib.Path) -> str:
    owner = training(workdir)
    os.kill(owner.pid, what)
    if what == signal.SIGKILL:
        owner.communicate()
        end(start(workdir), 0)
        return "the next command went on at once"
    refused(workdir, owner.pid)
    os.kill(owner.pid, signal.SIGCONT)
    end(owner, 0)
    return "the other command said who; the owner went on"


def elsewhere(what: signal.Signals, workdir: pathlib.Path) -> str:
    owner = training(workdir, far)
    inner = children(owner.pid)[0]
    os.kill(inner, what)
    since = time.monotonic()
    said = end(start(workdir), 0)
    seconds = time.monotonic() - since
    if seconds < 60 or "waiting up to 60 s for a sign of life" not in said:
        raise Wrong(f"the next command took over after {seconds:.0f} s: {said[-300:]}")
    if what == signal.SIGSTOP:
        os.kill(inner, signal.SIGCONT)
        said = end(owner, 2)
        if not re.search(TAKEN, said):
            raise Wrong(said[-300:])
        return "taken over after 60 s without a sign of life; the former owner stopped before it wrote"
    owner.communicate()
    return "taken over after 60 s without a sign of life"


def clock(by: float, workdir: pathlib.Path) -> str:
    """The owner goes on while its stamp is set: stopped on this host, alive on the other, and heard of again."""
    owner = training(workdir)
    os.kill(owner.pid, signal.SIGSTOP)
    stamp(workdir, by)
    refused(workdir, owner.pid)
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()
    owner = training(workdir, far)
    inner = children(owner.pid)[0]
    os.kill(inner, signal.SIGSTOP)  # so that it does not end before the other has come
    stamp(workdir, by)
    other = start(workdir)
    while "waiting up to" not in other.printed()[0]:
        if other.poll() is not None:
            raise Wrong(other.communicate())
        time.sleep(0.05)
    time.sleep(BEAT + 1)  # a stamp is due, so that it comes before the run ends
    before = stamps(workdir)
    os.kill(inner, signal.SIGCONT)
    while stamps(workdir) == before and owner.poll() is None:
        time.sleep(0.001)
    os.kill(inner, signal.SIGSTOP)
    said = end(other, 2)
    os.kill(inner, signal.SIGCONT)
    if not re.search(BUSY, said):
        raise Wrong(said[-300:])
    end(owner, 0)
    return "the other command said who, on the same host and on another"


def stamps(workdir: pathlib.Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in workdir.glob(f"{NAME}*")]


def stamp(workdir: pathlib.Path, by: float) -> None:
    for path in workdir.glob(f"{NAME}*"):
        now = time.time() + by
        os.utime(path, (now, now))


def start(workdir: pathlib.Path) -> Training:
    return Training(line(workdir))


def line(workdir: pathlib.Path) -> list[str]:
    return ["--config", PAGE, "--workdir", str(workdir), *(f"--config.{key}={value}" for key, value in COMMON.items())]


def far(workdir: pathlib.Path) -> subprocess.Popen:
    command = [*FAR, sys.executable, "-m", "train", *line(workdir)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def training(workdir: pathlib.Path, begin: Callable[[pathlib.Path], Any] = start) -> Any:
    """An owner in the midst of its steps."""
    before, process = last_step(workdir), begin(workdir)
    while last_step(workdir) < before + 15:
        if process.poll() is not None:
            raise Wrong(process.communicate()[1][-300:])
        time.sleep(0.005)
    return process


def end(process: subprocess.Popen | Training, code: int) -> str:
    output, errors = process.communicate()
    if process.returncode != code or "Traceback" in errors:
        raise Wrong(f"exit code {process.returncode} instead of {code}: {errors[-500:]}")
    return output + errors


def refused(workdir: pathlib.Path, owner: int) -> None:
    said = re.search(BUSY, end(start(workdir), 2))
    if said is None or int(said[1]) != owner:
        raise Wrong(f"the owner {owner} was not named")


def check_equal(workdir: pathlib.Path, whole: pathlib.Path) -> None:
    logs = [(folder / "metrics.jsonl").read_bytes() for folder in (workdir, whole)]
    if logs[0] != logs[1] or not same_arrays(workdir, whole):
        raise Wrong("it did not end where the undisturbed run ends")
    if left := list(workdir.glob(f"{NAME}*")):
        raise Wrong(f"{left} was left behind")


CASES: dict[str, Callable[[pathlib.Path], str]] = {
    "two": functools.partial(at_once, 2),
    "five": functools.partial(at_once, 5),
    "killed": functools.partial(on_this_host, signal.SIGKILL),
    "stopped": functools.partial(on_this_host, signal.SIGSTOP),
    "far killed": functools.partial(elsewhere, signal.SIGKILL),
    "far stopped": functools.partial(elsewhere, signal.SIGSTOP),
    "clock back": functools.partial(clock, -YEARS),
    "clock ahead": functools.partial(clock, YEARS),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
