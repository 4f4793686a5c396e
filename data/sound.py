"""Sound files (.wav) as the sources of data/audio.py have their sounds: one channel in [-1, 1] at 8 kHz.

n samples, T frames, F frequencies.
"""

import wave
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

from data import audio

SUFFIXES = {".wav", ".wave"}


def read(path: Path, rate: int = audio.RATE) -> Float32[np.ndarray, " n"]:
    """The mean of its channels in [-1, 1], at `rate` samples a second."""
    if not path.is_file():
        raise ValueError(f"no sound at {str(path)!r}: paths are relative to where you run, {Path.cwd()}")
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, recorded, count, *_ = file.getparams()
            raw = file.readframes(count)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is no .wav of whole numbers (PCM): {error}; convert it to 16 bits") from None
    whole = np.frombuffer(raw[: len(raw) // (width * channels) * (width * channels)], np.uint8).reshape(-1, width)
    if not len(whole):
        raise ValueError(f"{path} holds no sample; give it a sound")
    return resampled(numbers(whole).reshape(-1, channels).mean(1), recorded, rate)


def numbers(bytes_NW: np.ndarray) -> Float32[np.ndarray, " n"]:
    """Little-endian numbers of 2 to 4 bytes, or bytes whose middle is 128, in [-1, 1)."""
    if bytes_NW.shape[1] == 1:
        return (bytes_NW[:, 0].astype(np.float32) - 128) / 128
    high = np.zeros((len(bytes_NW), 4), np.uint8)
    high[:, 4 - bytes_NW.shape[1] :] = bytes_NW  # the sign is in the last byte
    return (high.view("<i4")[:, 0] / 2**31).astype(np.float32)


def resampled(sound_N: Float32[np.ndarray, " n"], before: int, after: int) -> Float32[np.ndarray, " m"]:
    """At another rate, without the frequencies that it cannot hold: the spectrum is cut or filled up with zeros.

    The sound is taken to begin again at its end, which is heard in its first and last milliseconds only.
    """
    if before == after:
        return sound_N
    count = max(1, round(len(sound_N) * after / before))
    return (np.fft.irfft(np.fft.rfft(sound_N), count) * (count / len(sound_N))).astype(np.float32)


def steps(path: Path, vocab: int) -> Int32[np.ndarray, " n"]:
    """Samples in mu-law steps, as `audio:tones` has them."""
    return audio.encode(read(path), vocab)


def spectrum(path: Path, frames: int) -> tuple[Float32[np.ndarray, "T F"], int]:
    """As `audio:dialled` has them, silence after the end, and how many of the frames are of the sound."""
    sound_N, room = read(path), (frames - 1) * audio.HOP + audio.WINDOW
    if len(sound_N) > room:
        took, most = len(sound_N) / audio.RATE, room / audio.RATE
        raise ValueError(f"{path} takes {took:.2f} s, and the network hears {most:.2f} s at once: cut it")
    padded = np.pad(sound_N, (0, room - len(sound_N)))[None]
    return audio.spectra(padded)[0], min(frames, -(-len(sound_N) // audio.HOP))
