"""Is a run the same on other hosts?  It is stopped on one layout and goes on on another.

    uv run python -m scripts.check.hosts [PAGE ...] [--first NAME] [--layouts NAME ...] [--namespaces]

The first half of each run is trained by 4 processes of 2 devices, or by those of --first, and ended by SIGTERM to one
of them; each layout then goes on from a copy of that folder.  A cell is the largest relative difference of any logged
loss from that of one device that was never stopped.  With --namespaces (root only) 2 processes in two network
namespaces, joined by a virtual cable, train the page too: with nothing in common but the cable and the folder.
Pages are those that Adam trains.  Exits with 1 where a difference is over 1e-5, or where a process ends otherwise than
it should.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

from scripts.check.parallel import ALLOWED
from tests.support.processes import ROOT, children, last_step
from train.signals import EXIT_INTERRUPTED
from train.writer import read_log

STEPS, HALF = 40, 20
COMMON = {"steps": STEPS, "batch_size": 64, "log_every": 1, "eval.every": 15, "checkpoint.every": 10}
COMMON |= {"schedule.warmup": 5, "mesh.fsdp": 2}
COMMON |= {"optim.eps": 1e-6}  # Adam divides a gradient that is only rounding by its own size, and makes it a step
LAYOUTS = {  # processes, devices of each, further changes
    "4 × 2": (4, 2, {}),
    "1 × 8": (1, 8, {}),
    "2 × 4": (2, 4, {"mesh.fsdp": 4}),
    "2 × 2": (2, 2, {}),
    "1 × 4": (1, 4, {"mesh.fsdp": 4}),
    "2 × 1": (2, 1, {"mesh.fsdp": 1}),
    "1 × 2": (1, 2, {}),
}
NODES = ("isoflop0", "isoflop1")  # network namespaces
ADDRESS = "10.77.0."


def main(argv: list[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("pages", nargs="*", default=["markov_gpt"], metavar="PAGE")
    flags.add_argument("--first", choices=list(LAYOUTS), default="4 × 2", metavar="NAME")
    flags.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS), metavar="NAME")
    flags.add_argument("--namespaces", action="store_true")
    options = flags.parse_args(argv)
    worst = 0.0
    for page in options.pages:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            whole = folder / "whole"
            finish(start(page, whole, 1, 1, {"mesh.fsdp": 1}))
            first = stop_half_way(page, folder / "first", options.first)
            for layout in options.layouts:
                workdir = folder / layout.replace(" ", "")
                shutil.copytree(first, workdir)
                said = finish(start(page, workdir, *LAYOUTS[layout]))
                if not re.search(r"resuming at step [1-9]", said) or "cannot be read" in said:
                    sys.exit(f"{page}, {layout}: it did not go on from the checkpoint: {said}")
                worst = max(worst, report(page, f"{options.first}, then {layout}", whole, workdir))
            if options.namespaces:
                workdir = folder / "namespaces"
                with_namespaces(page, workdir)
                worst = max(worst, report(page, "2 namespaces", whole, workdir))
    print(f"largest difference {worst:.1e}")
    return int(not worst <= ALLOWED)


def command(page: str, workdir: pathlib.Path, devices: int, changes: dict) -> list[str]:
    values = {**COMMON, "cpu_devices": devices, **changes}
    flags = [f"--config.{key}={value}" for key, value in values.items()]
    return ["--config", page, "--workdir", str(workdir), *flags]


def start(page: str, workdir: pathlib.Path, processes: int, devices: int, changes: dict) -> subprocess.Popen:
    front = ["train"] if processes == 1 else ["train", "supervise", "--processes", str(processes), "--"]
    return launch([sys.executable, "-m", *front, *command(page, workdir, devices, changes)])


def launch(line: list[str]) -> subprocess.Popen:
    return subprocess.Popen(line, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen, code: int = 0) -> str:
    output, _ = process.communicate()
    if process.returncode != code:
        sys.exit(f"exit code {process.returncode} instead of {code}: {output[-2000:]}")
    return output


def stop_half_way(page: str, workdir: pathlib.Path, layout: str) -> pathlib.Path:
    process = start(page, workdir, *LAYOUTS[layout])
    while process.poll() is None and last_step(workdir) < HALF:
        time.sleep(0.01)
    os.kill(children(process.pid)[-1], signal.SIGTERM)  # one host is preempted; all stop at the same step
    finish(process, EXIT_INTERRUPTED)
    return workdir


def report(page: str, layout: str, whole: pathlib.Path, other: pathlib.Path) -> float:
    a, b = (read_log(path) for path in (whole, other))
    if [(row["step"], row["split"]) for row in a] != [(row["step"], row["split"]) for row in b]:
        sys.exit(f"{page}, {layout}: other steps were logged")
    left, right = (np.array([row["loss"] for row in rows]) for rows in (a, b))
    difference = float(np.max(np.abs(left - right) / np.maximum(np.abs(left), 1e-3)))
    print(f"{page:<16} {layout:<20} {difference:>8.1e}", flush=True)
    return difference


def with_namespaces(page: str, workdir: pathlib.Path) -> None:
    """One process on each of two hosts; the second is killed once, and both go on."""
    with two_hosts() as inside:
        hosts = []
        for i in range(2):
            nodes = ["--nodes", "2", "--node", str(i), "--coordinator", f"{ADDRESS}1:8476"]
            line = [sys.executable, "-m", "train", "supervise", *nodes, "--", *command(page, workdir, 1, {})]
            hosts.append(launch([*inside[i], *line]))
        while hosts[1].poll() is None and last_step(workdir) < HALF:
            time.sleep(0.01)
        os.kill(children(hosts[1].pid)[0], signal.SIGKILL)
        for host in hosts:
            finish(host)


@contextlib.contextmanager
def two_hosts() -> Iterator[list[list[str]]]:
    """Two network namespaces, joined by a virtual cable; what to put before a command to run it in each."""
    ip = lambda line: subprocess.run(["ip", *line.split()], check=True, capture_output=True)
    try:
        for name in NODES:
            ip(f"netns add {name}")
        ip(f"link add cable0 netns {NODES[0]} type veth peer name cable1 netns {NODES[1]}")
        for i, name in enumerate(NODES):
            hosts_file = pathlib.Path(f"/etc/netns/{name}/hosts")  # what `ip netns exec` shows as /etc/hosts
            hosts_file.parent.mkdir(parents=True, exist_ok=True)
            hosts_file.write_text(f"127.0.0.1 localhost\n{ADDRESS}{i + 1} {socket.gethostname()}\n")
            ip(f"-n {name} addr add {ADDRESS}{i + 1}/24 dev cable{i}")
            ip(f"-n {name} link set cable{i} up")
            ip(f"-n {name} link set lo up")
        yield [["ip", "netns", "exec", name] for name in NODES]
    finally:
        for name in NODES:
            subprocess.run(["ip", "netns", "delete", name], check=False)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
