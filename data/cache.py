"""Decoded once, memory-mapped by every run after: $ISOFLOP_DATA/columns/<request>/{meta.json, train.x.npy, ...}.

$ISOFLOP_DATA is ~/.cache/isoflop unless set.  A folder there is complete or absent, also when the processes of a sweep
start together on an empty cache: one decodes, the others wait for it.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}


def root() -> Path:
    return Path(os.environ.get("ISOFLOP_DATA") or "~/.cache/isoflop").expanduser()


def columns(request: dict[str, Any], build: Callable[[Path], dict[str, Any]]) -> tuple[dict, dict[str, np.ndarray]]:
    """Meta data and memory-mapped columns of what `request` asks for.

    Where the cache has none, `build(folder)` writes `<column>.npy` files there and returns the meta data, to which
    their fingerprint is added.  Any change to how things are decoded must change the request.
    """
    key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]
    folder = root() / "columns" / key
    if not (folder / "meta.json").exists():
        with writable(root()), lock(root() / "columns" / f"{key}.lock"):
            if not folder.exists():
                _fill(folder, request, build)
    meta = json.loads((folder / "meta.json").read_text())
    return meta, _mapped(folder)


def _mapped(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}


def _fill(folder: Path, request: dict[str, Any], build: Callable[[Path], dict[str, Any]]) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        meta = {"request": request, **build(unfinished)}
        meta["fingerprint"] = fingerprint(_mapped(unfinished))
        (unfinished / "meta.json").write_text(json.dumps(meta, indent=1))
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # where it was renamed there is nothing left


def fingerprint(arrays: dict[str, np.ndarray]) -> str:
    """Of names, types, shapes and contents: where two are equal, so are the numbers."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]


def create(path: Path, rows: int, like: np.ndarray) -> BinaryIO:
    """A .npy file to write `rows` arrays like this one to, one after the other.

    Not a memory map: writing to one ends in a bus error, and no message, where the disk is full.
    """
    file = path.open("wb")
    header = {"descr": np.lib.format.dtype_to_descr(like.dtype), "fortran_order": False, "shape": (rows, *like.shape)}
    np.lib.format.write_array_header_2_0(file, header)
    return file


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Waits until no other process holds `path`; a process that dies lets go of it."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turns the errors of a full or read-only disk into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise ValueError(
            f"cannot write to the data folder {folder} ({error.strerror}): make room there, or set ISOFLOP_DATA "
            "(or TFDS_DATA_DIR) to another folder"
        ) from error
