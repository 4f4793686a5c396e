"""Generated scenes: one to four coloured ellipses, rectangles and triangles that may hide each other, in noise.

N scenes, S pixels along a side, M = 4 slots for shapes.  Coordinates run from 0 to S; pixel i is at i + 1/2.
"""

from typing import NamedTuple

import numpy as np

from data.source import Columns, Dataset, examples

SLOTS = 4
# Inside, in coordinates in which every shape just fills the square from -1 to 1.
SHAPES = {
    "ellipse": lambda u, v: u**2 + v**2 <= 1,
    "rectangle": lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 1,
    "triangle": lambda u, v: (2 * np.abs(u) <= v + 1) & (v <= 1),
}
VISIBLE = 0.5  # at least this share of every shape
SMALLEST = {"side": 16, "train": 256, "valid": 64}  # at which pages are tested


class Scenes(NamedTuple):
    images: np.ndarray  # uint8 [N, S, S, 3]
    pixels: np.ndarray  # uint8 [N, S, S]: 0 is background, k + 1 is shape k of `SHAPES`
    kinds: np.ndarray  # int32 [N, M]: number in `SHAPES`
    boxes: (
        np.ndarray
    )  # float32 [N, M, 4]: left, top, right, bottom as shares of S, of the whole shape where it is hidden
    present: np.ndarray  # float32 [N, M]: 1 where a slot holds a shape, else 0, and its box and kind mean nothing


def segment(*, side: int = 64, train: int = 2000, valid: int = 500, noise: float = 0.1, seed: int = 0) -> Dataset:
    """x: float32 [B, S, S, 3]; y: int32 [B, S, S], the class of every pixel.  `noise` is its standard deviation."""
    halves = [Columns(x=s.images, y=s.pixels.astype(np.int32)) for s in _splits(side, train, valid, noise, seed)]
    return examples(*halves, 1 + len(SHAPES), names=("background", *SHAPES))


def detect(*, side: int = 64, train: int = 2000, valid: int = 500, noise: float = 0.1, seed: int = 0) -> Dataset:
    """The same scenes.  x: float32 [B, S, S, 3]; y: int32 [B, M] classes; `boxes` [B, M, 4] and `present` [B, M]."""
    scenes = _splits(side, train, valid, noise, seed)
    halves = [Columns(x=s.images, y=s.kinds, boxes=s.boxes, present=s.present) for s in scenes]
    return examples(*halves, len(SHAPES), names=tuple(SHAPES))


def _splits(side: int, train: int, valid: int, noise: float, seed: int) -> tuple[Scenes, Scenes]:
    if side < 16 or min(train, valid) < 1 or noise < 0:
        raise ValueError(
            f"{side=}, {train=}, {valid=}, {noise=}: needs side >= 16, one scene of each split, noise >= 0"
        )
    rng = np.random.default_rng(seed)
    return _in_parts(train, side, noise, rng), _in_parts(valid, side, noise, rng)


def _in_parts(count: int, side: int, noise: float, rng: np.random.Generator, part: int = 64) -> Scenes:
    """`draw`, so many scenes at a time: arrays that fit into a cache are several times faster."""
    parts = [draw(min(part, count - first), side, noise, rng) for first in range(0, count, part)]
    return Scenes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def draw(count: int, side: int, noise: float, rng: np.random.Generator) -> Scenes:
    """All scenes together, one slot after the other: each shape is drawn over those before it.

    Half axes are uniform from side / 12 to side / 4, places such that the shape is whole.  One that would leave less
    than `VISIBLE` of another is left out, so a scene has one to four.
    """
    wanted = rng.integers(1, SLOTS + 1, count)
    half = rng.uniform(side / 12, side / 4, (count, SLOTS, 2))
    middle = half + rng.random((count, SLOTS, 2)) * (side - 2 * half)
    kinds = rng.integers(len(SHAPES), size=(count, SLOTS)).astype(np.int32)
    colours = rng.uniform(0.3, 1, (count, SLOTS, 3)).astype(np.float32)
    ground = rng.uniform(0, 0.5, (count, 1, 1, 3)).astype(np.float32)

    top = np.full((count, side, side), -1, np.int8)  # the slot that is seen at each pixel
    area, present = np.zeros((count, SLOTS)), np.zeros((count, SLOTS), bool)
    for slot in range(SLOTS):
        covered = inside(kinds[:, slot], middle[:, slot], half[:, slot], side)
        drawn = np.where(covered, np.int8(slot), top)
        seen = np.stack([(drawn == s).sum((1, 2)) for s in range(slot)], 1) if slot else np.zeros((count, 0))
        fair = (seen >= VISIBLE * area[:, :slot]).all(1)
        present[:, slot] = (slot < wanted) & fair
        area[:, slot] = covered.sum((1, 2)) * present[:, slot]
        top = np.where(present[:, slot, None, None], drawn, top)

    scene = np.arange(count)[:, None, None]
    images = np.where((top >= 0)[..., None], colours[scene, top], ground)
    images += noise * rng.standard_normal(images.shape, np.float32)
    return Scenes(
        images=(255 * images.clip(0, 1)).round().astype(np.uint8),
        pixels=np.where(top >= 0, 1 + kinds[scene, top], 0).astype(np.uint8),
        kinds=kinds,
        boxes=(np.concatenate([middle - half, middle + half], -1) / side).astype(np.float32),
        present=present.astype(np.float32),
    )


def inside(kinds: np.ndarray, middle: np.ndarray, half: np.ndarray, side: int) -> np.ndarray:
    """Which pixels one shape of each scene covers: bool [N, S, S]."""
    at = ((np.arange(side) + 0.5 - middle[..., None]) / half[..., None]).astype(np.float32)  # [N, 2, S]
    u, v = at[:, 0, None, :], at[:, 1, :, None]
    covered = np.empty((len(kinds), side, side), bool)
    for kind, shape in enumerate(SHAPES.values()):
        covered[kinds == kind] = shape(u[kinds == kind], v[kinds == kind])
    return covered
