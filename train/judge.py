"""What generated records are worth, by a classifier of our own: the run of another page on the same kind of records.

    python -m train score --workdir runs/mnist_dcgan --judge runs/mnist_lenet

The judge's outputs for a record, before the softmax, are its features.  N records, F features, K classes.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64

from train.errors import UserError

if TYPE_CHECKING:
    from data.source import Source
    from train.saved import Saved

COUNT = 1000  # samples


def judged(run: "Saved", judge: "Saved", count: int = COUNT, seed: int = 0) -> dict[str, float]:
    """The numbers by which `judge` compares `count` samples of `run` with the run's held-out records.

    frechet_distance          of the samples' features from those of the held-out records
    frechet_distance_of_data  of as many training records from the held-out ones: no generator needs to be lower
    confidence                mean probability of the likeliest class
    classes_in_effect         exp of the entropy of the classes that samples are read as: all K where they are even
    agreement                 share read as the class that they were made of, where the task is told of one
    """
    from train.labelled import own

    shapes = [each.experiment.batch["x"].shape[1:] for each in (judge, run)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"--judge knows records of shape {list(shapes[0])}, and this run's are {list(shapes[1])}: train the judge "
            "with the data options of this run (config.data)"
        )
    if judge.experiment.task.predict is None or not judge.experiment.dataset.classes:
        raise UserError(f"--judge is a run of {judge.config.task.name}; name one that classifies whole records")
    made, data = run.sample(count, seed), own(run)
    held, some = features(judge, records(data.valid, len(data.valid))), features(judge, records(data.train, count))
    found = features(judge, made["samples"])
    if found.ndim != 2:
        raise UserError(f"--judge is a run of {judge.config.task.name}; name one that classifies whole records")
    p_NK = softmax(found)
    read = p_NK.argmax(1)
    share = np.bincount(read, minlength=p_NK.shape[1]) / len(read)
    numbers = {
        "frechet_distance": frechet_distance(found, held),
        "frechet_distance_of_data": frechet_distance(some, held),
        "confidence": float(p_NK.max(1).mean()),
        "classes_in_effect": float(np.exp(-np.sum(share * np.log(np.where(share > 0, share, 1))))),
    }
    return numbers | ({"agreement": float((read == made["y"]).mean())} if "y" in made else {})


def records(source: "Source", count: int) -> np.ndarray:
    """At most `count` of them, evenly spaced."""
    return source.gather(np.unique(np.linspace(0, len(source) - 1, count).astype(np.int64)))["x"]


def features(judge: "Saved", x: np.ndarray) -> Float64[np.ndarray, "N F"]:
    size = judge.config.eval.batch_size
    return np.concatenate([np.asarray(judge.apply(x[i : i + size]), np.float64) for i in range(0, len(x), size)])


def softmax(scores: np.ndarray) -> np.ndarray:
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def frechet_distance(a: Float[np.ndarray, "N F"], b: Float[np.ndarray, "M F"]) -> float:
    """Between the Gaussians of two sets of features (Heusel et al. 2017, eq. 6; Dowson & Landau 1982).

    |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½): the square of the 2-Wasserstein distance.
    """
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # tr (C₁ C₂)^½ = tr (C₁^½ C₂ C₁^½)^½, of a symmetric matrix.
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * cross)
