"""A run is read back without its data, and goes on with no other data than its own."""

import json

import jax
import numpy as np
import pytest

from data.source import Dataset
from train import configs, saved
from train.errors import UserError
from train.loop import train
from train.sample import sample

TEXT = "the quick brown fox jumps over the lazy dog. " * 40
PAGE = {"data.tokenizer": "chars", "data.context": 16, "model.context": 16, "model.layers": 1, "model.heads": 1,
        "model.width": 16, "steps": 4, "batch_size": 4, "checkpoint.every": 2, "eval.batch_size": 4,
        "eval.every": 0, "schedule.warmup": 1, "cpu_devices": 1}  # fmt: skip


def page(path, **changes):
    values = {**PAGE, "data.path": str(path), **changes}
    return configs.config_of(configs.load("shakespeare_gpt"), [f"{k}={v}" for k, v in values.items()])


@pytest.fixture
def run(tmp_path):
    """A work folder, and the text that it was trained on."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    train(page(text), tmp_path / "run")
    return tmp_path / "run", text


@pytest.mark.slow
def test_a_run_is_read_back_without_its_data(run):
    workdir, text = run
    how = {"tokens": 12, "temperature": 0.8, "seed": 3}
    with jax.debug_key_reuse(False):  # which takes the keys of a scan for used when the first is split off
        before = sample(workdir, "the ", **how)
        text.unlink()
        assert sample(workdir, "the ", **how) == before
    found = saved.load(workdir)
    assert found.record["loss"] == json.loads((workdir / "record.json").read_text())["loss"]
    dataset = found.experiment.dataset
    assert dataset.tokenizer.decode(dataset.tokenizer.encode(b"lazy dog")) == "lazy dog"
    assert dataset.classes == len(set(TEXT))
    assert dataset.fingerprint == found.record["data"]
    assert dataset.per_record == 16
    sizes = sum(leaf.size for leaf in jax.tree.leaves(found.params))
    assert sizes == found.record["params_total"]


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_data_only(tmp_path):
    """Other words, as many characters: nothing but the fingerprint tells them apart."""
    text, workdir = tmp_path / "text.txt", tmp_path / "run"
    text.write_text(TEXT)
    train(page(text), workdir)
    text.write_text(TEXT.replace("fox", "cat"))
    (workdir / "record.json").unlink()  # as if it had been stopped
    before = {p.name: p.read_bytes() for p in workdir.glob("*.json*")}
    with pytest.raises(
        UserError, match=r"was trained on other data: .* Put the data back as they were, or use another"
    ):
        train(page(text), workdir)
    assert {p.name: p.read_bytes() for p in workdir.glob("*.json*")} == before
    text.write_text(TEXT)
    assert train(page(text), workdir)["steps"] == 4


@pytest.mark.slow
def test_what_is_known_of_the_data_is_kept(tmp_path):
    """Scales give numbers back in their own unit: (number - mean) / deviation by the training rows."""
    path = tmp_path / "table.csv"
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(10, 2, 50), rng.normal(-3, 0.5, 50), rng.normal(100, 20, 50)], 1)
    path.write_text("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in rows))
    values = {"data.path": path, "steps": 2, "batch_size": 4, "eval.every": 0, "schedule.warmup": 1}
    config = configs.config_of(configs.load("abalone_mlp"), [f"{k}={v}" for k, v in values.items()])
    train(config, tmp_path / "run")
    dataset: Dataset = saved.data_of(tmp_path / "run")
    kept = np.random.default_rng(config.data.get("seed", 0)).permutation(50)[10:]
    np.testing.assert_allclose(dataset.scales["y"].mean, rows[kept, 2:].mean(0), rtol=1e-12)
    np.testing.assert_allclose(dataset.scales["x"].deviation, rows[kept, :2].std(0), rtol=1e-12)
    assert dataset.train.gather(np.arange(3))["x"].shape == (3, 2)


@pytest.mark.slow
def test_a_folder_that_says_nothing_of_its_data(run):
    workdir, _ = run
    (workdir / "data.json").write_text('{"classes": "many"}')
    with pytest.raises(UserError, match=r"data.json.*remove it, and the command of the run writes it again"):
        saved.data_of(workdir)
    (workdir / "data.json").unlink()
    with pytest.raises(UserError, match=r"has no data.json, which the command of the run writes"):
        saved.data_of(workdir)
