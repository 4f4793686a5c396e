"""Makes the runs of a design: a queue in a folder, workers that empty it, and a table of how far they are.

A run is done when its folder holds a record, so a second launch does only what is missing, and an interrupted run goes
on from its checkpoint.  A job that fails is tried once more, then reported; it never stops the others.
"""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from scaling.sweep.bucket import queue_class, queue_of
from scaling.sweep.design import with_overrides
from scaling.sweep.executors import Executor, executor
from scaling.sweep.queue import Queue, State, check_names, full, read_plan
from train import configs, record
from train.bucket import address_of
from train.errors import UserError
from train.files import write_rows
from train.numbers import clock
from train.signals import Interrupt, Interrupted

PAUSE = 0.2  # seconds between two looks at the folder, at least


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
    where: str = "local",
    options: Mapping[str, str] | None = None,
    live: bool = False,
) -> Outcome:
    """Makes every run of `jobs` that `workdir`/runs lacks, the longest first, and writes `workdir`/runs.jsonl.

    `overrides` are changes of the config at `path` for every run, "key=value" each; a job's own come after them.
    """
    if address_of(workdir) and where != "local":
        raise UserError(
            f"--executor {where} needs a --workdir that all hosts mount; of a sweep in a bucket give the same command "
            "on each host, with the local executor: they share its runs"
        )
    try:
        return made(path, jobs, workdir, workers, say, overrides, where, options or {}, live)
    except OSError as error:
        if sentence := full(error, workdir):
            raise UserError(sentence) from None
        raise


def made(
    path: str, jobs: Sequence[Any], workdir: pathlib.Path, workers: int, say: Callable[[str], None],
    overrides: Sequence[str], where: str, options: Mapping[str, str], live: bool,
) -> Outcome:  # fmt: skip
    """`sweep`, with every config resolved once: the page is not read again."""
    config = configs.config_of(configs.load(path), list(overrides))
    changed = {job.name: with_overrides(config, job.overrides) for job in jobs}
    check_names(jobs)
    for name, one in changed.items():
        if (workdir / "runs" / name / "config.json").exists():  # refuses a run of another config
            record.compare(record.read_config(workdir / "runs" / name), one, workdir / "runs" / name, say)
    resolved = {name: record.resolved(one) for name, one in changed.items()}
    queue = queue_class(workdir).open(workdir, path, overrides, jobs, resolved)
    if others := queue.others():
        count = f"{len(others)} run{'s' * (len(others) != 1)}"
        shown = ", ".join(others[:4]) + ", …" * (len(others) > 4)
        say(f"{queue.runs} also holds {count} that this plan does not name ({shown}): its table leaves them out")
    states = queue.states()
    missing = sum(state.what != "done" for state in states)
    if missing < len(jobs):
        say(f"{len(jobs) - missing} of {len(jobs)} runs are done already")
    progress = Progress(states, say, live)
    if missing:
        watch(queue, executor(where, queue, min(workers, missing), options), progress)
    states = queue.states()
    # The table is of the plan that lies in the folder: a later launch may have added runs to it.
    latest = queue.states() if read_plan(workdir)["launch"] == queue.launch else queue_of(workdir).states()
    write_rows(workdir / "runs.jsonl", [state.row for state in latest if state.row])
    queue.publish("runs.jsonl")
    rows = [state.row for state in states if state.row]
    return Outcome(rows, {s.job.name: s.reason for s in states if s.what == "failed"})


def watch(queue: Queue, workers: Executor, progress: "Progress") -> None:
    """Until every job is done or given up."""
    with Interrupt() as interrupt, progress:
        with workers:
            while not over(states := queue.states()) and not interrupt.requested:
                progress.show(states)
                queue.agree()
                try:
                    workers.tend()
                except FileNotFoundError:  # the folder may have gone since
                    queue.agree()
                    raise
                time.sleep(max(PAUSE, len(states) / 500))
            if interrupt.requested:
                workers.stop()
        states = queue.states()
        progress.show(states)
        if interrupt.requested and not over(states):
            raise Interrupted(f"stopped; what is running was saved in {queue.runs}; the same command goes on")


def over(states: Sequence[State]) -> bool:
    return all(state.what in ("done", "failed") for state in states)


class Progress:
    """A line for each run that ends; on a terminal also a table of those that run, kept up to date.

    The time left is that of the FLOPs that are left at the FLOPs a second so far.
    """

    def __init__(self, states: Sequence[State], say: Callable[[str], None], live: bool):
        self.say, self.total, self.started = say, len(states), time.monotonic()
        self.width = max([16, *(len(state.job.name) for state in states)])
        self.before = {state.job.name for state in states if state.what == "done"}
        self.done = set(self.before)
        self.failures: dict[str, int] = {}  # of each run, how many were said
        self.live = Table() if live else None

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.open()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.live:
            self.live.close()

    def show(self, states: Sequence[State]) -> None:
        left = self.left(states)
        for state in states:
            name, known = state.job.name, self.failures.get(state.job.name, 0)
            for i, reason in enumerate(state.reasons[known:], start=known + 1):  # two may come between two looks
                given_up = state.what == "failed" and i == len(state.reasons)
                self.say(f"failed: {name}: {reason}" + ("" if given_up else "; it is tried again"))
            self.failures[name] = len(state.reasons)
            if state.what == "done" and name not in self.done:
                self.done.add(name)
                self.say(self.line(state, left))
        if self.live:
            self.live.show(states, left)

    def left(self, states: Sequence[State]) -> float:
        """Seconds."""
        mine = [s for s in states if s.job.name not in self.before]
        done = sum(s.job.flops for s in mine if s.what == "done")
        rest = sum(s.job.flops for s in mine if s.what in ("running", "waiting"))
        return (time.monotonic() - self.started) * rest / done if done else float("nan")

    def line(self, state: State, left: float) -> str:
        row, count = state.row or {}, len(self.done)
        return (
            f"[{count:>2}/{self.total}] {state.job.name:<{self.width}} N {row['params_total']:>9,}  "
            f"D {row['tokens_seen']:>11,}  loss {loss(row)}  {row['wall_seconds']:>5.1f} s   left {clock(left)}"
        )


class Table:
    """The runs that are under way, on a terminal."""

    def open(self) -> None:
        from rich.live import Live

        self.live = Live(refresh_per_second=2)
        self.live.start()

    def show(self, states: Sequence[State], left: float) -> None:
        from rich.table import Table as Grid

        grid = Grid(box=None, title=summary(states, left), title_justify="left")
        for name in ("run", "state", "step", "where", "last failure"):
            grid.add_column(name)
        for state in states:
            if state.what in ("running", "failed"):
                grid.add_row(state.job.name, state.what, f"{state.step:,}", state.where, state.reason)
        self.live.update(grid)

    def close(self) -> None:
        self.live.stop()


def summary(states: Sequence[State], left: float) -> str:
    counts = {what: sum(state.what == what for state in states) for what in ("done", "running", "waiting", "failed")}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) + f"; left {clock(left)}"


def loss(row: dict[str, Any]) -> str:
    """Of a record, whose loss is null where it was no number."""
    return "none" if row["loss"] is None else f"{row['loss']:.4f}"


def status(workdir: pathlib.Path) -> str:
    """What a sweep in a folder is doing, whoever makes it."""
    states = queue_of(workdir).states()
    lines = [summary(states, float("nan")).partition(";")[0]]
    width = max([16, *(len(state.job.name) for state in states)])
    for state in states:
        more = f"loss {loss(state.row)}" if state.row else f"{state.where} {state.reason}"
        lines.append(f"  {state.job.name:<{width}} {state.what:<8} step {state.step:>8,}  {more}".rstrip())
    return "\n".join(lines)


def check(outcome: Outcome, workdir: pathlib.Path) -> None:
    """Raises where a run is missing from the table."""
    if outcome.failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.failed.items())
        raise UserError(
            f"{len(outcome.failed)} runs failed ({reasons}); the same command tries them again in {workdir}"
        )
