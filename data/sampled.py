"""Records of a set and records that a run has generated, mixed: augmentation by samples."""

from pathlib import Path

import numpy as np

from data import arrays, cache
from data.mixture import Mixture
from data.source import Columns, Dataset, check_labels


def columns(
    dataset: str,
    path: str,
    *,
    share: float = 0.5,
    train: str = "train",
    valid: str = "auto",
    x: str = "image",
    y: str = "label",
    size: int = 0,
) -> Dataset:
    """A set as `arrays:columns` reads it, and of each batch a `share` that comes from samples.npz of a run.

    `path` is what `python -m train sample` has written of a run that is told classes.  Held out are records of the set
    alone.  With share=0 no sample is used.
    """
    of = arrays.columns(dataset, train=train, valid=valid, x=x, y=y, size=size)
    real = of.train.columns
    samples = Columns(**generated(Path(path).expanduser(), real["x"].shape[1:], share))
    check_labels(samples, of.classes, "samples")
    mixed = Mixture({"real": of.train, "samples": samples}, [(0, {"real": 1 - share, "samples": share})], True)
    contents = {f"samples.{name}": column for name, column in samples.columns.items()}
    return of._replace(
        train=mixed,
        unique=len(mixed) if share else len(of.train),
        sources=mixed.names,
        fingerprint=cache.fingerprint(
            contents | {"share": np.array(share), "of": np.frombuffer(of.fingerprint.encode(), np.uint8)}
        ),
    )


def generated(path: Path, shape: tuple[int, ...], share: float) -> dict[str, np.ndarray]:
    """`samples` in [0, 1] and their classes `y`, of records of this shape."""
    if not 0 <= share < 1:
        raise ValueError(f"data.share={share} is the part of a batch that is samples: 0 or more, and less than 1")
    if not path.is_file():
        raise ValueError(
            f"no samples at {str(path)!r}: python -m train sample --workdir RUN --count N writes samples.npz of a run; "
            f"data.path is relative to {Path.cwd()}"
        )
    with np.load(path) as held:
        if not {"samples", "y"} <= set(held.files):
            raise ValueError(
                f"{path} has {', '.join(held.files)}: name samples of a run that is told classes, with a y"
            )
        x, y = held["samples"], held["y"]
    if x.shape[1:] != shape:
        raise ValueError(
            f"the samples of {path} are {list(x.shape[1:])}, and the records {list(shape)}: give data.size"
        )
    return {"x": x.clip(0, 1).astype(np.float32), "y": y.astype(np.int32)}
