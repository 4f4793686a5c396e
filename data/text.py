"""Text as one stream of tokens, cut into windows."""

import codecs
import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data import cache, tfds, tokenize
from data.source import Dataset, Windows

VERSION = 2  # of the decoding below
Offsets = Literal["blocks", "random"]  # each token once an epoch, or windows from any token
SMALLEST = {"context": 16}  # at which pages are tested


def windows(
    dataset: str,
    *,
    context: int,
    tokenizer: str = "bytes",
    offsets: Offsets = "blocks",
    train: str = "train",
    valid: str = "auto",
    text: str = "text",
    separator: str = "\n\n",
) -> Dataset:
    """Any TFDS dataset whose records have a feature `text`; records follow each other with `separator` between."""
    request = {"text": VERSION, "dataset": dataset, "train": train, "valid": valid, "feature": text}
    request |= {"separator": separator, "tokenizer": tokenizer}

    def build(folder: Path) -> dict[str, Any]:
        made, splits = tfds.splits(dataset, train, valid)
        if text not in made.info.features:
            raise ValueError(f"the records of {dataset!r} have no {text!r}; they have {', '.join(made.info.features)}")
        join = separator.encode().join
        streams = {split: join(record[text] for record in tfds.records(source)) for split, source in splits.items()}
        return {"dataset": made.info.full_name, **_write(folder, tokenizer, **streams)}

    return _dataset(request, build, dataset, context, offsets)


def file(
    path: str, *, context: int, tokenizer: str = "chars", offsets: Offsets = "blocks", valid: float = 0.1
) -> Dataset:
    """A text file of your own; its last part, `valid` of its characters, is held out."""
    if not 0 < valid < 1:
        raise ValueError(f"valid={valid} must be the fraction of the file that is held out, such as 0.1")
    raw = read(Path(path).expanduser())
    request = {"file": VERSION, "sha256": hashlib.sha256(raw).hexdigest(), "tokenizer": tokenizer, "valid": valid}

    def build(folder: Path) -> dict[str, Any]:
        cut = _cut(raw, 1 - valid)
        return _write(folder, tokenizer, train=raw[:cut], valid=raw[cut:])

    return _dataset(request, build, path, context, offsets)


def read(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"no text file at {str(path)!r}: paths are relative to where you run, {Path.cwd()}")
    return path.read_bytes().removeprefix(codecs.BOM_UTF8)  # names the encoding, is no text


def _cut(raw: bytes, fraction: float) -> int:
    """The byte before which `fraction` of the characters lie."""
    text = raw.decode(errors="surrogateescape")
    return len(text[: int(fraction * len(text))].encode(errors="surrogateescape"))


def _write(folder: Path, spec: str, train: bytes, valid: bytes) -> dict[str, Any]:
    state = tokenize.fit(spec, train, valid)
    tokenizer = tokenize.load(spec, state)
    dtype = np.min_scalar_type(tokenizer.vocab - 1)
    counts = {}
    for split, raw in (("train", train), ("valid", valid)):
        tokens = tokenizer.encode(raw).astype(dtype)
        if len(tokens) < 2:
            raise ValueError(f"the {split} split has {len(tokens)} tokens, too few to predict one from another")
        np.save(folder / f"{split}.npy", tokens)
        counts[split] = len(tokens)
    each = {"bytes_per_unit": len(valid) / counts["valid"], "train_bytes_per_unit": len(train) / counts["train"]}
    return {"tokenizer": state, "tokens": counts, **each}


def _dataset(request: dict[str, Any], build: Any, name: str, context: int, offsets: Offsets) -> Dataset:
    meta, tokens = cache.columns(request, build)
    for split, stream in tokens.items():
        if not 1 <= context < len(stream):
            raise ValueError(f"context={context} must be from 1 to {len(stream) - 1}, the {split} tokens of {name!r}")
    tokenizer = tokenize.load(request["tokenizer"], meta["tokenizer"])
    return Dataset(
        train=Windows(tokens["train"], context, context if offsets == "blocks" else 1),
        valid=Windows(tokens["valid"], context, context, last="pad"),
        classes=tokenizer.vocab,
        unit="token",
        per_record=context,
        unique=len(tokens["train"]),
        fingerprint=meta["fingerprint"],
        bytes_per_unit=meta["bytes_per_unit"],
        train_bytes_per_unit=meta["train_bytes_per_unit"],
        tokenizer=tokenizer,
    )
