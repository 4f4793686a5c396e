"""Scores of a trained image classifier on the original MNIST files, such as the 10,000 test images.

    uv run python -m scripts.score.idx --workdir runs/mnist_lenet --images t10k-images-idx3-ubyte.gz \
        --labels t10k-labels-idx1-ubyte.gz
"""

import argparse
import gzip
import pathlib

import numpy as np

from train.saved import load
from train.score import text


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("workdir", "images", "labels"):
        flags.add_argument(f"--{name}", type=pathlib.Path, required=True)
    options = flags.parse_args()
    images, labels = read_idx(options.images)[..., None], read_idx(options.labels)
    print(text(load(options.workdir).score({"x": images, "y": labels})))


def read_idx(path: pathlib.Path) -> np.ndarray:
    """The IDX format of LeCun's files: two zero bytes, type 8 (uint8), the number of axes, big-endian sizes, values."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    axes = raw[3]
    if raw[:3] != b"\0\0\x08":
        raise SystemExit(f"{path} is not an IDX file of bytes")
    shape = np.frombuffer(raw, ">i4", axes, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


if __name__ == "__main__":
    main()
