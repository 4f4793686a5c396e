"""Image files of your own, in a folder or an archive (data/folders.py)."""

import contextlib
import functools
import io
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from data import cache, decode, folders
from data.arrays import sized
from data.source import Columns, Dataset, HeldOut

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
    place = folders.found(path)
    request = {"images": VERSION, "files": folders.signature(place), "train": train, "valid": valid}
    request |= {"size": size, "channels": channels} | ({"seed": seed} if seed else {})

    def build(to: Path) -> dict[str, Any]:
        names = [name for name, _ in folders.files(place, SUFFIXES)]
        splits, rule = folders.splits(path, names, train, valid, seed, file="image NAME.jpg")
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


def _side(place: Path, wanted: set[PurePosixPath]) -> int:
    """The size that -1 stands for: 0, as they are, or the side of a square."""
    from PIL import Image

    shapes = set()
    for name, read in folders.files(place, SUFFIXES):
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
        wanted = ((name, read()) for name, read in folders.files(place, SUFFIXES) if name in row)
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
