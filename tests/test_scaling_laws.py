"""Laws and counts against closed forms, published constants, and numerical optima."""

import dataclasses
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from models.api import from_linen
from models.gpt import GPT
from scaling import counting
from scaling.fit.estimate import centre, fit, predict
from scaling.fit.question import LOG_MSE, Question
from scaling.laws import LAWS, PUBLISHED, chinchilla, curves, downstream, hoffmann, kaplan, regimes
from scaling.laws.hoffmann import G, a, b, compute_for_loss, d_opt, l_opt, n_opt
from scaling.laws.optimum import compute_for_loss as compute_by_search
from scaling.laws.optimum import effective_parameters, input_for_loss, optimum
from train.errors import UserError

TEX, ROUNDED = hoffmann.PUBLISHED, hoffmann.ROUNDED
BUDGETS = np.geomspace(1e15, 1e25, 6)

# Four-digit addition (Caballero et al. 2022, figure 4 left): what a brute-force grid found, to six digits.
ADDITION = {"a": 0.413885, "b": 2.27727, "c0": 0.0550773, "c1": 5.66291, "d1": 612.584, "f1": 0.0591930}

# Constants that each law could have, published where there are any, to be found again from data without noise.
PLANTED = {
    "chinchilla": TEX,
    **kaplan.PUBLISHED,
    "henighan_n": {"L_inf": 1.6, "N_0": 4e7, "alpha_N": 0.25},
    "henighan_d": {"L_inf": 1.7, "D_0": 3e9, "alpha_D": 0.3},
    "henighan_c": {"L_inf": 1.7, "C_0": 1e17, "alpha_C": 0.16},
    "compute": {"L_inf": 1.6, "A": 95.18, "alpha": 0.0941},
    "constrained": regimes.PUBLISHED | {"beta": 0.31},
    "overtrained": {"E": 1.5, "a": 90.0, "b": 120.0, "eta": 0.13},
    "farseer": {
        "s": -0.021, "q": 0.169, "S": 0.091, "B": 88.01, "b": -0.1, "Q": -5.287, "A": -0.124, "a": 0.123, "E": 0.424
    },
    "precision": TEX | {"gamma": 2.6},
    "quantised": {"C_T": 0.06, "gamma_D": 0.53, "gamma_N": 0.34, "gamma_P": 0.55},
    **regimes.STEP_LAW,
    "m1": {"b": 40.0, "c": -0.15},
    "m2": {"e_inf": 1.7, "b": 900.0, "c": -0.35},
    "m3": {"b": 60.0, "gamma": 3e-9, "c": -0.18},
    "m4": {"e_inf": 1.5, "e_0": 11.0, "b": 60.0, "c": -0.3, "alpha": 0.7},
    "bnsl": ADDITION,
    "bnsl2": {
        "a": 0.3, "b": 40.0, "c0": 0.1, "c1": 0.35, "d1": 3e7, "f1": 0.3, "c2": -0.2, "d2": 2e9, "f2": 0.25
    },
    "power_mean": TEX | {"q": 1.8},
    "bounded": {
        "E": 1.7, "L_0": 10.8, "a": 60.0, "b": 120.0, "c": 0.04, "alpha": 0.34, "beta": 0.31, "gamma": 0.42,
        "delta": 0.39,
    },
    "efficiency": TEX | {"rho_N[second]": 1.4, "rho_D[second]": 0.8},
    "error": {"epsilon": 0.85, "k": 2.1, "gamma": 0.72},
    "accuracy": {"a": 0.65, "k": -5.0, "L_0": 0.9, "b": 0.27},
}  # fmt: skip

RANGES = {
    "n": (1e7, 2e10), "d": (5e8, 2e12), "c": (1e17, 1e23), "c_min": (1e-6, 1e3), "s_min": (1e3, 3e5), "p": (2.0, 12.0),
    "x": (1e6, 1e11), "group": (1.0, 2.0), "loss": (0.4, 3.0),
}  # fmt: skip
BY_LAW = {"bnsl": {"x": (100, 3000)}, "b_crit": {"loss": (2.0, 6.0)}, "kaplan_c": {"c": (1e-6, 1e3)}}
LEVELS = {1: [30], 2: [5, 6], 3: [4, 5, 4]}
BY_LEVELS = {"efficiency": [4, 5, 2]}


def design(law) -> dict[str, np.ndarray]:
    """Inputs of about thirty runs on a grid, and what the planted law makes of them."""
    ranges = RANGES | BY_LAW.get(law.name, {})
    counts = BY_LEVELS.get(law.name, LEVELS[len(law.inputs)])
    if "u" in law.inputs:
        n, d, u = np.meshgrid(np.geomspace(1e8, 2e10, 4), np.geomspace(1, 60, 6), [1e9, 1e11], indexing="ij")
        columns = {"n": n.ravel(), "d": (0.5 * d * u).ravel(), "u": u.ravel()}
    else:
        axes = [np.geomspace(*ranges[name], k) for name, k in zip(law.inputs, counts, strict=True)]
        columns = {name: v.ravel() for name, v in zip(law.inputs, np.meshgrid(*axes, indexing="ij"), strict=True)}
    return columns | {law.output: law(PLANTED[law.name], *columns.values())}


def rng_of(law) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(law.name.encode()))


every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


@every_law
def test_a_change_of_units_moves_no_prediction(law):
    """L' = rescale(L) at x' = x / unit is L in the output's new unit: every power in `Param.powers` is right."""
    rng, theta = rng_of(law), law.free(PLANTED[law.name])
    units = {name: rng.uniform(-3, 3) for name in (*law.inputs, law.output)}
    units |= {name: units[shared] if shared else 0.0 for name, shared in law.units.items()}
    logs = [np.log(design(law)[name]) for name in law.inputs]
    old = law.at(theta, *logs)
    new = law.at(law.rescale(theta, units), *(x + units[name] for name, x in zip(law.inputs, logs, strict=True)))
    np.testing.assert_allclose(new, old + units[law.output] * (law.space == "log"), rtol=0, atol=1e-10)
    np.testing.assert_allclose(law.rescale(law.rescale(theta, units), units, sign=-1.0), theta, rtol=1e-12)


@every_law
def test_published_and_free_coordinates_are_inverse(law):
    found = law.published(law.free(PLANTED[law.name]))
    assert found == pytest.approx(PLANTED[law.name], rel=1e-13)
    assert tuple(found) == law.names


@every_law
def test_every_start_has_finite_second_derivatives(law):
    """A start where one is not would be lost to Newton's method without a word."""
    rng = rng_of(law)
    shift = {name: 23.0 for name, shared in law.units.items() if shared is None}
    x = [shift.get(name, 0.0) + rng.uniform(-4, 4, 6) for name in law.inputs]
    with jax.enable_x64(True):
        x = [jnp.asarray(v) for v in x]
        starts = jnp.asarray(np.asarray(law.starts, np.float64))
        value = jax.vmap(lambda theta: law.predict(theta, *x))
        second = jax.vmap(jax.jacfwd(jax.jacfwd(lambda theta: law.predict(theta, *x))))
        found = jax.jit(lambda theta: (value(theta), second(theta)))(starts)
    assert all(bool(jnp.isfinite(v).all()) for v in found)


@every_law
def test_a_law_broadcasts_over_draws(law):
    runs = [design(law)[name][:7] for name in law.inputs]
    draws = law.free(PLANTED[law.name]) * np.array([[1.0], [1.01], [0.99]])
    both = law.at(draws[:, None], *np.log(runs))
    assert both.shape == (3, 7)
    for draw, row in zip(draws, both, strict=True):
        np.testing.assert_allclose(row, law.at(draw, *np.log(runs)), rtol=1e-14, atol=1e-14)
    params = {name: v[:, None] for name, v in law.published(draws).items()}
    np.testing.assert_allclose(law(params, *runs), both if law.space == "linear" else np.exp(both), rtol=1e-10)


def in_order(params):
    """The same law with its breaks in order of x: they may be named either way."""
    breaks = sorted(name[1:] for name in params if name[0] == "d" and name[1:].isdigit())
    order = sorted(breaks, key=lambda i: params[f"d{i}"])
    renamed = {
        f"{k}{new}": params[f"{k}{old}"] for k in "cdf" for new, old in zip(breaks, order, strict=True) if breaks
    }
    return {**params, **renamed}


@pytest.mark.parametrize(
    ("name", "at", "expected"),
    [
        ("kaplan_n", (1e9,), 2.375640),
        ("kaplan_d", (1e10,), 2.262442),
        ("kaplan_nd", (1e9, 1e10), 2.419652),
        ("kaplan_ns", (1e9, 1e5), 2.400514),
        ("b_crit", (3.0,), 1.069e6),
    ],
)
def test_kaplan_at_published_constants(name, at, expected):
    assert LAWS[name](kaplan.PUBLISHED[name], *at) == pytest.approx(expected, rel=2e-7 if expected < 9 else 2e-4)


def test_kaplans_exponents_of_compute_follow_from_the_others():
    """Equation 6.4; the paper says about 0.054, its rounded constants give less."""
    assert kaplan.compute_optimal(0.076, 0.76, 0.21)["loss"] == pytest.approx(0.0520, abs=5e-5)
    found = kaplan.compute_optimal(0.077, 0.76, 0.21)
    assert found["loss"] == pytest.approx(0.0525, abs=5e-5)
    assert found["n"] + found["d"] == pytest.approx(1.0, rel=1e-14)  # C = 6 N D
    assert found["n"] == pytest.approx(PUBLISHED["Kaplan et al. 2020"]["a"], abs=0.06)


def test_steps_and_examples_trade_on_a_hyperbola():
    """(S / S_min - 1) (E / E_min - 1) = 1 (equation 5.1) with E = B S, B_crit = E_min / S_min and C_min = 6 N E_min."""
    steps, batch, critical, n = 1e4, np.geomspace(1e4, 1e8, 9), 2e6, 1e9
    least_steps = kaplan.s_min(steps, batch, critical)
    least_examples = kaplan.c_min(6 * n * batch * steps, batch, critical) / (6 * n)
    np.testing.assert_allclose((steps / least_steps - 1) * (batch * steps / least_examples - 1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(least_examples / least_steps, critical, rtol=1e-12)
    assert kaplan.s_min(steps, critical, critical) == pytest.approx(steps / 2)  # twice the least steps at B_crit
    assert kaplan.c_min(1.0, critical, critical) == pytest.approx(0.5)  # and twice the least compute


def test_a_run_stops_when_its_step_term_is_its_overfitting():
    """Equation 5.7 solves (S_c / S)^alpha_S = L(N, D) - L(N, inf) for S."""
    p = kaplan.PUBLISHED["kaplan_ns"]
    joint = kaplan.PUBLISHED["kaplan_nd"]
    short, long = (LAWS["kaplan_nd"](joint, 1e9, d) for d in (1e10, 1e30))
    steps = kaplan.stop_step(short, long, p["S_c"], p["alpha_S"])
    assert (p["S_c"] / steps) ** p["alpha_S"] == pytest.approx(short - long, rel=1e-12)


def test_kaplan_nd_has_its_one_dimensional_limits():
    p = kaplan.PUBLISHED["kaplan_nd"]
    law = LAWS["kaplan_nd"]
    assert law(p, 1e9, 1e40) == pytest.approx((p["N_c"] / 1e9) ** p["alpha_N"], rel=1e-9)
    assert law(p, 1e50, 1e10) == pytest.approx((p["D_c"] / 1e10) ** p["alpha_D"], rel=1e-9)


BESIROGLU = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
MINIMUM = {"E": 1.8172180990, "A": 477.82586822, "B": 2143.4173634, "alpha": 0.34731049888, "beta": 0.36717243263}


@pytest.mark.parametrize(
    ("params", "g", "exponent", "n", "d", "ratio", "loss"),
    [
        (ROUNDED, 1.34471, 0.451613, 3.2491e10, 3.0162e12, 92.8, 1.929987),
        (TEX, 1.30005, 0.456526, 4.0743e10, 2.4053e12, 59.0, 1.917695),
        (BESIROGLU, 0.119630, 0.512612, 7.3016e10, 1.3422e12, 18.4, 1.973864),
        (MINIMUM, 0.113208, 0.513900, 7.397e10, 1.3249e12, 17.9, 1.973337),
    ],
)
def test_optimum_at_gophers_budget(params, g, exponent, n, d, ratio, loss):
    """Hoffmann et al. 2022 in the text and in the TeX source, Besiroglu et al. 2024, and the minimum of their data."""
    c = 5.88e23
    assert G(params) == pytest.approx(g, rel=1e-5)
    assert a(params) == pytest.approx(exponent, abs=1e-6)
    assert n_opt(params, c) == pytest.approx(n, rel=1e-4)
    assert d_opt(params, c) == pytest.approx(d, rel=1e-4)
    assert d_opt(params, c) / n_opt(params, c) == pytest.approx(ratio, abs=0.05)
    assert l_opt(params, c) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("params", [TEX, ROUNDED, MINIMUM])
def test_optimum_satisfies_the_first_order_condition_and_spends_the_budget(params):
    n, d = n_opt(params, BUDGETS), d_opt(params, BUDGETS)
    np.testing.assert_allclose(
        params["alpha"] * params["A"] / n ** params["alpha"],
        params["beta"] * params["B"] / d ** params["beta"],
        rtol=1e-12,
    )
    np.testing.assert_allclose(6 * n * d, BUDGETS, rtol=1e-12)
    assert a(params) + b(params) == pytest.approx(1.0)


@pytest.mark.parametrize("c", BUDGETS)
def test_optimum_is_the_minimum_that_a_search_finds(c):
    loss = lambda log_n: float(chinchilla(TEX, np.exp(log_n), c / (6 * np.exp(log_n))))
    found = scipy.optimize.minimize_scalar(
        loss, bracket=(np.log(n_opt(TEX, c)) - 3, np.log(n_opt(TEX, c)) + 2), tol=1e-12
    )
    assert np.exp(found.x) == pytest.approx(n_opt(TEX, c), rel=1e-5)
    assert found.fun == pytest.approx(l_opt(TEX, c), rel=1e-14)


def test_search_for_the_root_agrees_with_the_closed_form():
    theta = chinchilla.free({name: np.array([TEX[name], MINIMUM[name]]) for name in TEX})
    closed = optimum(chinchilla, theta[:, None], BUDGETS[None])
    searched = optimum(dataclasses.replace(chinchilla, optimum=None), theta[:, None], BUDGETS[None])
    for name in ("n", "d", "loss"):
        assert closed[name].shape == (2, len(BUDGETS))
        np.testing.assert_allclose(searched[name], closed[name], rtol=1e-12)


def test_one_set_of_parameters_serves_as_many_budgets_as_it_has_entries():
    """Where an axis of parameters has the length of one of budgets, a wrong broadcast goes unnoticed."""
    theta, budgets = chinchilla.free(TEX), np.geomspace(1e18, 1e22, 5)
    searched = optimum(dataclasses.replace(chinchilla, optimum=None), theta, budgets)
    np.testing.assert_allclose(searched["n"], n_opt(TEX, budgets), rtol=1e-12)


def test_kaplans_optimum_satisfies_its_first_order_condition():
    """dL/d ln N = dL/d ln D along C = 6 N D: alpha_N / alpha_D (N_c/N)^(alpha_N/alpha_D) = D_c / D."""
    law, p = LAWS["kaplan_nd"], kaplan.PUBLISHED["kaplan_nd"]
    found, ratio = optimum(law, law.free(p)[None], BUDGETS), p["alpha_N"] / p["alpha_D"]
    np.testing.assert_allclose(ratio * (p["N_c"] / found["n"]) ** ratio, p["D_c"] / found["d"], rtol=1e-11)
    np.testing.assert_allclose(6 * found["n"] * found["d"], BUDGETS, rtol=1e-12)
    slope = np.polyfit(np.log(BUDGETS), np.log(found["n"]), 1)[0]
    assert slope == pytest.approx(1 / (1 + ratio), rel=1e-9)  # early stopping aside, 0.575 where they trade steps: 0.73


def test_a_law_that_trades_nothing_has_no_optimum():
    with pytest.raises(UserError, match="has no compute-optimal run"):
        optimum(LAWS["kaplan_n"], LAWS["kaplan_n"].free(kaplan.PUBLISHED["kaplan_n"]), BUDGETS)
    with pytest.raises(UserError, match=r"also reads \['u'\]"):
        optimum(regimes.constrained, regimes.constrained.free(regimes.PUBLISHED)[None], BUDGETS)


def test_compute_for_loss_inverts_the_best_loss():
    np.testing.assert_allclose(compute_for_loss(TEX, l_opt(TEX, BUDGETS)), BUDGETS, rtol=1e-9)
    assert compute_for_loss(TEX, TEX["E"]) == np.inf
    assert compute_for_loss(TEX, 0.5 * TEX["E"]) == np.inf


def test_compute_for_loss_of_any_law_is_that_of_the_closed_form():
    theta = chinchilla.free(TEX)[None]
    assert compute_by_search(chinchilla, theta, 2.0) == pytest.approx(compute_for_loss(TEX, 2.0), rel=1e-9)
    assert compute_by_search(chinchilla, theta, 0.9 * TEX["E"]) == np.inf


def test_input_for_loss_inverts_the_law():
    theta = chinchilla.free(TEX)
    loss = chinchilla(TEX, 7e9, 2e11)
    assert input_for_loss(chinchilla, theta, "n", loss, d=2e11) == pytest.approx(7e9, rel=1e-11)
    assert input_for_loss(chinchilla, theta, "d", loss, n=7e9) == pytest.approx(2e11, rel=1e-11)
    assert input_for_loss(chinchilla, theta, "n", loss, d=1e9) == np.inf  # so few tokens never reach it
    assert input_for_loss(chinchilla, theta, "d", [loss, 1.0], n=[7e9, 7e9])[1] == np.inf
    with pytest.raises(UserError, match="give a value to each other"):
        input_for_loss(chinchilla, theta, "n", loss)


def test_effective_parameters_of_the_reference_family_are_its_parameters():
    n, d = np.geomspace(1e8, 1e11, 5), np.geomspace(1e12, 1e10, 5)
    found = effective_parameters(chinchilla, chinchilla.free(TEX), chinchilla(TEX, n, d), d)
    np.testing.assert_allclose(found, n, rtol=1e-10)
    better = effective_parameters(chinchilla, chinchilla.free(TEX), 0.99 * chinchilla(TEX, n, d), d)
    assert (better > n).all()


@pytest.mark.parametrize(("n", "d", "loss"), [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075087867)])
def test_data_constrained_law_is_as_published(n, d, loss):
    """Muennighoff et al. 2023: two allocations of one budget over 25 billion unique tokens."""
    assert regimes.constrained(regimes.PUBLISHED, n, d, 25e9) == pytest.approx(loss, rel=1e-13)


def test_data_constrained_law_is_chinchillas_where_nothing_repeats():
    p, n = regimes.PUBLISHED, 1e9
    plain = {name: p[name] for name in chinchilla.names}
    once = regimes.constrained(p, n, [1e10, 3e11], 3e11)
    np.testing.assert_allclose(once, chinchilla(plain, n, np.array([1e10, 3e11])), rtol=1e-13)
    many = regimes.constrained(p, n, 1e16, 3e11)  # in the end U (1 + R_D) tokens' worth
    assert many == pytest.approx(chinchilla(plain, n, 3e11 * (1 + p["R_D"])), rel=1e-12)


def test_data_constrained_optimum_beats_the_published_grid():
    """1e22 FLOPs on 25 billion unique tokens: their grid of 9.49 passes over them, and the root of the derivative."""
    law, p = regimes.constrained, regimes.PUBLISHED
    found = {k: float(v[0]) for k, v in optimum(law, law.free(p)[None], [1e22], {"u": 25e9}).items()}
    tokens, size = 237_336_955_477.55, 7_022_364_735.88
    assert found["loss"] <= law(p, size, tokens, 25e9)
    assert found["loss"] == pytest.approx(law(p, size, tokens, 25e9), abs=1e-7)  # flat to the second order
    assert found["n"] == pytest.approx(size, rel=5e-3)  # the steps of that grid
    assert found["d"] == pytest.approx(tokens, rel=5e-3)

    # alpha A N'^(-alpha - 1) N e^(-R_N/R_N*) = beta B D'^(-beta - 1) D e^(-R_D/R_D*), dN'/dN = e^(-R_N/R_N*)
    g = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / (p["alpha"] + p["beta"]))
    enough = g * (25e9 * g) ** (p["beta"] / p["alpha"])
    sides = []
    for amount, unique, limit, scale, power in (
        (found["n"], enough, p["R_N"], p["A"], p["alpha"]),
        (found["d"], 25e9, p["R_D"], p["B"], p["beta"]),
    ):
        repeats = amount / unique - 1
        assert repeats > 0
        worth = unique * (1 + limit * (1 - math.exp(-repeats / limit)))
        sides.append(power * scale * worth ** (-power - 1) * amount * math.exp(-repeats / limit))
    assert sides[0] == pytest.approx(sides[1], rel=1e-9)


def test_tied_exponents_and_a_pinned_asymptote_are_found_again():
    columns = design(LAWS["compute"])
    pinned = fit(Question(LAWS["compute"], pin={"L_inf": 1.6}), columns)
    assert pinned.params == pytest.approx(PLANTED["compute"], rel=1e-9)
    assert pinned.params["L_inf"] == pytest.approx(1.6, rel=1e-15)
    wrong = fit(Question(LAWS["compute"], pin={"L_inf": 1.5}), columns)
    assert wrong.objective > 1e3 * pinned.objective
    same = TEX | {"beta": TEX["alpha"]}
    columns = design(chinchilla)
    columns["loss"] = chinchilla(same, columns["n"], columns["d"])
    tied = fit(Question(chinchilla, tie={"beta": "alpha"}), columns)
    assert tied.params == pytest.approx(same, rel=1e-9)
    assert tied.params["alpha"] == tied.params["beta"]


def test_speed_up_is_the_compute_that_the_baseline_lacks():
    p = PLANTED["compute"]
    loss = lambda c: float(LAWS["compute"](p, c))
    assert curves.speed_up(loss(7e20), loss(2e20), p["L_inf"], p["alpha"]) == pytest.approx(3.5, rel=1e-9)
    assert curves.speed_up(2.5, 2.5, 1.6, 0.09) == 1.0


def test_step_law_at_a_point():
    """Li et al. 2025: 1.79 N^-0.713 D^0.307 and 0.58 D^0.571, here with 1e9 parameters and 1e11 tokens."""
    rate = LAWS["step_lr"](regimes.STEP_LAW["step_lr"], 1e9, 1e11)
    assert rate == pytest.approx(1.79 * 1e9**-0.713 * 1e11**0.307, rel=1e-12)
    assert rate == pytest.approx(1.634e-3, rel=1e-3)
    assert LAWS["step_batch"](regimes.STEP_LAW["step_batch"], 1e11) == pytest.approx(0.58 * 10**6.281, rel=1e-12)


def test_precision_law_has_its_limits():
    """Many bits: Chinchilla's law.  Few: as many parameters as N P / gamma."""
    p = PLANTED["precision"]
    assert LAWS["precision"](p, 1e9, 1e11, 200.0) == pytest.approx(chinchilla(TEX, 1e9, 1e11), rel=1e-14)
    kept = -math.expm1(-4.0 / p["gamma"])
    assert LAWS["precision"](p, 1e9, 1e11, 4.0) == pytest.approx(chinchilla(TEX, 1e9 * kept, 1e11), rel=1e-13)
    assert LAWS["precision"](p, 1e9, 1e11, 1e-5) == pytest.approx(chinchilla(TEX, 1e9 * 1e-5 / 2.6, 1e11), rel=1e-5)


def test_added_loss_of_quantising_grows_with_tokens_and_falls_with_bits_and_parameters():
    p, law = PLANTED["quantised"], LAWS["quantised"]
    one = law(p, 1e9, 1e11, 4.0)
    assert one == pytest.approx(0.06 * 1e11**0.53 / 1e9**0.34 * math.exp(-4.0 / 0.55), rel=1e-12)
    assert law(p, 1e9, 2e11, 4.0) > one > max(law(p, 2e9, 1e11, 4.0), law(p, 1e9, 1e11, 5.0))


def test_overtrained_law_is_chinchillas_with_one_exponent():
    """E + (a M^eta + b M^-eta) C^-eta = E + a (6 N^2)^-eta + b (6 D^2)^-eta."""
    p = PLANTED["overtrained"]
    scale = 6 ** -p["eta"]
    same = {"E": p["E"], "A": p["a"] * scale, "B": p["b"] * scale, "alpha": 2 * p["eta"], "beta": 2 * p["eta"]}
    n, d = np.geomspace(1e7, 1e10, 5), np.geomspace(1e12, 1e9, 5)
    found = LAWS["overtrained"](p, n, d)
    np.testing.assert_allclose(found, chinchilla(same, n, d), rtol=1e-13)
    m, c = d / n, 6 * n * d
    np.testing.assert_allclose(found, p["E"] + (p["a"] * m ** p["eta"] + p["b"] * m ** -p["eta"]) * c ** -p["eta"])
    best = optimum(LAWS["overtrained"], LAWS["overtrained"].free(p)[None], [1e21])
    assert best["d"] / best["n"] == pytest.approx((p["b"] / p["a"]) ** (1 / (2 * p["eta"])), rel=1e-9)


def test_farseer_is_as_published():
    p, n, d = PLANTED["farseer"], 1e9, 1e11
    rate = math.exp(p["A"] * n ** p["a"] + p["E"])
    direct = math.exp(p["s"] * n ** p["q"] + p["S"]) + math.exp(p["B"] * n ** p["b"] + p["Q"]) * d**-rate
    assert LAWS["farseer"](p, n, d) == pytest.approx(direct, rel=1e-12)


def test_m4_solves_its_equation_up_to_both_ends():
    p, x = PLANTED["m4"], np.geomspace(1e-2, 1e14, 33)
    loss = LAWS["m4"](p, x)
    assert (np.diff(loss) < 0).all()
    assert loss[0] == pytest.approx(p["e_0"], rel=0.05)
    assert loss[-1] == pytest.approx(p["e_inf"], rel=0.05)
    left = np.log(loss - p["e_inf"]) - p["alpha"] * np.log(p["e_0"] - loss)
    np.testing.assert_allclose(left, np.log(p["b"]) + p["c"] * np.log(x), atol=1e-8)
    power = {"e_inf": 1.5, "b": 60.0, "c": -0.3}  # alpha = 0 leaves M2
    flat = LAWS["m4"](p | {"alpha": 1e-12}, [1e4, 1e8])
    np.testing.assert_allclose(flat, LAWS["m2"](power, [1e4, 1e8]), rtol=1e-9)


def test_m3_without_its_shift_is_m1():
    x = np.geomspace(1e3, 1e9, 5)
    found = LAWS["m3"]({"b": 60.0, "gamma": 1e-30, "c": 0.18}, x)
    np.testing.assert_allclose(found, LAWS["m1"]({"b": 60.0, "c": 0.18}, x), rtol=1e-12)


@pytest.mark.parametrize("name", ["bnsl", "bnsl2"])
def test_broken_law_is_the_published_product(name):
    p, x = PLANTED[name], design(LAWS[name])["x"]
    power = p["b"] * x ** -p["c0"]
    for i in range(1, 3 if name == "bnsl2" else 2):
        power = power * (1 + (x / p[f"d{i}"]) ** (1 / p[f"f{i}"])) ** (-p[f"c{i}"] * p[f"f{i}"])
    np.testing.assert_allclose(LAWS[name](p, x), p["a"] + power, rtol=1e-12)


@pytest.mark.slow
def test_four_digit_addition_is_found_again_and_extrapolated():
    """The sizes of Caballero et al. 2022, figure 4 left: 14 that are fitted and 3 beyond them, here without noise."""
    x = np.array([160, 192, 256, 320, 384, 448, 480, 512, 544, 576, 608, 640, 672, 736, 800, 864, 928.0])
    law = LAWS["bnsl"]
    loss = law(ADDITION, x)
    assert curves.extrapolation_error(loss[:14] * 1.01, loss[:14]) == pytest.approx(math.log(1.01))
    found = fit(Question(law, delta=LOG_MSE), {"x": x[:14], "loss": loss[:14]})
    assert curves.extrapolation_error(law(found.params, x), loss) < 1e-6


def test_task_law_chains_its_two_steps():
    p = PLANTED["accuracy"]
    found = downstream.two_step(chinchilla, TEX, LAWS["accuracy"], p, 1e9, 1e11)
    loss = float(chinchilla(TEX, 1e9, 1e11))
    assert found == pytest.approx(p["a"] / (1 + math.exp(-p["k"] * (loss - p["L_0"]))) + p["b"], rel=1e-13)
    chained = downstream.two_step(chinchilla, TEX, LAWS["error"], PLANTED["error"], 1e9, 1e11)
    assert chained == pytest.approx(0.85 - 2.1 * math.exp(-0.72 * loss), rel=1e-13)


def test_exact_match_jumps_where_edit_distance_is_smooth():
    """One loss, a power law of compute, under two metrics (Schaeffer et al. 2023)."""
    compute = np.geomspace(1e17, 1e24, 29)
    loss = 3.0 * (compute / 1e17) ** -0.25
    seen = downstream.metrics(loss, length=10)
    np.testing.assert_allclose(np.log(seen.exact_match), -10 * loss, rtol=1e-12)
    np.testing.assert_allclose(seen.edit_distance, 10 * (1 - np.exp(-loss)), rtol=1e-12)
    np.testing.assert_allclose(seen.brier, 2 * (1 - seen.token) ** 2, rtol=1e-12)  # (1-p)^2 of each of two answers
    sharp = downstream.emergence_score(seen.exact_match)
    smooth = downstream.emergence_score(-seen.edit_distance)
    assert sharp > 1.5 * smooth > 0
    assert downstream.emergence_score(np.arange(5.0)) == 4.0
    assert downstream.emergence_score(-np.arange(5.0)) == -4.0
    assert downstream.emergence_score([0, 0, 0, 0, 1]) == np.inf
    assert downstream.emergence_score(np.ones(5)) == 0.0


def test_a_test_set_shows_nothing_below_its_resolution():
    samples, length = 500, 8
    p = downstream.resolution(samples)
    assert (1 - p) ** samples == pytest.approx(0.5, rel=1e-12)  # none right, half the time
    loss = downstream.loss_at_resolution(samples, length)
    assert downstream.metrics(loss, length).exact_match == pytest.approx(p, rel=1e-12)


def test_doubling_time_of_a_planted_trend():
    days = np.arange(0, 700, 35.0)
    exact = downstream.doubling_time(days, np.exp(0.007 * days - 2.0))
    assert exact.period == pytest.approx(99.02, abs=0.01)  # 3.25 months
    assert exact.intercept == pytest.approx(-2.0)
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        noisy = downstream.doubling_time(days, np.exp(0.007 * days - 2.0 + rng.normal(0, 0.7, days.size)), level=0.9)
        covered += noisy.interval[0] < exact.period < noisy.interval[1]
    assert 0.84 < covered / 200 < 0.96
    falling = downstream.doubling_time(days, np.exp(-0.007 * days + rng.normal(0, 0.1, days.size)))
    assert falling.period < 0


def test_centring_leaves_the_fitted_form_as_published():
    """`centre` shifts logs by their means; undone, the prediction is the published one."""
    columns = design(chinchilla)
    problem = centre(chinchilla, columns)
    theta = chinchilla.rescale(chinchilla.free(TEX), problem.units, sign=-1.0)
    np.testing.assert_allclose(chinchilla.at(theta, *problem.x), problem.y, atol=1e-12)
    np.testing.assert_allclose(predict(chinchilla, problem.raw(theta), columns), np.log(columns["loss"]), atol=1e-12)


def test_gpt3_is_published_as_3640_petaflop_days():
    """Brown et al. 2020, table D.1: 174.6 B parameters (attention left out), 300 B tokens, 3.14e23 FLOPs."""
    assert counting.c_6nd(174_600_000_000, 300_000_000_000) == pytest.approx(3.14e23, rel=2e-3)
    assert counting.c_6nd(175e9, 300e9) / counting.PETAFLOP_DAY == pytest.approx(3640, rel=2e-3)


def test_6nd_of_large_integers_does_not_overflow():
    n, d = np.array([6_900_000_000]), np.array([138_000_000_000])
    assert (6 * n * d)[0] < 0 or (6 * n * d)[0] != 6 * 6_900_000_000 * 138_000_000_000  # what int64 makes of it
    assert counting.c_6nd(n, d)[0] == pytest.approx(6.0 * 6.9e9 * 1.38e11, rel=1e-15)


GPT3 = {"layers": 96, "width": 12288, "context": 2048, "vocab": 50257, "heads": 96, "bias": True}


def test_counts_of_gpt3():
    found = counting.count(GPT3)
    assert found.params_total == pytest.approx(174.6e9, rel=1e-3)
    # Kaplan et al. 2020: N = 12 layers width^2 without embeddings, and 2 N FLOPs forward for it
    assert found.params_non_embedding == pytest.approx(12 * 96 * 12288**2, rel=1e-3)
    assert found.flops_matmul == 24 * 96 * 12288**2
    assert found.flops_attention == 2 * found.flops_attention_kaplan == 4 * 96 * 2048 * 12288
    assert found.flops_head == 2 * 12288 * 50257
    assert found.flops_train == 3 * (found.flops_matmul + found.flops_attention + found.flops_head)
    # 6 N D leaves out attention alone when the head is tied to the embedding: 2.7 % here
    assert found.flops_train * 300e9 == pytest.approx(3.14e23, rel=0.04)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_every_parameter_is_counted_by_hand(bias, tied, positions):
    width, context, vocab, hidden = 4, 8, 10, 16
    block = 2 * width * (1 + bias)  # two norms
    block += 3 * (width * width + width * bias) + width * width + width * bias  # query, key, value, output
    block += width * hidden + hidden * bias + hidden * width + width * bias  # MLP
    inner = 3 * block + width * (1 + bias)
    outer = vocab * width * (2 - tied) + context * width * (positions == "learned")
    found = counting.count(
        {
            "layers": 3,
            "width": width,
            "context": context,
            "vocab": vocab,
            "bias": bias,
            "tied": tied,
            "positions": positions,
        }
    )
    assert (found.params_non_embedding, found.params_total) == (inner, inner + outer)


@pytest.mark.parametrize("head", ["tied", "untied"])
def test_counts_are_those_of_the_network(head):
    """Parameters by tracing its initialisation, FLOPs by reading its matrix products off the jaxpr."""
    from train.cost.flops import count as flops_of

    shape = {"layers": 3, "width": 32, "context": 16, "vocab": 50, "heads": 4}
    model = from_linen(GPT(**shape, head=head))
    tokens = jax.ShapeDtypeStruct((1, 16), jnp.int32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, state = jax.eval_shape(model.init, key, tokens)
    found = counting.count({**shape, "tied": head == "tied"})
    assert found.params_total == sum(leaf.size for leaf in jax.tree.leaves(params))
    forward = flops_of(lambda p, s, x, k: model.apply(p, s, x, key=k, train=False)[0], params, state, tokens, key)
    assert found.flops_forward * 16 == forward


def test_a_wrong_shape_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"no \['depth'\]; it takes \['layers', 'width'"):
        counting.count({"depth": 3})
    with pytest.raises(ValueError, match="choose 'learned' or 'rotary'"):
        counting.count({**GPT3, "positions": "sinusoid"})
