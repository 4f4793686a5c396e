"""Queues of sweeps in a bucket, in memory; scripts/check/bucket.py does it with a server, kills and faults."""

import json
import sys
import threading
import time

import pytest

from scaling.sweep import bucket as queues
from scaling.sweep import queue as base
from scaling.sweep.bucket import BucketQueue, queue_of
from scaling.sweep.design import Job
from scaling.sweep.executors import Local, command
from scaling.sweep.queue import ERRORS
from tests.test_bucket import storage  # noqa: F401 - a fixture
from train.bucket import empty
from train.errors import UserError

PLACE = "gs://kept/sweep"
ROW = {"steps": 1, "tokens_seen": 1, "params_total": 1, "loss": 1.0, "metrics": {}, "wall_seconds": 1.0}


@pytest.fixture(autouse=True)
def quick(storage, monkeypatch):  # noqa: F811
    monkeypatch.setattr(queues, "POLL", 0.0)
    monkeypatch.setattr(base, "SURE", 0.1)
    monkeypatch.setattr(base, "LOST", 0.2)


def launch(count: int, **configs) -> BucketQueue:
    """A launch on a host of its own."""
    return BucketQueue.open(
        empty(PLACE), "page.py", [], [Job(f"job{i}", {}, 0.0, float(i)) for i in range(count)], configs
    )


def finish(claim) -> None:
    row = ROW | {"name": claim.job.name, "git_commit": "", "config_hash": ""}
    claim.mirror.write(f"runs/{claim.job.name}/record.json", json.dumps(row).encode(), 0)
    claim.release()


def test_launches_of_several_hosts_make_every_run_once(storage):  # noqa: F811
    made, lock = [], threading.Lock()
    first = launch(12)
    second = launch(12)

    def works(mine):
        worker = queue_of(empty(PLACE), mine.launch)
        while not worker.finished():
            if claim := worker.take():
                with lock:
                    made.append(claim.job.name)
                finish(claim)

    threads = [threading.Thread(target=works, args=[mine]) for mine in (first, second) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(f"job{i}" for i in range(12))
    assert not [name for name in storage.names("sweep/") if name.endswith("claim")]
    assert {state.what for queue in (first, second) for state in queue.states()} == {"done"}


def test_a_silent_worker_loses_its_run_to_one_other_and_cannot_release_it(storage):  # noqa: F811
    queue = launch(1)
    silent, takers = queue.take(), [queue_of(empty(PLACE)) for _ in range(3)]
    assert not any(taker.take() for taker in takers)
    assert silent.beat()
    time.sleep(0.25)
    assert not any(taker.take() for taker in takers), "it has shown a sign of life since"
    time.sleep(0.25)
    taken = [claim for taker in takers if (claim := taker.take())]
    assert len(taken) == 1
    assert "no sign of life of" in queue.states()[0].reason
    silent.release()
    assert taken[0].beat(), "what another releases late is not its own"
    silent.generation = 1
    assert not silent.beat()


def test_failures_are_counted_by_all_who_work_in_a_launch(storage):  # noqa: F811
    queue = launch(1)
    for _ in range(ERRORS):
        worker = queue_of(empty(PLACE), queue.launch)
        claim = worker.take()
        worker.fail(claim.job, "broken")
        claim.release()
    assert queue.finished()
    assert launch(1).take().job.name == "job0", "the next launch tries again"


def test_an_answer_that_is_lost_loses_no_claim(storage, monkeypatch):  # noqa: F811
    queue = launch(1)
    calls = []

    def lost(verb, name):
        if verb == "put" and name.endswith("claim") and not calls.append(name) and len(calls) == 1:
            raise storage_error("PreconditionFailed")

    storage.after = lost
    claim = queue.take()
    assert claim is not None
    assert claim.beat()


def storage_error(name: str) -> Exception:
    return getattr(sys.modules["google.api_core.exceptions"], name)("412")


def test_another_plan_for_the_same_runs_ends_the_earlier_launch(storage):  # noqa: F811
    config = {"steps": 1, "seed": 0, "optim": {"learning_rate": 0.1}}
    first = launch(1, job0=config)
    launch(1, job0=config)
    first.agree()
    launch(1, job0={**config, "seed": 1})
    with pytest.raises(UserError, match=r"plans job0 with config.seed 1 and not 0; this one stops"):
        first.agree()


def test_workers_are_told_the_address_and_leave_their_logs_there(storage, monkeypatch):  # noqa: F811
    monkeypatch.setattr("scaling.sweep.executors.command", lambda queue: [sys.executable, "-c", "print('said')"])
    queue = launch(1)
    assert command(queue)[3:] == [PLACE, "--launch", queue.launch]
    with Local(queue, 1, {}):
        pass
    assert storage.objects["kept", f"sweep/logs/{queue.launch[:8]}/worker_0.log"][0] == b"said\n"


def test_a_worker_that_ends_first_saw_the_last_run_of_another_launch(storage, monkeypatch):  # noqa: F811
    monkeypatch.setattr("scaling.sweep.executors.command", lambda queue: [sys.executable, "-c", ""])
    monkeypatch.setattr(queues, "POLL", 60.0)
    mine, other = launch(1), launch(1)
    with Local(mine, 1, {}) as workers:
        assert not mine.finished()
        workers.workers[0].wait()
        finish(other.take())
        workers.tend()
        assert mine.finished()
