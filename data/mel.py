"""Log-mel spectra as Whisper hears them.  B sounds, n samples, F frames, K frequencies, M mel bands."""

import functools

import numpy as np
from jaxtyping import Float, Float32

LEAST, RANGE = 1e-10, 8.0  # of energy; and decades below the loudest, where all is silence


def log_mel(
    sound_Bn: Float[np.ndarray, "B n"], *, bands: int = 80, rate: int = 16_000, window: int = 400, hop: int = 160
) -> Float32[np.ndarray, "B M F"]:
    """n / `hop` frames of `bands` numbers, about -1 to 1.5 (Radford et al. 2022, section 2.2).

    Energies under a periodic Hann window of `window` samples in the middle of each frame (the sound is mirrored at its
    ends), summed by triangles of equal area; their decimal logarithm, at most 8 below the sound's loudest, + 4, / 4.
    """
    half = window // 2
    padded = np.pad(np.asarray(sound_Bn, np.float64), ((0, 0), (half, half)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)[:, ::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    energy_BFK = np.abs(np.fft.rfft(frames[:, : sound_Bn.shape[1] // hop] * hann, axis=-1)) ** 2
    log_BFM = np.log10(np.maximum(energy_BFK @ triangles(bands, rate, window), LEAST))
    log_BFM = np.maximum(log_BFM, log_BFM.max((1, 2), keepdims=True) - RANGE)
    return ((log_BFM + 4) / 4).transpose(0, 2, 1).astype(np.float32)


@functools.lru_cache(maxsize=8)
def triangles(bands: int, rate: int, window: int) -> Float[np.ndarray, "K M"]:
    """The weight of each frequency in each band: corners evenly on the mel scale of Slaney 1998, area 1."""
    hertz_K = np.linspace(0, rate // 2, 1 + window // 2)
    corners = hertz(np.linspace(0, mel(rate / 2), bands + 2))
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    up, down = (hertz_K[:, None] - low) / (middle - low), (high - hertz_K[:, None]) / (high - middle)
    return np.maximum(0, np.minimum(up, down)) * (2 / (high - low))


STRAIGHT, KNEE, PER_MEL = 3 / 200, 1000.0, np.log(6.4) / 27  # mels a hertz below 1 kHz; above, e-folds a mel


def mel(hertz: float) -> float:
    return hertz * STRAIGHT if hertz < KNEE else KNEE * STRAIGHT + np.log(hertz / KNEE) / PER_MEL


def hertz(mels: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    knee = KNEE * STRAIGHT
    return np.where(mels < knee, mels / STRAIGHT, KNEE * np.exp((mels - knee) * PER_MEL))
