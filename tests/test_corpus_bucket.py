"""Corpora in a bucket, played by a folder here; scripts/check/bucket.py does it with a server and faults."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from data import corpus, documents, remote, shards

WORDS = ["the", "of", "and", "to", "in", "is", "it", "was", "for", "on", "are", "as", "with", "his"]


@pytest.fixture
def there(monkeypatch, tmp_path):
    """Where gs:// lies; blocks are small, so that every batch needs several."""

    def as_path(text):
        return tmp_path / text.replace("gs://", "bucket/") if "://" in text else Path(text)

    for module in (documents, remote):
        monkeypatch.setattr(module, "as_path", as_path)
    monkeypatch.setattr(shards, "as_path", as_path)
    monkeypatch.setattr(remote, "BLOCK", 512)
    monkeypatch.setattr(documents, "PIECE", 1 << 12)
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path / "cache"))
    return tmp_path / "bucket" / "kept"


@pytest.fixture
def texts(tmp_path):
    draw = np.random.default_rng(0)
    lines = [" ".join(draw.choice(WORDS, draw.integers(5, 60))) for _ in range(400)]
    (tmp_path / "texts").mkdir()
    for i in range(5):
        (tmp_path / "texts" / f"{i}.txt").write_text("\n\n".join(lines[i::5]))
    return str(tmp_path / "texts")


def write(texts, out, **options):
    return shards.write([texts], str(out), "bytes", how=documents.Reading(separator="\n\n"), valid=0.1, **options)


def test_what_is_written_to_a_bucket_has_the_bytes_of_a_folder(there, texts, tmp_path):
    meta = write(texts, tmp_path / "here", processes=1)
    assert write(texts, "gs://kept/mine", processes=1) == meta
    files = lambda folder: {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}
    assert files(there / "mine") == files(tmp_path / "here")
    assert not list((tmp_path / "cache" / "uploads").glob("*/*.npy")), "nothing is left here"
    assert write(texts, "gs://kept/mine", processes=1) == meta, "it is finished"
    with pytest.raises(ValueError, match="gs://kept/mine holds a finished corpus of other"):
        shards.write([texts], "gs://kept/mine", "bytes", valid=0.1, processes=1)


def test_an_upload_that_was_stopped_goes_on_and_is_nobody_elses(there, texts, tmp_path, monkeypatch):
    send, sent = remote.Upload.send, []

    def stops(self, name):
        if len(sent) == 5:
            raise KeyboardInterrupt
        sent.append(name)
        send(self, name)

    monkeypatch.setattr(remote, "AT_ONCE", 1)
    monkeypatch.setattr(remote.Upload, "send", stops)
    with pytest.raises(KeyboardInterrupt):
        write(texts, "gs://kept/mine", processes=1)
    assert not (there / "mine" / "meta.json").exists()
    with pytest.raises(ValueError, match="gs://kept/mine holds no whole corpus"):
        corpus.windows("gs://kept/mine", context=16)
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(ValueError, match="was begun with other sources or options"):
        shards.write([texts], "gs://kept/mine", "chars", valid=0.1, processes=1)
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path / "cache"))
    made = {name: (there / "mine" / name).stat().st_mtime_ns for name in sent}
    monkeypatch.setattr(remote.Upload, "send", send)
    meta = write(texts, "gs://kept/mine", processes=1)
    assert meta == write(texts, tmp_path / "here", processes=1)
    assert {name: (there / "mine" / name).stat().st_mtime_ns for name in sent} == made, (
        "what was there is not sent again"
    )


@pytest.mark.parametrize("kind", [corpus.windows, corpus.packed])
def test_batches_are_those_of_a_folder_and_only_their_blocks_are_read(there, texts, tmp_path, monkeypatch, kind):
    write(texts, there / "mine", processes=1)
    read, ranges = remote.read_range, []
    monkeypatch.setattr(remote, "read_range", lambda *what: (ranges.append(what[1:]), read(*what))[1])
    far, near = kind("gs://kept/mine", context=32), kind(str(there / "mine"), context=32)
    assert far.fingerprint == near.fingerprint
    assert len(far.train) == len(near.train)
    few = np.array([0, len(far.train) - 1])
    far.train.gather(few)
    data = [name for name, start, stop in ranges if name.startswith("train") and ".ends" not in name and stop > 256]
    assert 0 < len(data) <= 4 * few.size, "training begins before all is here"
    other = pickle.loads(pickle.dumps(far.train))
    for split in ("train", "valid"):
        ids = np.random.default_rng(1).permutation(len(getattr(far, split)))
        want, found = (getattr(each, split).gather(ids) for each in (near, far))
        assert all((want[name] == found[name]).all() and want[name].dtype == found[name].dtype for name in want)
    ranges.clear()
    ids = np.arange(len(other))
    assert (other.gather(ids)["x"] == near.train.gather(ids)["x"]).all()
    assert not ranges, "another process reads what is here"


def test_a_block_that_was_damaged_here_is_read_again_and_one_that_is_not_there_is_said(there, texts, tmp_path):
    write(texts, there / "mine", processes=1)
    far, near = (corpus.windows(path, context=32) for path in ("gs://kept/mine", str(there / "mine")))
    ids = np.arange(len(far.train))
    far.train.gather(ids)
    path = next((tmp_path / "cache" / "ranges").glob("*/train.00000.npy"))
    with path.open("r+b") as file:
        file.seek(700)
        file.write(b"x")
    again = corpus.windows("gs://kept/mine", context=32)
    assert (again.train.gather(ids)["x"] == near.train.gather(ids)["x"]).all()
    cut = there / "mine" / "train.00000.npy"
    cut.write_bytes(cut.read_bytes()[:600])
    path.unlink()
    with pytest.raises(ValueError, match=r"gs://kept/mine is damaged \(train.00000.npy has no bytes"):
        corpus.windows("gs://kept/mine", context=32).train.gather(ids)
