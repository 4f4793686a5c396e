"""The zoo's table says what the pages say, and the pages say what is true."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest

from scripts.score.baselines import wiener, witten_bell
from tests.support.small import PAGES, small
from train import configs, sizes, zoo
from train.build import build
from train.experiment import build_task, example, key_shape

ENTRIES = zoo.entries(pathlib.Path("configs"))
OWN = {"text", "corpus", "images", "table", "series"}  # pages for data of one's own, of which nothing is measured


def test_every_page_that_trains_is_in_the_zoo():
    trained = {page.stem for page in PAGES if "python -m train --config" in page.read_text()}
    assert trained - OWN == {each.page.stem for each in ENTRIES}
    assert trained >= OWN


@pytest.mark.slow
@pytest.mark.parametrize("each", ENTRIES, ids=lambda each: each.page.stem)
def test_page_counts_its_parameters(each, tmp_path):
    """Of the network in full size, on data of the right shape; random images pose for all sets of images."""
    config = configs.load(str(each.page)).get_config()
    data = small(each.page, tmp_path).data.to_dict() if "path" in config.data else config.data.to_dict()
    dataset = build("data", data | {"name": data["name"].replace("arrays:columns", "random:like")}, "data")
    record = dataset.train.gather(np.zeros(1, np.int64))
    task = build_task(sizes.filled(config, dataset, record), dataset.classes)  # what a page leaves to its data
    params, _ = jax.eval_shape(task.init, key_shape(), example(config.batch_size, record))
    assert each.parameters == f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,}"


@pytest.mark.parametrize("each", ENTRIES, ids=lambda each: each.page.stem)
def test_page_says_what_was_measured(each):
    assert re.fullmatch(r"\d{4}", each.year)
    result = r"\w+ (not measured yet|[\d.e-]+, [\d,]+ s \([0-9a-f]{7}\))"
    assert each.measured == zoo.UNTRAINED or re.fullmatch(result, each.measured)


def test_docs_hold_the_same_table():
    assert zoo.written(ENTRIES) in zoo.PAGE.read_text(), "`python -m train zoo --workdir DIR` writes it"


def test_the_readme_holds_rows_of_it():
    shown = [line for line in pathlib.Path("README.md").read_text().split("\n") if line.startswith("| [")]
    assert len(shown) == 5
    assert set(shown) <= set(zoo.markdown(ENTRIES).replace("(../", "(").split("\n"))


def test_data_that_no_clone_has_say_where_they_are():
    """A page that reads a file, or a set that has to be downloaded, says how to get it; the table marks it."""
    for each in ENTRIES:
        data = configs.load(str(each.page)).get_config().data
        has_to_be_got = "path" in data or not str(data.get("dataset", "isoflop_")).startswith("isoflop_")
        assert bool(each.get) == has_to_be_got, each.page
    assert zoo.table(ENTRIES).count(" *  ") == sum(bool(each.get) for each in ENTRIES)


@pytest.mark.slow
def test_refresh_trains_once_and_writes_what_it_measured(tmp_path):
    page = tmp_path / "pages" / "adaline.py"
    page.parent.mkdir()
    text = pathlib.Path("configs/classics/adaline.py").read_text().replace("steps = 5000", "steps = 20")
    page.write_text(re.sub(r"Measured .*", "Measured    loss", re.sub(r"Parameters .*", "Parameters  ?", text)))
    said = []
    assert zoo.refresh(page.parent, tmp_path / "runs", 60.0, said.append) == []
    record = json.loads((tmp_path / "runs" / "adaline" / "record.json").read_text())
    (entry,) = zoo.entries(page.parent)
    assert entry.parameters == "11"
    assert entry.result == f"loss {record['metrics']['loss']:.4g}"
    assert record["git_commit"].startswith(entry.commit.rstrip("+"))
    before = page.read_text()
    assert zoo.refresh(page.parent, tmp_path / "runs", 60.0, said.append) == []
    assert "is complete" in said[-2]
    assert page.read_text() == before


def test_a_page_that_lacks_a_line_is_a_sentence(tmp_path):
    page = tmp_path / "lacking.py"
    page.write_text('"""A page.\n\nSystem      ADALINE, 1960\nParameters  11\n"""\n')
    with pytest.raises(ValueError, match="has no line 'Data'; it needs System, Parameters, Data"):
        zoo.entry(page)


def test_a_baseline_of_text_is_a_distribution():
    """Whatever stood before, the chances of all tokens sum to 1, at every order; what was seen once is likelier."""
    train = np.random.default_rng(0).integers(0, 4, (5, 12)).tolist()
    held = [witten_bell(train, [[*train[0][:6], word]], 5) for word in range(5)]
    start = witten_bell(train, [train[0][:6]], 5)
    for order in start:
        chances = [np.exp(5 * start[order].nats - 6 * each[order].nats) for each in held]
        assert sum(chances) == pytest.approx(1)
        assert order < 5 or np.argmax(chances) == train[0][6]


def test_a_baseline_of_text_says_the_likeliest():
    """After 0 comes 1 or, twice as often, 2; after those what came there; with nothing before always the commonest."""
    train = [[0, 1, 3], [0, 2, 4], [0, 2, 4]]
    found = witten_bell(train, train, 5)
    assert found[0].accuracy == pytest.approx(2 / 6)
    assert found[1].accuracy == pytest.approx(5 / 6)


def test_a_baseline_of_noise_is_the_best_denoiser_of_gaussian_records():
    """Of records with just this mean and covariance the error is the posterior variance of ε, ᾱ λ / (ᾱ λ + 1 - ᾱ)."""
    rng, kept = np.random.default_rng(0), np.array([0.9, 0.4, 0.05])
    axes, values = np.linalg.qr(rng.standard_normal((3, 3)))[0], np.array([2.0, 0.5, 0.0])
    mean, corners = np.array([1.0, -2.0, 0.5]), np.concatenate([np.eye(3), -np.eye(3)])
    held = mean + corners * np.sqrt(3 * values) @ axes.T
    found = wiener(mean, axes * values @ axes.T, held, kept)
    assert found == pytest.approx((kept[:, None] * values / (kept[:, None] * values + 1 - kept[:, None])).mean())
    # And it is that of the filter itself, on noise drawn.
    errors = []
    for a in kept:
        noise = rng.standard_normal((100_000, 3))
        noisy = np.sqrt(a) * held[rng.integers(0, 6, len(noise))] + np.sqrt(1 - a) * noise
        precision = np.linalg.inv(a * axes * values @ axes.T + (1 - a) * np.eye(3))
        errors.append(((np.sqrt(1 - a) * (noisy - np.sqrt(a) * mean) @ precision - noise) ** 2).mean())
    assert found == pytest.approx(np.mean(errors), rel=0.01)
