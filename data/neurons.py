"""What single units were shown: truth tables, separable clouds, a line under noise, a direction of largest variance.

N records, D inputs.  Inputs are float32; targets are classes (int32) or numbers (float32).
"""

import numpy as np

from data.source import Columns, Dataset, examples

SMALLEST = {"train": 256, "valid": 64}  # at which pages are tested


def truth_tables(*, inputs: int = 3) -> Dataset:
    """Every pattern of 0 and 1, and as targets all 2^2^inputs functions of it; both splits hold the same."""
    if not 1 <= inputs <= 4:
        raise ValueError(f"inputs={inputs} have 2^2^{inputs} functions; use 1 … 4")
    patterns = 2**inputs
    x = np.arange(patterns)[:, None] >> np.arange(inputs) & 1
    y = np.arange(2**patterns)[None] >> np.arange(patterns)[:, None] & 1
    table = Columns(x=x.astype(np.float32), y=y.astype(np.float32))
    return examples(table, table)


def parity(*, inputs: int = 2) -> Dataset:
    """Every pattern of -1 and 1, in class 1 where an odd number of them are 1: of two inputs, XOR.

    Both splits hold the same.
    """
    if not 1 <= inputs <= 16:
        raise ValueError(f"inputs={inputs} have 2^{inputs} patterns; use 1 … 16")
    bits = np.arange(2**inputs)[:, None] >> np.arange(inputs) & 1
    table = Columns(x=(2 * bits - 1).astype(np.float32), y=(bits.sum(1) % 2).astype(np.int32))
    return examples(table, table, classes=2)


def separable(*, dims: int = 10, margin: float = 0.1, train: int = 1000, valid: int = 1000, seed: int = 0) -> Dataset:
    """Points of the unit ball on both sides of a plane through 0, none nearer to it than `margin`."""
    if not (0 < margin < 0.5 and dims >= 2):
        raise ValueError(f"margin={margin}, dims={dims}: needs 0 < margin < 0.5 in a ball of radius 1, dims >= 2")
    rng = np.random.default_rng(seed)
    normal = _direction(rng, dims)

    def draw(count: int) -> Columns:
        points = np.empty((0, dims))
        while len(points) < count:
            more = _direction(rng, 4 * count, dims) * rng.random((4 * count, 1)) ** (1 / dims)
            points = np.concatenate([points, more[np.abs(more @ normal) >= margin]])
        x = points[:count]
        return Columns(x=x.astype(np.float32), y=(x @ normal > 0).astype(np.int32))

    return examples(draw(train), draw(valid), classes=2)


def linear(*, dims: int = 10, noise: float = 0.1, train: int = 1000, valid: int = 1000, seed: int = 0) -> Dataset:
    """Targets w·x + b + Gaussian noise, on Gaussian inputs: the lowest expected squared error is noise²."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.standard_normal(dims), rng.standard_normal()

    def draw(count: int) -> Columns:
        x = rng.standard_normal((count, dims))
        y = x @ weight + bias + noise * rng.standard_normal(count)
        return Columns(x=x.astype(np.float32), y=y.astype(np.float32))

    return examples(draw(train), draw(valid))


def ellipsoid(*, dims: int = 10, decay: float = 0.7, train: int = 4000, valid: int = 4000, seed: int = 0) -> Dataset:
    """Gaussians with mean 0, whose standard deviation falls by `decay` from one hidden direction to the next."""
    if not 0 < decay < 1:
        raise ValueError(f"decay={decay} must be between 0 and 1, so that one direction has the largest variance")
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.standard_normal((dims, dims)))

    def draw(count: int) -> Columns:
        x = rng.standard_normal((count, dims)) * decay ** np.arange(dims) @ axes.T
        return Columns(x=x.astype(np.float32))

    return examples(draw(train), draw(valid))


def curve(*, train: int = 512, valid: int = 1001) -> Dataset:
    """sin(2πx) + x²/2 at evenly spaced points of [-1, 1]: smooth, neither odd nor even."""
    columns = {}
    for split, count in (("train", train), ("valid", valid)):
        x = np.linspace(-1, 1, count)[:, None]
        columns[split] = Columns(x=x.astype(np.float32), y=(np.sin(2 * np.pi * x) + x**2 / 2).astype(np.float32))
    return examples(columns["train"], columns["valid"])


def _direction(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Uniform on the sphere; the last axis is that of the coordinates."""
    x = rng.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
