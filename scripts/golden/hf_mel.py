"""Whisper's log-mel spectra, under a Python with transformers 4.57: golden numbers for tests/test_speech.py.

python -m scripts.golden.hf_mel
"""

import numpy as np
from transformers import WhisperFeatureExtractor

from tests.support.golden import numbers

# Name, the options of our function, samples of the sound.
CASES = {
    "whisper": ({"bands": 80, "rate": 16_000, "window": 400, "hop": 160}, 6_000),
    "few": ({"bands": 31, "rate": 16_000, "window": 512, "hop": 200}, 4_000),
}


def sound(name: str, samples: int) -> np.ndarray:
    """Noise that fades, so that some of it is below the loudest by more than is heard; then silence."""
    fading = np.exp(-np.arange(samples) / samples * 25)
    return np.pad(numbers(name, samples) * fading, (0, samples // 4)).astype(np.float32)


def main() -> None:
    made = {}
    for name, (how, samples) in CASES.items():
        heard = sound(name, samples)
        extract = WhisperFeatureExtractor(how["bands"], how["rate"], how["hop"], 1, how["window"])
        spectra = extract(heard, sampling_rate=how["rate"], padding="longest", return_tensors="np")["input_features"]
        made[name] = spectra[0].astype(np.float32)
        print(name, made[name].shape, made[name].min(), made[name].max())
    np.savez_compressed("tests/golden/mel.npz", **made)


if __name__ == "__main__":
    main()
