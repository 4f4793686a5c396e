"""How well dialled numbers are read without a network: beside configs/audio/dialled_ctc.py.

    uv run python -m scripts.score.dialled

Of every frame the key whose two tones are strongest, where they are strong enough; then the commonest of so many frames
in turn; repeats merge, silence falls out.  Threshold and number of frames are the best of a grid on training calls.
"""

import itertools

import jax.numpy as jnp
import numpy as np

from configs.audio.dialled_ctc import get_config
from data import audio
from train.tasks.transcribe import edit_distance


def main() -> None:
    config = get_config()
    dataset = audio.dialled(**{name: value for name, value in config.data.items() if name != "name"})
    train, valid = (half.gather(np.arange(1000)) for half in (dataset.train, dataset.valid))
    grid = list(itertools.product(np.arange(1.0, 4.0, 0.1), (1, 3, 5)))
    errors = [label_error_rate(train, *each) for each in grid]
    threshold, frames = best = grid[int(np.argmin(errors))]
    print(f"strongest tones above {threshold:.1f}, commonest of {frames} frames: {min(errors):.4f} on training calls")
    print(f"label_error_rate {label_error_rate(valid, *best):.4f} on held-out calls")


def label_error_rate(calls: dict, threshold: float, frames: int) -> float:
    bins = np.rint(audio.TONES * audio.WINDOW / audio.RATE).astype(int)
    strength_BTK = calls["x"][..., bins].mean(-1)
    path_BT = np.where(strength_BTK.max(-1) > threshold, 1 + strength_BTK.argmax(-1), 0)
    path_BT = np.where(np.arange(path_BT.shape[1]) < calls["frames"][:, None], path_BT, 0)
    padded = np.pad(path_BT, ((0, 0), (frames // 2, frames // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, frames, axis=1)
    votes = (windows[..., None] == np.arange(1 + len(audio.KEYS))).sum(2)
    wrong = edit_distance(jnp.asarray(votes.argmax(-1)), jnp.asarray(calls["y"]))
    return float(wrong.sum() / (calls["y"] > 0).sum())


if __name__ == "__main__":
    main()
