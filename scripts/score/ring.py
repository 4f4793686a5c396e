"""Samples of a run on `synthetic:ring` against its Gaussians: how many are near each, how many near any.

    uv run python -m scripts.score.ring --workdir runs/ring_gan [--count 10000]

near      share of samples within 3σ of their nearest centre; of the data themselves 1 - exp(-9/2) = 0.9889
modes     how many centres have a fair number near them: a tenth of an equal share, or more
least     the smallest share that a centre has of the samples, of an equal one
"""

import argparse
import pathlib

import numpy as np
from jaxtyping import Float

from train.saved import load


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--workdir", type=pathlib.Path, required=True)
    flags.add_argument("--count", type=int, default=10_000)
    options = flags.parse_args()
    run = load(options.workdir)
    data = run.config.data
    numbers = score(run.sample(options.count)["samples"], data.get("modes", 8), data.get("spread", 0.02))
    print("\n".join(f"{name:<6} {value:.4g}" for name, value in numbers.items()))


def score(samples: Float[np.ndarray, "N 2"], modes: int, spread: float) -> dict[str, float]:
    angle = 2 * np.pi * np.arange(modes) / modes
    centres = np.stack([np.cos(angle), np.sin(angle)], 1)
    distance = np.linalg.norm(samples[:, None] - centres, axis=-1)
    near = distance.min(1) < 3 * spread
    shares = modes * np.bincount(distance.argmin(1)[near], minlength=modes) / len(samples)
    return {"near": float(near.mean()), "modes": float((shares > 0.1).sum()), "least": float(shares.min())}


if __name__ == "__main__":
    main()
