"""Examples of one shape: images and other arrays, with or without a label."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16

from data import cache, tfds
from data.source import Columns, Dataset, check_labels

VERSION = 2  # of the decoding below
SMALLEST = {"size": 64}  # at which pages are tested


def columns(
    dataset: str, *, train: str = "train", valid: str = "auto", x: str = "image", y: str = "label", size: int = 0
) -> Dataset:
    """Any TFDS dataset whose records have features `x` and `y`; y="" where there is no label.

    `size` > 0 crops images to a square and scales them to size x size pixels, for sets whose images differ in size.
    """
    request = {"arrays": VERSION, "dataset": dataset, "train": train, "valid": valid, "x": x, "y": y, "size": size}

    def build(folder: Path) -> dict[str, Any]:
        made, splits = tfds.splits(dataset, train, valid)
        _expect(dataset, made.info.features, [name for name in (x, y) if name])
        for split, records in splits.items():
            _write(folder, split, records, x, y, size)
        label = made.info.features[y] if y else None
        names = getattr(label, "names", None) or []
        return {"dataset": made.info.full_name, "classes": getattr(label, "num_classes", 0), "names": list(names)}

    meta, found = cache.columns(request, build)
    halves = {
        split: Columns(**{name: found[f"{split}.{name}"] for name in (("x", "y") if y else ("x",))})
        for split in ("train", "valid")
    }
    for split, half in halves.items():
        check_labels(half, meta["classes"], split)
    return Dataset(
        **halves,
        classes=meta["classes"],
        unit="example",
        per_record=1,
        unique=len(halves["train"]),
        fingerprint=meta["fingerprint"],
        names=tuple(meta.get("names", ())),  # which a cache of before does not hold
    )


def _expect(dataset: str, features: Any, names: list[str]) -> None:
    for name in names:
        if name not in features:
            raise ValueError(f"the records of {dataset!r} have no {name!r}; they have {', '.join(features)}")


def _write(folder: Path, split: str, records: Any, x: str, y: str, size: int) -> None:
    """One record at a time, since a split need not fit in memory."""
    first = _row(records[0], x, y, size)
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(cache.create(folder / f"{split}.{name}.npy", len(records), value))
            for name, value in first.items()
        }
        for record in tfds.records(records):
            for name, value in _row(record, x, y, size).items():
                if value.shape != first[name].shape:
                    raise ValueError(
                        f"{x!r} differs in shape, {first[name].shape} and {value.shape}: give data.size, the pixels of "
                        "a side, to crop and scale all images alike"
                    )
                files[name].write(value.tobytes())


def _row(record: dict[str, Any], x: str, y: str, size: int) -> dict[str, np.ndarray]:
    image = np.asarray(record[x])
    row = {"x": sized(eight_bits(image) if image.dtype == np.uint16 and image.ndim == 3 else image, size)}
    return {**row, "y": _target(record[y])} if y else row


def _target(value: Any) -> np.ndarray:
    value = np.asarray(value)
    return value.astype(np.int32 if np.issubdtype(value.dtype, np.integer) else np.float32)


def eight_bits(image: UInt16[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """From 0 … 65,535 to 0 … 255: divided by 257, rounded."""
    return np.round(image / 257).astype(np.uint8)


def sized(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, C] -> uint8 [size, size, C], the middle square of it."""
    if size == 0:
        return image
    from PIL import Image

    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    planes = [Image.fromarray(square[..., c]).resize((size, size), Image.Resampling.BOX) for c in range(image.shape[2])]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)
