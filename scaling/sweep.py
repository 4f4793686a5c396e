"""Runs the jobs of a design on a pool of processes that stay warm, one folder a run.

A run is done when its folder holds a record, so a second launch does only what is missing, and an interrupted run goes
on from its checkpoint.  A job that fails is tried once more, then reported; it never stops the others.
"""

import concurrent.futures as futures
import json
import multiprocessing
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from train import configs, record
from train.errors import UserError
from train.signals import Interrupt, Interrupted

ATTEMPTS = 2


class Outcome(NamedTuple):
    rows: list[dict[str, Any]]  # records of the finished runs, in the order of the jobs, with the job's budget
    failed: dict[str, str]  # name → reason


def sweep(
    path: str,
    jobs: Sequence[Any],
    workdir: pathlib.Path,
    *,
    workers: int,
    say: Callable[[str], None],
    overrides: Sequence[str] = (),
) -> Outcome:
    """Makes every run of `jobs` that `workdir`/runs lacks, the longest first, and writes `workdir`/runs.jsonl.

    `overrides` are changes of the config at `path` for every run, "key=value" each; a job's own come after them.
    """
    folder = workdir / "runs"
    record.make_folder(folder)
    waiting = sorted((j for j in jobs if not record.read(folder / j.name)), key=lambda j: -j.flops)
    if len(waiting) < len(jobs):
        say(f"{len(jobs) - len(waiting)} of {len(jobs)} runs are done already")
    failed: dict[str, str] = {}
    progress = Progress(jobs, folder, waiting, say)
    for attempt in range(ATTEMPTS):
        failed = run_all(path, list(overrides), waiting, folder, workers, progress) if waiting else {}
        waiting = [j for j in waiting if j.name in failed]
        if waiting and attempt + 1 < ATTEMPTS:
            say(f"trying {len(waiting)} failed runs once more: {', '.join(j.name for j in waiting)}")
    rows = [{**row, "budget": j.budget} for j in jobs if (row := record.read(folder / j.name))]
    write_rows(workdir / "runs.jsonl", rows)
    return Outcome(rows, failed)


def run_all(
    path: str,
    overrides: list[str],
    waiting: Sequence[Any],
    folder: pathlib.Path,
    workers: int,
    progress: "Progress",
) -> dict[str, str]:
    """One attempt at each job; returns the reasons of those that failed."""
    failed: dict[str, str] = {}
    context = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork
    cores = context.Queue()
    for core in range(workers):
        cores.put(core)
    pool = futures.ProcessPoolExecutor(min(workers, len(waiting)), context, start_worker, (cores, workers))
    with Interrupt() as interrupt, pool:
        submitted = {pool.submit(run_one, path, overrides, j.overrides, str(folder / j.name)): j for j in waiting}
        pending = set(submitted)
        while pending:
            done, pending = futures.wait(pending, timeout=0.2, return_when=futures.FIRST_COMPLETED)
            for future in done:
                name = submitted[future].name
                try:
                    progress.finished(name, future.result())
                except (Interrupted, futures.CancelledError):
                    interrupt.requested = True
                except BrokenProcessPool:
                    failed[name] = "its process died"
                except Exception as error:
                    failed[name] = str(error).strip().split("\n")[0] or type(error).__name__
                    progress.say(f"failed: {name}: {failed[name]}")
            if interrupt.requested:
                stop(pool)
    if interrupt.requested:
        raise Interrupted(f"stopped; what is running was saved in {folder}; the same command goes on")
    return failed


def stop(pool: futures.ProcessPoolExecutor) -> None:
    """Asks the running jobs to save and stop, and drops the rest."""
    for process in list((pool._processes or {}).values()):  # the only handle on the workers that there is
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGTERM)
    pool.shutdown(wait=False, cancel_futures=True)


def start_worker(cores: Any, workers: int) -> None:
    """Gives each worker its share of the cores: small networks run faster on one thread each than on all of them."""
    threading.Thread(target=die_with_parent, daemon=True).start()
    from train import hosts, mesh

    hosts.own_cores(cores.get(), workers)
    mesh.set_up()


def die_with_parent() -> None:
    """A worker whose sweep was killed would train on in folders that the next sweep takes over."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def run_one(path: str, overrides: list[str], changes: dict[str, Any], workdir: str) -> dict[str, Any]:
    """One run, in a worker."""
    from scaling.design import with_overrides
    from train.display import Display
    from train.loop import train

    config = with_overrides(configs.config_of(configs.load(path), overrides), changes)
    return train(config, pathlib.Path(workdir), Display(quiet=True))


def write_rows(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
    temporary.replace(path)


class Progress:
    """A line for each finished run, with the time that the rest should take at the FLOPs a second so far."""

    def __init__(self, jobs: Sequence[Any], folder: pathlib.Path, waiting: Sequence[Any], say: Callable[[str], None]):
        self.say, self.total = say, len(jobs)
        self.flops = {j.name: j.flops for j in waiting}
        self.left, self.started, self.done = sum(self.flops.values()), time.monotonic(), len(jobs) - len(waiting)
        self.all = self.left

    def finished(self, name: str, row: dict[str, Any]) -> None:
        self.done += 1
        self.left -= self.flops[name]
        elapsed = time.monotonic() - self.started
        eta = elapsed * self.left / max(1.0, self.all - self.left)
        self.say(
            f"[{self.done:>2}/{self.total}] {name:<16} N {row['params_total']:>9,}  D {row['tokens_seen']:>11,}  "
            f"loss {row['loss']:.4f}  {row['wall_seconds']:>5.1f} s   left {eta / 60:.0f}:{eta % 60:02.0f}"
        )


def check(outcome: Outcome, workdir: pathlib.Path) -> None:
    """Raises where a run is missing from the table."""
    if outcome.failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.failed.items())
        raise UserError(
            f"{len(outcome.failed)} runs failed ({reasons}); the same command tries them again in {workdir}"
        )
