"""Fourteen mistakes that published fits of scaling laws have made, and what keeps each from being made here."""

import math

import numpy as np
import pytest
import scipy.optimize

from scaling.analyse import analyse as analyse_runs
from scaling.approaches import isoflop
from scaling.approaches.lines import slope
from scaling.counting import c_6nd
from scaling.fit.estimate import centre, fit, predict
from scaling.fit.question import LOG_MSE, Question
from scaling.laws import chinchilla, d_opt, hoffmann, n_opt
from scaling.logs import readers, records
from scaling.report import fitfile
from scaling.sweep import informative
from tests.support.planted import TRUTH, design, only_the_fit

RNG = np.random.default_rng(0)


def runs(noise=0.005, sizes=8, seed=0, **truth):
    made = design(sizes)
    errors = noise * np.random.default_rng(seed).standard_normal(made["n"].size)
    return {**made, "loss": chinchilla({**TRUTH, **truth}, made["n"], made["d"]) * np.exp(errors)}


def analyse(made, **options):
    return analyse_runs(records.assign(made), **options)


def table(columns, **more):
    rows = {"params_total": columns["n"], "tokens_seen": columns["d"], "loss": columns["loss"], **more}
    return readers.from_rows([dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)])


@pytest.mark.parametrize("scale", [1 / 40, 1e-6, 1e6])
def test_1_the_mean_of_the_losses_is_minimised_where_their_sum_is(scale):
    """With the mean, a quasi-Newton method meets its tolerance after a few steps, far from the optimum."""
    data = runs()
    problem, found = centre(chinchilla, data), fit(chinchilla, data)
    here = chinchilla.rescale(found.theta, problem.units, sign=-1.0)
    start = here + np.array([0.3, -0.4, 0.4, 0.15, -0.1])
    made = problem.solve(problem.y[None], np.full((1, 40), scale), start[None])
    np.testing.assert_allclose(made.theta[0], here, rtol=1e-8)

    def mean(theta):
        r = np.abs(predict(chinchilla, theta, {k: np.exp(x) for k, x in zip("nd", problem.x, strict=True)}) - problem.y)
        return float(np.mean(np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 5e-4))))

    stopped = scipy.optimize.minimize(mean, start, method="L-BFGS-B")
    assert stopped.success
    assert 40 * stopped.fun > 1.01 * found.objective


def test_2_published_constants_keep_their_digits():
    """Rounded as in the text of the paper, the same law puts a fifth fewer parameters into Gopher's budget."""
    assert all(round(v, 6) != round(v, 2) for v in hoffmann.PUBLISHED.values())
    assert n_opt(hoffmann.PUBLISHED, 5.88e23) == pytest.approx(4.0743e10, rel=1e-4)
    assert n_opt(hoffmann.ROUNDED, 5.88e23) == pytest.approx(3.2491e10, rel=1e-4)


def test_3_centred_logs_condition_the_problem_and_most_starts_arrive():
    data = runs()
    found = fit(chinchilla, data)
    problem = centre(Question(chinchilla, delta=LOG_MSE), data)
    here = chinchilla.rescale(found.theta, problem.units, sign=-1.0)
    centred = problem.solve(problem.y[None], np.ones((1, 40)), here[None]).hessian[0]
    to_raw = np.stack(  # d centred / d published: what fitting A and B themselves would see
        [chinchilla.rescale(chinchilla.free({**found.params, name: v * (1 + 1e-6)}), problem.units, sign=-1.0) - here
         for name, v in found.params.items()], 1
    ) / (1e-6 * np.array(list(found.params.values())))  # fmt: skip
    assert np.linalg.cond(to_raw.T @ centred @ to_raw) > 1e4 * np.linalg.cond(centred)
    assert found.certificate.starts_at_optimum > 0.5


def test_4_a_delta_of_one_is_least_squares_and_the_default_is_not():
    data = runs()
    robust, one, squares = (
        fit(chinchilla, data),
        fit(Question(chinchilla, delta=1.0), data),
        fit(Question(chinchilla, delta=LOG_MSE), data),
    )
    assert robust.question.delta == 1e-3
    assert one.params["alpha"] == pytest.approx(squares.params["alpha"], rel=1e-9)
    assert abs(robust.params["alpha"] - squares.params["alpha"]) > 1e-4


def test_5_the_space_of_the_residuals_is_log_loss_and_is_said(monkeypatch):
    """Errors in proportion to the loss: on log loss the fit is the same in any unit, on loss it would not be."""
    only_the_fit(monkeypatch)
    found = analyse(table(runs()), draws=20, thorough=False)
    assert fitfile.as_json(found)["space"] == "log loss"
    np.testing.assert_allclose(
        found.fit.residuals,
        np.log(found.columns["loss"]) - np.log(chinchilla(found.fit.params, *map(found.columns.get, "nd"))),
    )


@pytest.mark.slow
def test_6_a_few_rows_that_decide_the_exponent_are_named(monkeypatch):
    only_the_fit(monkeypatch, influence=True)
    data = runs(noise=0.002)
    smallest = np.argsort(data["d"])[:5]
    data["loss"][smallest] *= 1.15
    found = analyse(table(data), draws=200)
    assert any("outlier-sensitive" in sentence for sentence in found.warnings)
    assert not any("outlier-sensitive" in s for s in analyse(table(runs(noise=0.002)), draws=200).warnings)


@pytest.mark.slow
def test_7_every_way_of_counting_is_shown_side_by_side(monkeypatch):
    """N without embeddings steepens a; a C that grows faster than N D makes a + b differ from 1."""
    only_the_fit(monkeypatch, influence=True)
    data = runs(noise=0.0)
    inner = data["n"] - 40 * data["n"] ** (2 / 3) * 0.5
    flops = c_6nd(data["n"], data["d"]) * (data["n"] / 1e8) ** -0.1
    made = table(data, params_non_embedding=inner, flops_train=flops)
    rows = {(row["n"], row["c"]): row for row in analyse(made, draws=20).conventions}
    assert rows["non_embedding", "6 n d"]["a"] > rows["total", "6 n d"]["a"] + 0.005
    other = rows["total", "flops_train"]
    alpha, beta = TRUTH["alpha"], TRUTH["beta"]
    assert other["a"] == pytest.approx(beta / (alpha + 0.9 * beta), rel=1e-6)
    assert other["a"] + other["b"] > 1.01
    assert rows["total", "6 n d"]["a"] + rows["total", "6 n d"]["b"] == pytest.approx(1.0)


def test_8_six_n_d_does_not_overflow():
    n, d = np.array([6_900_000_000]), np.array([138_000_000_000])
    assert c_6nd(n, d)[0] == pytest.approx(6.0 * 6.9e9 * 1.38e11, rel=1e-15)
    entry = {"params_total": 6_900_000_000, "tokens_seen": 138_000_000_000, "loss": 2.0}
    huge = readers.from_rows([{**entry, "flops": 6 * 6_900_000_000 * 138_000_000_000}])
    assert huge.columns["flops"][0] == pytest.approx(5.7132e21)


@pytest.mark.slow
def test_9_checkpoints_of_a_run_are_redrawn_with_it(monkeypatch):
    only_the_fit(monkeypatch)
    data = {name: np.repeat(v, 5) for name, v in runs().items()}
    data["d"] = data["d"] * np.tile(1 + np.arange(5) / 1e3, 40)  # the same at every step would be a total
    made = table(data, run=np.repeat([f"r{i}" for i in range(40)], 5), step=np.tile(np.arange(5.0), 40))
    assert analyse(made, draws=20, thorough=False).draws.method == "cluster"


def test_10_a_minimum_at_the_edge_is_refused():
    c = np.repeat(np.geomspace(1e18, 1e21, 4), 7)
    n = n_opt(TRUTH, c) * np.tile(np.geomspace(0.02, 0.9, 7), 4)
    columns = {"n": n, "d": c / (6 * n), "loss": chinchilla(TRUTH, n, c / (6 * n)), "budget": c}
    with pytest.raises(ValueError, match="add sizes above"):
        isoflop.profiles(columns)


def test_11_weights_are_inverse_variances():
    """Two exact points and one far off with a hundred times the deviation: the line stays on the exact ones."""
    c, n = np.array([1e18, 1e20, 1e22]), np.array([1e8, 1e9, 1e10])
    off = n * np.array([1.0, 1.0, 2.0])
    sd = np.array([0.01, 0.01, 1.0])
    assert slope(c, off, weights=1 / sd**2) == pytest.approx(0.5, abs=1e-3)
    assert slope(c, off, weights=sd**2) > 0.57  # the mistake


@pytest.mark.slow
def test_12_runs_that_are_mostly_warmup_are_not_designed():
    from train import configs

    module = configs.load("configs/scaling/scaling_demo.py")
    config = configs.config_of(module, [])
    made = informative.informative(module, config, 1e12, points=12)
    assert min(run.overrides["steps"] for run in made.runs) >= 4 * config.schedule.warmup
    assert sum(run.flops for run in made.runs) <= 1e12


@pytest.mark.parametrize("values", [2, 3])
def test_13_too_few_sizes_are_refused_or_said(values):
    n, d = (v.ravel() for v in np.meshgrid([1e7, 1e8, 1e9][:values], np.geomspace(1e9, 1e11, 6)))
    made = table({"n": n, "d": d, "loss": chinchilla(TRUTH, n, d)})
    if values == 2:
        with pytest.raises(ValueError, match=r"n takes 2 values.* add runs until n takes at least 3"):
            analyse(made, draws=20, thorough=False)
    else:
        assert any("N takes only 3 values" in s for s in analyse(made, draws=20, thorough=False).warnings)


def test_14_losses_of_different_tokenizers_are_not_mixed_silently(monkeypatch):
    only_the_fit(monkeypatch)
    data = runs()
    made = table(data, tokenizer=np.where(data["n"] > 1e8, "bytes", "bpe:32000"))
    (sentence,) = [s for s in analyse(made, draws=20, thorough=False).warnings if "tokenizer" in s]
    assert "per token are not comparable" in sentence
    assert "--filter" in sentence
    assert math.isfinite(d_opt(TRUTH, 1e20))
