"""The jobs of a sweep in a folder that every worker sees: any of them may take any job, and none is lost or made twice.

plan.json               the config, its changes, every job, and the whole config of each, which workers read
runs/NAME/claim         who works on it; its time is the last sign of life
runs/NAME/tries.jsonl   a line for each failure
runs/NAME/record.json   done
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from scaling.sweep.design import Job
from train import record
from train.errors import UserError
from train.files import Damaged, append_row, read_json, read_rows, write_json
from train.writer import read_log

BEAT = 2.0  # seconds between signs of life
LOST = 30.0  # seconds without one after which another worker takes the job
SURE = 3 * BEAT  # seconds that a claim is watched at least until it is called lost, whatever the clocks say
PLAN = {"config": str, "overrides": list, "launch": str, "jobs": list}
TRY = {"launch": str, "reason": str, "died": bool}
CLAIM = {"id": str, "host": str, "process": int, "where": str}
AGAIN = "the command of the sweep writes it again"
ERRORS = 2  # that a job may raise in one launch
DEATHS = 5  # workers that may die over a job in one launch
ROOM, FILES = "make room", "allow more open files (`ulimit -n 4096`)"
FULL = {  # no run will succeed until a person does something: errno -> what
    errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EFBIG: "allow larger files (`ulimit -f unlimited`)",
    errno.EROFS: "make it writable", errno.EMFILE: FILES, errno.ENFILE: FILES,
}  # fmt: skip
EXIT_FULL = 74  # of a worker that met one of them


class NoSweep(UserError):
    """A folder has no plan."""


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
    """`launch` is the start that counts failures; the plan's own, which is the latest, where it is not given."""

    def __init__(self, workdir: pathlib.Path, launch: str | None = None, plan: Mapping[str, Any] | None = None):
        self.workdir, self.runs = workdir, workdir / "runs"
        self.seen: dict[str, tuple[object, float]] = {}  # of each claim: its stamp, and when it was first seen so
        self.checked: set[str] = set()  # jobs whose record was compared with the plan
        self.taken: set[str] = set()  # what this process has compiled: `program` of its jobs
        self.stamp: object = None  # of the plan's file, when it was last compared
        if plan is None:
            plan = read_plan(workdir)
        self.config, self.overrides, self.launch = plan["config"], plan["overrides"], launch or plan["launch"]
        self.configs = plan.get("configs", {})  # name -> the resolved config
        try:
            self.jobs = [Job(**job) for job in plan["jobs"]]
        except TypeError as error:
            raise Damaged(f"{workdir / 'plan.json'}: its jobs are not those of a sweep ({error}); {AGAIN}") from None

    @property
    def place(self) -> str:
        """What a worker is told: the folder, or the address of one in a bucket."""
        return str(self.workdir.absolute())

    @property
    def logs(self) -> pathlib.Path:
        """Of this launch's workers."""
        return self.workdir / "logs"

    def folder(self, job: Job) -> pathlib.Path:
        """Where a worker trains."""
        return self.runs / job.name

    def refresh(self, now: bool = False) -> None:
        """Has here what others have written; in a folder it is."""

    def publish(self, name: str) -> None:
        """Has others see a file that was written here; in a folder they do."""

    def claim(self, job: Job) -> "Claim":
        return Claim(self, job)

    @classmethod
    def open(
        cls, workdir: pathlib.Path, config: str, overrides: Sequence[str], jobs: Sequence[Job],
        resolved: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> "Queue":  # fmt: skip
        """Writes the plan.  What earlier launches have done stays done; what failed in them is tried again.

        `resolved` are the configs of the jobs by name: a record that was made with another one is not done.
        """
        check_names(jobs)
        record.make_folder(workdir / "runs")
        for path in (workdir / "runs" / job.name for job in jobs):
            if os.path.lexists(path) and not path.is_dir():
                raise UserError(f"{path} is no folder, and a run goes there; remove it, or use another --workdir")
        plan = {
            "config": str(pathlib.Path(config).absolute()),
            "overrides": list(overrides),
            "launch": uuid.uuid4().hex,
            "jobs": [job._asdict() for job in jobs],
            "configs": {name: dict(config) for name, config in resolved.items()},
        }
        made = cls(workdir, plan=plan)  # as it is here: another launch may have written its own by now
        write_json(workdir / "plan.json", plan)
        made.publish("plan.json")
        return made

    def agree(self) -> None:
        """Raises where the folder is gone, or another launch plans other configs for the same runs in it."""
        self.refresh()
        path = self.workdir / "plan.json"
        try:
            found = path.stat()
            if self.stamp == (stamp := (found.st_ino, found.st_mtime_ns, found.st_size)):
                return
            plan = read_plan(self.workdir)
        except (FileNotFoundError, NotADirectoryError, NoSweep):
            raise UserError(
                f"{path} is gone: {self.workdir} was moved, or emptied, while the sweep used it; give the command "
                "again, with its present place as --workdir"
            ) from None
        if plan["launch"] != self.launch:
            for name, mine in self.configs.items():
                theirs = plan.get("configs", {}).get(name, mine)
                if fingerprint(mine) != fingerprint(theirs):
                    raise UserError(
                        f"another launch of a sweep in {self.workdir} plans {name} with {different(mine, theirs)}; "
                        "this one stops: give each its own --workdir"
                    )
        self.stamp = stamp

    def others(self) -> list[str]:
        """Folders of runs that the plan does not name."""
        return sorted({path.parent.name for path in self.runs.glob("*/config.json")} - {job.name for job in self.jobs})

    def take(self) -> "Claim | None":
        """The longest job that is nobody's, those that failed before after all others; None where there is none now.

        Of one budget's jobs, which are as long, first one whose programs this process has from a job before.
        """
        self.refresh()
        known = lambda job: program(job) in self.taken
        order = sorted(
            self.jobs,
            key=lambda job: (self.failures(job) != (0, 0), -(job.budget or job.flops), not known(job), -job.flops),
        )
        for job in order:
            if self.done(job) or self.given_up(job):
                continue
            claim = self.claim(job)
            holder, age = self.holder(job)
            if holder and self.lost(job, age) and self.drop(job, holder):
                self.fail(job, f"no sign of life of {holder['where']} for {age:.0f} s", died=True)
                if self.given_up(job):
                    continue
            elif holder:
                continue
            if claim.make():
                self.refresh(now=True)  # the job may have been made since it was last looked at
                if not self.done(job) and not self.given_up(job):
                    self.taken.add(program(job))
                    return claim
            claim.release()
        return None

    def holder(self, job: Job) -> tuple[dict[str, Any] | None, float]:
        """Who works on it, and for how many seconds nothing was heard of them, by the claim's time stamp.

        Or since this process first saw that stamp: a claim that is dated in the future grows old too.
        """
        path = self.runs / job.name / "claim"
        try:
            found = read_claim(path)  # before its time: a network file system looks anew at what is opened
            last = path.lstat().st_mtime
        except FileNotFoundError:  # in the moment of being released
            return None, 0.0
        stamp = (last, found["id"])
        if self.seen.get(job.name, (None, 0.0))[0] != stamp:
            self.seen[job.name] = (stamp, time.monotonic())
        return found, max(time.time() - last, self.watched(job))

    def watched(self, job: Job) -> float:
        """Seconds, of a clock that nobody sets, in which this process has seen no sign of life in the claim."""
        return time.monotonic() - self.seen[job.name][1]

    def lost(self, job: Job, age: float) -> bool:
        """Whether a holder is given up.  By a wrong clock alone none is: whoever lives beats while it is watched."""
        return age > LOST and self.watched(job) >= SURE

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
            discard(aside)
        else:  # a new holder came between; it keeps the job
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            aside.unlink(missing_ok=True)
        return mine

    def died(self, host: str, process: int) -> None:
        """Frees what a worker held that is known to be dead."""
        self.refresh(now=True)
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
        self.refresh()
        return [self.state(job) for job in self.jobs]

    def done(self, job: Job) -> dict[str, Any] | None:
        """The record of a finished run, if it was made with the config of the plan."""
        folder = self.runs / job.name
        row = record.read(folder)
        if row is None or job.name in self.checked or job.name not in self.configs:
            return row
        try:
            same = fingerprint(record.read_config(folder)) == fingerprint(self.configs[job.name])
        except (OSError, Damaged):
            return None
        if same:
            self.checked.add(job.name)
        return row if same else None

    def state(self, job: Job) -> State:
        row = self.done(job)
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
        self.refresh()
        return all(self.done(job) or self.given_up(job) for job in self.jobs)


def program(job: Job) -> str:
    """What of a job decides which programs it compiles: all that it changes but its length and its seed."""
    return json.dumps({key: value for key, value in job.overrides.items() if key not in ("steps", "seed")}, default=str)


def check_names(jobs: Sequence[Job]) -> None:
    """Each names a folder of its own below runs/."""
    seen: dict[str, Job] = {}
    for job in jobs:
        if job.name in ("", ".", "..") or pathlib.PurePath(job.name).name != job.name or "\0" in job.name:
            raise UserError(f"{job.name!r} cannot name a run: it names a folder, and is one part of a path")
        if job.name in seen:
            raise UserError(
                f"two runs are called {job.name!r}: {seen[job.name].overrides} and {job.overrides}; name them apart, "
                "as the design 'listed' can"
            )
        seen[job.name] = job


def fingerprint(resolved: Mapping[str, Any]) -> str:
    """Of what a config computes, whatever layout of devices it computes it in."""
    kept = {name: part for name, part in resolved.items() if name not in record.LAYOUT}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def full(error: BaseException, workdir: pathlib.Path) -> str | None:
    """A sentence where no write succeeds until somebody does something, None of any other error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL:
            what = os.strerror(cause.errno)
            return f"cannot write to {workdir}: {what}; {FULL[cause.errno]}, and the same command goes on"
        cause = cause.__cause__ or cause.__context__
    return None


def read_plan(workdir: pathlib.Path) -> dict[str, Any]:
    try:
        return read_json(workdir / "plan.json", PLAN, AGAIN)
    except FileNotFoundError:
        raise NoSweep(f"{workdir} holds no sweep; start one with python -m scaling sweep") from None


def different(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """The first setting that differs: "config.seed 2 and not 1"."""
    old, new = record.flatten(dict(mine)), record.flatten(dict(theirs))
    key = next(key for key in sorted({*old, *new}) if old.get(key) != new.get(key))
    return f"config.{key} {new.get(key)!r} and not {old.get(key)!r}"


def discard(path: pathlib.Path) -> None:
    """Whatever lies in the place of a claim."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class Claim:
    """A worker's hold on a job, kept up while `held`."""

    def __init__(self, queue: Queue, job: Job):
        self.queue, self.job, self.id = queue, job, uuid.uuid4().hex
        self.folder = queue.runs / job.name
        self.path = self.folder / "claim"

    def make(self) -> bool:
        """Writes the claim, whole or not at all; False where somebody else was first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"claim_{self.id}"
        write_json(draft, self.holder())
        try:
            os.link(draft, self.path)  # fails where it exists, on network file systems too
            return True
        except FileExistsError:
            return False
        finally:
            draft.unlink()

    def holder(self) -> dict[str, Any]:
        host, process = socket.gethostname(), os.getpid()
        return {"id": self.id, "host": host, "process": process, "where": f"{host}:{process}"}

    def mine(self) -> bool:
        try:
            return read_claim(self.path)["id"] == self.id
        except FileNotFoundError:
            return False

    def beat(self) -> bool:
        """Shows a sign of life; False where another has the job."""
        if mine := self.mine():
            os.utime(self.path)
        return mine

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Shows signs of life.  A worker that finds that it was given up for dead ends at once: the job has another."""
        done = threading.Event()

        def beat() -> None:
            last = time.monotonic()
            while not done.wait(BEAT):
                try:
                    if not self.beat():
                        os._exit(1)
                    last = time.monotonic()
                except OSError:  # tried again, and over before another worker may take the job
                    if time.monotonic() - last > LOST / 2:
                        os._exit(1)

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
    except (Damaged, OSError) as error:
        if isinstance(error, FileNotFoundError) and not os.path.lexists(path):  # else it is a link to nothing
            raise
        return {"id": "", "host": "", "process": 0, "where": "the holder of a claim that cannot be read"}
