"""A loss that is no number is never better, never good, and never in a JSON file."""

import functools
import json
import os
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from data import synthetic
from data.source import Columns, Dataset
from tests.support.small import blobs
from train import files, record
from train.checkpoint import Checkpoints, all_finite
from train.display import Display
from train.errors import NonFiniteError, UserError
from train.loop import early_stop, train
from train.metrics import better, since_best
from train.signals import AGAIN, Interrupt, Interrupted

NAN, INF = float("nan"), float("inf")
QUIET = Display(quiet=True)


@pytest.mark.parametrize(
    ("loss", "best", "expected"),
    [
        (0.5, None, True),
        (0.5, NAN, True),
        (0.5, INF, True),
        (0.5, 0.7, True),
        (0.7, 0.5, False),
        (0.5, 0.5, False),
        *((bad, best, False) for bad in (NAN, INF, -INF, None) for best in (None, NAN, 0.5)),
    ],
)
def test_better(loss, best, expected):
    assert better(loss, best) is expected


@pytest.mark.parametrize(
    ("losses", "since"),
    [
        ([], 0),
        ([0.5], 0),
        ([0.5, 0.7, NAN, 0.8], 3),
        ([None, None, None], 3),  # of the log of a run that went on
        ([NAN, 0.9, INF, 0.8], 0),
        ([0.5, 0.5, 0.5], 2),
    ],
)
def test_evaluations_since_the_best(losses, since):
    assert since_best(losses) == since
    assert early_stop(losses, since + 1) is False
    assert early_stop(losses, since) is (since > 0)


class Stop(Display):
    """Asks the run to stop after it has said the evaluation of step `at`."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def say(self, line):
        if line.startswith(f"step {self.at} "):
            raise Interrupted("stopped")


@pytest.fixture
def sentinel(monkeypatch):
    """Two clouds, of which one held-out record is infinite: training is sound and no evaluation is a number."""
    x = np.random.default_rng(0).standard_normal((64, 2)).astype(np.float32)
    y, held_out = (x[:, 0] > 0).astype(np.int32), x.copy()
    held_out[3] = np.inf
    made = Dataset(
        Columns(x=x, y=y), Columns(x=held_out, y=y), classes=2, unit="example", per_record=1, unique=64, fingerprint="s"
    )
    monkeypatch.setattr(synthetic, "blobs", functools.wraps(synthetic.blobs)(lambda **_: made))


def strict(path):
    def refuse(constant):
        raise AssertionError(f"{path} holds {constant}")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_evaluations_without_a_number_exhaust_patience_also_after_a_resume(sentinel, tmp_path):
    whole = train(blobs(**{"checkpoint.best": True}), tmp_path / "whole", QUIET)
    assert whole["steps"] == 6, "three evaluations, none of them better"
    with pytest.raises(Interrupted):
        train(blobs(**{"checkpoint.best": True}), tmp_path / "again", Stop(at=4))
    assert train(blobs(**{"checkpoint.best": True}), tmp_path / "again", QUIET)["steps"] == 6
    assert strict(tmp_path / "whole" / "metrics.jsonl") == strict(tmp_path / "again" / "metrics.jsonl")
    assert whole["loss"] is None
    assert whole["metrics"]["loss"] is None
    row = json.loads((tmp_path / "whole" / "record.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert row == whole


def test_the_best_checkpoint_outlives_losses_that_are_no_numbers(tmp_path):
    for losses, kept in (([0.5, 0.7, NAN, 0.8], [1, 4]), ([NAN, 0.7, INF, None], [2, 4]), ([NAN, -INF], [2])):
        folder = tmp_path / str(kept)
        saved = Checkpoints(folder, keep_last=1, best=True, say=print)
        for step, loss in enumerate(losses, start=1):
            saved.save(step, {"w": jnp.full(3, float(step))}, loss)
        saved.close()
        assert sorted(int(path.name) for path in folder.iterdir()) == kept


def test_parameters_that_are_not_finite_are_no_checkpoint(tmp_path):
    """One update of a finite gradient that overflows: the loss of the step was sound, what it made is not."""
    config = blobs()
    with config.unlocked():
        config.optim = {"name": "sgd", "learning_rate": 3e38, "l1": 10.0}
    with pytest.raises(NonFiniteError, match=r"step 1: the update made parameters that are not finite; none was saved"):
        train(config, tmp_path, QUIET)
    assert not [path for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal()]
    assert not all_finite({"a": jnp.ones(2), "b": jnp.asarray([1.0, jnp.inf])})
    assert all_finite({"a": jnp.ones(2), "n": jnp.arange(3), "mask": jnp.ones(2, bool)})


def test_infinity_in_a_config_is_written_as_a_word(tmp_path):
    config = blobs()
    with config.unlocked():
        config.model.scale = INF
    files.write_json(tmp_path / "config.json", record.resolved(config))
    assert record.resolved(config)["model"]["scale"] == "Infinity"
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"loss": INF})


class Heard(Display):
    """Keeps what a run says."""

    def __init__(self):
        super().__init__()
        self.said = []

    def say(self, line):
        self.said.append(line)


@pytest.mark.slow
def test_a_trace_that_reaches_beyond_the_run_is_written_and_said(tmp_path):
    config = blobs(steps=20, **{"eval.every": 0})
    train(config, tmp_path / "run", heard := Heard(), profile=15)
    assert "traced 5 of 10 steps, from step 15 on: the run ended there" in heard.said
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
    for first in (20, 55, -2):
        with pytest.raises(UserError, match=rf"--profile {first}: the run has 20 steps; trace from one of 0 … 19"):
            train(config, tmp_path / "refused", QUIET, profile=first)
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_a_run_that_goes_on_after_the_traced_step_says_so(tmp_path):
    config = blobs(steps=20, **{"eval.every": 4})
    with pytest.raises(Interrupted):
        train(config, tmp_path, Stop(at=8))
    train(config, tmp_path, heard := Heard(), profile=3)
    assert any(line.startswith("--profile 3 is before step ") for line in heard.said)
    assert not (tmp_path / "profile").exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_every_signal_that_asks_to_stop_is_heard_once(number, capfd):
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        os.kill(os.getpid(), number)
        assert interrupt.at(1)
        assert capfd.readouterr().err == "saving …\n", "before the step has ended"
        os.kill(os.getpid(), number)  # within a second: the same one, sent twice
        assert signal.getsignal(number) == interrupt.note
        interrupt.heard -= AGAIN
        signal.signal(number, signal.SIG_IGN)
        interrupt.before[number] = signal.SIG_IGN
        interrupt.note(number, None)
        assert signal.getsignal(number) == signal.SIG_IGN, "a later one ends the process as usual"
        interrupt.before[number] = before
    assert signal.getsignal(number) == before


def test_nohup_stays(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.at(1)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_seed_below_zero_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config.seed=-1 is no seed: it is 0 or more and fits into 64 bits"):
        train(blobs(seed=-1), tmp_path / "run", QUIET)
