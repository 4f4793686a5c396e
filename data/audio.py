"""Generated sound: plucked tones as WaveNet hears them, in mu-law steps (ITU-T G.711), and dialled numbers in spectra.

N sounds, T frames, F frequencies, L digits.
"""

import numpy as np
from jaxtyping import Float, Int

from data import cache
from data.source import Columns, Dataset, Windows, examples

RATE = 8000  # samples a second
KEYS = "1234567890"  # class k + 1 is KEYS[k]; class 0 is the blank of CTC
ROWS, PLACES = (697, 770, 852, 941), (1209, 1336, 1477)  # Hz, of a keypad (ITU-T Q.23)
KEYPAD = "123456789*0#"
TONES = np.array([(ROWS[i // 3], PLACES[i % 3]) for i in map(KEYPAD.index, KEYS)], np.float32)
HOP, WINDOW, SPECTRUM = 80, 160, 36  # samples from frame to frame and in a frame; frequencies kept, below 1.8 kHz
SMALLEST = {"context": 16, "vocab": 256, "train_tokens": 4096, "valid_tokens": 512, "train": 256, "valid": 64}


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
    that the noise sets to all: `python -m scripts.score.tones`.
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


def dialled(*, digits: int = 6, noise: float = 1.0, train: int = 4000, valid: int = 1000, seed: int = 0) -> Dataset:
    """Telephone numbers of 3 to `digits` keys, dialled in tones under noise: what was dialled, and not when.

    x: float32 [B, T, F], the spectrum of every 10 ms: ln(1 + magnitude).  y: int32 [B, L], the keys as classes 1 to 10,
    zeros after the last.  `frames`, int32 [B]: how many of the T frames are of the call.  A key sounds for 40 to 100 ms
    as two sines of amplitude 0.5, after 20 to 60 ms without; `noise` is a standard deviation.
    """
    if digits < 3 or min(train, valid) < 1 or noise < 0:
        raise ValueError(
            f"{digits=}, {train=}, {valid=}, {noise=}: 3 digits or more, one call of each split, noise >= 0"
        )
    rng = np.random.default_rng(seed)
    return examples(*(_calls(count, digits, noise, rng) for count in (train, valid)), 1 + len(KEYS))


def _calls(count: int, digits: int, noise: float, rng: np.random.Generator, part: int = 256) -> Columns:
    parts = [call(min(part, count - first), digits, noise, rng) for first in range(0, count, part)]
    return Columns(**{name: np.concatenate([each[name] for each in parts]) for name in parts[0]})


def call(count: int, digits: int, noise: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The columns of so many calls, as `dialled` says."""
    keys_NL, dialled_N = rng.integers(len(KEYS), size=(count, digits)), rng.integers(3, digits + 1, size=(count, 1))
    is_key_NL = np.arange(digits) < dialled_N
    sounds_NL, rests_NL = rng.uniform(0.04, 0.10, (count, digits)), rng.uniform(0.02, 0.06, (count, digits))
    starts_NL = np.cumsum(sounds_NL + rests_NL, axis=1) - sounds_NL  # seconds
    T = round(digits * 0.16 * RATE) // HOP
    time = np.arange((T - 1) * HOP + WINDOW, dtype=np.float32) / RATE
    sound = noise * rng.standard_normal((count, time.size), np.float32)
    for at in range(digits):
        start, end = starts_NL[:, at, None], (starts_NL + sounds_NL)[:, at, None]
        heard = (time >= start) & (time < end) & is_key_NL[:, at, None]
        for frequency_N1 in np.split(TONES[keys_NL[:, at]], 2, axis=1):
            phase = 2 * np.pi * rng.random((count, 1), np.float32)
            sound += np.where(heard, 0.5 * np.sin(2 * np.pi * frequency_N1 * time + phase), 0)
    ends_N = ((starts_NL + sounds_NL + rests_NL) * is_key_NL).max(1)
    return {
        "x": spectra(sound),
        "y": np.where(is_key_NL, keys_NL + 1, 0).astype(np.int32),
        "frames": np.minimum(np.ceil(ends_N * RATE / HOP), T).astype(np.int32),
    }


def spectra(sound: Float[np.ndarray, "N samples"]) -> Float[np.ndarray, "N T F"]:
    """ln(1 + magnitude) of the lower frequencies of each frame under a Hann window, float32."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW, axis=1)[:, ::HOP]
    return np.log1p(np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=-1)[..., :SPECTRUM])).astype(np.float32)
