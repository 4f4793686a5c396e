"""Recordings of spoken digits, as Whisper hears them.  B recordings, M mel bands, F frames of 10 ms, L letters.

Files are DIGIT_SPEAKER_NUMBER.wav, as those of the Free Spoken Digit Dataset, whose rule for the split this is: the
first recordings of each digit by each speaker are held out.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from data import sound
from data.audio import HOP, RATE
from data.mel import log_mel
from data.rewriting import END, characters
from data.source import Columns, Dataset, HeldOut, examples

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WINDOW = 200  # samples, 25 ms


def digits(
    path: str,
    *,
    bands: int = 40,
    frames: int = 100,
    target: Literal["letters", "class"] = "letters",
    held_out: int = 5,
) -> Dataset:
    """x: float32 [B, M, F], log-mel spectra of the first `frames`, with silence behind the end.

    y: the digit's name, int32 [B, L], as data/rewriting.py has its lines; or int32 [B], the digit.  The recordings
    numbered below `held_out` are not trained on.
    """
    if frames < 4 or bands < 1 or held_out < 1:
        raise ValueError(f"{frames=}, {bands=}, {held_out=}: needs 4 frames, 1 band and 1 recording held out")
    files = sorted(file for file in Path(path).expanduser().glob("*.wav") if len(named(file)) == 3)
    halves = {True: [], False: []}
    for file in files:
        halves[int(named(file)[2]) < held_out].append(file)
    if not (halves[True] and halves[False]):
        raise ValueError(
            f"{path} holds {len(halves[False])} recordings to train on and {len(halves[True])} held out, named "
            f"DIGIT_SPEAKER_NUMBER.wav as 7_jackson_32.wav is; it needs one of each"
        )
    letters = characters("".join(DIGITS))
    width = 1 + max(map(len, DIGITS))
    names = np.stack([np.pad(ids := letters.encode((name + END).encode()), (0, width - len(ids))) for name in DIGITS])

    def columns(some: list[Path]) -> Columns:
        y = np.array([int(named(file)[0]) for file in some])
        x = np.stack([features(file, bands, frames) for file in some])
        return Columns(x=x, y=(names[y] if target == "letters" else y).astype(np.int32))

    known = {"held_out": HeldOut(f"recordings numbered below {held_out}")}
    known |= {"tokenizer": letters} if target == "letters" else {"names": DIGITS}
    return examples(
        columns(halves[False]), columns(halves[True]), letters.vocab if target == "letters" else 10, **known
    )


def named(file: Path) -> list[str]:
    """Digit, speaker and number; nothing where the file is called otherwise."""
    parts = file.stem.split("_")
    return parts if len(parts) == 3 and parts[0] in "0123456789" and parts[2].isdecimal() else []


def features(file: Path, bands: int, frames: int) -> Float32[np.ndarray, "M F"]:
    """The log-mel spectrum of the sound's first frames at 8 kHz."""
    heard = sound.read(file)[: frames * HOP]
    padded = np.pad(heard, (0, frames * HOP - len(heard)))
    return log_mel(padded[None], bands=bands, rate=RATE, window=WINDOW, hop=HOP)[0]
