"""The jobs of a sweep in a folder that every worker sees: any of them may take any job, and none is lost or made twice.

plan.json               the config, its changes, and every job
runs/NAME/claim         who works on it; its time is the last sign of life
runs/NAME/tries.jsonl   a line for each failure
runs/NAME/record.json   done
"""

import contextlib
import os
import pathlib
import socket
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from scaling.sweep.design import Job
from train import record
from train.errors import UserError
from train.files import Damaged, append_row, read_json, read_rows, write_json
from train.writer import read_log

BEAT = 2.0  # seconds between signs of life
LOST = 30.0  # seconds without one after which another worker takes the job
PLAN = {"config": str, "overrides": list, "launch": str, "jobs": list}
TRY = {"launch": str, "reason": str, "died": bool}
CLAIM = {"id": str, "host": str, "process": int, "where": str}
AGAIN = "the command of the sweep writes it again"
ERRORS = 2  # that a job may raise in one launch
DEATHS = 5  # workers that may die over a job in one launch


class State(NamedTuple):
    job: Job
    what: str  # "done", "running", "waiting", "failed"
    where: str = ""  # host and process
    step: int = 0
    reasons: tuple[str, ...] = ()  # of its failures in this launch
    row: dict[str, Any] | None = None  # its record

    @property
    def reason(self) -> str:
        return self.reasons[-1] if self.reasons else ""


class Queue:
    def __init__(self, workdir: pathlib.Path):
        self.workdir, self.runs = workdir, workdir / "runs"
        try:
            plan = read_json(workdir / "plan.json", PLAN, AGAIN)
        except FileNotFoundError:
            raise UserError(f"{workdir} holds no sweep; start one with python -m scaling sweep") from None
        self.config, self.overrides, self.launch = plan["config"], plan["overrides"], plan["launch"]
        try:
            self.jobs = [Job(**job) for job in plan["jobs"]]
        except TypeError as error:
            raise Damaged(f"{workdir / 'plan.json'}: its jobs are not those of a sweep ({error}); {AGAIN}") from None

    @classmethod
    def open(cls, workdir: pathlib.Path, config: str, overrides: Sequence[str], jobs: Sequence[Job]) -> "Queue":
        """Writes the plan.  What earlier launches have done stays done; what failed in them is tried again."""
        record.make_folder(workdir / "runs")
        plan = {
            "config": str(pathlib.Path(config).absolute()),
            "overrides": list(overrides),
            "launch": uuid.uuid4().hex,
            "jobs": [job._asdict() for job in jobs],
        }
        write_json(workdir / "plan.json", plan)
        return cls(workdir)

    def take(self) -> "Claim | None":
        """The longest job that is nobody's, those that failed before after all others; None where there is none now."""
        order = sorted(self.jobs, key=lambda job: (self.failures(job) != (0, 0), -job.flops))
        for job in order:
            folder = self.runs / job.name
            if record.read(folder) or self.given_up(job):
                continue
            claim = Claim(self, job)
            holder, age = self.holder(job)
            if holder and age > LOST and self.drop(job, holder):
                self.fail(job, f"no sign of life of {holder['where']} for {age:.0f} s", died=True)
                if self.given_up(job):
                    continue
            elif holder:
                continue
            if claim.make() and not record.read(folder):
                return claim
            claim.release()
        return None

    def holder(self, job: Job) -> tuple[dict[str, Any] | None, float]:
        """Who works on it, and for how many seconds nothing was heard of them, by the clock of the folder."""
        path = self.runs / job.name / "claim"
        try:
            last = path.stat().st_mtime
            found = read_claim(path)
        except FileNotFoundError:  # in the moment of being released
            return None, 0.0
        now = self.runs / f".clock_{os.getpid()}_{threading.get_ident()}"
        now.touch()
        try:
            return found, now.stat().st_mtime - last
        finally:
            now.unlink(missing_ok=True)

    def drop(self, job: Job, holder: dict[str, Any]) -> bool:
        """Ends a claim; of several that try, one succeeds."""
        path = self.runs / job.name / "claim"
        aside = path.with_name(f"claim_{holder['id']}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        mine = read_claim(aside)["id"] == holder["id"]
        if mine:
            aside.unlink(missing_ok=True)
        else:  # a new holder came between; it keeps the job
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            aside.unlink(missing_ok=True)
        return mine

    def died(self, host: str, process: int) -> None:
        """Frees what a worker held that is known to be dead."""
        for job in self.jobs:
            holder, _ = self.holder(job)
            if holder and (holder["host"], holder["process"]) == (host, process) and self.drop(job, holder):
                self.fail(job, "its process died", died=True)

    def fail(self, job: Job, reason: str, died: bool = False) -> None:
        row = {"launch": self.launch, "reason": reason, "died": died}
        folder = self.runs / job.name
        folder.mkdir(parents=True, exist_ok=True)
        append_row(folder / "tries.jsonl", row)

    def tries(self, job: Job) -> list[dict[str, Any]]:
        rows = read_rows(self.runs / job.name / "tries.jsonl", TRY, "remove it: it tells of earlier failures only")
        return [row for row in rows if row["launch"] == self.launch]

    def failures(self, job: Job) -> tuple[int, int]:
        """Errors and deaths in this launch."""
        died = sum(row["died"] for row in self.tries(job))
        return len(self.tries(job)) - died, died

    def given_up(self, job: Job) -> bool:
        errors, deaths = self.failures(job)
        return errors >= ERRORS or deaths >= DEATHS

    def states(self) -> list[State]:
        return [self.state(job) for job in self.jobs]

    def state(self, job: Job) -> State:
        row = record.read(self.runs / job.name)
        reasons = tuple(one["reason"] for one in self.tries(job))
        if row:
            return State(job, "done", step=row["steps"], reasons=reasons, row={**row, "budget": job.budget})
        if reasons and self.given_up(job):
            return State(job, "failed", reasons=reasons)
        holder, age = self.holder(job)
        if holder and age <= LOST:
            return State(job, "running", where=holder["where"], step=last_step(self.runs / job.name), reasons=reasons)
        return State(job, "waiting", reasons=reasons)

    def finished(self) -> bool:
        return all(record.read(self.runs / job.name) or self.given_up(job) for job in self.jobs)


class Claim:
    """A worker's hold on a job, kept up while `held`."""

    def __init__(self, queue: Queue, job: Job):
        self.queue, self.job, self.id = queue, job, uuid.uuid4().hex
        self.folder = queue.runs / job.name
        self.path = self.folder / "claim"

    def make(self) -> bool:
        """Writes the claim, whole or not at all; False where somebody else was first."""
        host, process = socket.gethostname(), os.getpid()
        holder = {"id": self.id, "host": host, "process": process, "where": f"{host}:{process}"}
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"claim_{self.id}"
        write_json(draft, holder)
        try:
            os.link(draft, self.path)  # fails where it exists, on network file systems too
            return True
        except FileExistsError:
            return False
        finally:
            draft.unlink()

    def mine(self) -> bool:
        try:
            return read_claim(self.path)["id"] == self.id
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Shows signs of life.  A worker that finds that it was given up for dead ends at once: the job has another."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT):
                if not self.mine():
                    os._exit(1)
                os.utime(self.path)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.release()

    def release(self) -> None:
        if self.mine():
            self.path.unlink(missing_ok=True)


def last_step(folder: pathlib.Path) -> int:
    """Of a run that may be writing just now."""
    try:
        return max((row["step"] for row in read_log(folder)), default=0)
    except Damaged:  # its worker says so
        return 0


def read_claim(path: pathlib.Path) -> dict[str, Any]:
    """Who holds a job; nobody that can be named where it cannot be read, which is given up when its time is over."""
    try:
        return read_json(path, CLAIM, "")
    except Damaged:
        return {"id": "", "host": "", "process": 0, "where": "the holder of a claim that cannot be read"}
