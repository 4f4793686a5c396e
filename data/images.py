"""Image files of your own, in a folder or an archive: one folder a class, and above these one a split if there are."""

import contextlib
import functools
import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from data import cache, decode, holdout
from data.arrays import sized
from data.source import Columns, Dataset, HeldOut
from data.tfds import HELD_OUT

VERSION = 2  # of the decoding below
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
LARGEST = 64  # pixels of a side that `size` = -1 keeps or makes
SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap height and width


def folder(
    path: str,
    *,
    train: str = "train",
    valid: float | str = "auto",
    size: int = 0,
    channels: Literal[1, 3] = 3,
    seed: int = 0,
) -> Dataset:
    """Images SPLIT/CLASS/NAME.jpg or CLASS/NAME.jpg (.png, …) of a folder, or of a .tar, .tar.gz or .tar.xz of it.

    `valid` is the split that is held out, or the share of each class, such as 0.2, chosen by a hash of CLASS/NAME and
    `seed`.  "auto" is the first of the splits "valid", "validation", "test" that there is, or else 0.2.  Classes are
    numbered in the order of their names.  `size` > 0 crops images to a square and scales them to size x size pixels;
    -1 does so where they differ in shape or are larger than 64, to 64 pixels or the shortest side of all.
    `channels` is 3 for colour, 1 for grey.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise ValueError(f"no folder or archive at {path!r}: data.path is relative to where you run, {Path.cwd()}")
    request = {"images": VERSION, "files": _signature(place), "train": train, "valid": valid}
    request |= {"size": size, "channels": channels} | ({"seed": seed} if seed else {})

    def build(to: Path) -> dict[str, Any]:
        splits, rule = _splits(path, [name for name, _ in _files(place)], train, valid, seed)
        classes = sorted({name.parts[-2] for names in splits.values() for name in names})
        side = _side(place, {name for names in splits.values() for name in names}) if size < 0 else size
        _write(to, place, splits, classes, side, channels)
        return {"classes": classes, "size": side, "rule": rule, "held": [str(n) for n in splits["valid"]] * bool(rule)}

    meta, found = cache.columns(request, build)
    return Dataset(
        train=Columns(x=found["train.x"], y=found["train.y"]),
        valid=Columns(x=found["valid.x"], y=found["valid.y"]),
        classes=len(meta["classes"]),
        unit="example",
        per_record=1,
        unique=len(found["train.y"]),
        fingerprint=meta["fingerprint"],
        names=tuple(meta["classes"]),
        held_out=HeldOut(meta.get("rule", ""), tuple(meta.get("held", ()))),  # which a cache of before does not hold
        chosen={"size": meta["size"]} if size < 0 else {},
    )


def read(files: Iterable[Path], shape: tuple[int, ...], size: int) -> Iterator[np.ndarray]:
    """Each image file as `folder` prepares it with this `size`: uint8 of `shape`, [H, W, C]."""
    return decode.on_all_cores(functools.partial(_read, shape=shape, size=size), files)


def _read(file: Path, shape: tuple[int, ...], size: int) -> np.ndarray:
    if not file.is_file():
        raise ValueError(f"no image at {str(file)!r}: paths are relative to where you run, {Path.cwd()}")
    image = sized(decode.decoded(file, file.read_bytes(), shape[-1]), size)
    if image.shape != shape:
        height, width, _ = image.shape
        raise ValueError(
            f"{file} has {height} x {width} pixels, and the network takes {shape[0]} x {shape[1]}: scale it"
        )
    return image


def _signature(place: Path) -> str:
    """Changes when a file does: of names, sizes and times, since reading a large set takes long."""
    files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def _files(place: Path) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    """Every image by its name, and how to read it; an archive's are read as they come, if at all."""
    is_image = lambda name: name.suffix.lower() in SUFFIXES and not name.name.startswith(".") and len(name.parts) > 1
    if place.is_dir():
        for file in sorted(place.rglob("*")):
            name = PurePosixPath(file.relative_to(place).as_posix())
            if is_image(name):
                yield name, file.read_bytes
        return
    try:
        archive = tarfile.open(place)  # noqa: SIM115
    except tarfile.TarError as error:
        raise ValueError(f"{str(place)!r} is neither a folder nor a .tar, .tar.gz or .tar.xz: {error}") from None
    with archive:
        for member in _members(archive, place):
            name = PurePosixPath(member.name)
            if member.isfile() and is_image(name):
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


def _splits(
    path: str, names: list[PurePosixPath], train: str, valid: float | str, seed: int
) -> tuple[dict[str, list[PurePosixPath]], str]:
    """The sorted names of either split, and the rule by which they were parted where the folders do not say it."""
    by_split: dict[str, list[PurePosixPath]] = {}
    for name in sorted(names):
        by_split.setdefault(name.parts[-3] if len(name.parts) > 2 else "", []).append(name)
    if valid == "auto":
        told = next((split for split in HELD_OUT if split in by_split), "")
        valid = told or (holdout.SHARE if train in by_split or len(by_split) == 1 else HELD_OUT[-1])
    if isinstance(valid, str):
        for role, split in (("train", train), ("valid", valid)):
            if split not in by_split:
                has = f"it has {', '.join(sorted(by_split))}" if by_split else "it has no image CLASS/NAME.jpg at all"
                raise ValueError(
                    f"{path!r} has no images {split}/CLASS/NAME.jpg for data.{role}; {has}.  data.valid=0.2 holds out "
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


def _side(place: Path, wanted: set[PurePosixPath]) -> int:
    """The size that -1 stands for: 0, as they are, or the side of a square."""
    from PIL import Image

    shapes = set()
    for name, read in _files(place):
        if name in wanted:
            with decode.readable(name), Image.open(io.BytesIO(read())) as image:  # reads the head only
                turned = image.getexif().get(decode.ORIENTATION) in SIDEWAYS
                shapes.add(image.size[::-1] if turned else image.size)
    shortest = min(min(shape) for shape in shapes)
    return 0 if len(shapes) == 1 and max(max(shape) for shape in shapes) <= LARGEST else min(shortest, LARGEST)


def _write(
    to: Path, place: Path, splits: dict[str, list[PurePosixPath]], classes: list[str], size: int, channels: int
) -> None:
    """Decodes each image to its place in the order of names, whatever the archive's order is."""
    row = {name: (split, i) for split, names in splits.items() for i, name in enumerate(names)}
    for split, names in splits.items():
        np.save(to / f"{split}.y.npy", np.array([classes.index(name.parts[-2]) for name in names], np.int32))
    with contextlib.ExitStack() as stack:
        files, starts, shape = {}, {}, None
        wanted = ((name, read()) for name, read in _files(place) if name in row)
        pixels = lambda file: (file[0], sized(decode.decoded(*file, channels), size))
        for name, image in decode.on_all_cores(pixels, wanted):
            if shape is None:
                shape = image.shape
                for split, names in splits.items():
                    made = cache.create(to / f"{split}.x.npy", len(names), image)
                    files[split], starts[split] = stack.enter_context(made), made.tell()
            if image.shape != shape:
                raise ValueError(
                    f"{name} has the shape {image.shape} and others {shape}: give data.size, the pixels of a side, to "
                    "crop and scale all images alike"
                )
            split, i = row[name]
            files[split].seek(starts[split] + i * image.nbytes)
            files[split].write(image.tobytes())
