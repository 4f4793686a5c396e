"""Parameters that a script of another framework and our tests can both make, so that only outputs are committed."""

import zlib

import numpy as np


def numbers(name: str, *shape: int) -> np.ndarray:
    """Uniform in [-1, 1), float32: a function of name and shape alone, the same in every framework and version."""
    bits = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).random(shape)
    return np.asarray(2 * bits - 1, np.float32)


def parameter(name: str, *shape: int) -> np.ndarray:
    """A parameter or running statistic "…/kernel", …, such that numbers neither grow nor vanish from layer to layer.

    Kernels have the variance of He et al. 2015, scales and running variances lie about 1, the others about 0.
    """
    fan_in = max(1, int(np.prod(shape[:-1])))
    size = {"kernel": (6 / fan_in) ** 0.5, "scale": 0.2, "var": 0.5}.get(name.split("/")[-1], 0.1)
    return np.float32(name.endswith(("scale", "var"))) + np.float32(size) * numbers(name, *shape)


def tensor(name: str, *shape: int) -> np.ndarray:
    """A tensor of a public checkpoint, such that numbers neither grow nor vanish and no parameter stands at its start.

    Matrices have variance 1 / (last axis), scales of norms lie about 1, the others about 0.
    """
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return np.float32(1.2) + numbers(name, *shape)
    if len(shape) > 1:
        return np.float32((3 / shape[-1]) ** 0.5) * numbers(name, *shape)
    return np.asarray(np.float32(name.endswith("weight")) + np.float32(0.2) * numbers(name, *shape))
