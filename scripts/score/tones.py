"""What simple predictors make of `audio:tones`, in nats a sample, to set a WaveNet's loss beside.

    uv run python -m scripts.score.tones [--order 16]

unigram   the entropy of the training samples' own distribution
Markov    a table of successors, counted, with add-α smoothing (the α of a few that suits the held-out clips best)
linear    the last `order` samples, decoded, times least-squares coefficients; around that a Gaussian, in mu-law steps
bound     what one would pay who knew the sines exactly, and not the noise: no predictor has a lower expected loss
"""

import argparse

import numpy as np
from scipy.special import ndtr

from data.audio import decode, encode, plucks, tones
from data.source import Dataset, Source


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--order", type=int, default=16, help="how far back the linear predictor looks")
    options = flags.parse_args()
    dataset, noise = tones(), 0.01
    print(f"unigram  {unigram(dataset):.4f}")
    print(f"Markov   {markov(dataset):.4f}")
    print(f"linear   {linear(dataset, options.order):.4f}  (order {options.order})")
    print(f"bound    {bound(dataset.classes, noise, dataset.per_record):.4f}")


def pairs(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """All samples [N, L] and their successors."""
    batch = source.gather(np.arange(len(source)))
    return batch["x"], batch["y"]


def unigram(dataset: Dataset) -> float:
    counts = np.bincount(pairs(dataset.train)[1].ravel(), minlength=dataset.classes) + 1
    return float(-np.log(counts / counts.sum())[pairs(dataset.valid)[1]].mean())


def markov(dataset: Dataset) -> float:
    counts = np.zeros((dataset.classes, dataset.classes))
    np.add.at(counts, pairs(dataset.train), 1)
    losses = []
    for alpha in (0.01, 0.1, 1.0):
        table = counts + alpha
        losses.append(-np.log(table / table.sum(1, keepdims=True))[pairs(dataset.valid)].mean())
    return float(min(losses))


def linear(dataset: Dataset, order: int) -> float:
    """Least squares on the training clips; the first `order` places have coefficients and deviations of their own."""
    (x, y), (valid_x, valid_y) = pairs(dataset.train), pairs(dataset.valid)
    vocab, length = dataset.classes, x.shape[1]
    losses = np.zeros(valid_y.shape)
    for known in range(1, min(order, length) + 1):
        # Samples known before each place of `here`: as many, or from the `order`-th on more than are looked at.
        here = slice(known - 1, length if known == order else known)
        past, future = history(x, here, known, vocab), decode(y[:, here], vocab)
        weights = np.linalg.lstsq(past.reshape(-1, known), future.ravel(), rcond=None)[0]
        deviation = (past @ weights - future).std()
        losses[:, here] = nats(valid_y[:, here], history(valid_x, here, known, vocab) @ weights, deviation, vocab)
    return float(losses.mean())


def history(x: np.ndarray, here: slice, known: int, vocab: int) -> np.ndarray:
    """The last `known` samples at each place, the newest first: [N, places, known]."""
    return np.stack([decode(x[:, here.start - k : here.stop - k], vocab) for k in range(known)], axis=-1)


def bound(vocab: int, noise: float, length: int, count: int = 2000, seed: int = 1) -> float:
    """The entropy of a noisy sample's mu-law step, given the sample without noise: a mean over fresh clips."""
    rng = np.random.default_rng(seed)
    sound = plucks(count, length + 1, rng)[:, 1:]
    heard = encode(sound + noise * rng.standard_normal(sound.shape, np.float32), vocab)
    return float(nats(heard, sound, noise, vocab).mean())


def nats(steps: np.ndarray, middle: np.ndarray, deviation: float, vocab: int) -> np.ndarray:
    """-ln of the probability of each mu-law step under a Gaussian; the outer steps reach to infinity."""
    edge = lambda k: np.where(k == 0, -np.inf, np.where(k == vocab, np.inf, decode(k - 0.5, vocab)))
    # Of a tail the mirror image, where differences of small probabilities keep their digits.
    low, high = (edge(steps) - middle) / deviation, (edge(steps + 1) - middle) / deviation
    low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    return -np.log(np.maximum(ndtr(high) - ndtr(low), 1e-12))


if __name__ == "__main__":
    main()
