"""Drawn shapes: images whose truth is known, in ten classes.  B batch, H height, W width, C colours."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from data import cache
from data.source import Columns, Dataset

VERSION = 1  # of the drawing below
FINE = 2  # points along each side of a pixel, whose mean it is
CHUNK = 500  # images drawn at once
SMALLEST = {"train": 256, "valid": 64}  # at which pages are tested


def classify(*, train: int = 8000, valid: int = 2000, size: int = 32, noise: float = 0.08, seed: int = 0) -> Dataset:
    """`size` × `size` RGB images of one shape each, and its name among `SHAPES`.

    Colours, place, scale, angle and background are random, so that neither a pixel nor the mean colour says anything:
    a perceptron is lost where a convolutional network is not.
    """
    if min(train, valid) < 1 or size < 16 or noise < 0:
        raise ValueError(f"{train=}, {valid=}, {size=}, {noise=}: one image each, 16 pixels and no noise at least")
    counts = {"train": train, "valid": valid}
    request = {"shapes": VERSION, **counts, "size": size, "noise": noise, "seed": seed}

    def build(folder: Path) -> dict[str, Any]:
        for stream, (split, count) in enumerate(counts.items()):
            rng = np.random.default_rng((seed, stream))
            y = rng.permutation(np.arange(count, dtype=np.int32) % len(SHAPES))
            x = np.concatenate([draw(y[i : i + CHUNK], size, noise, rng) for i in range(0, count, CHUNK)])
            np.save(folder / f"{split}.x.npy", x)
            np.save(folder / f"{split}.y.npy", y)
        return {}

    meta, found = cache.columns(request, build)
    return Dataset(
        **{split: Columns(x=found[f"{split}.x"], y=found[f"{split}.y"]) for split in counts},
        classes=len(SHAPES),
        unit="example",
        per_record=1,
        unique=train,
        fingerprint=meta["fingerprint"],
        names=tuple(SHAPES),
    )


def draw(y: np.ndarray, size: int, noise: float, rng: np.random.Generator) -> UInt8[np.ndarray, "B H W 3"]:
    """One image for each class in `y`."""
    uniform = lambda low, high, *shape: rng.uniform(low, high, (len(y), *shape)).astype(np.float32)
    radius, angle = uniform(0.2, 0.4, 1, 1), uniform(0, 2 * np.pi, 1, 1)  # of an image's side
    centre_B2 = np.float32(0.5) + uniform(-1, 1, 2) * (0.5 - radius[:, 0])
    place = (np.arange(size * FINE, dtype=np.float32) + 0.5) / (size * FINE)
    x_BHW = (place[None, None, :] - centre_B2[:, 0, None, None]) / radius
    y_BHW = (place[None, :, None] - centre_B2[:, 1, None, None]) / radius
    u_BHW = np.cos(angle) * x_BHW + np.sin(angle) * y_BHW
    v_BHW = np.cos(angle) * y_BHW - np.sin(angle) * x_BHW
    inside_BHW = np.zeros(u_BHW.shape, bool)
    for label, shape in enumerate(SHAPES.values()):
        chosen = y == label
        inside_BHW[chosen] = shape(u_BHW[chosen], v_BHW[chosen])
    cover_BHW1 = inside_BHW.reshape(len(y), size, FINE, size, FINE).mean((2, 4), dtype=np.float32)[..., None]

    ground, slope = uniform(0, 1, 1, 1, 3), uniform(-0.25, 0.25, 2, 3)
    along = (np.arange(size, dtype=np.float32) / size - 0.5)[None]
    slopes = slope[:, 0, None, None] * along[..., None, None] + slope[:, 1, None, None] * along[:, None, :, None]
    # Far from the ground in each colour, so that every shape can be seen.
    colour = (ground + uniform(0.35, 0.65, 1, 1, 3)) % 1
    image = cover_BHW1 * colour + (1 - cover_BHW1) * (ground + slopes)
    image += noise * rng.standard_normal(image.shape, np.float32)
    return (255 * image.clip(0, 1) + 0.5).astype(np.uint8)


Plane = Float[np.ndarray, "B H W"]
Region = Bool[np.ndarray, "B H W"]


def polygon(u: Plane, v: Plane, corners: int) -> Plane:
    """Below 1 inside the regular polygon whose corners lie on the unit circle."""
    sector = 2 * np.pi / corners
    turned = (np.arctan2(v, u) % sector) - sector / 2
    return np.hypot(u, v) * np.cos(turned) / np.cos(sector / 2)


def star(u: Plane, v: Plane) -> Region:
    """Five points, and between them corners at 0.4 of their distance."""
    angle = np.abs((np.arctan2(v, u) % (2 * np.pi / 5)) - np.pi / 5)  # π/5 at a point, 0 between two
    ax, ay = 0.4, 0.0
    bx, by = np.cos(np.pi / 5), np.sin(np.pi / 5)
    x, y = np.hypot(u, v) * np.cos(angle), np.hypot(u, v) * np.sin(angle)
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0


square = lambda u, v, side: np.maximum(np.abs(u), np.abs(v)) < side
SHAPES = {
    "disc": lambda u, v: np.hypot(u, v) < 0.9,
    "ring": lambda u, v: (np.hypot(u, v) < 0.95) & (np.hypot(u, v) > 0.6),
    "square": lambda u, v: square(u, v, 0.75),
    "frame": lambda u, v: square(u, v, 0.8) & ~square(u, v, 0.5),
    "triangle": lambda u, v: polygon(u, v, 3) < 1,
    "star": star,
    "plus": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) < 0.3) & square(u, v, 0.95),
    "bar": lambda u, v: (np.abs(u) < 1) & (np.abs(v) < 0.3),
    "crescent": lambda u, v: (np.hypot(u, v) < 0.95) & (np.hypot(u - 0.45, v) > 0.7),
    "corner": lambda u, v: square(u, v, 0.75) & ((u < -0.2) | (v < -0.2)),
}
