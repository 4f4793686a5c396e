"""What a person can get wrong is answered with one sentence, exit code 2, no traceback, and nothing touched."""

import errno
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from data import builders, synthetic
from data.source import Columns, Dataset
from scaling.__main__ import main as scaling_main
from train import configs, record
from train.__main__ import main as train_main
from train.cli import report_errors
from train.display import Display
from train.errors import NonFiniteError, UserError
from train.experiment import build_experiment
from train.loop import train

ROOT = Path(__file__).parents[1]
MARKOV = {"steps": 4, "schedule.warmup": 0, "batch_size": 8, "eval.batch_size": 8, "writers": (), "log_every": 1}
MARKOV |= {"data.train_tokens": 4000, "data.valid_tokens": 400, "model.layers": 1, "model.width": 8}
BLOBS = {"steps": 9, "schedule.warmup": 0, "batch_size": 16, "log_every": 1, "checkpoint.every": 3, "model.width": 8}

# The flags, and what the one sentence must hold: the value, the choices, the remedy.
MISTAKES = {
    "key misspelt": ("--config.stpes=3", "config.stpes", "did you mean 'steps'"),
    "section misspelt": ("--config.modle.width=3", "no section 'modle'", "did you mean 'model'"),
    "argument misspelt": ("--config.model.widht=3", "gpt:GPT has no 'widht'", "did you mean 'width'"),
    "value for a section": ("--config.model=3", "config.model is a section", "config.model.width"),
    "no value": ("--config.steps", "--config.steps=VALUE"),
    "word for a number": ("--config.steps=abc", "config.steps=abc", "a whole number"),
    "fraction for a count": ("--config.model.width=9.5", "config.model.width=9.5", "a whole number"),
    "number for a word": ("--config.model.activation=3", "config.model.activation=3", "clipped_gelu, elu"),
    "negative steps": ("--config.steps=-3", "config.steps=-3", "use 1 or more"),
    "no batch": ("--config.batch_size=0", "config.batch_size=0", "use 1 or more"),
    "no evaluation batch": ("--config.eval.batch_size=0", "config.eval.batch_size=0", "use 1 or more"),
    "never saved": ("--config.checkpoint.every=0", "config.checkpoint.every=0", "use 1 or more"),
    "nothing kept": ("--config.checkpoint.keep=0", "config.checkpoint.keep=0", "use 1 or more"),
    "negative patience": ("--config.eval.patience=-1", "config.eval.patience=-1", "use 0 or more"),
    "seed of 80 bits": (f"--config.seed={2**80}", f"config.seed={2**80}", "64 bits"),
    "slices of a batch": ("--config.accumulate=3", "batch_size=8", "accumulate=3", "batch_size=6 is"),
    "no devices": ("--config.cpu_devices=0", "config.cpu_devices=0", "use 1 or more"),
    "devices that are not there": ("--config.cpu_devices=64", "config.cpu_devices=64", "this process has 1"),
    "a mesh of more": ("--config.mesh.fsdp=2", "does not fit 1 device", "product divides"),
    "no such axis": ("--config.mesh.model=2", "config.mesh.model", "no such value"),
    "no such parallelism": ("--config.parallel=pjit", "config.parallel='pjit'", "jit, pmap"),
    "batch beyond the data": ("--config.batch_size=126", "batch_size=126", "125 records", "use at most 125"),
    "width by heads": ("--config.model.heads=3", "width=8", "heads=3", "width=9 is"),
    "no heads": ("--config.model.heads=0", "heads=0", "use 1 or more"),
    "no width": ("--config.model.width=0", "width=0", "use 1 or more"),
    "negative layers": ("--config.model.layers=-1", "config.model.layers=-1", "use 1 or more"),
    "impossible dropout": ("--config.model.dropout=1.5", "dropout=1.5", "less than 1"),
    "context of the model": ("--config.data.context=64", "64 tokens", "context=32", "raise context"),
    "vocabulary of the model": ("--config.model.vocab=8", "8 outputs", "16 classes"),
    "unknown activation": ("--config.model.activation=relux", "'relux'", "gelu, gelu_tanh", "relu"),
    "unknown data module": ("--config.data.name=syntetic:markov", "data.syntetic", "did you mean 'synthetic'"),
    "unknown data": ("--config.data.name=synthetic:markof", "no 'markof'", "did you mean 'markov'"),
    "unknown network": ("--config.model.name=gpt:GTP", "no 'GTP'", "did you mean 'GPT'"),
    "half a network": ("--config.model.name=gpt", "config.model.name='gpt'", "module:symbol", "resnet"),
    "unknown task": ("--config.task.name=supervised:clasify", "no 'clasify'", "did you mean 'classify'"),
    "unknown optimizer": ("--config.optim.name=adamz", "'adamz' is no optimizer", "adamw", "sgd"),
    "no optimizer but of optax": ("--config.optim.name=clip", "'clip' is no optimizer", "adamw"),
    "argument of another optimizer": ("--config.optim.momentum=0.9", "adamw has no 'momentum'", "b1, b2"),
    "negative rate": ("--config.optim.learning_rate=-1.0", "learning_rate=-1.0", "0 or more"),
    "infinite rate": ("--config.optim.learning_rate=1e999", "learning_rate=inf", "finite"),
    "clip": ("--config.optim.clip=-1.0", "config.optim.clip=-1.0", "above 0"),
    "decay mask": ("--config.optim.decay=some", "config.optim.decay='some'", "all, matrices"),
    "average": ("--config.ema=1.5", "config.ema=1.5", "0.999"),
    "unknown schedule": ("--config.schedule.name=cosin", "no 'cosin'", "did you mean 'cosine'"),
    "warmup beyond the run": ("--config.schedule.warmup=9", "warmup=9", "config.steps=4", "use 0 … 4"),
    "precision": ("--config.precision=float16", "config.precision='float16'", "bfloat16, float32, float64"),
    "float64": ("--config.precision=float64", "config.precision='float64' needs JAX_ENABLE_X64=1", "32 bits"),
    "nonfinite": ("--config.nonfinite=ignore", "config.nonfinite='ignore'", "skip, stop"),
    "unknown writer": ("--config.writers=('tensorbord',)", "'tensorbord'", "did you mean 'tensorboard'"),
    "unknown flag": ("--profil=3", "--profil=3 is not an option", "did you mean '--profile'"),
    "flag of another type": ("--profile=abc", "--profile", "'abc'", "see --help"),
}

PAGES = {
    "does not parse": ("def get_config(:", "fails when loaded: SyntaxError"),
    "imports what is not there": ("import nothing_like_it", "No module named 'nothing_like_it'"),
    "has no get_config": ("x = 1", "has no get_config()", "configs/base.py"),
    "raises": ("def get_config():\n    raise KeyError('who')", "get_config() fails with KeyError: who"),
    "sets a section that is not there": (
        "from configs.base import base\ndef get_config():\n    base().modle.width = 3",
        "get_config() fails with AttributeError",
        'Did you mean "model"',
    ),
    "returns nothing": ("def get_config():\n    pass", "returns NoneType", "base()"),
    "is not from base": (
        "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'steps': 1})",
        "lacks ",
        "batch_size",
        "base()",
    ),
    "names no network": (
        "from configs.base import base\ndef get_config():\n    config = base()\n"
        "    config.optim.update(name='sgd', learning_rate=0.1)\n    config.data.update(name='synthetic:blobs')\n"
        "    config.task.update(name='supervised:classify')\n    return config",
        "config.model needs one network",
        "config.model.name",
    ),
}


def flags(values, page="markov_gpt"):
    return ["--config", page, *(f"--config.{key}={value}" for key, value in values.items())]


def refuse(argv, *words, main=train_main, capsys):
    """Runs a front door in this process; the sentence, which must be one line that holds `words`."""
    with pytest.raises(SystemExit) as stopped:
        report_errors(main, argv)
    text = capsys.readouterr().err
    assert stopped.value.code == 2, text
    assert_one_sentence(text, *words)
    return text


def assert_one_sentence(text, *words):
    assert text.startswith("error: ")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    jax.devices()  # JAX is in use, so that no mistake of these can change how many devices it has


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small finished run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    config = configs.config_of(configs.load("configs/text/markov_gpt.py"), [f"{k}={v}" for k, v in MARKOV.items()])
    train(config, folder, Display(quiet=True))
    return folder


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_on_the_command_line(kind, tmp_path, capsys):
    flag, *words = MISTAKES[kind]
    refuse([*flags(MARKOV), flag, "--workdir", str(tmp_path / "run")], *words, capsys=capsys)
    assert not (tmp_path / "run").exists(), "the corrected command would find a folder of another experiment"


@pytest.mark.parametrize("kind", PAGES)
def test_mistakes_in_a_page(kind, tmp_path, capsys):
    text, *words = PAGES[kind]
    (tmp_path / "page.py").write_text(text)
    refuse(["--config", str(tmp_path / "page.py"), "--workdir", str(tmp_path / "run")], *words, capsys=capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["negative patience", "batch beyond the data", "unknown writer", "width by heads"])
def test_a_finished_run_is_left_as_it_is(kind, finished, capsys):
    flag, *words = MISTAKES[kind]
    before = contents(finished)
    refuse([*flags(MARKOV), flag, "--workdir", str(finished)], *words, capsys=capsys)
    assert contents(finished) == before


def test_page_that_is_not_there(tmp_path, capsys):
    argv = ["--config", "configs/markof_gpt.py", "--workdir", str(tmp_path / "run")]
    refuse(argv, "markof_gpt.py: there is no such file", "did you mean 'configs/text/markov_gpt.py'", capsys=capsys)


def test_no_configs_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    refuse([], f"no configs in {tmp_path}", "run from the root of the project", capsys=capsys)


def test_missing_workdir(capsys):
    refuse(flags(MARKOV), "--workdir is missing", "runs/x", capsys=capsys)


@pytest.mark.slow
def test_workdir_of_another_experiment(finished, capsys):
    before = contents(finished)
    argv = [*flags({**MARKOV, "seed": 5, "model.width": 16}), "--workdir", str(finished)]
    words = ("holds another experiment", "config.seed was 0 and is 5", "config.model.width was 8 and is 16")
    refuse(argv, *words, "Use another --workdir", capsys=capsys)
    assert contents(finished) == before


def test_a_section_without_options_is_compared_too(tmp_path):
    """`augment.flip` says by its name alone that images are mirrored."""
    config = configs.load("configs/images/imagenet_resnet50.py").get_config()
    before = record.resolved(config)
    del config.augment["flip"]
    with pytest.raises(UserError, match=r"another experiment: config.augment.flip was \{\} and is None"):
        record.compare(before, config, tmp_path, print)


def test_workdir_whose_config_is_damaged(finished, tmp_path, capsys):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "config.json").write_text('{"steps": ')
    before = contents(folder)
    refuse([*flags(MARKOV), "--workdir", str(folder)], "config.json is not readable JSON", "remove", capsys=capsys)
    assert contents(folder) == before


@pytest.mark.parametrize("place", ["file", "file/run", "/proc/run"])
def test_workdir_that_cannot_be_written(place, tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    argv = [*flags(MARKOV), "--workdir", str(tmp_path / place)]
    refuse(argv, f"cannot write to {tmp_path / place} (", "choose another --workdir", capsys=capsys)
    assert (tmp_path / "file").read_text() == "precious"


def test_read_only_workdir(tmp_path, monkeypatch, capsys):
    """By the error that a read-only file system gives, since a superuser may write anywhere else."""

    def write_bytes(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    argv = [*flags(MARKOV), "--workdir", str(tmp_path)]
    refuse(argv, f"cannot write to {tmp_path} (Read-only file system)", "choose another --workdir", capsys=capsys)


FULL = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv[:] = sys.argv[1:]
runpy.run_module("train", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "every"), [(8_000, 5), (3_000, 100)], ids=["a checkpoint", "a line of the log"])
def test_full_disk(limit, every, finished, tmp_path):
    """As far as one can fill a disk without one: no file may grow beyond `limit`.  With room, the run is completed."""
    argv = [*flags({**MARKOV, "steps": 40, "checkpoint.every": every}), "--workdir", str(tmp_path / "run")]
    cache = shutil.copytree(os.environ["JAX_COMPILATION_CACHE_DIR"], tmp_path / "xla")  # its entries are cut short, too

    def run(*command):
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONWARNINGS": "ignore"}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # Python 3.12.1 would keep what is cut short, for all tests after
        command = [sys.executable, *command, *argv]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    done = run("-c", FULL, str(limit))
    assert done.returncode == 2, done.stderr
    assert_one_sentence(done.stderr, f"cannot write to {tmp_path / 'run'} (File too large)", "make room", "goes on")
    done = run("-m", "train")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["split"] == "train"] == list(range(1, 41))


def test_wandb_is_not_installed(tmp_path, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "wandb" else found(name, *a))
    argv = [*flags(MARKOV), "--config.writers=('wandb',)", "--workdir", str(tmp_path / "run")]
    refuse(argv, "'wandb', which is not installed", "uv sync --extra wandb", capsys=capsys)
    assert not (tmp_path / "run").exists()


TEXT = {"steps": 2, "schedule.warmup": 0, "model.layers": 1, "model.width": 8, "data.context": 8, "writers": ()}


def test_missing_data_file(tmp_path, capsys):
    argv = flags({**TEXT, "data.path": str(tmp_path / "input.txt")}, "shakespeare_gpt")
    words = (str(tmp_path / "input.txt"), "no text file", "relative to where you run")
    refuse([*argv, "--config.cpu_devices=1", "--workdir", str(tmp_path / "run")], *words, capsys=capsys)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("data.tokenizer=wordpiece", ("'wordpiece'", "'bytes', 'chars', 'bpe:N'")),
        ("data.tokenizer=bpe:7", ("'bpe:7'", "at least 256")),
        ("data.offsets=all", ("offsets='all'", "blocks, random")),
        ("data.context=90000", ("context=90000", "from 1 to")),
        ("data.valid=1.5", ("valid=1.5", "such as 0.1")),
        ("model.vocab=3", ("3 outputs", "classes")),
    ],
)
def test_text_that_does_not_fit(change, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path / "cache"))
    (tmp_path / "input.txt").write_text("To be, or not to be, that is the question. " * 40)
    argv = flags({**TEXT, "data.path": str(tmp_path / "input.txt"), "cpu_devices": 1}, "shakespeare_gpt")
    refuse([*argv, f"--config.{change}", "--workdir", str(tmp_path / "run")], *words, capsys=capsys)
    assert not (tmp_path / "run").exists()


def test_unknown_dataset(tmp_path, capsys):
    argv = [*flags({"data.dataset": "isoflop_digitz"}, "digits_mlp"), "--workdir", str(tmp_path / "run")]
    refuse(argv, "'isoflop_digitz'", "did you mean 'isoflop_digits'", capsys=capsys)


def test_data_of_another_hash(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setitem(builders.SHA256, "sklearn", "0" * 64)
    argv = [*flags({}, "digits_mlp"), "--workdir", str(tmp_path / "run")]
    refuse(
        argv,
        "the package 'sklearn' has sha256 6ebb3d2fee24",
        "not 000000000000",
        "uv pip install -r pins.txt",
        capsys=capsys,
    )
    assert not (tmp_path / "run").exists()


def blobs(bad_record=None):
    """Two clouds; the record number `bad_record` of the training split is not a number."""
    x = np.random.default_rng(0).standard_normal((64, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    train_x = x.copy()
    if bad_record is not None:
        train_x[bad_record] = np.nan
    halves = {"train": Columns(x=train_x, y=y), "valid": Columns(x=x, y=y)}
    return Dataset(**halves, classes=2, unit="example", per_record=1, unique=64, fingerprint="blobs")


def blob_config(**changes):
    config = configs.config_of(configs.load("configs/classics/digits_mlp.py"), [f"{k}={v}" for k, v in BLOBS.items()])
    with config.unlocked():
        config.data = {"name": "synthetic:blobs", "classes": 2, "train": 64, "valid": 64}
        config.model.classes = 2
        for key, value in changes.items():
            config[key] = value
    return config


def test_a_label_below_zero_names_the_data():
    made = blobs()
    made.train.columns["y"][3] = -1
    with pytest.raises(UserError, match=r"config.data: synthetic:blobs: record 3 of the train split has the label -1"):
        build_experiment(blob_config(), made)


def test_nan_in_the_data_names_step_checkpoint_and_retry(tmp_path, monkeypatch):
    """A whole epoch of 4 steps is clean in no seed, so the step is known only to be one of the first four."""
    monkeypatch.setattr(synthetic, "blobs", functools.wraps(synthetic.blobs)(lambda **_: blobs(bad_record=5)))
    with pytest.raises(NonFiniteError) as stopped:
        train(blob_config(), tmp_path, Display(quiet=True))
    found = re.match(r"step (\d+): loss nan, gradient norm nan; ", str(stopped.value))
    assert found
    assert 1 <= int(found[1]) <= 4
    good = "the last good checkpoint is step 3 in" if int(found[1]) == 4 else "none was saved"
    assert good in str(stopped.value)
    assert "--config.optim.learning_rate=0.0005" in str(stopped.value)
    assert "new --workdir" in str(stopped.value)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, int(found[1])))  # what came before is kept


def test_nan_can_be_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "blobs", functools.wraps(synthetic.blobs)(lambda **_: blobs(bad_record=5)))
    row = train(blob_config(nonfinite="skip"), tmp_path, Display(quiet=True))
    assert np.isfinite(row["loss"])


@pytest.mark.slow
def test_diverging_loss_names_step_and_retry(tmp_path, capsys):
    values = {**MARKOV, "steps": 12, "checkpoint.every": 3, "optim.learning_rate": 1e25}
    argv = [*flags(values), "--config.schedule.name=linear", "--config.schedule.warmup=12"]
    text = refuse([*argv, "--workdir", str(tmp_path / "run")], "loss nan", "--config.nonfinite=skip", capsys=capsys)
    assert re.search(r"step \d+: ", text)
    assert "--config.optim.learning_rate=5e+24" in text
    assert (tmp_path / "run" / "metrics.jsonl").exists()


def test_sweep_of_a_config_without_one(tmp_path, capsys):
    argv = ["sweep", "--config", "configs/text/markov_gpt.py", "--workdir", str(tmp_path / "sweep")]
    refuse(argv, "no sweep()", "{'name': 'grid'", main=scaling_main, capsys=capsys)
    assert not (tmp_path / "sweep").exists()


def test_fit_without_runs(tmp_path, capsys):
    argv = ["fit", str(tmp_path), "--out", str(tmp_path / "out")]
    refuse(argv, str(tmp_path), "holds no finished run", "record.json", main=scaling_main, capsys=capsys)
    assert not (tmp_path / "out").exists()
    argv = ["fit", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    refuse(argv, "nowhere", "does not exist", main=scaling_main, capsys=capsys)


def test_unknown_scaling_command(capsys):
    refuse(["fitt"], "'fitt'", "sweep", "fit", main=scaling_main, capsys=capsys)


@pytest.mark.slow
def test_sentence_from_a_process_of_its_own(tmp_path):
    """The front door as it is used: a mistake found before JAX is imported, and one found by tracing the network."""
    for flag, *words in (MISTAKES["key misspelt"], MISTAKES["width by heads"]):
        command = [sys.executable, "-m", "train", *flags(MARKOV), flag, "--workdir", str(tmp_path / "run")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert_one_sentence(done.stderr, *words)
        assert not done.stdout
    assert not (tmp_path / "run").exists()


def test_traceback_on_request(tmp_path):
    argv = [*flags(MARKOV), "--config.model.heads=3", "--traceback", "--workdir", str(tmp_path / "run")]
    with pytest.raises(UserError, match="width=9 is"):
        report_errors(train_main, argv)
