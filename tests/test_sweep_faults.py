"""Sweeps never mix: two configurations, two launches, two runs of one name; and no claim blocks a run for ever."""

import errno
import json
import os
import pathlib
import threading
import time

import pytest

from scaling.sweep import design, executors, queue, worker
from scaling.sweep.design import Job
from scaling.sweep.launch import status, sweep
from scaling.sweep.queue import ERRORS, Queue
from tests.test_sweep import PAGE, config_of, finish
from train import record
from train.errors import UserError
from train.owner import Busy


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(PAGE)
    return str(path)


def queue_of(tmp_path, count=1, **configs):
    return Queue.open(tmp_path, "page.py", [], [Job(f"job{i}", {}, 0.0, float(i)) for i in range(count)], configs)


def test_a_passing_error_of_the_file_system_does_not_end_the_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "BEAT", 0.01)
    claim = queue_of(tmp_path).take()
    beats, real = [], os.utime

    def flaky(path, *args, **kwargs):
        beats.append(path)
        if len(beats) < 4:
            raise OSError(errno.ESTALE, "stale")
        real(path, *args, **kwargs)

    monkeypatch.setattr(queue.os, "utime", flaky)
    with claim.held():
        deadline = time.monotonic() + 20
        while len(beats) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(beats) >= 6


def test_a_heart_that_cannot_beat_ends_its_process_before_the_job_is_anothers(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "BEAT", 0.01)
    monkeypatch.setattr(queue, "LOST", 0.1)
    ended = threading.Event()

    monkeypatch.setattr(queue.os, "_exit", lambda code: ended.set())
    monkeypatch.setattr(queue.os, "utime", lambda path: (_ for _ in ()).throw(OSError(errno.EIO, "gone")))
    with queue_of(tmp_path).take().held():
        assert ended.wait(20)


def test_a_claim_dated_in_the_future_is_lost_when_it_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "LOST", 0.2)
    monkeypatch.setattr(queue, "SURE", 0.0)
    made = queue_of(tmp_path)
    silent = made.take()
    ahead = time.time() + 1e6
    os.utime(silent.path, (ahead, ahead))
    assert made.take() is None
    time.sleep(0.1)
    os.utime(silent.path, (ahead + 1, ahead + 1))  # a beat, by a clock that is wrong
    assert made.take() is None
    time.sleep(0.3)
    assert made.take().job.name == "job0"


def test_failures_count_for_the_launch_that_they_are_of(tmp_path):
    """A second start in the same folder writes the plan anew; workers of the first go on counting for the first."""
    first = queue_of(tmp_path)
    second = queue_of(tmp_path)
    mine = Queue(tmp_path, first.launch)
    for _ in range(ERRORS):
        claim = mine.take()
        mine.fail(claim.job, "broken")
        claim.release()
    assert first.finished()
    assert not second.finished()
    assert executors.command(first)[-2:] == ["--launch", first.launch]


@pytest.mark.parametrize(("names", "words"), [
    (("a", "a"), "two runs are called 'a'"), (("../../escaped",), "'../../escaped' cannot name a run"),
    (("a/b",), "cannot name a run"), (("",), "cannot name a run"), (("..",), "cannot name a run"),
])  # fmt: skip
def test_names_are_folders_of_their_own(names, words, tmp_path):
    with pytest.raises(UserError, match=words):
        Queue.open(tmp_path, "page.py", [], [Job(name, {"lr": i}, 0.0, 1.0) for i, name in enumerate(names)])
    assert not (tmp_path / "plan.json").exists()


def test_equal_labels_of_a_grid_are_refused(page, tmp_path):
    jobs = design.grid(config_of(page), {"optim.learning_rate": (1e-3, 1.0000001e-3)})
    with pytest.raises(UserError, match=r"two runs are called 'lr0.001'.*0\.001.*0\.0010000001"):
        sweep(page, jobs, tmp_path / "work", workers=1, say=lambda line: None)


def test_a_record_of_another_config_is_not_done(tmp_path):
    config = {"steps": 1, "seed": 0, "data": {}, "model": {}, "task": {}, "optim": {"learning_rate": 0.1}}
    made = queue_of(tmp_path, job0=config)
    claim = made.take()
    (claim.folder / "config.json").write_text(json.dumps(config))
    finish(claim)
    assert queue_of(tmp_path, job0={**config, "cpu_devices": 2}).finished()  # another layout computes the same
    assert not queue_of(tmp_path, job0={**config, "optim": {"learning_rate": 0.2}}).finished()


def test_a_page_that_changed_between_launches_is_refused_and_one_that_changes_under_way_is_not_read(page, tmp_path):
    path, work = pathlib.Path(page), tmp_path / "work"
    jobs = [Job("one", {}, 0.0, 1.0), Job("two", {"seed": 2}, 0.0, 2.0)]
    made = Queue.open(
        work,
        page,
        [],
        jobs,
        {j.name: record.resolved(design.with_overrides(config_of(page), j.overrides)) for j in jobs},
    )
    path.write_text(PAGE.replace("width=8", "width=16"))
    worker.work(work)
    assert made.finished()
    widths = [
        json.loads((work / "runs" / name / "config.json").read_text())["model"]["width"] for name in ("one", "two")
    ]
    assert widths == [8, 8]
    with pytest.raises(UserError, match=r"one holds another experiment: config.model.width was 8 and is 16"):
        sweep(page, jobs, work, workers=1, say=lambda line: None)


def test_a_full_disk_ends_a_sweep_in_a_sentence(page, tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "write_json", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
    with pytest.raises(UserError, match=r"cannot write to .*work: No space left on device; make room"):
        sweep(page, [Job("one", {}, 0.0, 1.0)], tmp_path / "work", workers=1, say=lambda line: None)


def test_a_worker_on_a_full_disk_says_so_and_the_sweep_repeats_it(tmp_path, monkeypatch):
    made = queue_of(tmp_path)
    (tmp_path / "logs").mkdir()

    def fails(*_):
        raise UserError("cannot write") from OSError(errno.ENOSPC, "No space")

    monkeypatch.setattr(worker, "run", fails)
    with pytest.raises(SystemExit) as ended:
        worker.work(tmp_path)
    assert ended.value.code == queue.EXIT_FULL
    local = executors.Local(made, 1, {})
    (local.logs / "worker_0.log").write_text(f"…\ncannot write to {tmp_path}: No space left on device; make room\n")

    class Ended:
        def poll(self):
            return queue.EXIT_FULL

    local.workers = [Ended()]
    with pytest.raises(UserError, match="No space left on device; make room"):
        local.tend()


def test_workers_that_have_all_ended_with_runs_missing_are_said(tmp_path):
    class Ended:
        def poll(self):
            return 0

    local = executors.Local(queue_of(tmp_path), 2, {})
    local.workers = [Ended(), Ended()]
    with pytest.raises(UserError, match="every worker has ended and runs are missing"):
        local.tend()


@pytest.mark.parametrize("place", ["folder", "broken link", "pipe"])
def test_whatever_lies_in_the_place_of_a_claim_is_given_up_in_time(tmp_path, monkeypatch, place):
    monkeypatch.setattr(queue, "LOST", 0.1)
    monkeypatch.setattr(queue, "SURE", 0.0)
    made = queue_of(tmp_path)
    claim = made.runs / "job0" / "claim"
    claim.parent.mkdir()
    {"folder": claim.mkdir, "broken link": lambda: claim.symlink_to("nowhere"), "pipe": lambda: os.mkfifo(claim)}[
        place
    ]()
    assert made.take() is None
    time.sleep(0.15)
    assert made.take().mine()


def test_looking_at_a_sweep_writes_nothing(tmp_path):
    queue_of(tmp_path, 2).take()
    listed = lambda: {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    before = listed()
    assert "1 running, 1 waiting" in status(tmp_path)
    assert listed() == before


CONFIG = {"steps": 1, "seed": 0, "data": {}, "model": {}, "task": {}, "optim": {"learning_rate": 0.1}}
OTHER = {**CONFIG, "optim": {"learning_rate": 0.2}}


def test_a_launch_keeps_to_its_own_plan_whoever_writes_another(tmp_path, monkeypatch):
    """Two launches in one folder: neither reads the other's jobs, and the earlier one stops where they contradict."""
    write, theirs, calls = queue.write_json, [], []

    def overtaken(path, plan):
        write(path, plan)
        if path.name == "plan.json" and calls.append(path) is None and len(calls) == 1:  # a second launch comes then
            theirs.append(queue_of(tmp_path, job0=OTHER))

    monkeypatch.setattr(queue, "write_json", overtaken)
    mine = queue_of(tmp_path, job0=CONFIG)
    assert mine.configs["job0"] == CONFIG
    assert mine.launch != theirs[0].launch
    theirs[0].agree()
    with pytest.raises(UserError, match=r"plans job0 with config.optim.learning_rate 0.2 and not 0.1; this one stops"):
        mine.agree()


def test_a_launch_that_adds_runs_disturbs_none(tmp_path):
    first = queue_of(tmp_path, job0=CONFIG)
    second = queue_of(tmp_path, 2, job0=CONFIG, job1=OTHER)
    first.agree()
    second.agree()
    assert first.others() == []
    (tmp_path / "runs" / "old").mkdir()
    (tmp_path / "runs" / "old" / "config.json").write_text("{}")
    assert second.others() == ["old"]


@pytest.mark.parametrize(("harm", "words"), [
    (lambda work: work.rename(work.with_name("moved")), "plan.json is gone: .* was moved, or emptied"),
    (lambda work: (work / "plan.json").unlink(), "plan.json is gone"),
    (lambda work: (work / "plan.json").write_text("{"), "plan.json is not readable JSON .*writes it again"),
])  # fmt: skip
def test_a_folder_that_goes_away_ends_the_sweep_in_a_sentence(tmp_path, harm, words):
    made = queue_of(tmp_path / "work", job0=CONFIG)
    made.agree()
    harm(tmp_path / "work")
    with pytest.raises(UserError, match=words):
        made.agree()


def test_a_folder_that_goes_away_ends_the_workers_and_is_said(tmp_path, monkeypatch):
    """Their logs lie in it: that these are gone is not what the sweep says."""
    made = queue_of(tmp_path / "work", job0=CONFIG)
    monkeypatch.setattr(executors, "command", lambda queue: ["sleep", "60"])
    workers = executors.Local(made, 1, {}).__enter__()
    (tmp_path / "work").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"plan\.json is gone") as gone:
        made.agree()
    workers.__exit__(gone.type)  # raises nothing else
    assert [worker.returncode for worker in workers.workers] == [-15]


def test_a_process_that_still_trains_in_a_lost_run_is_waited_for(tmp_path, monkeypatch):
    made, tried = queue_of(tmp_path), []

    def awakes(_, job):
        tried.append(job.name)
        if len(tried) < 3:
            raise Busy("process 1 is training here")
        finish(queue.Claim(made, job))

    monkeypatch.setattr(worker, "PAUSE", 0.01)
    monkeypatch.setattr(worker, "run", awakes)
    worker.work(tmp_path)
    assert made.failures(made.jobs[0]) == (0, 0)
    assert len(tried) == 3
    monkeypatch.setattr(worker, "FREED", 0.0)
    tried.clear()
    with pytest.raises(Busy):
        worker.made(made, made.jobs[0])


def test_a_file_where_a_run_goes_is_said_before_the_start(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "job0").write_text("")
    with pytest.raises(UserError, match="job0 is no folder, and a run goes there; remove it"):
        queue_of(tmp_path)


@pytest.mark.parametrize(("number", "remedy"), [
    (errno.ENOSPC, "make room"), (errno.EROFS, "make it writable"), (errno.EMFILE, "ulimit -n"),
    (errno.EFBIG, "ulimit -f"),
])  # fmt: skip
def test_what_stops_every_run_is_said_with_what_mends_it(tmp_path, number, remedy):
    error = UserError("of orbax")
    error.__cause__ = OSError(number, "no")
    assert remedy in queue.full(error, tmp_path)
    assert queue.full(OSError(errno.EIO, "no"), tmp_path) is None
