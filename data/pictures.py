"""Squares of two photographs that scikit-learn ships, beside a picture whose style they are to take.  S pixels a side.

china.jpg by danielbuechele and flower.jpg by vultilion, both CC BY 2.0.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.source import Columns, Dataset, examples

Picture = Literal["china", "flower"]
SHA256 = {
    "china": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    "flower": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
}
SMALLEST = {"size": 16, "train": 64, "valid": 16}  # at which pages are tested


def styled(
    *,
    content: Picture = "china",
    style: Picture = "flower",
    size: int = 64,
    height: int = 160,
    train: int = 512,
    valid: int = 128,
    seed: int = 0,
) -> Dataset:
    """x: float32 [S, S, 3] in [0, 1], random squares of `content`; `style`: the middle square of the other picture.

    Pictures are scaled to `height` pixels first.  Squares to train on lie in the left two thirds, those that are held
    out in the right third.
    """
    if not 8 <= size <= height or min(train, valid) < 1:
        raise ValueError(f"{size=}, {height=}, {train=}, {valid=}: squares of 8 pixels or more, inside of the picture")
    shown, look = scaled(content, height), scaled(style, size)
    width, rng = shown.shape[1], np.random.default_rng(seed)
    cut = 2 * width // 3
    if width - cut < size:
        raise ValueError(f"a third of the picture is {width - cut} pixels wide; make data.size less, or height more")
    left = (look.shape[1] - size) // 2
    square = look[:, left : left + size]

    def half(first: int, last: int, count: int) -> Columns:
        corners = np.stack([rng.integers(0, height - size + 1, count), rng.integers(first, last - size + 1, count)], 1)
        x = np.stack([shown[top : top + size, at : at + size] for top, at in corners])
        return Columns(x=x, style=np.broadcast_to(square, x.shape))

    return examples(half(0, cut, train), half(cut, width, valid))


def scaled(name: Picture, height: int) -> UInt8[np.ndarray, "H W 3"]:
    spec = importlib.util.find_spec("sklearn")  # found, not imported
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("the package 'sklearn', which holds the photographs, is not installed: uv sync")
    file = Path(spec.submodule_search_locations[0], "datasets", "images", f"{name}.jpg")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != SHA256[name]:
        raise ValueError(f"{file} has the sha256 {digest[:12]}…, not {SHA256[name][:12]}…: install what pins.txt names")
    with Image.open(file) as whole:
        size = round(whole.width * height / whole.height), height
        return np.asarray(whole.convert("RGB").resize(size, Image.Resampling.BOX))
