"""Texts of one's own: those with a class, and sentences in two languages."""

import gzip
import tarfile

import numpy as np
import pytest

from data import texts, translation
from tests.support.standins import NUMBERS, sentence_pairs, text_folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path / "cache"))


def test_texts_are_numbers_of_words(tmp_path):
    """The commonest first; the last words where a text is too long; the same from a folder and from an archive."""
    text_folder(tmp_path / "films")
    dataset = texts.folder(str(tmp_path / "films"), vocab=9, length=6)
    assert (dataset.names, dataset.classes, len(dataset.train), len(dataset.valid)) == (("neg", "pos"), 2, 64, 16)
    batch = dataset.train.gather(np.arange(64))
    known = [",", ".", "as", "film", "is", "know"]  # the comma is there twice
    assert texts.commonest([texts.words(b"Film 1 , as , know , is .")], 3) == [",", ".", "1"]
    assert set(batch["x"][:, 0]) == {texts.FIRST}
    comma, stop, is_ = (len(texts.SPECIAL) + known.index(word) for word in (",", ".", "is"))
    assert (batch["x"][:, [2, 3, 5]] == [comma, is_, stop]).all()
    assert (batch["x"][:, 4] == texts.UNKNOWN).all(), "dull and bright are rarer than the six words that are known"
    with tarfile.open(tmp_path / "films.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "films", "films")
    packed = texts.folder(str(tmp_path / "films.tar.gz"), vocab=9, length=6)
    assert packed.fingerprint == dataset.fingerprint
    raw = (tmp_path / "films" / "neg" / "00.txt").read_bytes()
    rows = np.concatenate([batch["x"], dataset.valid.gather(np.arange(16))["x"]])
    assert (texts.numbered(dataset.tokenizer, raw, 6, "last") == rows).all(1).any(), "a file is read as its record was"
    short = texts.folder(str(tmp_path / "films"), length=20).valid.gather(np.arange(16))
    assert (short["x"][:, -3:] == texts.PAD).all()
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"has no texts train/CLASS/NAME.txt .* it has no text CLASS/NAME.txt at all"):
        texts.folder(str(tmp_path / "none"))


def test_pairs_are_the_lines_of_two_files(tmp_path):
    """With their ends, whole or not at all, packed or not; and files that do not fit each other are named."""
    sentence_pairs(tmp_path, "en", "num")
    dataset = translation.pairs(str(tmp_path), target="num", pieces=300, length=8)
    read = lambda ids: dataset.tokenizer.decode(ids).split("\n")[0]
    batch = dataset.valid.gather(np.arange(len(dataset.valid)))
    digits = {word: str(i) for i, word in enumerate(NUMBERS)}
    assert len(dataset.valid) > 20
    for x, y in zip(batch["x"], batch["y"], strict=True):
        assert "".join(digits[word] for word in read(x).split()) == read(y)
        assert list(x[x > 0])[-1] == list(y[y > 0])[-1] == 1
    longer = translation.pairs(str(tmp_path), target="num", pieces=300, length=40)
    assert (len(longer.train), len(longer.valid)) == (128, 32)
    for name in ("train", "val"):
        plain = tmp_path / f"{name}.num"
        (tmp_path / f"{name}.num.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    assert translation.pairs(str(tmp_path), target="num", pieces=300, length=40).fingerprint == longer.fingerprint
    (tmp_path / "val.num").write_text("7\n8")
    with pytest.raises(ValueError, match="val has 32 in en, 2 in num lines; line n of one is the translation"):
        translation.pairs(str(tmp_path), target="num")
    with pytest.raises(ValueError, match=r"no text at '.*train.fr', nor with .gz"):
        translation.pairs(str(tmp_path), target="fr")
