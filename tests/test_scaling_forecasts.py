"""Which law forecasts best, training below a cutoff, and predictions of runs that are not made yet."""

import json
import math

import numpy as np
import pytest

from scaling import predict
from scaling.__main__ import main
from scaling.fit import select as choice
from scaling.fit.backtest import backtest, heldout
from scaling.fit.estimate import fit
from scaling.fit.question import Below, Question
from scaling.fit.select import called, candidates, evidence, flags, select
from scaling.laws import LAWS, chinchilla, downstream
from scaling.report import fitfile
from tests.support.planted import TRUTH, design
from train.errors import UserError

KAPLAN = {"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103}


def columns(loss=None, noise=0.001, seed=1, sizes=6):
    """A sweep, budget by budget, of Hoffmann's law or of `loss` (n, d) -> loss."""
    runs = design(sizes)
    n, d = runs["n"], runs["d"]
    errors = noise * np.random.default_rng(seed).standard_normal(n.size)
    exact = chinchilla(TRUTH, n, d) if loss is None else loss(n, d)
    budget = np.exp(np.repeat(np.unique(np.round(np.log(6 * n * d), 6)), sizes))
    return {"n": n, "d": d, "loss": exact * np.exp(errors), "budget": budget}


def pair(first, second):
    return {called(q): q for q in (Question(LAWS[first]), Question(LAWS[second]))}


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "other"), [("chinchilla", "kaplan_nd"), ("kaplan_nd", "chinchilla")])
def test_the_law_that_made_the_runs_is_selected(asked, other):
    made = columns() if other == "chinchilla" else columns(lambda n, d: LAWS["kaplan_nd"](KAPLAN, n, d))
    found = select(pair(asked, other), made)
    assert found.scores[0].law == other
    assert found.chosen == other
    assert found.clear
    back = select(pair(other, asked), made)
    assert back.chosen == other
    assert not back.clear


def test_few_noisy_runs_cannot_tell():
    made = columns(noise=0.03, sizes=4)
    small = {name: v[made["budget"] <= np.unique(made["budget"])[2]] for name, v in made.items()}
    found = select(pair("chinchilla", "kaplan_nd"), small)
    assert found.chosen == found.asked == "chinchilla"
    assert "tell" in found.sentence or "too few" in found.sentence


@pytest.mark.slow
def test_one_law_in_two_letterings_is_compared_once():
    """L = E + A N^-η + B D^-η is Chinchilla's law with one exponent: only one of the two is in the table."""
    questions = candidates(Question(chinchilla))
    assert set(questions) == {"chinchilla", "chinchilla, beta = alpha", "power_mean", "kaplan_nd"}
    questions = candidates(Question(LAWS["overtrained"]))
    made = columns()
    tied, other = (fit(questions[name], made) for name in (LAWS["overtrained"].same_as, "overtrained"))
    assert tied.objective == pytest.approx(other.objective, rel=1e-9)
    assert "farseer" in candidates(Question(chinchilla), None)
    assert "farseer" not in questions
    two = {name: questions[name] for name in ("chinchilla", "overtrained", "chinchilla, beta = alpha")}
    assert len(select(two, made).scores) == 2
    assert flags("chinchilla, beta = alpha") == "--law chinchilla --tie beta=alpha"


def test_evidence_is_the_difference_of_bayesian_criteria():
    """Of least squares it is R ln(S0 / S1) - k ln R, in closed form; of one fit and itself, 0."""
    made = columns(noise=0.004)
    whole, part = (fit(Question(LAWS[name], math.inf), made) for name in ("chinchilla", "kaplan_nd"))
    rows = made["n"].size
    expected = rows * math.log(part.objective / whole.objective) - math.log(rows)
    assert evidence(whole, part) == pytest.approx(expected, rel=1e-4)
    assert evidence(whole, whole) == 0.0
    assert evidence(part, whole) == pytest.approx(-expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("role", "most"), [("c", 2e19), ("n", 3e8), ("d", 5e9)])
def test_training_below_is_a_fit_of_the_rows_below(role, most):
    made = columns(noise=0.003)
    of = 6 * made["n"] * made["d"] if role == "c" else made[role]
    most = float(np.quantile(of, 0.6)) if not of.min() < most < of.max() else most
    held = heldout(chinchilla, made, Below(role, most), draws=50)
    kept = {name: v[of < most] for name, v in made.items()}
    np.testing.assert_array_equal(held.fit.theta, fit(chinchilla, kept).theta)
    assert sorted(run.row for run in held.runs) == np.flatnonzero(of >= most).tolist()
    assert sum(row["forecasts"] for row in held.horizons) == len(held.runs)
    assert all(run.reach >= made[role][run.row] / kept[role].max() for run in held.runs if role != "c")


def test_holding_out_a_budget_is_training_below_it():
    made = columns(noise=0.003)
    top = np.unique(made["budget"])[-1]
    one, other = (heldout(chinchilla, made, b, draws=50) for b in ("largest", Below("c", 0.99 * float(top))))
    assert one.fit.params == other.fit.params
    assert [(r.row, r.predicted) for r in one.runs] == [(r.row, r.predicted) for r in other.runs]


def test_past_errors_are_of_runs_below():
    """Of what is trained on n < 3e8, no earlier cutoff has seen or forecast a larger run."""
    made = columns(noise=0.003)
    most = float(np.median(made["n"]))
    held = heldout(chinchilla, made, Below("n", most), draws=50)
    kept = {name: v[made["n"] < most] for name, v in made.items()}
    assert len(held.past) == len(backtest(chinchilla, kept, draws=0))


@pytest.mark.parametrize("most", [1.0, 1e40])
def test_nothing_below_or_nothing_above_is_refused(most):
    with pytest.raises(UserError, match=r"leaves nothing to (fit|forecast)"):
        heldout(chinchilla, columns(), Below("c", most))
    with pytest.raises(UserError, match="there is no q to train below"):
        heldout(chinchilla, columns(), Below("q", most))


def test_predictions_are_the_law_at_its_inputs():
    fitted = fitfile.Fitted(
        law=chinchilla, params=TRUTH, theta=chinchilla.free(TRUTH), draws=np.tile(chinchilla.free(TRUTH), (400, 1)),
        scale=np.ones(400), residuals=np.array([-0.01, 0.01]), free=0, past=[], largest=1e20, counting={}, level=0.9,
        better="", lines={}, causes=[],
    )  # fmt: skip
    n, d = np.array([1e8, 1e9]), np.array([2e9, 1e12])
    found = predict.predict(fitted, {"n": n, "d": d})
    np.testing.assert_allclose([one.predicted for one in found], chinchilla(TRUTH, n, d), rtol=1e-12)
    np.testing.assert_allclose([one.reach for one in found], 6 * n * d / 1e20)
    inside, beyond = (math.log(one.interval[1] / one.interval[0]) for one in found)
    assert inside == pytest.approx(0.02)  # the residuals alone
    assert beyond > 2 * inside
    best = predict.ahead(fitted)
    assert [one.reach for one in best] == pytest.approx(predict.NEXT)
    np.testing.assert_allclose([6 * one.inputs["n"] * one.inputs["d"] for one in best], np.array(predict.NEXT) * 1e20)
    wide = [math.log(one.interval[1] / one.interval[0]) for one in best]
    assert wide == sorted(wide)
    alone = LAWS["compute"]
    of_c = {"L_inf": 1.7, "A": 100.0, "alpha": 0.1}
    values = dict(zip(alone.names, of_c.values(), strict=True))
    fitted = fitted._replace(law=alone, theta=alone.free(values), draws=np.tile(alone.free(values), (400, 1)))
    np.testing.assert_allclose(
        [one.predicted for one in predict.ahead(fitted)], alone(values, np.array(predict.NEXT) * 1e20), rtol=1e-12
    )


@pytest.mark.slow
def test_a_task_is_forecast_in_two_steps(tmp_path, capsys):
    """Loss from N and D, accuracy from that loss: by the command, on noise-free runs, the two laws' own composition."""
    made, task = columns(noise=0.0), {"a": 0.65, "k": -5.0, "L_0": 2.6, "b": 0.25}
    losses = write(tmp_path / "losses.csv", made)
    rows = "".join(f"{v},{float(LAWS['accuracy'](task, v))}\n" for v in made["loss"].tolist())
    (tmp_path / "tasks.csv").write_text("loss,accuracy\n" + rows)
    (tmp_path / "next.csv").write_text("n,d\n1e9,1e11\n3e9,4e11\n")
    main(["fit", losses, "--draws", "50", "--out", str(tmp_path / "loss")])
    main(["fit", str(tmp_path / "tasks.csv"), "--law", "accuracy", "--draws", "50", "--out", str(tmp_path / "task")])
    capsys.readouterr()
    both = ["--fit", str(tmp_path / "loss"), "--then", str(tmp_path / "task"), str(tmp_path / "next.csv")]
    main(["predict", *both, "--json"])
    found = json.loads(capsys.readouterr().out)
    n, d = np.array([1e9, 3e9]), np.array([1e11, 4e11])
    wanted = downstream.two_step(chinchilla, TRUTH, LAWS["accuracy"], task, n, d)
    np.testing.assert_allclose([one["predicted"] for one in found], wanted, rtol=1e-6)
    np.testing.assert_allclose([one["interval"] for one in found], np.stack([wanted, wanted], 1), rtol=1e-3)
    main(["predict", *both])
    assert "accuracy" in capsys.readouterr().out
    task_alone = fitfile.load(tmp_path / "task")
    with pytest.raises(UserError, match="accuracy reads loss, and accuracy gives accuracy"):
        predict.chained(task_alone, task_alone, {"loss": np.array([2.5])})


def write(path, made):
    rows = zip(*(made[name].tolist() for name in ("n", "d", "loss")), strict=True)
    path.write_text("n,d,loss\n" + "".join(f"{n},{d},{loss}\n" for n, d, loss in rows))
    return str(path)


@pytest.mark.slow
def test_the_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(choice, "STARTS", 4)
    monkeypatch.setattr(choice, "LAWS", {name: LAWS[name] for name in ("chinchilla", "kaplan_nd", "power_mean")})
    made = columns(lambda n, d: LAWS["power_mean"]({**TRUTH, "q": 2.5}, n, d), noise=0.002)
    path, out = write(tmp_path / "runs.csv", made), str(tmp_path / "out")
    stop = float(np.unique(made["budget"])[-2]) * 0.99
    main(["fit", path, "--out", out, "--law", "auto", "--train-below", f"{stop:.6g}", "--draws", "50"])
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "out/fit.json").read_text())
    assert found["law"] == found["selection"]["chosen"] == "power_mean"
    assert found["selection"]["asked"] == "chinchilla"
    assert not found["better"]
    assert len(found["ahead"]) == 5
    assert "100 x" in shown
    assert found["heldout"]["n_rows_fitted"] == int(np.sum(6 * made["n"] * made["d"] < stop))
    (tmp_path / "next.csv").write_text("n,d\n1e9,1e11\n,5\n")
    main(["predict", "--fit", out, str(tmp_path / "next.csv"), "--json"])
    (one,) = json.loads(capsys.readouterr().out)
    expected = LAWS["power_mean"](found["params"], 1e9, 1e11)
    assert one["predicted"] == pytest.approx(float(expected), rel=1e-9)
    assert one["interval"][0] < one["predicted"] < one["interval"][1]
    main(["predict", "--fit", out, str(tmp_path / "next.csv")])
    assert "left out" in capsys.readouterr().out
    with pytest.raises(UserError, match="--law auto chooses among laws"):
        main(["fit", path, "--out", out, "--law", "auto", "--pin", "E=1.7"])
    with pytest.raises(UserError, match="each say what is forecast"):
        main(["fit", path, "--out", out, "--train-below", "1e20", "--heldout", "1e20"])
