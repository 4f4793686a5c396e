"""A folder has one owner: who trains in it is said, who is dead is followed, and who lost it writes no more."""

import json
import os
import subprocess
import sys
import threading

import pytest

from tests.support.small import blobs
from train import owner
from train.display import Display
from train.errors import UserError
from train.loop import train
from train.owner import Owner, Process

QUIET = lambda line: None


def claim(folder, number=1, **changes):
    """An owner's file as another process would have written it."""
    entry = owner.this_process("theirs")._replace(**changes)
    owner.create(folder / f".owner.{number}", json.dumps(entry._asdict()))
    return entry


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.stdin.close()
    process.wait()


def test_one_owner_and_then_the_next(tmp_path):
    first, second = Owner(), Owner()
    first.take(tmp_path, QUIET)
    with pytest.raises(UserError, match=rf"process {os.getpid()} on .* is training here \({tmp_path}\)"):
        second.take(tmp_path, QUIET)
    first.release()
    assert not os.listdir(tmp_path)
    second.take(tmp_path, QUIET)
    second.release()


def test_on_the_same_host_the_process_decides_not_its_time_stamp(tmp_path, sleeper):
    claim(tmp_path, pid=sleeper.pid, started=owner.started(sleeper.pid))
    os.utime(tmp_path / ".owner.1", (0, 0))  # it may be stopped, or the clock was changed
    with pytest.raises(UserError, match=rf"process {sleeper.pid} on "):
        Owner().take(tmp_path, QUIET)
    sleeper.kill()
    while owner.started(sleeper.pid):  # dead, and not waited for
        pass
    mine = Owner()
    mine.take(tmp_path, QUIET)
    assert os.listdir(tmp_path) == [".owner.2"]
    mine.release()


def test_another_process_of_the_same_number_is_not_the_owner(tmp_path):
    claim(tmp_path, started="1")
    mine = Owner()
    mine.take(tmp_path, QUIET)
    mine.release()


def test_elsewhere_the_time_stamp_decides_by_the_observers_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(owner, "PATIENCE", 0.5)
    claim(tmp_path, place="another boot", host="far", pid=7)
    path, said = tmp_path / ".owner.1", []
    os.utime(path, (2e9, 2e9))  # a clock of the future
    beats = threading.Timer(0.2, os.utime, (path, (1e9, 1e9)))  # and then set back: a sign of life all the same
    beats.start()
    with pytest.raises(UserError, match="process 7 on far is training here"):
        Owner().take(tmp_path, said.append)
    beats.join()
    assert said == [f"process 7 on far was training in {tmp_path}; waiting up to 0.5 s for a sign of life"]
    mine = Owner()
    mine.take(tmp_path, QUIET)  # no sign within the patience
    mine.release()


def test_half_a_file_is_watched_too(tmp_path, monkeypatch):
    """Its writer may be about to complete it."""
    monkeypatch.setattr(owner, "PATIENCE", 0.3)
    (tmp_path / ".owner.3").write_text('{"pid": ')
    mine = Owner()
    mine.take(tmp_path, QUIET)
    assert os.listdir(tmp_path) == [".owner.4"]
    mine.release()


def test_of_many_at_once_one_owns(tmp_path):
    claim(tmp_path, started="1")
    owners, refused = [Owner() for _ in range(8)], []

    def take(one):
        try:
            one.take(tmp_path, QUIET)
        except UserError:
            refused.append(one)

    threads = [threading.Thread(target=take, args=(one,)) for one in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [one for one in owners if one not in refused]
    assert winner.mine()
    winner.release()


class Overtaken(Display):
    """Another host takes the folder over when the run has said the evaluation of step 4."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def say(self, line):
        if line.startswith("step 4 "):
            claim(self.folder, 2, host="far", pid=7)
            self.before = {p: p.read_bytes() for p in self.folder.glob("*.*") if p.is_file()}


def test_who_lost_the_folder_stops_before_it_writes(tmp_path):
    display = Overtaken(tmp_path)
    with pytest.raises(UserError, match=r"process 7 on far has taken over .*; this one stopped before it wrote there"):
        train(blobs(**{"eval.patience": 0, "writers": ("csv",), "checkpoint.every": 10}), tmp_path, display)
    assert {p: p.read_bytes() for p in tmp_path.glob("*.*") if p.is_file()} == display.before
    assert os.listdir(tmp_path / "checkpoints") == []
    assert not (tmp_path / "metrics.csv").exists()


class Removed(Overtaken):
    """And so removes a file that this process was about to read or rename."""

    def say(self, line):
        super().say(line)
        if line.startswith("step 4 "):
            raise RuntimeError("Error reading checkpoints/4.tmp")


def test_what_fails_in_a_folder_of_another_is_said_as_that(tmp_path):
    from tests.test_stopping import blobs

    with pytest.raises(UserError, match=r"process 7 on far has taken over .*; this one stopped before it wrote there"):
        train(blobs(**{"eval.patience": 0, "writers": ()}), tmp_path, Removed(tmp_path))


def test_process_is_told_apart():
    me = owner.this_process("t")
    assert me == Process(os.getpid(), me.host, owner.place(), owner.started(os.getpid()), "t")
    assert me.started
    assert owner.started(2**22 + 1) == ""
