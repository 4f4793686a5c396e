"""Texts with a class, one a file, in a folder or an archive (data/folders.py).  B texts, L tokens."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32

from data import cache, folders, tokenize
from data.source import Columns, Dataset, HeldOut

VERSION = 2  # of the decoding below
PAD, UNKNOWN, FIRST = 0, 1, 2  # numbers of tokens: behind a text, a rare word, before a text
SPECIAL = ("[pad]", "[unk]", "[cls]")  # their names, before those of the words
SMALLEST = {"vocab": 256, "length": 32}  # at which pages are tested


def folder(
    path: str,
    *,
    vocab: int = 10_000,
    length: int = 256,
    keep: Literal["first", "last"] = "last",
    train: str = "train",
    valid: float | str = "auto",
    seed: int = 0,
) -> Dataset:
    """Texts SPLIT/CLASS/NAME.txt or CLASS/NAME.txt of a folder, or of a .tar, .tar.gz or .tar.xz of it.

    x int32 [L]: a token that begins each text (2), its first or last `length` - 1 words, and zeros behind.  Words are
    letters and digits between other signs, each of which is one too, in small letters.  Known are the commonest of the
    training texts, `vocab` with the three special tokens; others are token 1.  y int32: the class.

    `valid` and `seed` are those of images:folder.
    """
    if vocab <= len(SPECIAL) or length < 2:
        raise ValueError(f"{vocab=}, {length=}; a vocabulary has {len(SPECIAL) + 1} tokens at least, and a text 2")
    place = folders.found(path)
    request = {"texts": VERSION, "files": folders.signature(place), "vocab": vocab, "length": length, "keep": keep}
    request |= {"train": train, "valid": valid, "seed": seed}

    def build(to: Path) -> dict[str, Any]:
        texts = {name: read() for name, read in folders.files(place, {".txt"})}
        splits, rule = folders.splits(path, list(texts), train, valid, seed, file="text NAME.txt")
        classes = sorted({name.parts[-2] for names in splits.values() for name in names})
        known = commonest((words(texts[name]) for name in splits["train"]), vocab - len(SPECIAL))
        state = tokenize.of_words([*SPECIAL, *known], SPECIAL[UNKNOWN])
        tokenizer = tokenize.load("json", state)
        for split, names in splits.items():
            x = [numbered(tokenizer, texts[name], length, keep) for name in names]
            np.save(to / f"{split}.x.npy", np.stack(x))
            np.save(to / f"{split}.y.npy", np.array([classes.index(name.parts[-2]) for name in names], np.int32))
        return {
            "classes": classes,
            "rule": rule,
            "held": [str(n) for n in splits["valid"]] * bool(rule),
            "words": state,
        }

    meta, found = cache.columns(request, build)
    return Dataset(
        train=Columns(x=found["train.x"], y=found["train.y"]),
        valid=Columns(x=found["valid.x"], y=found["valid.y"]),
        classes=len(meta["classes"]),
        unit="example",
        per_record=1,
        unique=len(found["train.y"]),
        fingerprint=meta["fingerprint"],
        words=vocab,
        tokenizer=tokenize.load("json", meta["words"]),
        names=tuple(meta["classes"]),
        held_out=HeldOut(meta["rule"], tuple(meta["held"])),
    )


def words(raw: bytes) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", raw.decode(errors="replace").lower())


def commonest(texts: Iterable[list[str]], count: int) -> list[str]:
    """Of words that are equally common the first in the alphabet."""
    counts = Counter(word for text in texts for word in text)
    return sorted(counts, key=lambda word: (-counts[word], word))[:count]


def numbered(
    tokenizer: tokenize.Tokenizer, raw: bytes, length: int, keep: Literal["first", "last"]
) -> Int32[np.ndarray, " L"]:
    """A text as the network reads it."""
    tokens_N = tokenizer.encode(raw.decode(errors="replace").encode())
    kept = tokens_N[: length - 1] if keep == "first" else tokens_N[-(length - 1) :]
    return np.pad(kept, (1, length - 1 - len(kept)), constant_values=(FIRST, PAD)).astype(np.int32)
