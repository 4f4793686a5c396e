"""One table over all config pages: each trains, small, and leaves a complete record; each of their parts resumes."""

import ast
import importlib
import inspect
import json
import math
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.api import from_linen
from models.gpt import GPT
from models.mlp import MLP
from scaling.sweep import design
from tests.support.runs import Listening, arrays, same_arrays, steps_saved
from tests.support.small import PACKAGES, PAGES, STEPS, one_of_each, small
from train import configs
from train.build import build, public
from train.display import Display
from train.errors import UserError
from train.experiment import build_experiment
from train.loop import train
from train.program import Kept
from train.writer import read_log

STOP = 3
DISTINCT = one_of_each(PAGES)

RECORD = {"params_total", "params_non_embedding", "params_active", "tokens_seen", "tokens_unique", "batch_tokens"}
RECORD |= {"steps", "flops_6nd", "flops_train", "loss", "bits_per_byte", "lr", "seed", "schedule", "wall_seconds"}
RECORD |= {"device", "versions", "git_commit", "config_hash"}


@pytest.fixture(scope="module", autouse=True)
def data_folder(tmp_path_factory):
    """One for all workers: what one has prepared the others read."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISOFLOP_DATA", str(folder / "data of pages"))
        patch.delenv("TFDS_DATA_DIR", raising=False)
        yield


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_says_what_it_is(page):
    doc = ast.get_docstring(ast.parse(page.read_text())) or ""
    first, *rest = doc.split("\n")
    assert first.endswith((".", "?")) or ":" in first, "the first line is a sentence"
    commands = [line.strip() for line in rest if line.startswith(("python -m train ", "python -m scaling "))]
    runs = [command for command in commands if f"--config {page}" in command or command == "python -m scaling demo"]
    assert runs, "a page says how it is run"
    assert all("--workdir runs/" in command for command in runs if "--config" in command)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_trains_and_resumes(page, tmp_path):
    """From the middle of the run, as if it had been killed there; where its kinds of parts do so in no other page."""
    config = small(page, tmp_path)
    config.checkpoint.update(every=STOP, keep=3)
    record = train(config.lock(), tmp_path / "whole", Display(quiet=True), kept=(kept := Kept()))
    check_record(record, config, tmp_path / "whole")
    assert record["params_total"] < 1e6, "its network's module declares no small sizes (SMALLEST), or not all"
    whole = arrays(tmp_path / "whole")
    assert all(np.isfinite(array).all() for array in whole.values())
    if page not in DISTINCT:
        return

    shutil.copytree(tmp_path / "whole", tmp_path / "halved")
    (tmp_path / "halved" / "record.json").unlink()
    for later in steps_saved(tmp_path / "halved")[1:]:
        shutil.rmtree(tmp_path / "halved" / "checkpoints" / str(later))
    assert steps_saved(tmp_path / "halved") == [STOP]
    again = train(config, tmp_path / "halved", heard := Listening(quiet=True), kept=kept)
    assert f"resuming at step {STOP}" in "".join(heard.said)
    assert same_arrays(tmp_path / "whole", tmp_path / "halved")
    logs = [(tmp_path / run / "metrics.jsonl").read_bytes() for run in ("whole", "halved")]
    assert logs[0] == logs[1]
    timeless = lambda row: {k: v for k, v in row.items() if k not in ("name", "wall_seconds", "compile_seconds")}
    assert timeless(again) == timeless(record)


MODULES = [
    importlib.import_module(f"{package}.{file.stem}")
    for package in PACKAGES.values()
    for file in sorted(pathlib.Path(package.replace(".", "/")).glob("*.py"))
    if "SMALLEST = " in file.read_text()
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_smallest_sizes_are_of_options_that_there_are(module):
    taken = {name for each in public(module) for name in inspect.signature(getattr(module, each)).parameters}
    assert set(module.SMALLEST) <= taken


def check_record(record, config, workdir):
    """All fields, and counts that agree with each other and with the log."""
    assert not RECORD - set(record)
    assert json.loads((workdir / "record.json").read_text()) == record
    assert (record["steps"], record["seed"], record["schedule"]) == (STEPS, config.seed, config.schedule.name)
    assert math.isfinite(record["loss"])
    assert record["tokens_seen"] == STEPS * record["batch_tokens"]
    assert record["batch_tokens"] == config.batch_size * (config.data.get("context", 1))
    assert record["flops_6nd"] == 6.0 * record["params_active"] * record["tokens_seen"]
    assert 0 < record["flops_train"] < 2 * record["flops_6nd"] * 28**2  # a weight of a convolution works 28² times
    assert 0 < record["params_non_embedding"] <= record["params_total"]
    assert (record["params_active"] < record["params_total"]) == bool(config.model.get("experts"))
    assert record["params_active"] <= record["params_total"]
    rows = read_log(workdir)
    trained = [row for row in rows if row["split"] == "train"]
    held_out = [row for row in rows if row["split"] == "valid"]
    assert [row["step"] for row in trained] == [2, 4, 6]
    assert all(math.isfinite(row[name]) for row in trained for name in ("loss", "grad_norm", "lr"))
    assert held_out[-1]["loss"] == record["loss"]
    if config.data.name.startswith("corpus:"):  # a byte a token, and a token more at the end of each document
        meta = json.loads((pathlib.Path(config.data.path) / "meta.json").read_text())
        tokens = meta["tokens"]["valid"] / meta["text_bytes"]["valid"]
        assert record["bits_per_byte"] == pytest.approx(record["loss"] / math.log(2) * tokens)
    elif record["bits_per_byte"] is not None:  # both text pages here have one byte a token
        assert record["bits_per_byte"] == pytest.approx(record["loss"] / math.log(2))


SWEEPS = [page for page in PAGES if hasattr(configs.load(str(page)), "sweep")]


@pytest.mark.slow
@pytest.mark.parametrize("page", SWEEPS, ids=lambda page: page.stem)
def test_sweep_makes_its_jobs(page, tmp_path):
    """Each has a name of its own, overrides that the page's config takes, and the compute it was planned for."""
    module = configs.load(str(page))
    (tmp_path / "input.txt").write_text("A text of one's own.\n" * 100)
    is_own = module.get_config().data.get("path", "") is None
    config = configs.config_of(module, [f"data.path={tmp_path / 'input.txt'}"] if is_own else [])
    jobs = design.jobs(module, config)
    assert len({job.name for job in jobs}) == len(jobs) > 1
    for job in jobs:
        changed = design.with_overrides(config, job.overrides)
        tokens = changed.steps * changed.batch_size * changed.data.context
        assert job.flops == 6.0 * design.parameters(config, job.overrides) * tokens
        if job.budget:
            assert job.flops == pytest.approx(job.budget, rel=0.02)
    for job in (jobs[0], jobs[-1]):
        build_experiment(design.with_overrides(config, job.overrides))


# Names and arguments: the callee's signature is the schema.

BATCH = {"x": jnp.zeros((1, 2)), "y": jnp.zeros(1, jnp.int32)}
GPT_SPEC = {"name": "gpt:GPT", "vocab": 5, "layers": 1, "heads": 1, "width": 4, "context": 8}


def test_build_calls_what_is_named():
    assert build("models", GPT_SPEC, "model") == GPT(5, 1, 1, 4, 8)
    generator = build("models", {"name": "gan:Generator", "shape": [2, 3]}, "model")
    assert generator.shape == (2, 3), "lists become tuples, which networks can hash"
    assert build("models", {**GPT_SPEC, "bias": None}, "model").bias is False, "an unset placeholder is the default"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widht": 4}, r"config.model.widht: gpt:GPT has no 'widht'; did you mean 'width'\? It takes: .*vocab"),
        ({"parent": 1}, r"config.model.parent: gpt:GPT has no 'parent'"),
        ({"width": "4"}, r"config.model.width='4' is str; it takes int"),
        ({"width": 4.0}, r"config.model.width=4.0 is float; it takes int"),
        ({"layers": True}, r"config.model.layers=True is bool; it takes int"),
        ({"dropout": "no"}, r"config.model.dropout='no' is str; it takes float"),
        ({"bias": 1}, r"config.model.bias=1 is int; it takes bool"),
        ({"width": None, "vocab": None}, r"config.model needs vocab, width: gpt:GPT has no default for it"),
        ({"name": "gpt:GTP"}, r"models.gpt has no 'GTP'; did you mean 'GPT'"),
        ({"name": "gtp:GPT"}, r"there is no models.gtp; did you mean 'gpt'\? It takes: .*lenet"),
    ],
)
def test_build_errors_are_sentences(changes, message):
    with pytest.raises(UserError, match=message):
        build("models", {**GPT_SPEC, **changes}, "model")


def test_build_needs_a_name():
    with pytest.raises(UserError, match=r"config.model has no `name`; give one, for example config.model.name="):
        build("models", {"width": 3}, "model")


def test_offers_are_taken_by_those_who_ask():
    """A task that counts classes hears of the data's; one that does not is not bothered; a config cannot lie."""
    given = {"offer": {"classes": 3}, "model": from_linen(MLP(2))}
    task = build("train.tasks", {"name": "supervised:classify"}, "task", **given)
    with pytest.raises(ValueError, match="2 outputs and the data 3 classes"):
        task.loss(*task.init(jax.random.key(0), BATCH), BATCH, jax.random.key(1), True)
    assert build("train.tasks", {"name": "reconstruct:elbo", "beta": 2.0}, "task", **given)
    with pytest.raises(UserError, match=r"config.task.classes: supervised:classify has no 'classes'"):
        build("train.tasks", {"name": "supervised:classify", "classes": 2}, "task", **given)
