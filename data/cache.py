"""Decoded once, memory-mapped by every run after: $ISOFLOP_DATA/columns/<request>/{meta.json, train.x.npy, ...}.

$ISOFLOP_DATA is ~/.cache/isoflop unless set.  A folder there is complete or absent, also when the processes of a sweep
start together on an empty cache: one decodes, the others wait for it.

What is there is checked before it is used: sizes and times of the files at every opening, their contents against the
fingerprint in every process (large ones once a boot of the machine).  What is damaged is said and decoded again.
"""

import contextlib
import errno
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}


LARGE = 1 << 28  # bytes: from here on contents are compared once a boot, not once a process
State = tuple[tuple[str, int, int, int, int], ...]
_checked: dict[Path, State] = {}  # by this process


class Damaged(Exception):
    """A folder of the cache is absent, or not what was written there."""


def root() -> Path:
    return Path(os.environ.get("ISOFLOP_DATA") or "~/.cache/isoflop").expanduser()


def columns(request: dict[str, Any], build: Callable[[Path], dict[str, Any]]) -> tuple[dict, dict[str, np.ndarray]]:
    """Meta data and memory-mapped columns of what `request` asks for.

    Where the cache has none, or damaged ones, `build(folder)` writes `<column>.npy` files there and returns the meta
    data, to which their fingerprint is added.  Any change to how things are decoded must change the request.
    """
    key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]
    folder = root() / "columns" / key
    with contextlib.suppress(Damaged):
        return opened(folder)
    with writable(root()), lock(root() / "columns" / f"{key}.lock"):
        try:
            return opened(folder)  # another process was faster
        except Damaged as damage:
            if folder.exists():
                _say(f"the data cache {folder} is damaged ({damage}); it is made anew")
            _fill(folder, request, build)
    return opened(folder)


def opened(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Meta data and memory-mapped columns, found to be what was written; else `Damaged`."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if not isinstance(meta, dict) or meta.pop("sha256", None) != digest(meta):
            raise Damaged("meta.json is not what was written")
        arrays, state = _mapped(folder), _state(folder)
        if {name: size for name, size, *_ in state} != meta["bytes"]:
            raise Damaged(f"its files do not have the {meta['bytes']} bytes that were written")
        if not _is_checked(folder, state):
            if fingerprint(arrays) != meta["fingerprint"]:
                raise Damaged("its columns are not what was written")
            _note(folder, state)
    except Damaged:
        raise
    except Exception as error:  # on a damaged header numpy raises whatever it trips over
        raise Damaged(str(error) or type(error).__name__) from error
    return meta, arrays


def seal(folder: Path, meta: dict[str, Any]) -> dict[str, Any]:
    """Adds sizes and fingerprint of the columns in `folder` to their meta data, and writes those whole."""
    meta = json.loads(json.dumps(meta))
    meta["bytes"] = {name: size for name, size, *_ in _state(folder)}
    meta["fingerprint"] = fingerprint(_mapped(folder))
    part = folder / "meta.json.part"
    part.write_text(json.dumps({**meta, "sha256": digest(meta)}, indent=1))
    part.replace(folder / "meta.json")
    return meta


def digest(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _mapped(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}


def _state(folder: Path) -> State:
    """Name, bytes, times [ns] of contents and of entry, and number of every column's file."""
    stats = [(path.name, path.stat()) for path in sorted(folder.glob("*.npy"))]
    return tuple((name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in stats)


def _is_checked(folder: Path, state: State) -> bool:
    """Whether the contents were compared while the files stood like this: by this process, or large ones this boot."""
    if _checked.get(folder) == state:
        return True
    if sum(size for _, size, *_ in state) < LARGE or not _boot():
        return False
    try:
        return json.loads(_note_of(folder).read_text()) == json.loads(json.dumps([_boot(), state]))
    except (OSError, ValueError):
        return False


def _note(folder: Path, state: State) -> None:
    _checked[folder] = state
    with contextlib.suppress(OSError):  # a cache that may only be read is compared by every process
        note = _note_of(folder)
        part = note.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps([_boot(), state]))
        part.replace(note)


def _note_of(folder: Path) -> Path:
    """Each host's own, where several share the cache."""
    return folder / f"checked.{platform.node()}.json"


def _boot() -> str:
    """Another after every start of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may be listening
        print(text, file=sys.stderr, flush=True)


def _fill(folder: Path, request: dict[str, Any], build: Callable[[Path], dict[str, Any]]) -> None:
    """Builds beside what is there and then takes its place: whoever has the old files open keeps them."""
    unfinished, old = (Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent)) for _ in range(2))
    try:
        seal(unfinished, {"request": request, **build(unfinished)})
        unfinished.chmod(0o755)
        if folder.exists():
            folder.rename(old / folder.name)
        unfinished.rename(folder)
        _note(folder, _state(folder))
    finally:
        for left in (unfinished, old):
            shutil.rmtree(left, ignore_errors=True)  # where it was renamed there is nothing left


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


def why(error: BaseException) -> str:
    """The system's reason for which nothing could be written, if that is what `error` or its cause says."""
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.errno is None and "requested and" in str(error):
        return str(error)  # numpy's words for a write that was cut
    said = [os.strerror(number) for number in UNWRITABLE if os.strerror(number) in str(error)]
    if isinstance(error, RuntimeError) and said:
        return said[0]
    before = error.__cause__ or error.__context__
    return why(before) if before else ""


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turns the errors of a full or read-only disk into a sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # libraries that write in C++ put the system's words into a RuntimeError
        reason = why(error)
        if not reason:
            raise
        raise ValueError(
            f"cannot write to the data folder {folder} ({reason}): make room there, or set "
            "ISOFLOP_DATA (or TFDS_DATA_DIR) to another folder"
        ) from error
