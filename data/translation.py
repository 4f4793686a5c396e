"""Sentences in two languages, line by line.  B pairs, S tokens of the source, L tokens of the target.

Both languages share one vocabulary of pieces of words.  As in data/rewriting.py token 1, a new line, ends each
sentence, and token 0 fills up what is behind.
"""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from data import cache, tokenize
from data.rewriting import END, FILLER
from data.source import Columns, Dataset, HeldOut, examples

VERSION = 1  # of the decoding below
SMALLEST = {"pieces": 280, "length": 16}  # at which pages are tested


def pairs(
    path: str,
    *,
    source: str = "en",
    target: str = "de",
    train: str = "train",
    valid: str = "val",
    pieces: int = 4000,
    length: int = 40,
) -> Dataset:
    """Texts of a folder by the names SPLIT.LANGUAGE or SPLIT.LANGUAGE.gz, such as train.en and train.de.gz.

    Line n of a source and line n of its target are a pair.  The vocabulary are `pieces` pieces of words (BPE), learnt
    from the training lines of both languages.  x int32 [S], y int32 [L]; both have room for `length` tokens, and a pair
    with a side that needs more is left out of its split.
    """
    if length < 2:
        raise ValueError(f"{length=}; a sentence has 2 tokens at least, one of which is its end")
    lines = {split: read(path, split, source, target) for split in (train, valid)}
    digest = hashlib.sha256(repr(lines).encode()).hexdigest()
    request = {"pairs": VERSION, "lines": digest, "train": train, "valid": valid, "pieces": pieces, "length": length}

    def build(folder: Path) -> dict[str, Any]:
        text = "\n".join(line for side in lines[train] for line in side)
        state = tokenize.train_bpe(text, pieces, first=(FILLER, END))
        tokenizer = tokenize.load("json", state)
        for part, split in (("train", train), ("valid", valid)):
            kept, x, y = numbered(tokenizer, lines[split], length)
            if not len(kept):
                raise ValueError(f"{path}: no pair of {split} fits into data.length={length} tokens; give it more")
            np.save(folder / f"{part}.x.npy", x)
            np.save(folder / f"{part}.y.npy", y)
        return {"tokenizer": state}

    meta, found = cache.columns(request, build)
    tokenizer = tokenize.load("json", meta["tokenizer"])
    halves = [Columns(x=found[f"{part}.x"], y=found[f"{part}.y"]) for part in ("train", "valid")]
    return examples(*halves, tokenizer.vocab, tokenizer=tokenizer, held_out=HeldOut(f"the lines of {valid}"))


def read(path: str, split: str, *languages: str) -> list[list[str]]:
    """The lines of a split in each of the languages."""
    found = []
    for language in languages:
        places = [Path(path).expanduser() / f"{split}.{language}{suffix}" for suffix in ("", ".gz")]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise ValueError(
                f"no text at {str(places[0])!r}, nor with .gz: data.path is the folder of the texts, relative to where "
                f"you run, {Path.cwd()}"
            )
        raw = place.read_bytes()
        text = tokenize.as_text(gzip.decompress(raw) if place.suffix == ".gz" else raw)
        found.append(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))
    counts = [len(lines) for lines in found]
    if len(set(counts)) > 1 or not counts[0]:
        said = ", ".join(f"{count:,} in {language}" for count, language in zip(counts, languages, strict=True))
        raise ValueError(f"{path}: {split} has {said} lines; line n of one is the translation of line n of the other")
    return found


def numbered(
    tokenizer: tokenize.Tokenizer, sides: list[list[str]], length: int
) -> tuple[Int32[np.ndarray, " B"], Int32[np.ndarray, "B S"], Int32[np.ndarray, "B L"]]:
    """The numbers of the pairs that fit, and their tokens."""
    x, y = ([tokenizer.encode((line.strip() + END).encode()) for line in side] for side in sides)
    kept = [i for i, (a, b) in enumerate(zip(x, y, strict=True)) if max(len(a), len(b)) <= length]
    filled = lambda rows: np.array([np.pad(rows[i], (0, length - len(rows[i]))) for i in kept], np.int32)
    return np.array(kept, np.int32), filled(x), filled(y)
