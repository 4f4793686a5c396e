"""What stands beside a page's network: simple predictors on the page's own data, trained and held out alike.

    uv run python -m scripts.score.baselines --config configs/classics/digits_mlp.py [--config.KEY=VALUE ...]

Of classes: logistic regression on the numbers of a record (scikit-learn, C of 0.01, for numbers of deviation 1, up to
200 steps): its accuracy.  Of pixels in [0, 1] that a VAE learns: independent ones, each with its mean: nats a record.
Of text: how likely the 0 to 5 tokens before make each next one, counted, orders mixed as
Witten and Bell (1991) do, every window from its own beginning: nats a token.
"""

import argparse
import collections
import math

import numpy as np
from jaxtyping import Int
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from data.source import Dataset
from train import configs
from train.build import build

ORDERS = range(6)
WINDOWS = 1000  # held out, of a text


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--config", required=True, metavar="PAGE")
    options, rest = flags.parse_known_args()
    config = configs.config_of(configs.load(options.config), [each.removeprefix("--config.") for each in rest])
    dataset = build("data", config.data.to_dict(), "data")
    if dataset.unit == "token":
        for order, nats in windows(dataset).items():
            print(f"{order} tokens before: {nats:.4f} nats a token")
    elif config.task.name == "reconstruct:elbo":
        print(f"independent pixels: {independent(dataset):.2f} nats a record")
    else:
        print(f"logistic regression: accuracy {logistic(dataset):.4f}")


def logistic(dataset: Dataset) -> float:
    (x, y), (held_x, held_y) = (numbers(split) for split in (dataset.train, dataset.valid))
    scale = StandardScaler().fit(x)
    model = LogisticRegression(C=0.01, max_iter=200).fit(scale.transform(x), y)
    return model.score(scale.transform(held_x), held_y)


def independent(dataset: Dataset) -> float:
    (x, _), (held_x, _) = (numbers(split) for split in (dataset.train, dataset.valid))
    p = (x.sum(0) + 1) / (len(x) + 2)
    return float(-(held_x * np.log(p) + (1 - held_x) * np.log(1 - p)).sum(1).mean())


def numbers(split) -> tuple[np.ndarray, np.ndarray]:
    rows = split.gather(np.arange(len(split)))
    return rows["x"].reshape(len(split), -1).astype(np.float32), rows["y"]


def windows(dataset: Dataset) -> dict[int, float]:
    every = lambda split, ids: np.concatenate([(row := split.gather(ids))["x"], row["y"][:, -1:]], 1)
    train = every(dataset.train, np.arange(0, len(dataset.train)))
    ids = np.linspace(0, len(dataset.valid) - 1, min(WINDOWS, len(dataset.valid))).astype(int)
    return witten_bell(train, every(dataset.valid, ids), dataset.classes)


def witten_bell(train: Int[np.ndarray, "N L"], held: Int[np.ndarray, "M L"], words: int) -> dict[int, float]:
    """Mean nats of the tokens of `held` but each row's first, by the most tokens before that are looked at.

    p_k(w | c) = (count of w after c + kinds after c × p_{k-1}(w | the last k-1 of c)) / (count of c + kinds after c).
    """
    after = [collections.defaultdict(collections.Counter) for _ in ORDERS]
    for row in train.tolist():
        for i, token in enumerate(row[1:], 1):
            for k in range(min(i, ORDERS[-1]) + 1):
                after[k][tuple(row[i - k : i])][token] += 1
    sums = {k: {c: sum(counts.values()) for c, counts in after[k].items()} for k in ORDERS}
    nats = dict.fromkeys(ORDERS, 0.0)
    for row in held.tolist():
        for i, token in enumerate(row[1:], 1):
            p = 1 / words
            for k in ORDERS:
                before = tuple(row[i - k : i]) if k <= i else None
                if before in after[k]:
                    counts, kinds = after[k][before], len(after[k][before])
                    p = (counts[token] + kinds * p) / (sums[k][before] + kinds)
                nats[k] -= math.log(p)
    return {k: total / held[:, 1:].size for k, total in nats.items()}


if __name__ == "__main__":
    main()
