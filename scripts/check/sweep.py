"""Sweeps in trouble: pages edited, claims damaged, disks full, workers killed, launches at once, folders gone.

    python -m scripts.check.sweep [--only PATTERN…] [--json FILE]        (root mounts small disks; others skip those)

Each trial runs the front door, does the harm, and gives the same command again where it ended in a sentence.  In the
end every run of the plan must be in runs.jsonl once, with the loss that an undisturbed run of its config has, bit for
bit; nothing may hang, and no process may be left.  Prints trial, outcome, seconds; exits with 1 after any other end.
"""

import argparse
import contextlib
import fnmatch
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tests.support.processes import ROOT

PAGE = """
from configs.classics.digits_mlp import get_config as digits


def get_config():
    config = digits()
    config.steps, config.batch_size, config.log_every, config.writers = STEPS, 16, 20, ()
    config.eval.every = config.schedule.warmup = 0
    config.checkpoint.every, config.optim.learning_rate = 200, RATE
    config.model.update(width=8, layers=1)
    return config


def sweep():
    return {"name": "listed", "runs": {f"w{w}": {"model.width": w} for w in WIDTHS}}
"""
FAILING = """

def sweep():
    runs = {f"w{w}": {"model.width": w} for w in WIDTHS}
    return {"name": "listed", "runs": {**runs, "bad": {"optim.learning_rate": 1e38}}}
"""
STEPS, RATE, OTHER = 1200, 0.003, 0.0123
WIDTHS = (4, 6, 8, 10)
LONG = 300.0  # seconds in which a command of a trial must end, on a machine that does other work too
ADVICE = (
    "make room",
    "make it writable",
    "the command of the sweep writes it again",
    "--workdir",
    "the same command",
    "give the command again",
    "remove",
    "ulimit",
)


class Bad(Exception):
    """A trial ended as none may."""


def page_of(steps: int = STEPS, rate: float = RATE, widths: tuple[int, ...] = WIDTHS, more: str = "") -> str:
    text = PAGE + more
    return text.replace("STEPS", str(steps)).replace("RATE", repr(rate)).replace("WIDTHS", repr(widths))


class Outcome(NamedTuple):
    trial: str
    what: str  # "right", "sentence, then right", or what is bad
    seconds: float
    said: str


class Ended(NamedTuple):
    code: int
    said: str  # its last line
    output: str


class Trial:
    """One sweep in a folder of its own, and what a trial does to it."""

    def __init__(self, root: pathlib.Path, truth: dict[str, float]):
        self.root, self.truth, self.said = root, truth, ""
        self.page, self.work = root / "page.py", root / "work"
        self.page.write_text(page_of())
        self.started: list[subprocess.Popen] = []

    def start(self, *more: str, before: str = "") -> subprocess.Popen:
        line = [sys.executable, "-m", "scaling", "sweep", "--config", str(self.page), "--workdir", str(self.work)]
        line += ["--workers", "2", *more]
        if before:
            line = ["bash", "-c", f'{before}; exec "$@"', "-", *line]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "ISOFLOP_TRIAL": self.root.name}
        made = subprocess.Popen(
            line, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self.started.append(made)
        return made

    def end(self, made: subprocess.Popen, within: float = LONG) -> Ended:
        try:
            output, _ = made.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            raise Bad(f"no end after {within:.0f} s") from None
        if "Traceback" in output:
            raise Bad(f"traceback: {output[-700:]}")
        lines = [line for line in output.strip().splitlines() if line.strip()]
        return Ended(made.returncode, lines[-1] if lines else "", output)

    def run(self, *more: str) -> Ended:
        return self.end(self.start(*more))

    def refused(self, ended: Ended, *words: str) -> None:
        """It must have ended in a sentence with these words."""
        if ended.code not in (2, 75):
            raise Bad(f"code {ended.code} after {ended.said!r}")
        self.said = ended.said
        if not all(word in ended.said for word in words) or not any(word in ended.said for word in ADVICE):
            raise Bad(f"says {ended.said!r} and not {words}")

    def until(self, seen: Callable[[], object], made: subprocess.Popen, within: float = LONG) -> None:
        deadline = time.monotonic() + within
        while not seen():
            if made.poll() is not None:
                raise Bad(f"ended early: {self.end(made)}")
            if time.monotonic() > deadline:
                raise Bad("what the trial waits for does not come")
            time.sleep(0.02)

    def step(self, name: str) -> int:
        """Of the last line that a run logged."""
        path = self.work / "runs" / name / "metrics.jsonl"
        with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
            return int(json.loads(path.read_text().splitlines()[-1])["step"])
        return 0

    def under_way(self) -> bool:
        return any(self.step(f"w{w}") > 300 for w in WIDTHS)

    def done(self, count: int) -> bool:
        return len(list(self.work.glob("runs/*/record.json"))) >= count

    def right(self, widths: tuple[int, ...] = WIDTHS, rate: float = RATE) -> None:
        """Every run once, none of another config, nothing left lying about, no worker alive."""
        table = self.work / "runs.jsonl"
        if not table.exists():
            raise Bad("no runs.jsonl")
        rows = [json.loads(line) for line in table.read_text().splitlines()]
        if sorted(row["name"] for row in rows) != sorted(f"w{w}" for w in widths):
            raise Bad(f"runs.jsonl has {[row['name'] for row in rows]}")
        for row in rows:
            config = json.loads((self.work / "runs" / row["name"] / "config.json").read_text())
            if f"w{config['model']['width']}" != row["name"] or config["optim"]["learning_rate"] != rate:
                raise Bad(f"{row['name']} was made with another config")
            if row["loss"] != self.truth.setdefault(f"{row['name']} {rate} {config['steps']}", row["loss"]):
                raise Bad(f"{row['name']}: loss {row['loss']} is not that of an undisturbed run")
        kinds = ("runs/.clock*", "runs/*/claim*", "**/*.part")
        if left := [str(path.relative_to(self.work)) for kind in kinds for path in self.work.glob(kind)]:
            raise Bad(f"left behind: {left}")
        self.alone()

    def workers(self) -> list[int]:
        """Processes of this trial's sweeps that train, by what /proc says."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                if b"scaling.sweep.worker" in words and str(self.work).encode() in words:
                    found.append(int(path.name))
        return sorted(found)

    def alone(self, within: float = 20.0) -> None:
        deadline = time.monotonic() + within
        while self.workers():
            if time.monotonic() > deadline:
                raise Bad(f"workers {self.workers()} are left")
            time.sleep(0.1)

    def clean(self) -> None:
        for made in self.started:
            for pid in [*self.workers(), *([made.pid] if made.poll() is None else [])]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                    os.kill(pid, signal.SIGKILL)
            made.wait()


TRIALS: dict[str, Callable[[Trial], None]] = {}


def trial(name: str) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    def add(made: Callable[[Trial], None]) -> Callable[[Trial], None]:
        TRIALS[name] = made
        return made

    return add


# The page changes.

EDITS: Mapping[str, Callable[[pathlib.Path], object]] = {
    "another rate": lambda page: page.write_text(page_of(rate=OTHER)),
    "a budget added": lambda page: page.write_text(page_of(widths=(*WIDTHS, 12))),
    "a budget removed": lambda page: page.write_text(page_of(widths=WIDTHS[1:])),
    "a syntax error": lambda page: page.write_text("def get_config(:"),
    "deleted": lambda page: page.unlink(),
}
MOMENTS: Mapping[str, Callable[[Trial], bool]] = {
    "as it is launched": lambda t: (t.work / "plan.json").exists(),
    "as a run begins": lambda t: bool(list(t.work.glob("runs/*/claim"))),
    "in a run": lambda t: t.under_way(),
    "after a run": lambda t: t.done(1),
}


def edited(edit: str, moment: str) -> Callable[[Trial], None]:
    """The launch goes on with the page as it was."""

    def made(t: Trial) -> None:
        sweep = t.start()
        t.until(lambda: MOMENTS[moment](t), sweep)
        EDITS[edit](t.page)
        if (ended := t.end(sweep)).code:
            raise Bad(f"code {ended.code}: {ended.said}")
        t.right()

    return made


for _edit in EDITS:
    for _moment in MOMENTS:
        TRIALS[f"page: {_edit} {_moment}"] = edited(_edit, _moment)


@trial("between launches: another rate")
def rate_between(t: Trial) -> None:
    stopped(t)
    t.page.write_text(page_of(rate=OTHER))
    t.refused(t.run(), "learning_rate", "was 0.003 and is 0.0123")
    t.page.write_text(page_of())
    t.run()
    t.right()


@trial("between launches: another rate by a flag")
def flag_between(t: Trial) -> None:
    t.run()
    t.refused(t.run(f"--config.optim.learning_rate={OTHER}"), "learning_rate")
    t.right()


@trial("between launches: budgets added")
def added(t: Trial) -> None:
    t.run()
    before = {path: path.read_bytes() for path in t.work.glob("runs/*/record.json")}
    t.page.write_text(page_of(widths=(*WIDTHS, 12)))
    t.said = t.run().said
    t.right((*WIDTHS, 12))
    if any(path.read_bytes() != content for path, content in before.items()):
        raise Bad("a run was made again")


@trial("between launches: budgets removed")
def removed(t: Trial) -> None:
    t.run()
    t.page.write_text(page_of(widths=WIDTHS[1:]))
    ended = t.run()
    t.said = next((line for line in ended.output.splitlines() if "does not name (w4)" in line), "")
    t.right(WIDTHS[1:])
    if not t.said:
        raise Bad(f"{ended.output!r} does not say that the folder holds a run that the plan no longer names")


@trial("between launches: more steps")
def longer(t: Trial) -> None:
    t.run()
    t.page.write_text(page_of(steps=2 * STEPS))
    t.refused(t.run(), "another experiment")
    t.right()


@trial("between launches: the layout changes")
def layout(t: Trial) -> None:
    stopped(t)
    ended = t.run("--config.loader.workers=0")
    if ended.code:
        t.refused(ended)
        t.run()
    t.right()


# Claims are damaged.

FAR = 10 * 365 * 86400.0  # seconds
CLAIMS: Mapping[str, Callable[[pathlib.Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "no JSON": lambda path: path.write_bytes(b"\xff\x00 nobody"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:17] if path.exists() else b'{"id": "12'),
    "other JSON": lambda path: path.write_bytes(b'{"id": 3}'),
    "of the future": lambda path: (path.touch(), os.utime(path, (time.time() + FAR,) * 2)),
    "of the past": lambda path: (path.touch(), os.utime(path, (time.time() - FAR,) * 2)),
    "deleted": lambda path: path.unlink(missing_ok=True),
    "a folder": lambda path: (path.unlink(missing_ok=True), path.mkdir()),
    "a pipe": lambda path: (path.unlink(missing_ok=True), os.mkfifo(path)),
    "a broken link": lambda path: (path.unlink(missing_ok=True), path.symlink_to("nowhere")),
}


def damaged_before(damage: str) -> Callable[[Trial], None]:
    """Of a worker that is gone: its run is taken over."""

    def made(t: Trial) -> None:
        folder = t.work / "runs/w8"
        folder.mkdir(parents=True)
        CLAIMS[damage](folder / "claim")
        t.said = t.run().said
        t.right()

    return made


def damaged_within(damage: str) -> Callable[[Trial], None]:
    """Of a worker that is alive."""

    def made(t: Trial) -> None:
        sweep = t.start()
        t.until(t.under_way, sweep)
        claims = list(t.work.glob("runs/*/claim"))
        for claim in claims[:1]:
            CLAIMS[damage](claim)
        t.said = t.end(sweep).said
        t.right()

    return made


for _damage in CLAIMS:
    TRIALS[f"claim left behind: {_damage}"] = damaged_before(_damage)
    TRIALS[f"claim held: {_damage}"] = damaged_within(_damage)


def clock(offset: float) -> Callable[[Trial], None]:
    """A worker on a host with a wrong clock holds a run and beats; then it dies."""

    def made(t: Trial) -> None:
        claim = t.work / "runs/w8/claim"
        claim.parent.mkdir(parents=True)
        claim.write_text(json.dumps({"id": "other", "host": "other", "process": 1, "where": "other:1"}))
        sweep = t.start()
        for _ in range(20):
            os.utime(claim, (time.time() + offset,) * 2)
            time.sleep(1.0)
            if t.step("w8") or "other:1" not in claim.read_text():
                raise Bad("a run was taken from a worker that beats")
        t.said = t.end(sweep).said
        t.right()

    return made


TRIALS["clock of a worker an hour behind"] = clock(-3600.0)
TRIALS["clock of a worker an hour ahead"] = clock(3600.0)


# Other files are damaged.


@trial("plan.json is cut while workers run")
def plan_cut(t: Trial) -> None:
    sweep = t.start()
    t.until(t.under_way, sweep)
    (t.work / "plan.json").write_text('{"config": ')
    ended = t.end(sweep)
    if ended.code:
        t.refused(ended)
    t.run()
    t.right()


@trial("plan.json is deleted while workers run")
def plan_deleted(t: Trial) -> None:
    sweep = t.start()
    t.until(t.under_way, sweep)
    (t.work / "plan.json").unlink()
    ended = t.end(sweep)
    if ended.code:
        t.refused(ended)
    t.run()
    t.right()


@trial("record.json of a finished run is cut")
def record_cut(t: Trial) -> None:
    t.run()
    path = t.work / "runs/w8/record.json"
    path.write_bytes(path.read_bytes()[:50])
    t.run()
    t.right()


@trial("record.json is of another run")
def record_swapped(t: Trial) -> None:
    t.run()
    shutil.copy(t.work / "runs/w4/record.json", t.work / "runs/w8/record.json")
    t.run()
    t.right()


@trial("runs.jsonl is deleted")
def table_deleted(t: Trial) -> None:
    t.run()
    (t.work / "runs.jsonl").unlink()
    t.run()
    t.right()


@trial("tries.jsonl is no JSON")
def tries(t: Trial) -> None:
    (t.work / "runs/w8").mkdir(parents=True)
    (t.work / "runs/w8/tries.jsonl").write_text('{"launch": 3}\n')
    t.refused(t.run(), "tries.jsonl")
    (t.work / "runs/w8/tries.jsonl").unlink()
    t.run()
    t.right()


# Disks.


def small_disk(kilobytes: int, options: str = "") -> Callable[[Trial], None]:
    def made(t: Trial) -> None:
        t.work.mkdir()
        run = lambda *line: subprocess.run(line, check=True)
        run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k{options}", "tmpfs", str(t.work))
        try:
            t.refused(t.run(), "cannot write to", "No space left on device")
            run("mount", "-o", "remount,size=200m,nr_inodes=0", str(t.work))
            if (ended := t.run()).code:
                raise Bad(f"with room again: {ended}")
            t.right()
        finally:
            run("umount", "-l", str(t.work))

    return made


def read_only(moment: str) -> Callable[[Trial], None]:
    def made(t: Trial) -> None:
        t.work.mkdir()
        run = lambda *line: subprocess.run(line, check=True)
        run("mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(t.work))
        try:
            sweep = None if moment == "from the start" else t.start()
            if sweep:
                t.until(lambda: MOMENTS[moment](t), sweep)
            run("mount", "--bind", str(t.work), str(t.work))  # over it: workers hold their logs open for writing
            run("mount", "-o", "remount,bind,ro", str(t.work))
            ended = t.end(sweep) if sweep else t.run()
            t.refused(ended, "cannot write to", "Read-only file system")
            command = [sys.executable, "-m", "scaling", "sweep", "--config", str(t.page), "--workdir", str(t.work)]
            seen = subprocess.run([*command, "--status"], cwd=ROOT, capture_output=True, text=True, check=False)
            if "Traceback" in seen.stderr or (moment != "from the start" and seen.returncode):
                raise Bad(f"--status says {seen.stderr[-300:]}")
            run("umount", "-l", str(t.work))
            t.run()
            t.right()
        finally:
            while t.work.is_mount():
                run("umount", "-l", str(t.work))

    return made


if os.getuid() == 0:
    for _size in (4, 40, 100, 200, 400):
        TRIALS[f"disk of {_size} kB"] = small_disk(_size)
    for _count in (4, 30, 100):
        TRIALS[f"disk of {_count} files"] = small_disk(100_000, f",nr_inodes={_count}")
    for _moment in ("from the start", "in a run", "after a run"):
        TRIALS[f"read-only {_moment}"] = read_only(_moment)


@trial("few open files")
def few_files(t: Trial) -> None:
    t.refused(t.end(t.start(before="ulimit -n 20")), "Too many open files", "ulimit -n")
    t.run()
    t.right()


@trial("no file larger than 8 kB")
def small_files(t: Trial) -> None:
    t.refused(t.end(t.start(before="ulimit -f 8")), "File too large", "ulimit -f")
    t.run()
    t.right()


# Processes are killed.


def killed(moment: str, number: int, how_many: int) -> Callable[[Trial], None]:
    """Workers; the sweep goes on."""

    def made(t: Trial) -> None:
        sweep = t.start()
        t.until(lambda: len(t.workers()) == 2 and (moment == "at their start" or MOMENTS[moment](t)), sweep)
        for worker in t.workers()[:how_many]:
            os.kill(worker, number)
        t.said = t.end(sweep).said
        t.right()

    return made


for _moment in ("at their start", "as a run begins", "in a run", "after a run"):
    TRIALS[f"a worker is killed {_moment}"] = killed(_moment, signal.SIGKILL, 1)
    TRIALS[f"all workers are killed {_moment}"] = killed(_moment, signal.SIGKILL, 2)
TRIALS["a worker aborts in a run"] = killed("in a run", signal.SIGABRT, 1)


@trial("workers are killed again and again")
def massacre(t: Trial) -> None:
    sweep = t.start()
    for at in range(2, 14, 2):
        t.until(lambda at=at: any(t.step(f"w{w}") > 60 * at for w in WIDTHS), sweep)
        for worker in t.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        if t.done(len(WIDTHS)):
            break
    ended = t.end(sweep)
    if ended.code:
        t.refused(ended)
        t.run()
    t.right()


def paused(seconds: float) -> Callable[[Trial], None]:
    """A worker is stopped (SIGSTOP) in a run, and goes on later."""

    def made(t: Trial) -> None:
        sweep = t.start()
        t.until(t.under_way, sweep)
        worker = t.workers()[0]
        os.kill(worker, signal.SIGSTOP)
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
        t.said = t.end(sweep).said
        t.right()

    return made


TRIALS["a worker sleeps for 5 s"] = paused(5.0)
TRIALS["a worker sleeps for 45 s"] = paused(45.0)


def parent(number: int, moment: str) -> Callable[[Trial], None]:
    """The sweep itself: its workers end, and what they had is saved."""

    def made(t: Trial) -> None:
        sweep = t.start()
        t.until(lambda: bool(t.workers()) if moment == "as workers start" else MOMENTS[moment](t), sweep)
        os.kill(sweep.pid, number)
        sweep.wait()
        t.alone()
        t.said = f"code {sweep.returncode}"
        t.run()
        t.right()

    return made


for _number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    for _moment in ("as workers start", "in a run", "after a run"):
        TRIALS[f"the sweep gets {_number.name} {_moment}"] = parent(_number, _moment)


# Several launches.


@trial("launched three times at once")
def three(t: Trial) -> None:
    sweeps = [t.start() for _ in range(3)]
    for sweep in sweeps:
        if (ended := t.end(sweep)).code:
            raise Bad(f"code {ended.code}: {ended.said}")
    t.right()


@trial("launched three times at once, with a run that fails")
def three_failing(t: Trial) -> None:
    t.page.write_text(page_of(more=FAILING))
    sweeps = [t.start() for _ in range(3)]
    for sweep in sweeps:
        t.refused(t.end(sweep), "1 runs failed (bad:")
    t.right()


@trial("launched twice at once, with other rates")
def two_rates(t: Trial) -> None:
    first = t.start()
    second = t.start(f"--config.optim.learning_rate={OTHER}")
    ends = [t.end(first), t.end(second)]
    if all(ended.code == 0 for ended in ends):
        raise Bad("both say that they are done")
    t.said = next(ended.said for ended in ends if ended.code)
    for ended, rate in zip(ends, (RATE, OTHER), strict=True):
        if not ended.code:
            t.right(rate=rate)
        else:
            t.refused(ended)


@trial("launched again with other rates while it runs")
def second_rates(t: Trial) -> None:
    first = t.start()
    t.until(t.under_way, first)
    t.refused(t.run(f"--config.optim.learning_rate={OTHER}"), "learning_rate")
    if (ended := t.end(first)).code:
        raise Bad(f"the first launch: {ended}")
    t.right()


@trial("launched again with more runs while it runs")
def second_more(t: Trial) -> None:
    first = t.start()
    t.until(t.under_way, first)
    t.page.write_text(page_of(widths=(*WIDTHS, 12)))
    second = t.start()
    for each in (first, second):
        if (ended := t.end(each)).code:
            raise Bad(f"code {ended.code}: {ended.said}")
    t.right((*WIDTHS, 12))


@trial("launched again with fewer runs while it runs")
def second_fewer(t: Trial) -> None:
    first = t.start()
    t.until(t.under_way, first)
    t.page.write_text(page_of(widths=WIDTHS[1:]))
    second = t.start()
    for each in (first, second):
        if (ended := t.end(each)).code:
            raise Bad(f"code {ended.code}: {ended.said}")
    t.page.write_text(page_of())
    t.run()
    t.right()


# The folder.


@trial("the folder is moved between launches")
def moved_between(t: Trial) -> None:
    stopped(t)
    t.work = t.work.rename(t.root / "elsewhere")
    t.run()
    t.right()


@trial("the folder is moved while it runs")
def moved_within(t: Trial) -> None:
    sweep = t.start()
    t.until(t.under_way, sweep)
    old, t.work = t.work, t.work.rename(t.root / "elsewhere")
    t.refused(t.end(sweep), "plan.json", "gone")
    shutil.rmtree(old, ignore_errors=True)  # where a run may have ended in the moment of the move
    t.run()
    t.right()


@trial("the folder is deleted while it runs")
def deleted_within(t: Trial) -> None:
    sweep = t.start()
    t.until(t.under_way, sweep)
    shutil.rmtree(t.work, ignore_errors=True)
    t.refused(t.end(sweep), "gone")
    t.alone()
    shutil.rmtree(t.work, ignore_errors=True)
    t.run()
    t.right()


@trial("the folder is a link")
def link(t: Trial) -> None:
    (t.root / "real").mkdir()
    t.work.symlink_to("real")
    t.run()
    t.right()


@trial("the folder is a file")
def file(t: Trial) -> None:
    t.work.write_text("")
    t.refused(t.run(), "work")
    t.work.unlink()
    t.run()
    t.right()


@trial("a run's folder is a file")
def run_file(t: Trial) -> None:
    (t.work / "runs").mkdir(parents=True)
    (t.work / "runs/w8").write_text("")
    t.refused(t.run(), "w8")
    (t.work / "runs/w8").unlink()
    t.run()
    t.right()


def stopped(t: Trial) -> None:
    """Launches a sweep and stops it in the middle."""
    sweep = t.start()
    t.until(t.under_way, sweep)
    os.kill(sweep.pid, signal.SIGTERM)
    t.refused(t.end(sweep), "the same command goes on")


# All of them.


def trials(root: pathlib.Path, only: list[str]) -> Iterator[Outcome]:
    truth: dict[str, float] = {}
    for rate in (RATE, OTHER):  # undisturbed
        folder = root / f"truth{rate}"
        folder.mkdir()
        t = Trial(folder, truth)
        t.page.write_text(page_of(rate=rate, widths=(*WIDTHS, 12)))
        t.run()
        t.right((*WIDTHS, 12), rate)
    for i, (name, harm) in enumerate(TRIALS.items()):
        if not any(fnmatch.fnmatch(name, pattern) for pattern in only):
            continue
        folder = root / f"trial{i}"
        folder.mkdir()
        t, start = Trial(folder, truth), time.monotonic()
        try:
            harm(t)
            what = "right"
        except Bad as bad:
            what = f"BAD: {bad}"
        finally:
            t.clean()
        yield Outcome(name, what, time.monotonic() - start, t.said)
        shutil.rmtree(folder, ignore_errors=True)


def main(argv: list[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--only", metavar="PATTERN", nargs="+", default=["*"], help="of trials, as the table names them")
    flags.add_argument("--json", metavar="FILE", help="writes a line for each trial there")
    options = flags.parse_args(argv)
    bad = count = 0
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as files:
        log = files.enter_context(open(options.json, "w")) if options.json else None
        for outcome in trials(pathlib.Path(name), options.only):
            count, bad = count + 1, bad + (outcome.what != "right")
            said = outcome.said.replace(name, "…")
            print(
                f"{outcome.trial:<52} {outcome.seconds:>5.0f} s  {outcome.what.replace(name, '…'):<6}  {said}",
                flush=True,
            )
            if log:
                log.write(json.dumps(outcome._asdict()) + "\n")
    print(f"{count} trials, {bad} bad")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
