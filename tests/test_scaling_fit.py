"""The fit against planted laws, SciPy's optimisers, invariances, and published fits of published data."""

import csv
import json
import math
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from scaling import budgets, laws
from scaling.analyse import analyse
from scaling.approaches import isoflop
from scaling.fit import intervals, solver
from scaling.fit.backtest import backtest, by_horizon, heldout
from scaling.fit.discrepancy import Prior, bounded, learn, standard_error
from scaling.fit.estimate import centre, fit
from scaling.fit.flags import design_flags, flags, frontier
from scaling.fit.intervals import bca, bootstrap, constants, interval, quantiles, undefined
from scaling.fit.profile import profile
from scaling.fit.question import LOG_MSE, Question
from scaling.fit.solver import solve
from scaling.laws import LAWS, chinchilla
from scaling.laws.kaplan import kaplan_d, kaplan_n
from scaling.logs import readers, records
from tests.support.planted import NAMES, TRUTH, covered, design, only_the_fit
from train.errors import UserError

OTHER = {"E": 2.1, "A": 213.0, "B": 5.0e6, "alpha": 0.29, "beta": 0.71}  # a steep law, like that of Gemstones


def columns(truth=TRUTH, noise=0.0, seed=0, sizes=5, **shape):
    runs = design(sizes, **shape)
    errors = noise * np.random.default_rng(seed).standard_normal(runs["n"].size)
    budget = np.repeat(np.unique(np.round(np.log(6 * runs["n"] * runs["d"]), 6)), sizes)
    return {
        **runs,
        "loss": chinchilla(truth, runs["n"], runs["d"]) * np.exp(errors),
        "budget": np.exp(budget),
    }


@pytest.mark.parametrize("truth", [TRUTH, OTHER], ids=["hoffmann", "steep"])
@pytest.mark.parametrize("delta", [1e-3, LOG_MSE])
def test_noise_free_runs_give_back_all_five_constants(truth, delta):
    found = fit(Question(chinchilla, delta=delta), columns(truth))
    for name, value in truth.items():
        assert found.params[name] == pytest.approx(value, rel=1e-6), name
    assert flags(found) == []
    assert not jax.config.jax_enable_x64
    assert jnp.asarray(1.0).dtype == jnp.float32  # whatever trains beside the fit keeps its precision


@pytest.mark.parametrize(("law", "name"), [(kaplan_n, "n"), (kaplan_d, "d")], ids=["N", "D"])
def test_noise_free_power_laws(law, name):
    constant, exponent = law.names
    x = np.geomspace(1e6, 1e9, 8)
    found = fit(law, {name: x, "loss": (8.8e13 / x) ** 0.076})
    assert found.params[constant] == pytest.approx(8.8e13, rel=1e-6)
    assert found.params[exponent] == pytest.approx(0.076, rel=1e-6)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch):
    """Two hundred sweeps with 0.5 % noise; scripts/check/coverage.py has more sweeps, seeds and designs."""
    monkeypatch.setattr(solver, "FEWEST", 32)  # so many fits of 25 rows are worth a program of their own
    hits = covered(25, "residual", trials=200, draws=200, seed=3)
    for name, share in zip(NAMES, hits.constants.mean(0), strict=True):
        assert 0.93 <= share <= 0.97, f"the 95 % interval of {name} held the truth in {share:.1%} of 200 sweeps"
    assert 0.85 <= hits.ahead.mean() <= 0.95, "one more run at ten times the compute: 90 %, sd 2 %"


def huber(params, data, delta):
    """The objective as Hoffmann et al. 2022 write it (equation 3), in raw units and NumPy."""
    E, A, B, alpha, beta = (params[name] for name in ("E", "A", "B", "alpha", "beta"))
    with np.errstate(over="ignore"):  # a simplex may try any exponent; what is divided by infinity is 0
        r = np.log(data["loss"]) - np.log(E + A / data["n"] ** alpha + B / data["d"] ** beta)
    size = np.abs(r)
    return float(np.sum(np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))))


def named(x):
    return {"E": math.exp(x[0]), "A": math.exp(x[1]), "B": math.exp(x[2]), "alpha": x[3], "beta": x[4]}


def fast_huber(data, delta):
    """`huber` over `delta`, of the five numbers that `named` names: in logs, for those who ask ten thousand times."""
    n, d, loss = (np.log(data[name]) for name in ("n", "d", "loss"))

    def objective(x):
        size = np.abs(loss - np.log(np.exp(x[0]) + np.exp(x[1] - x[3] * n) + np.exp(x[2] - x[4] * d)))
        least = np.minimum(size, delta)
        return float(least @ (size - 0.5 * least)) / delta

    return objective


def test_the_second_order_part_of_a_step_is_what_residuals_bend_along_it():
    theta, change = jnp.array([[0.3], [-0.2]]), jnp.array([[0.5], [0.7]])
    x, weights = jnp.array([[0.1], [0.9], [2.0]]), jnp.array([[1.0], [2.0], [1.0]])
    residual = lambda at: at[0][None] * x + jnp.exp(at[1][None] * x) - 0.9
    bent = x**2 * jnp.exp(theta[1][None] * x) * change[1][None] ** 2
    inside = jnp.array([[1.0], [1.0], [0.0]])  # the residuals are 0.11, 0.21 and 0.37
    slopes = jnp.stack([x, x * jnp.exp(theta[1][None] * x)])
    expected = (slopes * (weights * inside * bent)[None]).sum(1)
    np.testing.assert_allclose(solver._bow(residual, theta, change, weights, 0.3), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("delta", [1e-3, 1e-2])
def test_no_scipy_optimiser_finds_less(delta):
    data = columns(noise=0.005)
    found = fit(Question(chinchilla, delta=delta), data)
    assert huber(found.params, data, delta) == pytest.approx(found.objective, rel=1e-9)
    objective = fast_huber(data, delta)
    E, A, B, alpha, beta = (found.params[name] for name in ("E", "A", "B", "alpha", "beta"))
    here = [math.log(E), math.log(A), math.log(B), alpha, beta]
    assert objective(here) * delta == pytest.approx(found.objective, rel=1e-9)
    limits = {"maxiter": 20_000, "maxfev": 20_000}
    best = math.inf
    for x in ([0.5, 6, 6, 0.3, 0.3], [0, 5, 5, 0.5, 0.5], [0.7, 8, 5, 0.4, 0.25]):
        for method, tolerances in (
            ("Nelder-Mead", {"xatol": 1e-10, "fatol": 1e-15}),
            ("Powell", {"xtol": 1e-9, "ftol": 1e-14}),
            ("Nelder-Mead", {"xatol": 1e-10, "fatol": 1e-15}),
        ):
            with np.errstate(over="ignore"):  # a simplex may try any exponent
                x = scipy.optimize.minimize(objective, x, method=method, options=limits | tolerances).x
        best = min(best, objective(x) * delta)
    assert found.objective <= best * (1 + 1e-9)
    assert best <= found.objective * 1.02  # and SciPy comes close: the two solve the same problem


def test_least_squares_agrees_with_scipy():
    data = columns(noise=0.005)
    found = fit(Question(chinchilla, delta=LOG_MSE), data)
    residual = lambda x: np.log(data["loss"]) - np.log(chinchilla(named(x), data["n"], data["d"]))
    other = scipy.optimize.least_squares(
        residual, [0.5, 6, 6, 0.34, 0.28], xtol=1e-15, ftol=1e-15, gtol=1e-15, x_scale="jac"
    )
    for name, value in named(other.x).items():
        assert found.params[name] == pytest.approx(value, rel=1e-5)


def test_the_answer_does_not_depend_on_units_of_n_and_d():
    data = columns(noise=0.005)
    one = fit(chinchilla, data)
    two = fit(chinchilla, {**data, "n": data["n"] / 1e6, "d": data["d"] / 1e9})
    assert two.params["E"] == pytest.approx(one.params["E"], rel=1e-9)
    assert two.params["A"] == pytest.approx(one.params["A"] / 1e6 ** one.params["alpha"], rel=1e-8)
    assert two.params["B"] == pytest.approx(one.params["B"] / 1e9 ** one.params["beta"], rel=1e-8)


def test_the_answer_does_not_depend_on_units_of_loss():
    """Nats or bits: E, A and B scale, exponents stay."""
    data = columns(noise=0.005)
    one, two = fit(chinchilla, data), fit(chinchilla, {**data, "loss": data["loss"] / math.log(2)})
    for name in ("E", "A", "B"):
        assert two.params[name] * math.log(2) == pytest.approx(one.params[name], rel=1e-8)
    assert two.params["alpha"] == pytest.approx(one.params["alpha"], rel=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_answer_does_not_depend_on_the_scale_of_the_objective(scale):
    """The mean of the Huber losses instead of their sum stops other optimisers where they start."""
    data = columns(noise=0.005)
    one = fit(chinchilla, data)
    problem = centre(chinchilla, data)
    here = chinchilla.rescale(one.theta, problem.units, sign=-1.0)
    starts = here + 0.1 * np.random.default_rng(0).standard_normal((8, 5))
    y = problem.y[None]
    two = solve(chinchilla.predict, problem.x, y, np.full_like(y, scale), starts, 1e-3)
    np.testing.assert_allclose(two.objective.min(), scale * one.objective, rtol=1e-12)
    np.testing.assert_allclose(two.theta[two.objective.argmin()], here, rtol=1e-8)


def test_order_of_rows_and_repeats():
    data = columns(noise=0.005)
    order = np.random.default_rng(0).permutation(25)
    one = fit(chinchilla, data)
    assert fit(chinchilla, {k: v[order] for k, v in data.items()}).params["E"] == pytest.approx(
        one.params["E"], rel=1e-9
    )
    twice = fit(chinchilla, {k: np.tile(v, 2) for k, v in data.items()})
    assert twice.objective == pytest.approx(2 * one.objective, rel=1e-9)
    assert twice.params["alpha"] == pytest.approx(one.params["alpha"], rel=1e-8)


def test_a_constant_added_to_the_loss_moves_only_the_floor():
    data = columns()
    one, two = fit(chinchilla, data), fit(chinchilla, {**data, "loss": data["loss"] + 1.0})
    assert two.params["E"] == pytest.approx(one.params["E"] + 1.0, rel=1e-6)
    assert two.params["A"] == pytest.approx(one.params["A"], rel=1e-5)


def test_huber_resists_an_outlier_that_moves_least_squares():
    data = columns(noise=0.001)
    data["loss"][7] *= 1.3
    robust, squares = fit(chinchilla, data), fit(Question(chinchilla, delta=LOG_MSE), data)
    assert abs(robust.params["alpha"] - 0.34) < 0.01 < abs(squares.params["alpha"] - 0.34)


def test_intervals_of_least_squares_on_a_line_are_students():
    """Kaplan's law is a line in logs, for which the exact interval is known."""
    rng = np.random.default_rng(1)
    x = np.geomspace(1e6, 1e9, 12)
    data = {"n": x, "loss": (8.8e13 / x) ** 0.076 * np.exp(0.01 * rng.standard_normal(12))}
    found = fit(Question(kaplan_n, delta=LOG_MSE), data)
    line = scipy.stats.linregress(np.log(x), np.log(data["loss"]))
    half = line.stderr * scipy.stats.t.ppf(0.975, 10)
    low, high = interval(bootstrap(found, draws=4000).params["alpha_N"], 0.95)
    assert found.params["alpha_N"] == pytest.approx(-line.slope, rel=1e-9)
    assert (low + high) / 2 == pytest.approx(-line.slope, abs=0.15 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)


@pytest.mark.slow
def test_heldout_leaves_the_largest_budget_out_of_the_fit():
    data = columns(noise=0.005)
    held = heldout(chinchilla, data, draws=200)
    largest = data["budget"] == data["budget"].max()
    assert held.fit.residuals.size == 20
    assert held.fit.columns["budget"].max() < data["budget"].max()
    assert held.isoflop
    profiles = isoflop.profiles(data, draws=0)  # of which the optimum is a forecast
    assert held.best.measured == pytest.approx(profiles.minima[-1].loss, rel=1e-9)
    assert held.best.predicted == pytest.approx(laws.l_opt(held.fit.params, held.budget))
    assert held.relative_error == held.best.predicted / held.best.measured - 1
    assert held.best.interval[0] < held.best.interval[1]
    moved = {**data, "loss": np.where(largest, data["loss"] * 1.1, data["loss"])}
    again = heldout(chinchilla, moved, draws=200)
    assert again.best.predicted == held.best.predicted
    assert not again.best.inside
    assert again.relative_error < held.relative_error


def test_runs_of_no_budget_are_judged_by_their_mean():
    """The best of scattered runs is the luckiest too: its error is no forecast's."""
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(17, 23, 80)), np.exp(rng.uniform(21, 26, 80))
    data = {"n": n, "d": d, "loss": chinchilla(TRUTH, n, d) * np.exp(0.005 * rng.standard_normal(80))}
    held = heldout(chinchilla, {**data, "budget": budgets.group(6 * n * d)}, draws=100)
    assert not held.isoflop
    assert held.relative_error == pytest.approx(np.mean([run.relative_error for run in held.runs]))
    assert len(held.runs) >= 3


def test_a_true_law_forecasts_exactly():
    held = heldout(chinchilla, columns(), draws=50)
    assert held.best.predicted == pytest.approx(laws.l_opt(TRUTH, held.budget), rel=1e-6)
    windows = backtest(chinchilla, columns(), draws=0)
    assert max(np.abs(window.error).max() for window in windows) < 1e-4
    assert [window.fitted for window in windows] == [10, 15, 20]
    assert all((window.reach > 1).all() for window in windows)


def test_forecasts_are_sorted_by_how_far_ahead_they_were():
    windows = backtest(chinchilla, columns(noise=0.005), draws=100)
    rows = by_horizon(windows)
    assert sum(row["forecasts"] for row in rows) == sum(window.rows.size for window in windows)
    assert {row["horizon"] for row in rows} <= {"1 octave", "2 octaves", "3 octaves", "1 decade", "further"}
    assert all(0.0 <= row["coverage"] <= 1.0 and row["rms_error"] >= abs(row["mean_error"]) for row in rows)


def test_discrepancy_is_the_posterior_of_a_prior_and_the_cutoffs_seen():
    """Scaled inverse chi-squared: each cutoff is half a degree of freedom, however many budgets it forecast."""
    prior = Prior(ratio=2.0, freedom=2.0, power=1.0, least=0.1, bound=0.1)
    past = [[(0.01, 2.0), (-0.03, 4.0)], [(0.02, 2.0)]]
    off = learn(past, 0.005, prior)
    seen = [((0.01 / np.log(2)) ** 2 + (0.03 / np.log(4)) ** 2) / 2, (0.02 / np.log(2)) ** 2]
    assert off.freedom == 3.0
    assert off.scale == pytest.approx(np.sqrt((2 * 0.01**2 + sum(seen) / 2) / 3))
    drawn = off.draw(np.array([2.0, 8.0, 0.5]), 10_001)
    expected = scipy.stats.t.ppf([0.05, 0.25, 0.75, 0.95], 3) * off.scale * np.log(2.0)
    np.testing.assert_allclose(np.quantile(drawn[:, 0], [0.05, 0.25, 0.75, 0.95]), expected, rtol=2e-3)
    np.testing.assert_allclose(drawn[:, 1], 3 * drawn[:, 0])
    np.testing.assert_allclose(drawn[:, 2], 0.1 / np.log(2.0) * drawn[:, 0])
    assert learn([], 0.005, prior).scale == pytest.approx(0.01)


def test_errors_of_runs_are_larger_than_residuals_of_few():
    """Least squares of a straight line on 4 rows: two degrees of freedom are left of the errors' four."""
    x = np.stack([np.ones(4), np.arange(4.0)], 1)
    errors = np.random.default_rng(0).normal(0, 0.3, (20_000, 4))
    left = errors - errors @ np.linalg.pinv(x).T @ x.T
    found = [standard_error(row, 2) for row in left]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(0.3, rel=0.02)


def test_draws_that_ran_off_are_bounded_and_others_are_left_alone():
    prior = Prior(ratio=1.0, freedom=2.0, power=1.0, least=0.1, bound=0.1)
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(0.7, 0.01, 2000), rng.normal(0.7, 50.0, 2000)
    lost = np.where(rng.random(2000) < 0.2, np.inf, 0.7)
    made = bounded(np.stack([narrow, wide, lost], 1), np.full(3, 0.7), np.full(3, 4.0), 0.01, prior)
    np.testing.assert_allclose(made[:, 0], narrow)
    most = np.hypot(0.013, 0.1 * np.log(4.0))
    assert np.diff(np.quantile(made[:, 1], (0.05, 0.95)))[0] / 3.29 == pytest.approx(most)
    assert np.isfinite(made).all()
    assert made[:, 2].max() == pytest.approx(0.7 + most)
    plain = bounded(wide[:, None] * 10, np.array([7.0]), np.array([4.0]), 0.0, prior, logs=False)
    width = np.diff(np.quantile(plain, (0.05, 0.95)))[0] / 3.29
    assert width == pytest.approx(0.1 * np.log(4.0) * 7)  # outside of logs a part of what is expected


def test_a_law_that_bends_away_widens_its_own_forecast():
    """Losses that fall 1 % faster at each budget than the law can: the forecast errs, and its interval says so."""
    data = columns(noise=0.002)
    rank = np.searchsorted(np.unique(data["budget"]), data["budget"])
    bent = {**data, "loss": data["loss"] * np.exp(-0.01 * np.maximum(0, rank - 1) ** 1.5)}
    held = heldout(chinchilla, bent, draws=400)
    assert len(held.past) == 2
    assert abs(held.relative_error) > 0.005
    assert held.best.inside


def test_bca_of_symmetric_draws_is_the_percentile_interval_and_shifts_with_their_bias():
    rng = np.random.default_rng(0)
    draws, left = rng.standard_normal(40_000), rng.standard_normal(60)
    left = np.r_[left, -left]  # no skewness: no acceleration
    np.testing.assert_allclose(bca(draws, 0.0, left, 0.9), interval(draws, 0.9), atol=0.05)
    low, high = bca(draws, 0.3, left, 0.9)
    bias = scipy.stats.norm.cdf(0.3)
    expected = scipy.stats.norm.ppf(scipy.stats.norm.cdf(2 * scipy.stats.norm.ppf(bias) + np.array([-1.6449, 1.6449])))
    np.testing.assert_allclose((low, high), expected, atol=0.08)


def test_profile_of_least_squares_on_a_line_is_students():
    rng = np.random.default_rng(1)
    x = np.geomspace(1e6, 1e9, 12)
    data = {"x": x, "loss": 50 * x**-0.076 * np.exp(0.01 * rng.standard_normal(12))}
    found = fit(Question(LAWS["m1"], delta=LOG_MSE), data)
    line = scipy.stats.linregress(np.log(x), np.log(data["loss"]))
    half = line.stderr * scipy.stats.t.ppf(0.975, 10)
    low, high = profile(found, 0.95)["c"]
    assert (low, high) == (
        pytest.approx(line.slope - half, abs=5e-3 * half),
        pytest.approx(line.slope + half, abs=5e-3 * half),
    )
    half = line.intercept_stderr * scipy.stats.t.ppf(0.975, 10)
    low, high = np.log(profile(found, 0.95)["b"])
    assert high - low == pytest.approx(2 * half, rel=5e-3)


@pytest.mark.slow
def test_profile_agrees_with_the_bootstrap():
    found = fit(chinchilla, columns(noise=0.005, sizes=10))
    one, two = profile(found, 0.9), constants(bootstrap(found, draws=600), 0.9)
    for name in ("E", "alpha", "beta", "a"):
        assert one[name][0] < found.params.get(name, found.derived.get(name)) < one[name][1]
        assert 0.5 < np.ptp(one[name]) / np.ptp(two[name]) < 1.6, name


@pytest.mark.slow
def test_checkpoints_of_one_run_are_redrawn_together():
    """Ten checkpoints that share their run's error are one observation: the interval is that of the runs alone."""
    data = columns(noise=0.005, sizes=8)
    repeated = {name: np.repeat(v, 10) for name, v in data.items()}
    run = np.repeat(np.arange(40), 10)
    one = bootstrap(fit(chinchilla, data), draws=400, method="pairs")
    two = bootstrap(fit(chinchilla, repeated), draws=400, run=run)
    naive = bootstrap(fit(chinchilla, repeated), draws=400, method="pairs")
    assert two.method == "cluster"
    with pytest.raises(UserError, match="every row is a run of its own"):
        bootstrap(fit(chinchilla, data), draws=20, method="cluster")
    width = lambda draws: np.ptp(constants(draws, 0.9)["alpha"])
    assert width(two) == pytest.approx(width(one), rel=0.15)
    assert width(naive) < 0.6 * width(two)


def test_exponents_can_be_tied_and_constants_pinned():
    truth = {**TRUTH, "beta": 0.34}
    data = columns(truth)
    tied = fit(Question(chinchilla, tie={"beta": "alpha"}), data)
    assert tied.params["alpha"] == tied.params["beta"] == pytest.approx(0.34, rel=1e-6)
    pinned = fit(Question(chinchilla, pin={"E": 1.69}), columns(noise=0.005))
    assert pinned.params["E"] == pytest.approx(1.69, rel=1e-12)
    free = fit(chinchilla, columns(noise=0.005))
    assert free.objective <= pinned.objective
    exact = fit(Question(chinchilla, pin={"E": 1.69, "A": 406.4, "alpha": 0.34}), columns())
    assert exact.params["B"] == pytest.approx(410.7, rel=1e-6)
    with pytest.raises(ValueError, match=r"A has the unit loss · n\^alpha, so it can be pinned only along with"):
        fit(Question(chinchilla, pin={"A": 406.4}), data)
    with pytest.raises(ValueError, match="has no parameter 'gamma'"):
        fit(Question(chinchilla, pin={"gamma": 1.0}), data)
    with pytest.raises(ValueError, match="E cannot be tied to alpha"):
        fit(Question(chinchilla, tie={"E": "alpha"}), data)


def test_the_certificate_says_what_other_minima_there_are():
    certificate = fit(chinchilla, columns(noise=0.005)).certificate
    assert certificate.gradient_norm < 1e-12
    assert certificate.invariance < 1e-8
    assert certificate.hessian_condition == pytest.approx(certificate.eigenvalues[0] / certificate.eigenvalues[-1])
    assert min(certificate.eigenvalues) > 0
    assert all(other["above"] > 0 for other in certificate.other_minima)


@pytest.mark.slow
def test_many_rows_need_no_more_memory_than_they_are():
    """Thirty thousand rows: the starts see a sample, the optimum all of them, and a resample is one step."""
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(17, 23, 30_000)), np.exp(rng.uniform(21, 26, 30_000))
    data = {"n": n, "d": d, "loss": chinchilla(TRUTH, n, d) * np.exp(0.005 * rng.standard_normal(n.size))}
    found = fit(chinchilla, data, certify=False)
    assert found.params["alpha"] == pytest.approx(0.34, abs=0.002)
    low, high = constants(bootstrap(found, draws=50), 0.9)["alpha"]
    assert 1e-5 < high - low < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [False, True], ids=["runs", "runs with checkpoints"])
def test_beyond_many_runs_resamples_are_drawn_from_their_normal_limit(monkeypatch, clustered):
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(17, 23, 3000)), np.exp(rng.uniform(21, 26, 3000))
    run = np.arange(3000) // 3 if clustered else None
    together = 0.005 * rng.standard_normal(1000)[np.arange(3000) // 3] * clustered
    errors = together + 0.005 * rng.standard_normal(3000)
    found = fit(chinchilla, {"n": n, "d": d, "loss": chinchilla(TRUTH, n, d) * np.exp(errors)}, certify=False)
    counted = bootstrap(found, draws=2000, run=run).theta
    monkeypatch.setattr(intervals, "GAUSSIAN", 900)
    drawn = bootstrap(found, draws=2000, run=run).theta
    assert np.all(np.abs(drawn.mean(0) - counted.mean(0)) < 0.1 * counted.std(0))
    sd = counted.std(0)
    assert np.all(np.abs(np.cov(drawn.T) - np.cov(counted.T)) < 0.1 * np.outer(sd, sd))


def test_frontier_is_the_lower_staircase():
    x, loss = np.array([1.0, 1, 2, 3, 3, 4]), np.array([5.0, 4, 4.5, 3, 3.5, 2])
    np.testing.assert_array_equal(frontier(x, loss), [1, 3, 5])


REFUSED = {
    "few runs": (lambda c: {k: v[:5] for k, v in c.items()}, "5 rows cannot fit the 5 parameters"),
    "one size": (lambda c: {**c, "n": np.full(25, 1e8)}, "n takes 1 value, .* add runs until n takes at least 3"),
    "two sizes": (lambda c: {**c, "n": np.where(c["n"] > 1e8, 2e8, 1e8)}, "n takes 2 values"),
    "D/N fixed": (lambda c: {**c, "d": 20 * c["n"]}, "n and d move together in every row"),
    "no loss": (lambda c: {**c, "loss": np.where(c["n"] > 1e8, np.nan, c["loss"])}, "loss of row .* is nan"),
    "zero tokens": (lambda c: {**c, "d": c["d"] * 0}, "d of row 0 is 0"),
}


@pytest.mark.parametrize(("change", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_identified_is_refused_with_the_remedy(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        fit(chinchilla, change(columns()))


def test_a_floor_that_runs_to_zero_is_said():
    found = fit(chinchilla, columns({**TRUTH, "E": 1e-12}))
    assert any("E ran to zero" in sentence for sentence in flags(found))
    assert found.params["E"] == 0.0
    assert found.certificate.at_zero == ("E",)
    assert found.certificate.hessian_condition < 1e6  # of what is left: E is no direction any more


def test_resamples_that_run_off_are_counted_and_stand_at_the_end_of_the_order():
    sample = bootstrap(fit(chinchilla, columns(noise=0.005)), draws=50)
    assert undefined(sample) == []
    theta = sample.theta.copy()
    theta[:3, 1], theta[2:5, 3] = 800.0, np.nan  # A beyond float64; an exponent that is no number
    off = sample._replace(theta=theta)
    (sentence,) = undefined(off)
    assert sentence.startswith("5 of 50 resamples")
    assert quantiles([1.0, 2.0, 3.0, np.inf], (0.2, 0.8)) == (1.0, np.inf)
    ends = constants(off, 0.8)
    assert np.isfinite(ends["alpha"]).all()
    assert constants(off, 0.999)["A"][1] == np.inf


def test_minima_at_the_edge_are_said():
    data = columns()
    assert design_flags(chinchilla, data) == []
    small = {k: v[data["n"] < 1.2 * laws.n_opt(TRUTH, data["budget"])] for k, v in data.items()}
    (sentence,) = design_flags(chinchilla, small)
    assert sentence.count("(the largest)") == 5
    assert "add sizes beyond it" in sentence


def test_too_few_sizes_are_said():
    n, d = np.meshgrid([1e7, 3e7, 9e7], np.geomspace(1e9, 1e11, 6))
    data = {"n": n.ravel(), "d": d.ravel(), "loss": chinchilla(TRUTH, n, d).ravel()}
    sentences = design_flags(chinchilla, {**data, "budget": 6 * data["n"] * data["d"]})
    assert any("N takes only 3 values" in sentence for sentence in sentences)


def test_the_count_of_n_moves_the_exponents_and_is_the_callers(monkeypatch):
    """Runs whose N leaves out a constant part of the network: exact with the N that made them, another law without."""
    only_the_fit(monkeypatch)
    data = columns()
    rows = [
        {"params_total": n, "params_non_embedding": n - 3e6, "tokens_seen": d, "loss": loss}
        for n, d, loss in zip(data["n"], data["d"], data["loss"], strict=True)
    ]
    table = readers.from_rows(rows)
    total = analyse(records.assign(table), draws=50, thorough=False)
    inner = analyse(records.assign(table, count="non_embedding"), draws=50, thorough=False)
    assert total.fit.params["alpha"] == pytest.approx(0.34, rel=1e-6)
    assert inner.fit.params["alpha"] < 0.33


# Published data are read in place: the folder is not part of this project.
REFERENCE = os.environ.get("ISOFLOP_REFERENCE_DATA", "")
published = pytest.mark.skipif(
    not REFERENCE, reason="ISOFLOP_REFERENCE_DATA does not name the folder of published data"
)


def epoch(rows):
    """Hoffmann et al. 2022, figure 4, as read off by Besiroglu et al. 2024; D = C / 6 N."""
    with (pathlib.Path(REFERENCE) / "epoch_chinchilla/svg_extracted_data.csv").open() as file:
        table = list(csv.DictReader(file))
    n, c, loss = (np.array([float(row[k]) for row in table]) for k in ("Model Size", "Training FLOP", "loss"))
    keep = loss < np.sort(loss)[-5] if rows == 240 else np.full(loss.size, True)
    return {"n": n[keep], "d": c[keep] / (6 * n[keep]), "loss": loss[keep]}


@published
def test_the_true_optimum_of_the_chinchilla_points():
    found = fit(chinchilla, epoch(240))
    assert found.objective <= 1.0182740178e-3 * (1 + 1e-9)
    assert abs(found.params["alpha"] - 0.3473105) < 1e-6
    assert found.params["A"] == pytest.approx(477.8258, abs=1e-3)
    assert found.params["B"] == pytest.approx(2143.417, abs=1e-2)
    assert laws.n_opt(found.params, 5.88e23) == pytest.approx(7.397e10, rel=1e-3)


@published
def test_resampled_chinchilla_points_give_the_published_errors():
    """Besiroglu et al. 2024: their 4,000 resamples (NumPy's old generator, seed 42), their standard errors."""
    found = fit(chinchilla, epoch(240))
    problem = centre(chinchilla, found.columns)
    draw = np.random.RandomState(42)
    weights = np.stack([np.bincount(draw.choice(240, 240), minlength=240) for _ in range(4000)]).astype(float)
    start = np.tile(chinchilla.rescale(found.theta, problem.units, sign=-1.0), (4000, 1))
    made = problem.solve(problem.y[None], weights, start)
    assert made.gradient_norm.max() < 1e-9
    params = chinchilla.published(problem.raw(made.theta))
    errors = {"A": 124.52232, "B": 1293.28410, "E": 0.02566, "alpha": 0.01540, "beta": 0.02060}
    for name, error in errors.items():
        assert np.std(params[name]) == pytest.approx(error, rel=2e-3), name
    a = laws.a(params)
    assert (np.mean(a), np.std(a)) == (pytest.approx(0.51654, abs=1e-4), pytest.approx(0.01997, abs=1e-4))
    expected = [0.48047, 0.49137, 0.51587, 0.54278, 0.55611]
    np.testing.assert_allclose(np.quantile(a, [0.025, 0.1, 0.5, 0.9, 0.975]), expected, atol=2e-4)


def golden_rows(name):
    """The rows of an entry of golden_chinchilla_fits.json."""
    root = pathlib.Path(REFERENCE)
    if name.startswith("epoch"):
        return epoch(int(name.split("_")[1]))
    if name.startswith("gemstones"):
        path = root / f"gemstones/wandb_df_for_fitting_{name.removeprefix('gemstones_')}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        names = {"n": "params_active_precise", "d": "tokens", "loss": "final_loss"}
        return {k: np.array([row[v] for row in rows], np.float64) for k, v in names.items()}
    with (root / "misfitting/scaling_results_last_ckpt_only.csv").open() as file:
        rows = list(csv.DictReader(file))
    if "best_lr" in name:
        best = {}
        for row in sorted(rows, key=lambda row: float(row["loss"])):
            best.setdefault((row["N"], row["D"]), row)
        rows = list(best.values())
    names = {"n": "N_no_emb" if name.endswith("noemb") else "N", "d": "D", "loss": "loss"}
    return {k: np.array([float(row[v]) for row in rows]) for k, v in names.items()}


GOLDENS = [
    "epoch_240", "epoch_245", "epoch_240_delta0.0001", "epoch_240_delta0.01", "epoch_240_delta0.1", "gemstones_hot",
    "gemstones_cool_end", "gemstones_cool_begin", "gemstones_hot_100b+", "gemstones_hot_120b+_only",
    "gemstones_lr_ablation_hot", "gemstones_slim_chinchilla", "gemstones_hot_sampled_like_chinchilla",
    "misfitting_last_ckpt_all_lr", "misfitting_last_ckpt_best_lr", "misfitting_last_ckpt_best_lr_noemb",
]  # fmt: skip


@published
@pytest.mark.parametrize("name", GOLDENS)
def test_optima_of_published_data(name):
    golden = json.loads((pathlib.Path(REFERENCE) / "golden_chinchilla_fits.json").read_text())[name]
    data = golden_rows(name)
    assert data["loss"].size == golden["n"]
    found = fit(Question(chinchilla, delta=golden["delta"]), data)
    assert found.objective <= golden["huber_sum"] * (1 + 1e-9)
    for constant in ("E", "alpha", "beta"):
        assert found.params[constant] == pytest.approx(golden[constant], rel=1e-5, abs=1e-10), constant
