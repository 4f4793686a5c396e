"""Generated sound as WaveNet hears it: samples in mu-law steps (ITU-T G.711)."""

import numpy as np
from jaxtyping import Float, Int

from data import cache
from data.source import Dataset, Windows

RATE = 8000  # samples a second


def tones(
    *,
    context: int = 256,
    vocab: int = 256,
    train_tokens: int = 1_000_000,
    valid_tokens: int = 100_000,
    noise: float = 0.01,
    seed: int = 0,
) -> Dataset:
    """Clips of `context` + 1 samples, each of other `plucks` under noise of standard deviation `noise`.

    x, y: int32 [B, L] in `vocab` mu-law steps; y is the next sample.  What simple predictors make of it, and the bound
    that the noise sets to all: `python -m scripts.score_tones`.
    """
    if vocab < 2 or context < 1 or min(train_tokens, valid_tokens) < context or noise < 0:
        raise ValueError(
            f"{vocab=}, {context=}, {train_tokens=}, {valid_tokens=}, {noise=}: needs 2 steps, one context of each "
            "split, and noise >= 0"
        )
    rng = np.random.default_rng(seed)
    halves = {}
    for split, count in (("train", train_tokens), ("valid", valid_tokens)):
        sound = plucks(count // context, context + 1, rng)
        sound += noise * rng.standard_normal(sound.shape, np.float32)
        halves[split] = Windows(encode(sound, vocab).ravel(), context, context + 1)
    return Dataset(
        **halves,
        classes=vocab,
        unit="token",
        per_record=context,
        unique=len(halves["train"]) * context,
        fingerprint=cache.fingerprint({split: half.tokens for split, half in halves.items()}),
    )


def plucks(count: int, length: int, rng: np.random.Generator) -> Float[np.ndarray, "count length"]:
    """Sums of three decaying sines: 100 to 1600 Hz, amplitude 0.1 to 0.3, time constant 10 to 100 ms."""
    time = np.arange(length, dtype=np.float32) / RATE
    sound = np.zeros((count, length), np.float32)
    for _ in range(3):
        frequency = 100 * 16 ** rng.random((count, 1), np.float32)
        decay = 0.01 * 10 ** rng.random((count, 1), np.float32)
        amplitude = 0.1 + 0.2 * rng.random((count, 1), np.float32)
        phase = 2 * np.pi * rng.random((count, 1), np.float32)
        sound += amplitude * np.exp(-time / decay) * np.sin(2 * np.pi * frequency * time + phase)
    return sound


def encode(sound: Float[np.ndarray, "*shape"], vocab: int = 256) -> Int[np.ndarray, "*shape"]:
    """Sound, clipped to [-1, 1], in `vocab` steps: sign(x) ln(1 + μ|x|) / ln(1 + μ), μ = vocab - 1, rounded."""
    mu = vocab - 1
    squeezed = np.sign(sound) * np.log1p(mu * np.abs(sound.clip(-1, 1))) / np.log1p(mu)
    return np.floor((squeezed + 1) / 2 * mu + 0.5).astype(np.int32)


def decode(steps: Float[np.ndarray, "*shape"] | Int[np.ndarray, "*shape"], vocab: int = 256) -> np.ndarray:
    """The sound in the middle of each step; of k - 1/2, the border between the steps k - 1 and k."""
    mu = vocab - 1
    squeezed = 2 * np.asarray(steps) / mu - 1
    return np.sign(squeezed) * np.expm1(np.abs(squeezed) * np.log1p(mu)) / mu
