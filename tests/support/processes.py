"""Runs as processes of their own."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def call(module: str, *arguments: str) -> tuple[int, str]:
    """The exit code of `python -m module …`, and all that it says."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def children(pid: int) -> list[int]:
    """Of Linux: the processes that `pid` started and that are not gone."""
    try:
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def last_step(workdir: pathlib.Path) -> int:
    """That the log shows, whose last line may be half written; 0 without any."""
    log = workdir / "metrics.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)
