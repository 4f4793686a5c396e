"""Work folders in a bucket, against one in memory; scripts/check/bucket.py does it with a server, kills and faults."""

import json
import sys
import threading
import time

import pytest
from ml_collections import ConfigDict

from tests.support.storage import Storage, exceptions
from train import bucket, bucket_owner, configs, owner
from train.bucket import Copy, Lost, local
from train.bucket_owner import BucketOwner, owner_of
from train.cli import folder
from train.display import Display
from train.errors import UserError
from train.loop import Run, train
from train.owner import this_process

TINY = ["steps=6", "checkpoint.every=2", "log_every=1", "eval.every=3", "batch_size=8", "writers=('csv',)"]
TINY += ["data.train_tokens=4096", "data.valid_tokens=512", "model.layers=1", "model.width=16"]


@pytest.fixture
def storage(monkeypatch, tmp_path):
    made = Storage()
    for name, module in exceptions().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(bucket, "client", lambda: made)
    monkeypatch.setattr(bucket, "retry", lambda: None)
    monkeypatch.setattr(owner, "BEAT", 0.05)
    monkeypatch.setattr(owner, "PATIENCE", 0.5)
    bucket.fetched.cache_clear()
    return made


def again(address):
    """The copy that another process would make."""
    bucket.fetched.cache_clear()
    return local(address)


def config() -> ConfigDict:
    return configs.config_of(configs.load("markov_gpt"), TINY)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_from_the_bucket_alone(storage, tmp_path, monkeypatch):
    real = bucket.checkpoints
    monkeypatch.setattr(
        "train.bucket.checkpoints", lambda place: tmp_path / "there" if bucket.address_of(place) else real(place)
    )
    monkeypatch.setattr("train.extend.checkpoints", bucket.checkpoints)
    train(config(), tmp_path / "here", Display(quiet=True))
    save = Run.save

    def dies(self, step, *rest):
        if step == 4:
            self.owner.lost = True  # as one that is killed, it writes no more
            raise KeyboardInterrupt
        save(self, step, *rest)

    monkeypatch.setattr(Run, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        train(config(), local("gs://kept/a/run"), Display(quiet=True))
    monkeypatch.setattr(Run, "save", save)
    assert "record.json" not in storage.names("a/run/")
    monkeypatch.setattr(bucket_owner, "started", lambda pid: "")  # its process is gone
    train(config(), again("gs://kept/a/run"), Display(quiet=True))
    for name in ("config.json", "data.json", "metrics.jsonl", "metrics.csv"):
        assert storage.objects["kept", f"a/run/{name}"][0] == (tmp_path / "here" / name).read_bytes()
    assert not [name for name in storage.names("a/run/") if name.startswith(".")]
    written = [line for line in storage.log if line.startswith("put") and ".owner" not in line]
    assert written[-1] == "put a/run/record.json", "which says that the rest is there"
    before = len(storage.log)
    train(config(), again("gs://kept/a/run"), Display(quiet=True))
    assert len(storage.log) == before, "a finished run is read"


def test_what_is_removed_here_is_removed_there_the_record_first(storage, tmp_path):
    copy = Copy(tmp_path, "gs://kept/run")
    for name in ("a.txt", "record.json", "checkpoints/1", ".owner.1", "x.part", "claim"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    copy.send()
    assert storage.names("run/") == {"a.txt", "record.json"}
    copy.fetch()
    assert (tmp_path / "claim").exists(), "a worker that misses its claim ends"
    (tmp_path / "a.txt").unlink()
    (tmp_path / "record.json").unlink()
    copy.send()
    assert storage.log[-2:] == ["delete run/record.json", "delete run/a.txt"]


def test_who_does_not_know_what_is_there_does_not_write_over_it(storage, tmp_path):
    one, other = (Copy(tmp_path / name, "gs://kept/run") for name in ("one", "other"))
    for copy in (one, other):
        copy.folder.mkdir()
        copy.fetch()
    (one.folder / "a").write_text("first")
    one.send()
    (other.folder / "a").write_text("second")
    with pytest.raises(Lost, match="another process has written gs://kept/run/a"):
        other.send()
    other.fetch()
    assert (other.folder / "a").read_text() == "first"


def test_an_answer_that_is_lost_is_no_other_writer(storage, tmp_path):
    copy = Copy(tmp_path, "gs://kept/run")
    assert copy.write("a", b"mine", 0) == 1
    assert copy.write("a", b"mine", 0) == 1, "the client tried again what had succeeded"
    assert copy.write("a", b"other", 0) is None


def test_a_folder_has_one_owner(storage, tmp_path):
    first = owner_of(local("gs://kept/run"))
    first.take(local("gs://kept/run"), print)
    second = owner_of(again("gs://kept/run"))
    with pytest.raises(UserError, match=r"is training here \(gs://kept/run\)"):
        second.take(second.copy.folder, print)
    first.release()
    second.take(second.copy.folder, print)
    assert storage.names("run/.owner.") == {"1"}
    second.release()
    assert isinstance(owner_of(tmp_path), owner.Owner)
    assert not isinstance(owner_of(tmp_path), BucketOwner)


@pytest.mark.parametrize("lives", [True, False])
def test_on_another_host_who_shows_signs_of_life_is_alive(storage, lives):
    copy = Copy(local("gs://kept/run"), "gs://kept/run")
    facts = {**this_process("theirs")._asdict(), "place": "elsewhere", "host": "far"}
    ended = threading.Event()

    def beat():
        generation = copy.write(".owner.3", json.dumps(facts).encode(), 0)
        while lives and not ended.wait(0.05):
            generation = copy.write(".owner.3", json.dumps({**facts, "beat": time.monotonic()}).encode(), generation)

    thread = threading.Thread(target=beat)
    thread.start()
    mine, said = owner_of(copy.folder), []
    try:
        if lives:
            time.sleep(0.1)
            with pytest.raises(UserError, match="on far is training here"):
                mine.take(copy.folder, said.append)
        else:
            thread.join()
            mine.take(copy.folder, said.append)
            assert storage.names("run/.owner.") == {"4"}
        assert "waiting up to 0.5 s for a sign of life" in said[0]
    finally:
        ended.set()
        thread.join()
        mine.release()


def test_who_was_taken_over_from_stops_before_it_writes(storage):
    mine = owner_of(local("gs://kept/run"))
    mine.take(local("gs://kept/run"), print)
    other = Copy(mine.copy.folder, "gs://kept/run")
    other.remove(".owner.1")
    other.write(".owner.2", b"{}", 0)
    deadline = time.monotonic() + 5
    while mine.mine() and time.monotonic() < deadline:
        time.sleep(0.02)
    (mine.copy.folder / "late").write_text("x")
    with pytest.raises(Lost, match="has taken over gs://kept/run"):
        mine.flush()
    mine.release()
    assert storage.names("run/") == {".owner.2"}


@pytest.mark.parametrize(
    ("module", "error", "said"),
    [
        ("google.api_core.exceptions", "NotFound", "there is no bucket gs://kept"),
        ("google.api_core.exceptions", "Forbidden", "may not be used with these credentials"),
        ("google.api_core.exceptions", "Unauthorized", "the login for gs://kept is over"),
        ("google.auth.exceptions", "RefreshError", "the login for gs://kept is over"),
        ("google.api_core.exceptions", "RetryError", "could not be reached for 120 s"),
        ("google.auth.exceptions", "TransportError", "could not be reached for 120 s"),
    ],
)
def test_what_a_bucket_refuses_is_a_sentence(storage, module, error, said):
    def fails(verb, name):
        raise getattr(sys.modules[module], error)("why")

    storage.before = fails
    with pytest.raises(UserError, match=said):
        local("gs://kept/run")


def test_addresses_and_files(storage, tmp_path):
    Copy(tmp_path, "gs://kept/logs").write("x.csv", b"a,b\n1,2\n", 0)
    assert again("gs://kept/logs/x.csv").read_text() == "a,b\n1,2\n"
    assert folder("--workdir", "gs://kept/logs").joinpath("x.csv").is_file()
    for text in ("gs://kept", "gs:///x"):
        with pytest.raises(UserError, match="names no folder in a bucket"):
            local(text)
    with pytest.raises(UserError, match="is an address and no folder"):
        folder("--out", "gs://kept/x")
    where = again("gs://kept/logs")
    assert bucket.address_of(where / "runs" / "a") == "gs://kept/logs/runs/a"
    assert bucket.named(f"done in {where}") == "done in gs://kept/logs"


def test_results_go_to_an_address_over_those_that_are_there(storage, tmp_path):
    for text in ("one", "two"):
        with bucket.written("gs://kept/fit/") as out:
            (out / "plots").mkdir()
            (out / "plots" / "a.txt").write_text(text)
    assert storage.names("fit/") == {"plots/a.txt"}
    assert storage.objects["kept", "fit/plots/a.txt"][0] == b"two"
    with bucket.written(str(tmp_path)) as out:
        assert out == tmp_path
