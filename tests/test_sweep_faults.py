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
from scaling.sweep.launch import sweep
from scaling.sweep.queue import ERRORS, Queue
from tests.test_sweep import PAGE, config_of, finish
from train import record
from train.errors import UserError


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
