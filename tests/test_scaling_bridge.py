"""Counting against numerical optima, derivatives, limits, and the published simulation."""

import itertools

import numpy as np
import pytest
import scipy.optimize

from scaling.laws import bridge, chinchilla, hoffmann, n_opt
from train.errors import UserError

N = np.geomspace(1e2, 1e12, 41)
LAWS = [hoffmann.ROUNDED, hoffmann.PUBLISHED, bridge.BESIROGLU]
IDS = ["rounded", "published", "besiroglu"]


@pytest.mark.parametrize("w", [0.0, 1e-3, 1.0, bridge.W, 1e9])
def test_counts_are_inverse_to_each_other(w):
    np.testing.assert_allclose(bridge.non_embedding(bridge.total(N, w), w), N, rtol=1e-12)
    np.testing.assert_allclose(bridge.total(bridge.non_embedding(N, w), w), N, rtol=1e-12)


@pytest.mark.parametrize("w", [1.0, bridge.W])
def test_root_of_the_cubic_is_numpys(w):
    for n_total in (1e3, 1e7, 1e11):
        roots = np.roots([1.0, 0.0, w, -n_total])
        real = roots[np.argmin(np.abs(roots.imag))].real
        assert bridge.non_embedding(n_total, w) == pytest.approx(real**3, rel=1e-8)


@pytest.mark.parametrize("params", LAWS, ids=IDS)
@pytest.mark.parametrize("flops", bridge.COUNTS)
def test_compute_is_that_at_which_a_search_finds_the_size(params, flops):
    """Minimises L(N + w N^(1/3), C / 6 N) at the C said, in N without embeddings, by a search that knows no formula."""
    for n in (1e3, 1e6, 1e7, 1e8, 1e10):
        c = bridge.compute(n, params, flops=flops)

        def loss(log_n, c=c):
            m = np.exp(log_n)
            total = m + bridge.W * m ** (1 / 3)
            d = c / (6 * (m if flops == "non_embedding" else total))
            return params["A"] / total ** params["alpha"] + params["B"] / d ** params["beta"]

        found = scipy.optimize.minimize_scalar(loss, bracket=(np.log(n) - 1.0, np.log(n) + 0.7), tol=1e-12)
        assert np.exp(found.x) == pytest.approx(n, rel=1e-5)


@pytest.mark.parametrize("params", LAWS, ids=IDS)
@pytest.mark.parametrize("flops", bridge.COUNTS)
def test_local_slope_is_the_derivative_along_the_optima(params, flops):
    h = 1e-4
    low, high = (bridge.compute(N * np.exp(step), params, flops=flops) for step in (-h, h))
    rise = np.log(high / low)
    np.testing.assert_allclose(bridge.local_slope(N, params, flops=flops), 2 * h / rise, rtol=1e-6)


@pytest.mark.parametrize("params", LAWS, ids=IDS)
def test_limits_of_the_slope(params):
    alpha, beta = params["alpha"], params["beta"]
    law = beta / (alpha + beta)
    assert bridge.local_slope(1e20, params) == pytest.approx(law, rel=1e-6)
    assert bridge.local_slope(1e-5, params) == pytest.approx(beta / (alpha / 3 + beta), rel=1e-6)
    assert bridge.local_slope(1e20, params, flops="total") == pytest.approx(law, rel=1e-6)
    assert bridge.local_slope(1e-5, params, flops="total") == pytest.approx(3 * law, rel=1e-6)
    np.testing.assert_allclose(bridge.local_slope(N, params, 0.0), law, rtol=1e-12)


@pytest.mark.parametrize("params", LAWS, ids=IDS)
def test_optimum_inverts_compute(params):
    found = bridge.optimum(bridge.compute(N, params), params)
    np.testing.assert_allclose(found.n, N, rtol=1e-10)
    np.testing.assert_allclose(6 * found.n * found.d, bridge.compute(N, params), rtol=1e-12)
    for factor in (0.99, 1.01):  # no neighbour on the budget is better
        assert np.all(bridge.convert(params).loss(found.n * factor, found.d / factor) >= found.loss)


def test_without_embeddings_the_optimum_is_hoffmanns():
    c = np.geomspace(1e15, 1e25, 11)
    np.testing.assert_allclose(bridge.optimum(c, hoffmann.ROUNDED, 0.0).n, n_opt(hoffmann.ROUNDED, c), rtol=1e-10)
    np.testing.assert_allclose(
        bridge.compute(N, hoffmann.ROUNDED, flops="total"),
        bridge.compute(bridge.total(N), hoffmann.ROUNDED, 0.0),
        rtol=1e-12,
    )


def test_two_locally_best_sizes_are_refused():
    law = {**hoffmann.ROUNDED, "alpha": 0.01, "beta": 0.05}
    with pytest.raises(UserError, match="two locally best"):
        bridge.optimum(1e20, law)


@pytest.mark.parametrize("params", LAWS, ids=IDS)
def test_conversion_keeps_every_prediction(params):
    n, d = (np.array(v) for v in zip(*itertools.product((1e4, 1e7, 1e10), (1e8, 1e11)), strict=True))
    there = bridge.convert(params)
    back = bridge.convert(params, to="total")
    np.testing.assert_allclose(there.loss(bridge.non_embedding(n), d), chinchilla(params, n, d), rtol=1e-12)
    np.testing.assert_allclose(back.loss(bridge.total(n), d), chinchilla(params, n, d), rtol=1e-12)


@pytest.mark.parametrize(
    ("params", "counting", "slope"),
    [
        (bridge.BESIROGLU, "non_embedding", 0.7805),
        (bridge.HOFFMANN, "non_embedding", 0.7388),
        (bridge.BESIROGLU, "total", 0.5154),
        (bridge.HOFFMANN, "total", 0.4577),
    ],
)
def test_simulated_sweeps_of_pearce_and_song(params, counting, slope):
    assert bridge.fitted_slope(params, counting=counting) == pytest.approx(slope, abs=5e-5)


def test_kaplans_exponent_falls_out_of_chinchillas_law_by_counting_alone():
    """.73 of N without embeddings and .46 with them, from one surface whose exponent is .456."""
    law = hoffmann.PUBLISHED
    assert bridge.fitted_slope(law, tokens=()) == pytest.approx(0.73, abs=0.015)
    assert bridge.fitted_slope(law, counting="total", tokens=()) == pytest.approx(hoffmann.a(law), abs=0.005)
    assert bridge.fitted_slope(law, 0.0, tokens=()) == pytest.approx(hoffmann.a(law), abs=0.005)


def test_w_of_a_family_that_keeps_its_proportions():
    n = np.geomspace(1e5, 1e10, 7)
    family = bridge.w_of(bridge.total(n, 12_345.0), n)
    assert family.w == pytest.approx(12_345.0, rel=1e-10)
    assert family.error < 1e-12


def test_w_of_shapes_is_vocabulary_times_width_per_cube_root():
    """N = 12 layers width^2 and width = aspect layers: w = V (aspect / 12)^(1/3)."""
    shapes = [
        {"layers": k, "width": 40 * k, "context": 1, "vocab": 32_000, "positions": "rotary"} for k in (8, 16, 32, 64)
    ]
    family = bridge.w_of_shapes(shapes)
    assert family.w == pytest.approx(32_000 * (40 / 12) ** (1 / 3), rel=1e-3)
    assert family.error < 1e-3


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: bridge.total(0.0), "N must be finite and positive; it is 0"),
        (lambda: bridge.total(1.0, -1.0), "w is -1"),
        (lambda: bridge.compute(1e6, {"E": 1.0}), "needs"),
        (lambda: bridge.compute(1e6, {**hoffmann.ROUNDED, "alpha": -0.1}), "positive"),
        (lambda: bridge.convert(hoffmann.ROUNDED, to="totl"), "did you mean 'total'"),
        (lambda: bridge.w_of([1e6], [2e6]), "swapped"),
        (lambda: bridge.w_of([1e6, 2e6], [1e5]), "pairs"),
        (lambda: bridge.fitted_slope(hoffmann.ROUNDED, budgets=[1e13, 1.01e13]), "one size is best"),
    ],
)
def test_refusals_are_sentences(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()
