"""What stands beside a page's network: simple predictors on the page's own data, trained and held out alike.

    uv run python -m scripts.score.baselines --config configs/classics/digits_mlp.py [--config.KEY=VALUE ...]
    uv run python -m scripts.score.baselines --config mnist_dcgan --judge runs/mnist_lenet

What the page learns decides which, in the metric of its task:

classes       logistic regression on the numbers of a record (scikit-learn, C of 0.01, for numbers of deviation 1, up to
              200 steps); a word that is written for a sound is one class, and accuracy is exact_match
tokens        how likely the 0 to 5 tokens before make each next one, counted, orders mixed as Witten and Bell (1991)
              do, every window or sentence from its own beginning; of a translation without a look at its source.
              --windows 24000 counts as much of a text as a network reads in 2,000 batches of 12
pixels        of a VAE: independent ones, each with its mean; of an autoencoder: principal components; of an RBM, in the
              share of units that a reconstruction gets wrong: units that are drawn with their means, or the likelier
              value of each; of a GAN: draws of each pixel alone, and of one Gaussian, by the classifier of --judge
noise         of diffusion: Wiener's filter, which is best of Gaussian records; one a class where the page tells classes
pixel classes logistic regression on a pixel's colour and its difference from the median colour of its scene
boxes         as many average boxes of a cell as the network has, the best of which counts as it does for the network
"""

import argparse
import collections
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from data.source import Dataset
from models.detector import corners
from train import configs, judge, saved
from train.build import build
from train.detection import iou
from train.tasks.detect import targets
from train.tasks.diffusion import diffusion, kept_signal
from train.tasks.reconstruct import reconstruct
from train.tasks.segment import overlaps

ORDERS = range(6)
WINDOWS = 1000  # held out, of a text
PIXELS = 200_000  # to train on, of scenes


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--config", required=True, metavar="PAGE")
    flags.add_argument("--judge", metavar="DIR", help="of a GAN: a classifier's run on the same kind of records")
    flags.add_argument("--windows", type=int, metavar="N", help="of a text that are counted; default: all")
    options, rest = flags.parse_known_args()
    config = configs.config_of(configs.load(options.config), [each.removeprefix("--config.") for each in rest])
    dataset = build("data", config.data.to_dict(), "data")
    task, model, kind = config.task.to_dict(), config.model.to_dict(), config.task.name.split(":")[0]
    if kind == "gan" and options.judge is None:
        flags.error("--judge DIR: samples are compared by a classifier's run, such as runs/mnist_lenet")
    if dataset.unit == "token":
        said = n_grams(*windows(dataset, options.windows), dataset.classes)
    elif kind == "translate" and np.issubdtype(dataset.train.gather(np.arange(1))["x"].dtype, np.integer):
        said = n_grams(*sentences(dataset), dataset.classes)
    elif kind == "gan":
        said = distances(dataset, options.judge)
    elif kind == "diffusion":
        said = {"loss by Wiener's filter": denoised(dataset, task, bool(model["classes"]))}
    elif kind == "rbm":
        said = units(*splits(dataset))
    elif kind == "segment":
        said = {"iou by logistic regression on colours": coloured(dataset)}
    elif kind == "detect":
        said = {"iou of average boxes": boxes(dataset, model)}
    elif task["name"] == "reconstruct:elbo":
        said = {"nats of a record by independent pixels": independent(*splits(dataset))}
    elif kind == "reconstruct":
        said = components(*splits(dataset), model["code"], task)
    elif dataset.classes:
        said = {"accuracy by logistic regression": logistic(dataset)}
    else:
        flags.error(f"{options.config}: none for {task['name']}; take a page of one of the kinds that --help names")
    for name, value in said.items():
        print(f"{name}: {value:.4f}")


def defaults(task: Callable) -> dict:
    return {name: each.default for name, each in inspect.signature(task).parameters.items()}


def splits(dataset: Dataset) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, "M D"]]:
    """The numbers of the records that are trained on, and of those held out."""
    return flat(dataset.train)[0], flat(dataset.valid)[0]


def flat(split) -> tuple[np.ndarray, np.ndarray]:
    rows = split.gather(np.arange(len(split)))
    return rows["x"].reshape(len(split), -1).astype(np.float32), rows["y"]


# Classes.


def logistic(dataset: Dataset) -> float:
    (x, y), (held_x, held_y) = flat(dataset.train), flat(dataset.valid)
    names, found = np.unique(y.reshape(len(y), -1), axis=0, return_inverse=True)
    scale = StandardScaler().fit(x)
    model = LogisticRegression(C=0.01, max_iter=200).fit(scale.transform(x), found.ravel())
    said = names[model.predict(scale.transform(held_x))]
    return float((said == held_y.reshape(len(held_y), -1)).all(1).mean())


def coloured(dataset: Dataset) -> float:
    """Intersection over union of all classes but the background, as `segment:segment` has it."""
    train, held = (split.gather(np.arange(len(split))) for split in (dataset.train, dataset.valid))

    def seen(x: Float[np.ndarray, "B H W 3"]) -> Float[np.ndarray, "pixels 6"]:
        return np.concatenate([x, np.abs(x - np.median(x, (1, 2), keepdims=True))], -1).reshape(-1, 6)

    some = np.random.default_rng(0).choice(train["y"].size, min(PIXELS, train["y"].size), replace=False)
    model = LogisticRegression(max_iter=200).fit(seen(train["x"])[some], train["y"].ravel()[some])
    guess = model.predict(seen(held["x"])).reshape(held["y"].shape)
    both, either = overlaps(guess, held["y"], np.ones(len(guess)), dataset.classes)
    return float(both[1:].sum() / either[1:].sum())


# Boxes.


def boxes(dataset: Dataset, model: Mapping) -> float:
    """Mean overlap of objects and the best of `model["boxes"]` boxes of the cell that an object's centre is in.

    The boxes are the same in every cell, centres of clusters of what `detect:detect` asks of a cell.
    """
    train, held = (split.gather(np.arange(len(split))) for split in (dataset.train, dataset.valid))
    side = train["x"].shape[1] // 2 ** model["halvings"]
    place_OM4, _ = targets(train["boxes"], side)
    wanted = np.asarray(place_OM4)[train["present"] > 0]
    average_N4 = KMeans(model["boxes"], n_init=10, random_state=0).fit(wanted).cluster_centers_.astype(np.float32)
    all_SSN4 = corners(np.broadcast_to(average_N4, (side, side, *average_N4.shape)))
    _, cell_BM = targets(held["boxes"], side)
    mine_BMN4 = np.asarray(all_SSN4).reshape(side**2, -1, 4)[np.asarray(cell_BM)]
    overlap_BMN = iou(mine_BMN4, np.broadcast_to(held["boxes"][:, :, None], mine_BMN4.shape))
    return float(np.asarray(overlap_BMN.max(-1))[held["present"] > 0].mean())


# Pixels.


def independent(x: Float[np.ndarray, "N D"], held: Float[np.ndarray, "M D"]) -> float:
    p = (x.sum(0) + 1) / (len(x) + 2)
    return float(-(held * np.log(p) + (1 - held) * np.log(1 - p)).sum(1).mean())


def units(x: Float[np.ndarray, "N D"], held: Float[np.ndarray, "M D"]) -> dict[str, float]:
    """Expected share of units that differ between a record, drawn of its probabilities, and what stands for it."""
    p, likelier = x.mean(0), np.round(x.mean(0))
    differ = lambda q: float((held * (1 - q) + (1 - held) * q).mean())
    return {
        "reconstruction_error of units drawn with their means": differ(p),
        "reconstruction_error of the likelier value of each": differ(likelier),
        "reconstruction_error of a second draw of the record": differ(held),
    }


def components(x: Float[np.ndarray, "N D"], held: Float[np.ndarray, "M D"], code: int, task: dict) -> dict[str, float]:
    """Of projections on as many components as a code has numbers; of a sparse code also as it has active ones."""
    options = defaults(reconstruct) | task
    counts = {code, round(code * options["target"])} if options["sparsity"] else {code}
    seen = held + options["noise"] * np.random.default_rng(0).standard_normal(held.shape)
    axes = np.linalg.svd(x - x.mean(0), full_matrices=False)[2]
    said = {}
    for count in sorted(counts):
        leading = axes[:count]
        error = (((seen - x.mean(0)) @ leading.T @ leading + x.mean(0) - held) ** 2).mean(1)
        said[f"error of {count} principal components"] = error.mean()
        said[f"psnr of {count} principal components"] = -10 * np.log10(error).mean()
    return said


def distances(dataset: Dataset, workdir: str) -> dict[str, float]:
    """Fréchet distances from the held-out records, as `python -m train score --judge` has them of samples."""
    run, rng = saved.load(workdir), np.random.default_rng(0)
    held = judge.features(run, judge.records(dataset.valid, len(dataset.valid)))
    far = lambda x: judge.frechet_distance(judge.features(run, x.astype(np.float32)), held)
    x, _ = flat(dataset.train)
    shaped = lambda made: made.clip(0, 1).reshape(-1, *dataset.train.gather(np.arange(1))["x"].shape[1:])
    alone = rng.permuted(x, axis=0)[: judge.COUNT]
    gaussian = rng.multivariate_normal(x.mean(0), np.cov(x, rowvar=False), judge.COUNT, method="eigh")
    return {
        "frechet_distance of each pixel drawn alone": far(shaped(alone)),
        "frechet_distance of one Gaussian": far(shaped(gaussian)),
        "frechet_distance of training records": far(judge.records(dataset.train, judge.COUNT)),
    }


# Noise.


def denoised(dataset: Dataset, task: dict, told: bool) -> float:
    """The loss of `diffusion:diffusion` by `wiener`, with the covariances of Ledoit and Wolf (2004)."""
    options = defaults(diffusion) | task
    kept = np.asarray(kept_signal(options["steps"], options["schedule"]), np.float64)[1:]
    (x, y), (held, held_y) = flat(dataset.train), flat(dataset.valid)
    inside = lambda x: 2 * (x.astype(np.float64) - options["low"]) / (options["high"] - options["low"]) - 1
    kind, held_kind = (y, held_y) if told else (np.zeros(len(x)), np.zeros(len(held)))
    total = 0.0
    for k in np.unique(held_kind):
        fit, there = LedoitWolf().fit(inside(x[kind == k])), held_kind == k
        total += there.sum() * wiener(fit.location_, fit.covariance_, inside(held[there]), kept)
    return total / len(held)


def wiener(
    mean: Float[np.ndarray, " D"],
    covariance: Float[np.ndarray, "D D"],
    held: Float[np.ndarray, "M D"],
    kept: Float[np.ndarray, " T"],
) -> float:
    """Mean squared error of the noise ε in √ᾱ x + √(1 - ᾱ) ε, by the linear filter that is best for a Gaussian x.

    The filter says √(1 - ᾱ) S⁻¹ (x_t - √ᾱ m) with S = ᾱ C + 1 - ᾱ.  Expected over ε, a mean over records and steps.
    """
    values, axes = np.linalg.eigh(covariance)
    square = (((held - mean) @ axes) ** 2).mean(0)
    a = kept[:, None]
    s = a * values + 1 - a
    return float(((a * values / s) ** 2 + a * (1 - a) * square / s**2).mean())


# Tokens.


class Counted(NamedTuple):
    nats: float  # a token
    accuracy: float  # share of tokens that are the likeliest


def n_grams(train: Iterable, held: Iterable, words: int) -> dict[str, float]:
    said = {}
    for order, each in witten_bell(train, held, words).items():
        said |= {f"nats a token, {order} before": each.nats, f"accuracy, {order} before": each.accuracy}
    return said


def windows(dataset: Dataset, count: int | None) -> tuple[Iterable, Iterable]:
    """Of a text: those that see every token once, or so many of them, and some held out, evenly spaced."""
    again = max(1, round(len(dataset.train) * dataset.per_record / dataset.unique))  # windows that a token is in
    ids = np.arange(0, len(dataset.train), again)
    some = lambda ids, count: ids[np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(int)]

    def rows(split, ids) -> Iterable:
        row = split.gather(ids)
        lengths = row.get("mask", np.ones_like(row["y"])).sum(1).astype(int)
        return [[x[0], *y[:n]] for x, y, n in zip(row["x"].tolist(), row["y"].tolist(), lengths, strict=True)]

    held = some(np.arange(len(dataset.valid)), WINDOWS)
    return rows(dataset.train, some(ids, count or len(ids))), rows(dataset.valid, held)


def sentences(dataset: Dataset) -> tuple[Iterable, Iterable]:
    """Targets of a translation without what fills them up, each behind the 0 that a decoder begins with."""
    return tuple([[0, *y[y != 0].tolist()] for y in flat(split)[1]] for split in (dataset.train, dataset.valid))


def witten_bell(train: Iterable, held: Iterable, words: int) -> dict[int, Counted]:
    """Of the tokens of `held` but each row's first, by the most tokens before that are looked at.

    p_k(w | c) = (count of w after c + kinds after c × p_{k-1}(w | the last k-1 of c)) / (count of c + kinds after c).
    """
    after = [collections.defaultdict(collections.Counter) for _ in ORDERS]
    for row in map(tuple, train):
        for i in range(1, len(row)):
            for k in range(min(i, ORDERS[-1]) + 1):
                after[k][row[i - k : i]][row[i]] += 1

    @functools.lru_cache(maxsize=100_000)
    def seen(before: tuple[int, ...]) -> tuple[Int[np.ndarray, " K"], Int[np.ndarray, " K"]]:
        """What came after it, and how often."""
        counts = after[len(before)].get(before, {})
        return np.array(list(counts), int), np.array(list(counts.values()), int)

    nats, right, total = np.zeros(len(ORDERS)), np.zeros(len(ORDERS)), 0
    for row in map(tuple, held):
        for i in range(1, len(row)):
            p, total = np.full(words, 1 / words), total + 1
            for k in ORDERS:
                found, counts = seen(row[i - k : i]) if k <= i else ((), ())
                if len(found):
                    p *= len(found) / (len(found) + counts.sum())
                    p[found] += counts / (len(found) + counts.sum())
                nats[k] -= math.log(p[row[i]])
                right[k] += p.argmax() == row[i]
    return {k: Counted(nats[k] / total, right[k] / total) for k in ORDERS}


if __name__ == "__main__":
    main()
