"""`python -m train` from outside: what it lists, refuses to import, writes before the first step, and copies."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from train import configs, evaluation, record
from train.display import Display
from train.loop import train
from train.program import Program

ROOT = Path(__file__).parents[1]
PAGE = "configs/classics/digits_mlp.py"  # on a data set inside a package


def door(*argv, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "train", *argv], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done


def rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of its own, since blobs have no `dataset`."""
    path = tmp_path_factory.mktemp("page") / "blobs_mlp.py"
    path.write_text(
        '"""MLP on blobs."""\n\nfrom configs.base import base\n\n\ndef get_config():\n    config = base()\n'
        "    config.data.update(name='synthetic:blobs')\n    config.model.update(name='mlp:MLP', classes=4, width=8)\n"
        "    config.task.update(name='supervised:classify')\n    config.optim.update(name='adamw', learning_rate=0.1)\n"
        "    config.steps, config.batch_size, config.log_every, config.eval.every = 24, 16, 4, 8\n    return config\n"
    )
    return str(path)


@pytest.fixture(scope="module")
def trained(page, tmp_path_factory):
    """A run through the front door, with overrides and a profile, and what it printed."""
    workdir = tmp_path_factory.mktemp("front") / "run"
    argv = ["--config", page, "--config.model.width=12", "--config.optim.learning_rate", "0.02"]
    argv += ["--config.optim.weight_decay=0.1", "--profile", "5", "--workdir", str(workdir)]
    return workdir, argv, door(*argv)


def test_lists_every_config_with_its_first_line():
    listed = door().stdout
    pages = [p for p in sorted((ROOT / "configs").rglob("*.py")) if p.stem not in ("base", "__init__")]
    assert len(pages) > 5
    for path in pages:
        assert str(path.relative_to(ROOT)) in listed
        assert configs.first_line(path) in listed


def test_help_is_quick_and_imports_no_jax():
    """A third of a second of the processor, most of it Python's own; a busy machine takes more of the clock only."""
    code = (
        "import sys, runpy, time\nsys.argv = ['train', '--help']\n"
        "try:\n    runpy.run_module('train', run_name='__main__')\n"
        "finally:\n    print(time.process_time(), *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    text, (seconds, *modules) = done.stdout.rsplit("\n", 2)[0], done.stdout.splitlines()[-1].split()
    for flag in ("--config", "--config.KEY", "--workdir", "--profile", "--traceback"):
        assert flag in text
    assert "train.cli" in modules
    assert not {"jax", "numpy", "flax", "ml_collections"} & set(modules)
    assert float(seconds) < 2


@pytest.mark.slow
def test_the_same_command_again_says_complete_and_changes_nothing(trained):
    workdir, argv, _ = trained
    before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
    assert f"{workdir} is complete: accuracy" in door(*argv).stdout
    assert {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_overrides_are_applied_and_resolved_values_written(trained):
    workdir, _, done = trained
    config = json.loads((workdir / "config.json").read_text())
    assert config["model"] == {"name": "mlp:MLP", "classes": 4, "width": 12}
    assert config["optim"] == {"name": "adamw", "learning_rate": 0.02, "weight_decay": 0.1}
    assert config["seed"] == 0  # of base.py
    assert [row["lr"] for row in rows(workdir) if row["split"] == "train"] == [0.02] * 6
    row = json.loads((workdir / "record.json").read_text())
    assert row["params_total"] == 2 * 12 + 12 + 12 * 12 + 12 + 12 * 4 + 4
    assert f"{row['params_total']:,}" in done.stdout


def test_parameters_are_shown_before_anything_is_compiled(page, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Program, "compile", stop)
    monkeypatch.setattr("train.program.init_program", lambda *_: stop)
    with pytest.raises(KeyboardInterrupt):
        train(configs.config_of(configs.load(page), []), tmp_path)
    assert re.search(rf"total +{2 * 8 + 8 + 8 * 8 + 8 + 8 * 4 + 4} ", capsys.readouterr().out)


def test_an_evaluation_may_be_of_a_part_of_what_is_held_out(page, tmp_path, monkeypatch, capsys):
    seen, means = [], evaluation.means
    monkeypatch.setattr(evaluation, "means", lambda *given: seen.append(len(given[3])) or means(*given))
    train(configs.config_of(configs.load(page), ["steps=1", "eval.records=3"]), tmp_path)
    assert seen == [3]
    assert re.search(r"scored +3 of the [\d,]+ held-out records, evenly spread", capsys.readouterr().out)


def test_surroundings_are_written_before_the_first_step(page, tmp_path, monkeypatch):
    seen = {}

    class Look(Display):
        def start(self, first_step, steps):
            assert first_step == 0
            assert not rows(tmp_path)
            seen.update({p.name: json.loads(p.read_text()) for p in tmp_path.glob("*.json")})
            raise KeyboardInterrupt

    config = configs.config_of(configs.load(page), [])
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, Look())
    assert seen["config.json"] == record.resolved(config)
    environment = seen["environment.json"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert head.startswith(environment["git_commit"].rstrip("+"))
    assert len(environment["git_commit"]) >= 12
    assert environment["versions"]["jax"]
    assert environment["versions"]["python"] == sys.version.split()[0]
    assert environment["hardware"]["platform"] == "cpu"
    assert environment["hardware"]["cpus"] == os.cpu_count()
    assert environment["command"]


def test_a_second_compilation_says_what_changed():
    said = []
    program = Program("train step", lambda state, batch: state + batch["x"].sum(), say=said.append)
    batch = {"x": jnp.ones((8, 2)), "mask": jnp.ones(8)}
    assert float(program(jnp.zeros(()), batch)) == 16
    program(jnp.zeros(()), batch)
    assert not said
    assert float(program(jnp.zeros(()), {**batch, "x": jnp.ones((6, 2))})) == 12
    assert len(said) == 1
    assert said[0].startswith("train step compiled again (")
    assert said[0].endswith(" s): x float32[8, 2] became x float32[6, 2]")
    program(jnp.zeros(()), batch)  # the first program is still there
    assert len(said) == 1


def test_profile_by_flag(trained):
    workdir, _, _ = trained
    traces = list((workdir / "profile").rglob("*.xplane.pb"))
    assert len(traces) == 1
    assert traces[0].stat().st_size > 1000


def test_csv_is_the_log(trained):
    workdir, _, _ = trained
    found = {}
    with open(workdir / "metrics.csv", newline="") as file:
        for line in csv.DictReader(file):
            step = int(line.pop("step"))
            found |= {(step, name): float(value) for name, value in line.items() if value}
    assert found == logged(workdir)


def test_tensorboard_is_the_log_and_needs_no_tensorflow(trained):
    """Read back with nothing but protocol buffers; events hold float32."""
    workdir, _, _ = trained
    found = {(step, tag): value for step, tag, value in events(workdir) if not tag.startswith("speed/")}
    expected = logged(workdir)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == np.float32(value), key


def logged(workdir):
    return {
        (row["step"], f"{row['split']}/{name}"): value
        for row in rows(workdir)
        for name, value in row.items()
        if name not in ("step", "split")
    }


def events(workdir):
    """Length, its checksum, record, its checksum: the framing of event files."""
    (path,) = (workdir / "tensorboard").iterdir()
    data = path.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        for value in event.summary.value:
            yield event.step, value.tag, value.simple_value


@pytest.mark.slow
def test_training_imports_no_tensorflow(page, tmp_path):
    """On one of our own data sets, read through TensorFlow Datasets, with every writer."""
    argv = ["train", "--config", PAGE, "--config.steps=2", "--config.schedule.warmup=0", "--workdir", str(tmp_path)]
    code = f"import sys, runpy\nsys.argv = {argv!r}\ntry:\n    runpy.run_module('train', run_name='__main__')\n"
    code += "finally:\n    print('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "done: accuracy" in done.stdout
    modules = done.stdout.splitlines()[-1].split()
    assert {"MODULES", "jax", "tensorboardX"} <= set(modules)
    assert not {"tensorflow", "torch", "clu", "tensorboard"} & set(modules)
