"""Sources of known law: closed forms against brute-force sums, and fits against closed forms."""

import numpy as np
import pytest
import scipy.special

from scaling.fit.estimate import fit
from scaling.laws import chinchilla, hoffmann
from scaling.selftest import checks as selftest
from scaling.selftest import sources


def sizes(low: float, high: float, count: int = 7) -> np.ndarray:
    return np.geomspace(low, high, count).round()


@pytest.mark.parametrize("exponent", [1.3, 1.5, 2.2])
def test_what_is_left_out_is_a_sum(exponent):
    p = np.arange(1.0, 1001) ** -exponent / scipy.special.zeta(exponent)
    np.testing.assert_allclose(sources.left_out(exponent, np.arange(1000)), 1 - np.r_[0, np.cumsum(p)[:-1]], rtol=1e-9)


@pytest.mark.parametrize("first", [1, 40, 250_000])
@pytest.mark.parametrize("exponent", [1.3, 1.5, 2.2])
def test_what_is_unseen_is_a_sum(exponent, first):
    """Three million terms one by one; of the rest, at most all is unseen and at least all that so few draws miss."""
    d, last = np.array([0.0, 1.0, 1e3, 1e6]), 3_000_000
    p = np.arange(first, last + 1, dtype=np.float64) ** -exponent / scipy.special.zeta(exponent)
    direct = np.array([(p * np.exp(draws * np.log1p(-p))).sum() for draws in d])
    rest = float(sources.left_out(exponent, last))
    found = sources.unseen(exponent, d, first)
    assert (found <= direct + rest * (1 + 1e-9) + 1e-12).all()
    np.testing.assert_allclose(found, direct + rest * (1 - d * p[-1]).clip(0), atol=rest * 1e6 * p[-1] + 1e-10)
    np.testing.assert_allclose(found[:3], direct[:3] + rest, rtol=1e-9, atol=1e3 * p[-1] * rest)
    assert found[0] == pytest.approx(float(sources.left_out(exponent, first - 1)), rel=1e-10)


def test_the_sum_does_not_depend_on_where_the_integral_begins(monkeypatch):
    d = np.geomspace(1e3, 1e12, 10)
    before = sources.unseen(1.5, d)
    monkeypatch.setattr(sources, "CUT", 1_000_000)
    np.testing.assert_allclose(sources.unseen(1.5, d), before, rtol=1e-10)


def test_zipfs_source_has_the_closed_form_far_out():
    made = sources.zipf_separable(sizes(1e6, 1e8)[:, None], sizes(1e7, 1e9)[None], weights=(2.0, 5.0))
    closed = chinchilla(made.truth, made.columns["n"], made.columns["d"])
    np.testing.assert_allclose(made.columns["loss"], closed, rtol=1e-8)


@pytest.mark.parametrize(("alpha", "zipf"), [(0.5, 0.5), (0.34, 0.4)])
def test_a_fit_finds_the_closed_form_of_zipfs_source(alpha, zipf):
    made = sources.zipf_separable(sizes(1e4, 1e8)[:, None], sizes(1e5, 1e9, 9)[None], alpha=alpha, zipf=zipf)
    found = fit(chinchilla, made.columns)
    assert found.params["E"] == pytest.approx(made.truth["E"], rel=1e-5)
    assert found.params["alpha"] == pytest.approx(made.truth["alpha"], abs=1e-4)
    assert found.params["beta"] == pytest.approx(made.truth["beta"], abs=1e-4)
    assert found.params["A"] == pytest.approx(made.truth["A"], rel=1e-3)
    assert found.params["B"] == pytest.approx(made.truth["B"], rel=1e-3)


def test_the_shared_table_has_both_limits():
    """N without limit: its law in D.  D without limit: its law in N."""
    exponent = 1.3
    many = sources.quantised(1e12, [1e3, 1e5], floor=0.0)
    np.testing.assert_allclose(many.columns["loss"], sources.unseen(exponent, [1e3, 1e5]), rtol=3e-3)
    long = sources.quantised([1e2, 1e4], 1e14, floor=0.0)
    np.testing.assert_allclose(long.columns["loss"], sources.left_out(exponent, [1e2, 1e4]), rtol=1e-6)
    n, d = 30, 500.0
    p = np.arange(1.0, n + 1) ** -exponent / scipy.special.zeta(exponent)
    direct = 1.3 + (p * (1 - p) ** d).sum() + 1 - p.sum()
    assert sources.quantised(n, d).columns["loss"][0] == pytest.approx(direct, rel=1e-10)


@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_an_additive_law_of_the_shared_table_is_wrong_and_its_residuals_say_so(alpha):
    """The fitted exponents are those of neither limit, and what remains is a pattern, not noise."""
    made = sources.quantised(sizes(10, 1e4)[:, None], sizes(1e2, 1e6)[None], alpha=alpha)
    found = fit(chinchilla, made.columns)
    assert found.params["alpha"] > 1.2 * made.truth["alpha"]
    assert found.params["beta"] > 1.3 * made.truth["beta"]
    assert found.params["E"] > 1.01 * made.truth["E"]
    assert np.abs(found.residuals).max() > 0.05
    residuals = found.residuals.reshape(7, 7)
    neighbours = np.r_[(residuals[1:] * residuals[:-1]).ravel(), (residuals[:, 1:] * residuals[:, :-1]).ravel()]
    assert neighbours.mean() > 0.4 * np.mean(residuals**2)  # zero for noise


def test_tables_of_counts_show_their_entropy():
    made = sources.context_table(sizes(8, 1024)[:, None], sizes(1e4, 1e7, 9)[None], seed=1)
    assert (made.columns["loss"] > made.truth["E"]).all()
    found = fit(chinchilla, made.columns)
    assert found.params["E"] == pytest.approx(made.truth["E"], rel=1e-2)


def test_the_entropy_of_the_tables_is_that_of_their_draws():
    """With every context told apart and data without end, the loss is the entropy."""
    made = sources.context_table(64, [1e3, 1e8], contexts=64, tokens=4)
    assert made.columns["loss"][1] == pytest.approx(made.truth["E"], rel=1e-5)
    assert made.columns["loss"][0] > 1.01 * made.truth["E"]
    one = sources.context_table(1, 1e8, contexts=1, tokens=4, concentration=1e6)
    assert one.truth["E"] == pytest.approx(np.log(4), rel=1e-5)


def test_noisy_runs_have_the_noise_that_was_asked_for():
    params, n = hoffmann.PUBLISHED, np.geomspace(1e7, 1e10, 5000)
    errors = np.log(sources.chinchilla_noisy(params, n, 1e11, 0.01, 0).columns["loss"] / chinchilla(params, n, 1e11))
    assert errors.std() == pytest.approx(0.01, rel=0.05)
    assert errors.mean() == pytest.approx(0.0, abs=5e-4)
    again, other = (sources.chinchilla_noisy(params, n, 1e11, 0.01, seed).columns["loss"] for seed in (0, 1))
    np.testing.assert_array_equal(again, chinchilla(params, n, 1e11) * np.exp(errors))
    assert (again != other).all()


def test_every_check_of_the_selftest_holds():
    lines = []
    assert selftest.run(lines.append), "\n".join(lines)
    assert len(lines) == len(selftest.CHECKS) + 2
    assert all(line.endswith("ok") for line in lines[1:-1])


def test_a_check_that_fails_is_said_so(monkeypatch):
    lines = []
    monkeypatch.setattr(selftest, "CHECKS", {"pi": lambda: selftest.Check(3.0, 3.14159, 1e-2)})
    assert not selftest.run(lines.append)
    assert "WRONG" in lines[1]
    assert "0 of 1 hold" in lines[2]
