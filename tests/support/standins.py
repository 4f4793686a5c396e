"""Data in the shape of what a page reads from a file, a folder or the network, drawn here."""

import pathlib
import wave

import numpy as np
from ml_collections import ConfigDict

from data import shards
from data.documents import Reading

TEXT = "".join(chr(32 + i * i % 60) for i in range(3000))
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TABLES = {  # 300 rows in the shape of the table that a page is for
    "series:table": lambda data: [f"hour,{data.target}", *(f"h{i},{i * i % 24}" for i in range(300))],
    **{
        f"tables:{kind}": lambda data: [f"{'FIM'[i % 3]},{'.5,' * 7}{i * i % 24}" for i in range(300)]
        for kind in ("regression", "table")
    },
}


def stand_in(config: ConfigDict, folder: pathlib.Path) -> None:
    """Writes to `folder` something in the shape of the file or folder that the page reads, and lets it read that."""
    if config.data.name == "images:folder":
        image_folder(folder / "images")
        config.data.path = str(folder / "images")
    elif config.data.name == "speech:digits":
        recordings(folder / "recordings")
        config.data.path = str(folder / "recordings")
    elif config.data.name.startswith("corpus:"):
        (folder / "input.txt").write_text("\n\n".join(f"{i} {TEXT[:30]}" for i in range(100)))
        how = Reading(separator="\n\n")
        shards.write([str(folder / "input.txt")], str(folder / "corpus"), "bytes", how=how, valid=0.2, processes=1)
        config.data.path = str(folder / "corpus")
        if config.model.get("vocab"):
            config.model.vocab = max(config.model.vocab, 257)  # bytes, and the end of a document
    elif config.data.name == "sampled:columns":
        samples(folder / "samples.npz", config.data.size)
        config.data.path = str(folder / "samples.npz")
    elif config.data.name == "texts:folder":
        text_folder(folder / "texts")
        config.data.path = str(folder / "texts")
    elif config.data.name == "translation:pairs":
        sentence_pairs(folder, config.data.source, config.data.target)
        config.data.path = str(folder)
        config.model.vocab = max(config.model.vocab, config.data.pieces)
    elif "path" in config.data:
        table = TABLES.get(config.data.name)
        file = folder / ("input.csv" if table else "input.txt")
        file.write_text("\n".join(table(config.data)) if table else TEXT)
        config.data.path = str(file)


def without_download(data: ConfigDict) -> ConfigDict:
    """Few held-out records of a set inside a package; drawn images and graphs for those that no package holds."""
    if str(data.get("dataset", "")).startswith("isoflop_"):
        return ConfigDict({**data, "valid": "valid[:1]" if data.name == "text:windows" else "valid[:64]"})
    if data.name == "arrays:columns":
        shown = {"side": data.get("size", 32), "classes": 10, "train": 256, "valid": 64}
        return ConfigDict({"name": "random:images", **shown})
    if data.name == "graphs:planetoid":
        drawn = {"graphs": 1, "nodes": 48, "words": 32, "length": 6, "labelled": 4, "fan_out": data.get("fan_out", ())}
        return ConfigDict({"name": "graphs:communities", **drawn})
    if data.name == "molecules:tu":
        return ConfigDict({"name": "molecules:nitroso", "train": 128, "valid": 64})
    return data


def image_folder(folder: pathlib.Path) -> None:
    """Coloured noise in two classes that do not differ, 64 images to train on and 32 held out."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 32), ("test", 16)):
        for label in ("cat", "dog"):
            place = folder / split / label
            place.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(place / f"{i:02}.png")


def samples(file: pathlib.Path, size: int) -> None:
    """Of each of ten classes eight pictures of noise."""
    rng = np.random.default_rng(0)
    np.savez(file, samples=rng.random((80, size, size, 1), np.float32), y=np.arange(80) % 10)


def text_folder(folder: pathlib.Path) -> None:
    """Of two classes 40 texts each, which differ in one word."""
    for label, word in (("neg", "dull"), ("pos", "bright")):
        (folder / label).mkdir(parents=True)
        for i in range(40):
            (folder / label / f"{i:02}.txt").write_text(f"Film {i} , as {'we all' * (i % 3)} know , is {word} .")


def sentence_pairs(folder: pathlib.Path, source: str, target: str) -> None:
    """Numbers in words and in figures, 128 lines to train on and 32 held out."""
    for split, numbers in (("train", range(0, 640, 5)), ("val", range(1, 640, 20))):
        lines = [" ".join(NUMBERS[int(digit)] for digit in str(n)) for n in numbers]
        (folder / f"{split}.{source}").write_text("\n".join(lines))
        (folder / f"{split}.{target}").write_text("\n".join(map(str, numbers)))


def recordings(folder: pathlib.Path) -> None:
    """Of each digit three sounds of 0.3 s, one of them held out: a tone that tells which, in noise."""
    folder.mkdir()
    rng, time = np.random.default_rng(0), np.arange(2400) / 8000
    for digit in range(10):
        for number in (0, 5, 6):
            sound = 0.5 * np.sin(2 * np.pi * 200 * (digit + 1) * time) + 0.05 * rng.standard_normal(time.size)
            with wave.open(str(folder / f"{digit}_someone_{number}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes((32000 * sound.clip(-1, 1)).astype("<i2").tobytes())
