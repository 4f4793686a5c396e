"""Logistic regression on which words occur in a review of a film: how far a bag of words gets without a network.

uv run python -m scripts.score.films --path review_polarity.tar.gz
"""

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression

from configs.text.film_reviews_bag import get_config
from data import texts
from data.source import Source


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--path", required=True)
    config = get_config().data
    dataset = texts.folder(flags.parse_args().path, vocab=config.vocab, length=config.length, keep=config.keep)
    halves = [occurs(half, config.vocab) for half in (dataset.train, dataset.valid)]
    model = LogisticRegression(max_iter=1000).fit(*halves[0])
    print(f"accuracy {model.score(*halves[1]):.4f} of {len(dataset.valid)} held out")


def occurs(half: Source, vocab: int) -> tuple[np.ndarray, np.ndarray]:
    """[N, V] of 0 and 1, and the classes [N]."""
    batch = half.gather(np.arange(len(half)))
    there = np.zeros((len(half), vocab), np.float32)
    np.put_along_axis(there, batch["x"], 1.0, axis=1)
    there[:, : len(texts.SPECIAL)] = 0
    return there, batch["y"]


if __name__ == "__main__":
    main()
