"""Tables and logs of very many rows: what reading them costs, and the whole command that fits them."""

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np

from tests.support.processes import ROOT

RUNS, HEADER = 1000, "run_id,step,n_params,tokens,val_loss,lr,optimizer\n"
SECONDS, GIGABYTES = 60.0, 1.0  # that the command may take


def curves(folder: pathlib.Path, rows: int) -> None:
    """One CSV of the curves of a thousand runs."""
    rng, steps = np.random.default_rng(0), rows // RUNS
    with open(folder / "curves.csv", "w", encoding="utf-8") as file:
        file.write(HEADER)
        for run in range(RUNS):
            file.writelines(f"run-{run},{line}" for line in curve(run, steps, rng))


def curve(run: int, steps: int, rng: np.random.Generator) -> list[str]:
    n, noise = int(1e7 * 1.005**run), np.exp(0.002 * rng.standard_normal(steps))
    d = 1_000_000 * (1 + run % 7) * np.arange(1, steps + 1)
    loss = (1.7 + 400 / n**0.34 + 900 / d**0.3) * noise
    return [f"{k + 1},{n},{d[k]},{loss[k]:.6f},0.001,adamw\n" for k in range(steps)]


def files(folder: pathlib.Path, rows: int) -> None:
    """A CSV for each of a thousand runs."""
    rng = np.random.default_rng(0)
    for run in range(RUNS):
        text = "".join(curve(run, rows // RUNS, rng))
        (folder / f"run-{run}.csv").write_text(HEADER.removeprefix("run_id,") + text)


def lines(folder: pathlib.Path, rows: int) -> None:
    """JSON lines of a thousand runs."""
    rng = np.random.default_rng(0)
    with open(folder / "curves.jsonl", "w", encoding="utf-8") as file:
        for run in range(RUNS):
            for line in curve(run, rows // RUNS, rng):
                step, n, d, loss, lr, optimizer = line.strip().split(",")
                file.write(f'{{"run": "run-{run}", "step": {step}, "n_params": {n}, "tokens": {d}, "val_loss": {loss}, '
                           f'"lr": {lr}, "optimizer": "{optimizer}"}}\n')  # fmt: skip


def table(folder: pathlib.Path, rows: int) -> None:
    """One CSV whose every row is a run."""
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7, 9, rows), 10 ** rng.uniform(9, 11, rows)
    loss = (1.7 + 400 / n**0.34 + 900 / d**0.3) * np.exp(0.002 * rng.standard_normal(rows))
    with open(folder / "table.csv", "w", encoding="utf-8") as file:
        file.write("name,n_params,tokens,val_loss,seed\n")
        file.writelines(f"r{i},{n[i]:.0f},{d[i]:.0f},{loss[i]:.6f},{i % 3}\n" for i in range(rows))


SHAPES: dict[str, Callable[[pathlib.Path, int], None]] = {
    "curves in one CSV": curves, "a CSV a run": files, "JSON lines": lines, "a table of runs": table,
}  # fmt: skip


def large(rows: int, names: list[str]) -> int:
    """Fits tables of so many rows by the front door, and prints what that costs; how many cost too much."""
    bad = 0
    for name in names:
        with tempfile.TemporaryDirectory() as made:
            folder = pathlib.Path(made) / "logs"
            folder.mkdir()
            SHAPES[name](folder, rows)
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            for what, line in (
                ("read, columns and runs", [sys.executable, "-c", READ, str(folder)]),
                ("fit", [sys.executable, "-m", "scaling", "fit", str(folder), "--out", f"{made}/out"]),
                ("fit --last", [sys.executable, "-m", "scaling", "fit", str(folder), "--last", "--out", f"{made}/out"]),
            ):
                code, seconds, gigabytes, last = cost(line)
                slow = seconds > SECONDS or gigabytes > GIGABYTES
                bad += slow
                print(f"{name:<18} {rows:,} rows, {size:.0f} MB  {what:<22} {seconds:6.1f} CPU s  {gigabytes:.2f} GB"
                      f"{'  TOO MUCH' * slow}  {f'code {code}: {last}' if code else ''}", flush=True)  # fmt: skip
    return int(bad > 0)


READ = "import sys; from scaling.logs import readers, records; records.assign(readers.read(sys.argv[1:]))"


def cost(line: list[str]) -> tuple[int, float, float, str]:
    """Exit code, CPU seconds, GB at most, and the last line of a command."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(line, cwd=ROOT, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().strip().splitlines()
    return process.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, text[-1] if text else ""
