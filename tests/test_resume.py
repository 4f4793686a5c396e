"""A run that was killed, stopped or damaged ends bit for bit where the undisturbed run ends."""

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.processes import last_step
from tests.support.runs import Listening, arrays, steps_saved
from train import configs
from train.checkpoint import describe_difference
from train.display import Display
from train.errors import UserError
from train.loop import train
from train.program import Kept
from train.signals import EXIT_INTERRUPTED, Interrupted
from train.writer import read_log

pytestmark = pytest.mark.slow  # every test trains, and many go on from runs that another was killed for
ROOT = Path(__file__).parents[1]
STEPS, EVERY = 60, 7
COMMON = {"steps": STEPS, "batch_size": 8, "log_every": 1, "eval.every": 20, "eval.batch_size": 64}
COMMON |= {"checkpoint.every": EVERY, "checkpoint.keep": 3, "writers": ("csv",)}
MARKOV = {"data.train_tokens": 4000, "data.valid_tokens": 400, "schedule.warmup": 5}
EXTRAS = {"ema": 0.5, "accumulate": 2}
DIGITS = {"data.dataset": "isoflop_digits", "schedule.warmup": 5}
NETWORKS = {
    "gpt": ("markov_gpt", {**MARKOV, "model.layers": 1, "model.width": 16, "model.dropout": 0.1, **EXTRAS}),
    "resnet": ("mnist_resnet", {**DIGITS, "model.width": 2}),
    "vae": ("mnist_vae", {**DIGITS, "model.shape": (8, 8, 1), "model.width": 16}),
    "gan": ("ring_gan", {"model.generator.width": 8, "model.critic.width": 8, "data.train": 512, "data.valid": 64}),
    "rbm": ("digits_rbm", {"model.hidden": 8}),
}

KEPT = Kept()  # of this process; runs that are killed are others


def page(network):
    return NETWORKS[network][0]


def overrides(network, **changes):
    return [f"{key}={value}" for key, value in {**COMMON, **NETWORKS[network][1], **changes}.items()]


def start(network, workdir, **changes):
    """The run as a process of its own."""
    flags = [f"--config.{item}" for item in overrides(network, **changes)]
    command = [sys.executable, "-m", "train", "--config", page(network), "--workdir", str(workdir), *flags]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait(process, code=0):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    return output, errors


def run(network, workdir, display=None, **changes):
    """The run in this process."""
    return train(
        configs.config_of(configs.load(page(network)), overrides(network, **changes)), workdir, display, kept=KEPT
    )


def send(process, number, workdir, step):
    """Sends a signal as soon as the log shows `step`."""
    while process.poll() is None and last_step(workdir) < step:
        time.sleep(0.001)
    assert process.poll() is None, process.communicate()[1]
    process.send_signal(number)


def contents(folder):
    """All files but those of a checkpoint that was not finished, which the next start removes."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and "orbax-checkpoint-tmp" not in str(p)}


def assert_equal_runs(a, b):
    left, right = arrays(a), arrays(b)
    assert left.keys() == right.keys()
    assert len(left) > 5
    for name, value in left.items():
        assert value.tobytes() == right[name].tobytes(), f"{name} differs"
    for file in ("metrics.jsonl", "metrics.csv", "config.json"):
        assert (a / file).read_bytes() == (b / file).read_bytes(), f"{file} differs"
    records = [json.loads((folder / "record.json").read_text()) for folder in (a, b)]
    for changing in ("name", "wall_seconds", "compile_seconds", "git_commit"):
        assert all(record.pop(changing) is not None for record in records)
    assert records[0] == records[1]


class Finishing(Display):
    """Asks the run to stop when its last evaluation has been made."""

    def say(self, line):
        if line.startswith(f"step {STEPS}  held out"):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """network → the folder of its run."""

    @functools.cache
    def make(network):
        run(network, folder := tmp_path_factory.mktemp(network) / "whole", Listening())
        return folder

    return make


@pytest.fixture(scope="module")
def killed(tmp_path_factory, undisturbed):
    """network → (undisturbed folder, folder of a run that SIGKILL ended at a random step)."""

    @functools.cache
    def make(network):
        folder = tmp_path_factory.mktemp(network) / "killed"
        victim = start(network, folder)
        send(victim, signal.SIGKILL, folder, random.randint(3 * EVERY + 1, STEPS - 20))
        victim.communicate()
        assert victim.returncode == -signal.SIGKILL
        assert not (folder / "record.json").exists()
        return undisturbed(network), folder

    return make


@pytest.fixture
def unfinished(killed, tmp_path):
    """A copy of the killed GPT run to do harm to, with at least two whole checkpoints, and the undisturbed one."""
    whole, victim = killed("gpt")
    copy = shutil.copytree(victim, tmp_path / "killed")
    assert len(steps_saved(copy)) >= 2
    return whole, copy


@pytest.mark.parametrize("network", ["gpt", "resnet"])  # scripts/check/kill.py has them all; pages resume in place
def test_sigkill_then_again_is_bitwise_the_undisturbed_run(killed, network, tmp_path):
    whole, victim = killed(network)
    copy = shutil.copytree(victim, tmp_path / "again")
    run(network, copy, heard := Listening())
    assert "resuming at step" in "".join(heard.said)
    assert_equal_runs(whole, copy)


def test_sigterm_saves_exits_75_and_goes_on_bitwise(undisturbed, tmp_path):
    process = start("gpt", tmp_path)
    send(process, signal.SIGTERM, tmp_path, 10)
    _, errors = wait(process, EXIT_INTERRUPTED)
    saved = steps_saved(tmp_path)[-1]
    assert f"stopped at step {saved} of {STEPS}" in errors
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    output, _ = wait(start("gpt", tmp_path))
    assert f"resuming at step {saved}" in output
    assert_equal_runs(undisturbed("gpt"), tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "a bit flipped", "deleted"])
def test_damaged_newest_checkpoint_falls_back_to_the_one_before(unfinished, damage):
    whole, copy = unfinished
    *_, before, newest = steps_saved(copy)
    folder = copy / "checkpoints" / str(newest)
    if damage == "deleted":
        shutil.rmtree(folder)
    else:
        largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        contents = bytearray(largest.read_bytes())
        contents[len(contents) // 2] ^= 1
        largest.write_bytes(contents if damage == "a bit flipped" else contents[: len(contents) // 2])
    run("gpt", copy, heard := Listening())
    said = "\n".join(heard.said)
    assert f"resuming at step {before}" in said
    if damage != "deleted":
        assert f"checkpoint {newest} cannot be read" in said
        assert f"going back to step {before}" in said
        assert (copy / f"damaged_checkpoint_{newest}").is_dir()
    assert_equal_runs(whole, copy)


def test_without_any_readable_checkpoint_the_run_begins_again(unfinished):
    whole, copy = unfinished
    for step in steps_saved(copy):
        (copy / "checkpoints" / str(step) / "default" / "_METADATA").write_text("{")
    run("gpt", copy, heard := Listening())
    assert "there is none before it" in "\n".join(heard.said)
    assert_equal_runs(whole, copy)


def test_metrics_are_cut_back_to_the_restored_step(unfinished):
    whole, copy = unfinished
    with open(copy / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": STEPS - 1, "split": "train", "loss": -1.0}) + '\n{"step": 3, "spl')
    run("gpt", copy, Listening())
    assert_equal_runs(whole, copy)


def test_killed_between_the_last_save_and_the_record(undisturbed, tmp_path):
    whole = undisturbed("gpt")
    copy = shutil.copytree(whole, tmp_path / "copy")
    (copy / "record.json").unlink()
    run("gpt", copy, Listening())
    assert_equal_runs(whole, copy)


def test_a_damaged_compilation_cache_is_only_slower(undisturbed, tmp_path, monkeypatch):
    """A process killed while it writes the cache leaves half an entry."""
    cache = shutil.copytree(os.environ["JAX_COMPILATION_CACHE_DIR"], tmp_path / "xla")
    for entry in cache.glob("*-cache"):
        entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
    wait(start("rbm", tmp_path / "run"))
    assert_equal_runs(undisturbed("rbm"), tmp_path / "run")


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("model", {"width": 24}, "shapes differ: "),
        ("model", {"layers": 2}, "it lacks "),
        ("optim", {"name": "sgd", "learning_rate": 0.1}, "it also has "),
    ],
)
def test_checkpoint_of_another_network_is_refused_in_words(unfinished, section, values, words):
    _, copy = unfinished
    (copy / "config.json").unlink()  # else the folder itself is refused first
    before, log = contents(copy / "checkpoints"), (copy / "metrics.jsonl").read_bytes()
    config = configs.config_of(configs.load(page("gpt")), overrides("gpt"))
    with config.unlocked():
        config[section] = {**(config[section] if section == "model" else {}), **values}
    with pytest.raises(UserError, match="holds another train state: ") as refused:
        train(config, copy, Listening())
    assert words in str(refused.value)
    assert "Use another --workdir" in str(refused.value)
    assert contents(copy / "checkpoints") == before
    assert (copy / "metrics.jsonl").read_bytes() == log


def test_tree_difference_in_words():
    stored = {
        "params/a": ((2, 3), "float32"),
        "params/b": ((2,), "float32"),
        **{f"x{i}": ((), "int32") for i in range(5)},
    }
    wanted = {"params/a": ((2, 4), "float32"), "params/c": ((2,), "float32")}
    assert describe_difference(stored, wanted) == (
        "it lacks params/c; it also has params/b, x0, x1 and 3 more; shapes differ: params/a (2, 3) against (2, 4)"
    )
    assert describe_difference(stored, stored) == ""


def test_early_stopping_agrees_after_a_resume(tmp_path):
    """A learning rate of 0 never improves, so patience runs out; stopped before and between evaluations."""
    changes = {"optim.learning_rate": 0.0, "eval.every": 4, "eval.patience": 2}
    run("gpt", tmp_path / "whole", Listening(), **changes)
    stopped = last_step(tmp_path / "whole")
    assert stopped == 12
    for stop_at in (3, 11):
        folder = tmp_path / str(stop_at)
        with pytest.raises(Interrupted):
            run("gpt", folder, Listening(stop_at), **changes)
        run("gpt", folder, Listening(), **changes)
        assert_equal_runs(tmp_path / "whole", folder)


def test_rows_are_means_since_the_last_wherever_the_run_stopped(tmp_path):
    """Stopped between two rows: what the first start had summed is in the checkpoint."""
    run("rbm", tmp_path / "each", Listening())
    run("rbm", tmp_path / "whole", Listening(), log_every=9)
    with pytest.raises(Interrupted):
        run("rbm", tmp_path / "stopped", Listening(stop_at=27), log_every=9)
    assert steps_saved(tmp_path / "stopped")[-1] % 9
    run("rbm", tmp_path / "stopped", Listening(), log_every=9)
    assert_equal_runs(tmp_path / "whole", tmp_path / "stopped")
    each, nine = (
        {row["step"]: row["loss"] for row in read_log(tmp_path / name) if row["split"] == "train"}
        for name in ("each", "whole")
    )
    assert list(nine) == [9, 18, 27, 36, 45, 54, 60]
    for last, step in zip([0, *nine], nine, strict=False):
        assert nine[step] == pytest.approx(np.mean([each[s] for s in range(last + 1, step + 1)]), rel=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "wsd"])
def test_a_run_that_is_made_longer_is_bitwise_the_long_run(tmp_path, schedule):
    """Finished at a rate that stays, or stopped before the decay of a longer run begins."""
    same = {"schedule.name": schedule, "schedule.warmup": 5}
    run("rbm", tmp_path / "long", Listening(), **same)
    if schedule == "constant":
        run("rbm", tmp_path / "longer", Listening(), **same, steps=40)
    else:
        with pytest.raises(Interrupted):
            run("rbm", tmp_path / "longer", Listening(stop_at=20), **same, steps=40)
    run("rbm", tmp_path / "longer", heard := Listening(), **same)
    assert "was planned for 40 steps and goes on to 60" in "".join(heard.said)
    assert_equal_runs(tmp_path / "long", tmp_path / "longer")


def test_a_decay_that_has_begun_cannot_be_made_longer(tmp_path):
    changes = {"schedule.name": "wsd", "schedule.warmup": 5}
    run("rbm", tmp_path, Listening(), **changes, steps=40)
    before = contents(tmp_path)
    for steps, why in ((60, "the schedule wsd of 60 steps differs from step 33 on"), (20, "longer, not shorter")):
        with pytest.raises(UserError, match=why):
            run("rbm", tmp_path, Listening(), **changes, steps=steps)
    assert contents(tmp_path) == before


def test_a_stop_while_the_run_is_finishing_is_heard(tmp_path):
    """The run ends whole, and whoever would train the next one is told to stop."""
    with pytest.raises(Interrupted, match="it is complete"):
        run("gpt", tmp_path, Finishing())
    assert (tmp_path / "record.json").exists()
    assert run("gpt", tmp_path, Listening())["steps"] == STEPS


def test_the_best_checkpoint_is_the_one_of_the_lowest_held_out_loss(tmp_path):
    """Evaluations and checkpoints fall on different steps, and the run is stopped between two of them."""
    changes = {"optim.learning_rate": 0.3, "eval.every": 5, "checkpoint.best": True, "checkpoint.keep": 1}
    with pytest.raises(Interrupted):
        run("gpt", tmp_path, Listening(stop_at=18), **changes)
    run("gpt", tmp_path, Listening(), **changes)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    held_out = {row["loss"]: row["step"] for row in rows if row["split"] == "valid"}
    assert steps_saved(tmp_path) == sorted({held_out[min(held_out)], STEPS})
