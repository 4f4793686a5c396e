"""Files of your own, in a folder or an archive: one folder a class, and above these one a split if there are."""

import contextlib
import hashlib
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from data import holdout
from data.tfds import HELD_OUT


def found(path: str) -> Path:
    place = Path(path).expanduser()
    if not place.exists():
        raise ValueError(f"no folder or archive at {path!r}: data.path is relative to where you run, {Path.cwd()}")
    return place


def signature(place: Path) -> str:
    """Changes when a file does: of names, sizes and times, since reading a large set takes long."""
    files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def files(place: Path, suffixes: set[str]) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    """Every file with one of `suffixes` by its name, and how to read it; an archive's are read as they come."""
    is_one = lambda name: name.suffix.lower() in suffixes and not name.name.startswith(".") and len(name.parts) > 1
    if place.is_dir():
        for file in sorted(place.rglob("*")):
            name = PurePosixPath(file.relative_to(place).as_posix())
            if is_one(name):
                yield name, file.read_bytes
        return
    try:
        archive = tarfile.open(place)  # noqa: SIM115
    except tarfile.TarError as error:
        raise ValueError(f"{str(place)!r} is neither a folder nor a .tar, .tar.gz or .tar.xz: {error}") from None
    with archive:
        for member in _members(archive, place):
            name = PurePosixPath(member.name)
            if member.isfile() and is_one(name):
                yield name, lambda member=member: _contents(archive, member, place)


def _members(archive: tarfile.TarFile, place: Path) -> Iterator[tarfile.TarInfo]:
    """Its members, one after the other; a file that ends too early says so."""
    while True:
        with _whole(place):
            member = archive.next()
        if member is None:
            return
        yield member


def _contents(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> bytes:
    with _whole(place):
        file = archive.extractfile(member)
        return b"" if file is None else file.read()


@contextlib.contextmanager
def _whole(place: Path) -> Iterator[None]:
    """Turns what tarfile and its decoders raise on a cut or damaged archive into a sentence."""
    try:
        yield
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{str(place)!r} cannot be read to its end ({error}): copy or pack it again") from error


def splits(
    path: str, names: list[PurePosixPath], train: str, valid: float | str, seed: int, file: str
) -> tuple[dict[str, list[PurePosixPath]], str]:
    """The sorted names of either split, and the rule by which they were parted where the folders do not say it.

    `file` says what they are, "image NAME.jpg", for the errors.
    """
    by_split: dict[str, list[PurePosixPath]] = {}
    for name in sorted(names):
        by_split.setdefault(name.parts[-3] if len(name.parts) > 2 else "", []).append(name)
    if valid == "auto":
        told = next((split for split in HELD_OUT if split in by_split), "")
        valid = told or (holdout.SHARE if train in by_split or len(by_split) == 1 else HELD_OUT[-1])
    if isinstance(valid, str):
        for role, split in (("train", train), ("valid", valid)):
            if split not in by_split:
                kind, _, name = file.partition(" ")
                has = f"it has {', '.join(sorted(by_split))}" if by_split else f"it has no {kind} CLASS/{name} at all"
                raise ValueError(
                    f"{path!r} has no {kind}s {split}/CLASS/{name} for data.{role}; {has}.  data.valid=0.2 holds out "
                    "a fifth of each class instead"
                )
        return {"train": by_split[train], "valid": by_split[valid]}, ""
    mine = by_split.get(train) or sorted(names)
    keys = ["/".join(name.parts[-2:]) for name in mine]
    labels = np.unique([name.parts[-2] for name in mine], return_inverse=True)[1]
    held = holdout.by_name(keys, labels, valid, seed)
    rule = f"{valid:g} of each class, the first by SHA-256 of {seed}/CLASS/NAME"
    part = lambda which: [name for name, is_held in zip(mine, held, strict=True) if is_held == which]
    return {"train": part(False), "valid": part(True)}, rule
