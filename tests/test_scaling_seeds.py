"""Seeds and learning rates of a sweep: means and spreads, never the luckiest run; the best rate of each size."""

import json

import numpy as np
import pytest

from scaling import rates
from scaling.analyse import analyse
from scaling.fit import backtest, intervals
from scaling.laws import chinchilla, hoffmann
from scaling.logs import readers, records, seeds, training
from scaling.report import page
from scaling.report.checklist import checklist
from scaling.report.fitfile import as_json
from scaling.report.terminal import summary
from scaling.sweep import design
from tests.test_sweep import PAGE, config_of
from train import configs
from train.errors import UserError

NOISE = 0.004


def runs(rates_of=(1e-3,), count=3):
    """Records of every size, length, rate and seed; the loss is a parabola in ln lr about a best that falls with N."""
    rng, made = np.random.default_rng(0), []
    for n in np.geomspace(1e7, 1e9, 5).round():
        for d in np.geomspace(1e9, 1e11, 4).round():
            for lr in rates_of:
                off = np.log(lr / best_rate(n)) ** 2 if len(rates_of) > 1 else 0.0
                loss = float(chinchilla(hoffmann.ROUNDED, n, d)) + 0.05 * off
                for seed in range(count):
                    made.append({
                        "name": f"n{n:.0f}_d{d:.0f}_lr{lr}_s{seed}", "params": n, "tokens": d, "lr": lr, "seed": seed,
                        "loss": loss + NOISE * rng.standard_normal(), "wall_seconds": rng.random(), "host": f"h{seed}",
                    })  # fmt: skip
    return made


def best_rate(n):
    return 2e-3 * (1e8 / n) ** 0.2


def test_a_setting_of_several_seeds_is_its_mean_and_its_spread():
    rows = runs()
    found = records.assign(readers.from_rows(rows))
    losses = np.array([row["loss"] for row in rows]).reshape(-1, 3)
    np.testing.assert_allclose(found.columns["loss"], losses.mean(1), rtol=1e-14)
    np.testing.assert_allclose(found.table["loss"], losses.mean(1), rtol=1e-14)
    np.testing.assert_allclose(found.table["loss_sd"], losses.std(1, ddof=1), rtol=1e-9)
    assert set(found.table["seeds"]) == {3.0}
    assert set(found.table["seed"]) == {"0, 1, 2"}
    assert found.table["name"][0] == "n10000000_d1000000000_lr0.001 (3 seeds)"
    assert np.unique(found.run).size == 20
    pooled = np.sqrt(losses.var(1, ddof=1).mean())
    assert seeds.noise(found.table, "loss") == pytest.approx(pooled)
    assert seeds.of_means(found.table, "loss") == pytest.approx(pooled / np.sqrt(3))
    assert any("the mean over 3 seeds, 60 rows become 20" in text for text in found.said)
    assert records.assign(readers.from_rows(rows), keep=["seeds"]).columns["loss"].size == 60


def test_the_luckiest_seed_chooses_nothing():
    """2.0 and 3.0 lose to 2.4 and 2.4, with --best and without."""
    rows = [
        {"params": 1e8, "tokens": 1e9, "lr": lr, "seed": seed, "loss": loss, "name": f"{lr}-{seed}"}
        for lr, losses in ((1e-3, (2.0, 3.0)), (2e-3, (2.4, 2.4)))
        for seed, loss in enumerate(losses)
    ]
    found = records.assign(readers.from_rows(rows), best=True)
    assert found.columns["loss"].tolist() == [2.4]
    assert found.table["lr"].tolist() == [2e-3]
    assert rates.best(found.tried)[0].lr == 2e-3


@pytest.mark.parametrize("change", [{"seed": 0}, {"dropout": 0.1}])
def test_runs_that_differ_in_more_than_their_seed_stay_apart(change):
    """A seed that comes twice says that something else differs, which no column tells."""
    first = [
        {"params": n, "tokens": 1e9, "seed": 0, "loss": 2.0 + n / 1e9, "name": f"a{n}", "dropout": 0.0}
        for n in (1e7, 1e8)
    ]
    second = [{**row, "seed": 1, "loss": row["loss"] + 0.1, "name": "b" + row["name"], **change} for row in first]
    found = records.assign(readers.from_rows(first + second))
    assert found.columns["loss"].size == 4
    assert any("in something that no column says" in text for text in found.said) == ("seed" in change)


def test_checkpoints_of_seeds_are_averaged_step_by_step():
    rows = [
        {"run": f"r{seed}-{n:g}", "step": step, "params": n, "tokens": step * 1e6, "seed": seed,
         "val_loss": 3 - step / 100 + 0.1 * seed}
        for n in (1e7, 3e7) for seed in (0, 1) for step in (10, 20, 30)
    ]  # fmt: skip
    found = records.assign(readers.from_rows(rows))
    assert found.columns["loss"].size == 6
    assert np.unique(found.run).size == 2
    assert records.assign(readers.from_rows(rows), last=True).columns["loss"] == pytest.approx([2.75, 2.75])
    assert len(training.curves([], found.by_step)) == 4, "every run has its curve"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The analysis of a sweep over rates and seeds, and the folder of its report."""
    folder = tmp_path_factory.mktemp("seeds")
    table = folder / "runs.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in runs((1e-3, 2e-3, 4e-3))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backtest, "CUTOFFS", 1)
        patch.setattr(intervals, "PILOTS", 10)
        found = records.assign(readers.read([table]), best=True)
        analysis = analyse(found, draws=20, thorough=False)
        curve = training.Curve(1e7, np.array([1e15, 1e16, 1e17]), np.array([5.0, 4.0, 3.0]))
        page.write(folder / "out", analysis, [curve])
    return analysis, folder / "out"


def test_what_was_fitted_is_fitted_again_alike(fitted):
    analysis, out = fitted
    again = records.assign(readers.read([out / "rows.jsonl"]))
    for role in ("n", "d", "loss"):
        np.testing.assert_array_equal(again.columns[role], analysis.columns[role])


def test_the_report_has_seeds_rates_and_training_curves(fitted):
    analysis, out = fitted
    html, text = (out / "report.html").read_text(), summary(analysis)
    assert "(3 seeds)" in html
    assert "Learning rates" in html
    assert all((out / "plots" / f"{name}.png").exists() for name in ("training", "rates"))
    assert "best learning rate: 0.00400 at N = 10M to 0.00100 at N = 1B, of 20 sizes" in text
    assert "the best learning rate is the largest tried at N = 10M: try larger ones there" in text
    answers = dict(checklist(analysis)["Training"])
    assert answers["Seeds"].startswith("3 a setting, averaged; sd of one run's loss over seeds 0.00")
    written = as_json(analysis)
    assert written["seeds"]["sd"] == pytest.approx(NOISE, rel=0.3)
    assert len(written["rates"]) == 20


def test_a_law_of_all_rates_is_said():
    found = records.assign(readers.from_rows(runs((1e-3, 2e-3, 4e-3))))
    (said,) = rates.unsettled(found.tried, found.columns)
    assert said.startswith("20 sizes were run at several learning rates, and the law is fitted to all of them")
    assert rates.unsettled(records.assign(readers.from_rows(runs())).tried, found.columns) == []


def test_the_best_rate_between_those_tried_is_the_vertex_of_a_parabola_in_log_rate():
    lr = np.array([1e-3, 2e-3, 5e-3, 1e-2])
    loss = 2.0 + 0.1 * np.log(lr / 3e-3) ** 2
    (found,) = rates.best({"n": np.full(4, 1e8), "d": np.full(4, 1e9), "lr": lr, "loss": loss})
    assert (found.lr, found.edge) == (2e-3, "")
    assert found.between == pytest.approx(3e-3, rel=1e-9)
    assert found.cost == pytest.approx(1 + 0.1 * np.log(2) ** 2 / loss.min(), rel=1e-9)
    (edge,) = rates.best({"n": np.full(2, 1e8), "d": np.full(2, 1e9), "lr": lr[2:], "loss": loss[2:]})
    assert (edge.lr, edge.edge) == (5e-3, "smallest")


def swept(tmp_path, asked):
    path = tmp_path / "page.py"
    path.write_text(f"{PAGE}\n\ndef sweep():\n    return {asked!r}\n")
    module = configs.load(str(path))
    return design.jobs(module, config_of(path))


def test_every_design_takes_seeds(tmp_path):
    jobs = swept(tmp_path, {"name": "grid", "over": {"optim.learning_rate": (1e-3, 0.01)}, "seeds": (0, 3)})
    assert [job.name for job in jobs] == ["lr0.001_s0", "lr0.001_s3", "lr0.01_s0", "lr0.01_s3"]
    assert [job.overrides["seed"] for job in jobs] == [0, 3, 0, 3]
    shapes = {"w4": {"model.width": 4}, "w8": {"model.width": 8}}
    jobs = swept(tmp_path, {"name": "isoflop", "budgets": (1e8, 4.5e8), "shapes": shapes, "seeds": range(2)})
    assert [job.name for job in jobs][::2] == ["w4_1e8_s0", "w8_1e8_s0", "w4_4.5e8_s0", "w8_4.5e8_s0"]


@pytest.mark.parametrize(("asked", "words"), [
    ({"name": "grid", "over": {"model.width": (4,)}, "seeds": 3}, "sweep.. has seeds 3; they are whole numbers"),
    ({"name": "grid", "over": {"model.width": (4,)}, "seeds": ()}, "they are whole numbers, such as"),
    ({"name": "grid", "over": {"seed": (0, 1)}, "seeds": (0, 1)}, "its run 's0' sets the seed itself"),
])  # fmt: skip
def test_seeds_that_cannot_be(tmp_path, asked, words):
    with pytest.raises(UserError, match=words):
        swept(tmp_path, asked)


def test_names_of_runs_are_short_and_name_a_folder(tmp_path):
    over = {"model.width": (8,), "steps": (40,), "data.name": ("arrays:columns",), "optim.weight_decay": (1e-2,)}
    (job,) = design.grid(config_of_page(tmp_path), over)
    assert job.name == "w8_steps40_namearrays-columns_wd0.01"
    assert design.shortened(["optim.name", "model.name", "model.width"]) == {
        "optim.name": "optim-name", "model.name": "model-name", "model.width": "w",
    }  # fmt: skip


def config_of_page(tmp_path):
    path = tmp_path / "page.py"
    path.write_text(PAGE)
    return config_of(path)
