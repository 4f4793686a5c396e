"""Two photographs that scikit-learn ships (a temple, a flower), in pieces: what stands in a small one is made large.

N pieces, S pixels of a side.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.source import Columns, Dataset, examples

SMALLEST = {"side": 16, "train": 64, "valid": 32}  # at which pages are tested
NAMES = ("china.jpg", "flower.jpg")  # CC BY 2.0, danielbuechele
HELD_OUT = 0.25  # of each photograph's width, on the right


def enlarged(*, factor: int = 2, side: int = 32, train: int = 2000, valid: int = 200, seed: int = 0) -> Dataset:
    """y float32 [S, S, 3] in [0, 1] is a piece of a photograph, x the same piece of the photograph made smaller by
    `factor` and large again, both by bicubic interpolation.

    The pieces stand at random places; held-out ones come from parts that no piece to train on has a pixel of.
    """
    if factor < 2 or side < 8 or min(train, valid) < 2:
        raise ValueError(f"{factor=}, {side=}, {train=}, {valid=}: a factor of 2, 8 pixels and 2 pieces at least")
    photos = [photo(name) for name in NAMES]
    rng, halves = np.random.default_rng(seed), []
    for count, is_valid in ((train, False), (valid, True)):
        pieces = [
            cut(image, factor, side, share, is_valid, rng) for image, share in zip(photos, halved(count), strict=True)
        ]
        x, y = (np.concatenate(part) for part in zip(*pieces, strict=True))
        halves.append(Columns(x=x, y=y))
    return examples(*halves)


def photo(name: str) -> UInt8[np.ndarray, "H W 3"]:
    import sklearn.datasets

    with Image.open(Path(sklearn.datasets.__file__).parent / "images" / name) as file:
        return np.asarray(file.convert("RGB"))


def halved(count: int) -> tuple[int, int]:
    return count - count // 2, count // 2


def cut(
    image: UInt8[np.ndarray, "H W 3"], factor: int, side: int, count: int, is_valid: bool, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "N S S 3"], UInt8[np.ndarray, "N S S 3"]]:
    """`count` pieces of one part of a photograph, enlarged and as they are."""
    edge = int(image.shape[1] * (1 - HELD_OUT))
    part = image[:, edge:] if is_valid else image[:, :edge]
    part = part[: part.shape[0] // factor * factor, : part.shape[1] // factor * factor]
    height, width = part.shape[:2]
    if side > min(height, width):
        raise ValueError(f"{side=}: a held-out part is {width} × {height} pixels; use {min(height, width)} or less")
    small = Image.fromarray(part).resize((width // factor, height // factor), Image.Resampling.BICUBIC)
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    top, left = rng.integers(0, height - side + 1, count), rng.integers(0, width - side + 1, count)
    rows, columns = top[:, None] + np.arange(side), left[:, None] + np.arange(side)
    return tuple(each[rows[:, :, None], columns[:, None, :]] for each in (large, part))
