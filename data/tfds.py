"""Named datasets, all through TensorFlow Datasets and none through TensorFlow.

Prepared records live in $TFDS_DATA_DIR, or else in $ISOFLOP_DATA/tfds; always as ArrayRecord, which is read at random.
"""

import contextlib
import difflib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data import cache

OFFLINE = {
    "isoflop_sotu": "249 messages of US presidents 1790-2026, 12.2 MB of text; every 20th year held out (text:windows)",
    "isoflop_digits": "1,797 handwritten digits, 8 x 8, from scikit-learn (arrays:columns)",
    "isoflop_mnist5k": "5,000 of MNIST's training images, 28 x 28, 4,000 of them to train on (arrays:columns)",
}
HELD_OUT = ("valid", "validation", "test")


class NotPrepared(ValueError):
    """TFDS knows the set, and nobody has prepared it here."""


def folder() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR") or cache.root() / "tfds").expanduser()


def builder(name: str) -> Any:
    """The tfds.core.DatasetBuilder of one of our own sets or of any stock one, such as "mnist" or "glue/sst2"."""
    import tensorflow_datasets as tfds

    import data.builders  # noqa: F401  registers our own

    known = tfds.list_builders(with_community_datasets=False)
    plain = name.split("/")[0].split(":")[0]
    if plain not in known:
        near = difflib.get_close_matches(plain, known, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"offline there are {', '.join(OFFLINE)}"
        raise ValueError(f"no dataset is called {name!r}: {hint} (`python -m data` says more)")
    with _explained(name):
        return tfds.builder(name, data_dir=str(folder()), file_format="array_record")


def prepare(name: str) -> Any:
    """Downloads and writes the records of `name` unless they are there; the builder.  One process at a time."""
    with cache.writable(folder()), cache.lock(folder() / f"{name.replace('/', '.')}.lock"):
        made = builder(name)
        with _explained(name):
            made.download_and_prepare()
    return made


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ValueError(
            f"{name!r} needs a package that is not installed ({error}), most likely only to be prepared: "
            f"uv run --extra prepare python -m data prepare {name}"
        ) from error


def splits(name: str, train: str, valid: str) -> tuple[Any, dict[str, Sequence]]:
    """The builder of `name` and its records by "train" and "valid".

    The arguments are names of splits in the TFDS language, "train[:90%]" included; valid="auto" is the first of
    "valid", "validation", "test" that there is.  Our own sets are prepared here, which takes seconds; stock ones are
    not, so that no run begins with a surprising download.
    """
    made = _quietly(prepare, name) if name in OFFLINE else builder(name)
    if valid == "auto":
        valid = next((split for split in HELD_OUT if split in made.info.splits), HELD_OUT[-1])
    return made, {"train": _split(made, name, "train", train), "valid": _split(made, name, "valid", valid)}


def _quietly(function: Callable, name: str) -> Any:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        return function(name)


def _split(made: Any, name: str, role: str, split: str) -> Sequence:
    remedy = f"uv run --extra prepare python -m data prepare {name}"
    try:
        return made.as_data_source(split=split)
    except NotImplementedError as error:
        raise ValueError(
            f"{name!r} in {folder()} is in a format without random access: set TFDS_DATA_DIR to a new folder, then "
            f"{remedy}"
        ) from error
    except (AssertionError, KeyError, ValueError) as error:
        has = ", ".join(made.info.splits)
        if not has:  # TFDS knows the splits of what has been prepared
            raise NotPrepared(f"{name!r} is not prepared in {folder()}: {remedy}") from error
        raise ValueError(
            f"{name!r} has no split {split!r} for {role}; it has {has}, and parts of them such as 'train[90%:]'"
        ) from error


def records(source: Sequence, at_once: int = 256) -> Iterator[dict[str, Any]]:
    """All records in order, read many at a time, which is twice as fast as one by one."""
    for start in range(0, len(source), at_once):
        yield from source.__getitems__(list(range(start, min(start + at_once, len(source)))))
