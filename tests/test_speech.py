"""Sounds as Whisper hears them, and what is made of recordings: words, classes, by the command line and in Python."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import speech
from data.mel import log_mel, triangles
from models.api import from_linen
from models.whisper import Whisper
from tests.support.golden import numbers
from tests.support.runs import untrained
from tests.support.standins import recordings
from train import inputs
from train.errors import UserError
from train.translation import translated

# As scripts/golden/hf_mel.py has them, which needs another Python.
CASES = {
    "whisper": ({"bands": 80, "rate": 16_000, "window": 400, "hop": 160}, 6_000),
    "few": ({"bands": 31, "rate": 16_000, "window": 512, "hop": 200}, 4_000),
}


@pytest.mark.parametrize("name", CASES)
def test_spectra_are_those_of_whisper(name):
    how, samples = CASES[name]
    fading = np.exp(-np.arange(samples) / samples * 25)
    sound = np.pad(numbers(name, samples) * fading, (0, samples // 4)).astype(np.float32)
    expected = np.load("tests/golden/mel.npz")[name]
    made = log_mel(np.stack([sound, sound]), **how)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[1], expected, atol=1e-5)


def test_a_tone_is_heard_in_its_band():
    """1,000 Hz are 15 mels of 25.08 (Slaney 1998: 3 for every 200 Hz, then 27 for every factor of 6.4) at 4,000 Hz."""
    time = np.arange(8000) / 8000
    made = log_mel(np.sin(2 * np.pi * 1000 * time)[None], bands=40, rate=8000, window=200, hop=80)[0]
    assert made.shape == (40, 100)
    top = 15 + np.log(4) * 27 / np.log(6.4)
    assert int(made[:, 50].argmax()) == round(15 / top * 41) - 1
    np.testing.assert_allclose(triangles(10, 16_000, 8000).sum(0) * 2, 1, rtol=1e-2)  # area 1: frequencies 2 Hz apart


def test_recordings_are_split_by_their_number(tmp_path):
    recordings(tmp_path / "some")
    written = speech.digits(str(tmp_path / "some"), bands=8, frames=40)
    named = speech.digits(str(tmp_path / "some"), bands=8, frames=40, target="class")
    assert (len(written.train), len(written.valid)) == (20, 10)
    batch, classes = written.valid.gather(np.arange(10)), named.valid.gather(np.arange(10))
    assert batch["x"].shape == (10, 8, 40)
    assert classes["y"].tolist() == list(range(10))
    lines = [written.tokenizer.decode(row).split("\n")[0] for row in batch["y"]]
    assert lines == list(speech.DIGITS)
    loudest = classes["x"][:, :, 15].argmax(1)
    assert (np.diff(loudest) >= 0).all(), "the tone of a higher digit is higher"
    assert loudest[9] > loudest[0]
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"holds 0 recordings to train on and 0 held out, named DIGIT_SPEAKER_NUMBER"):
        speech.digits(str(tmp_path / "none"))


def test_the_encoder_alone_classifies():
    """Its memory's mean and one layer: the encoder of the same parameters that writes."""
    network = Whisper(5, 6, 1, 2, 8, 12, places=7, classes=3)
    model, sound = from_linen(network), jnp.asarray(numbers("sound", 2, 6, 14))
    params, _ = jax.jit(model.init)(jax.random.key(0), sound)
    assert "token_embed" not in params
    encoder = {name: value for name, value in params.items() if name != "class"}
    memory, _ = jax.jit(functools.partial(model.apply, method="encode"))(encoder, {}, sound)
    expected = memory.mean(1) @ params["class"]["kernel"] + params["class"]["bias"][None]
    np.testing.assert_allclose(jax.jit(model.apply)(params, {}, sound)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_recordings_are_written_and_read(tmp_path):
    """From a .wav: a line is what the network finds likeliest, and what `predict` is given are the same spectra."""
    run = untrained("digits_whisper", tmp_path)
    file = tmp_path / "recordings" / "4_someone_0.wav"
    x = speech.features(file, 40, 100)[None]
    (line,) = translated(run, [str(file)], tokens=1)
    network = Whisper(**{k: v for k, v in run.config.model.items() if k != "name"})
    logits = jax.jit(from_linen(network).apply)(run.params, {}, jnp.asarray(x), jnp.zeros((1, 1), jnp.int32))[0]
    first = run.experiment.dataset.tokenizer.decode([int(logits[0, 0].argmax())])
    assert line == first.split("\n")[0].replace("\0", "")
    (part,) = inputs.parts(run, [file], 8)
    np.testing.assert_array_equal(part.x, x)
    assert part.labels == {"file": [str(file)]}
    with pytest.raises(UserError, match="no sound at"):
        translated(run, ["no.wav"], tokens=1)
