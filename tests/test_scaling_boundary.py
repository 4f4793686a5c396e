"""Optima at a boundary, optima that are none, and rows that belong to no law."""

import numpy as np
import pytest

from scaling import influence, laws
from scaling.fit import conditions, outliers
from scaling.fit.estimate import centre, fit, search
from scaling.fit.intervals import bootstrap, constants
from scaling.fit.profile import profile
from scaling.fit.question import Question
from scaling.laws import LAWS

# Seven models whose best law has no floor: its interval still reaches from none to .8 or so.
SEVEN = {
    "c": np.array([2.6e18, 1.3e19, 6.1e19, 2.8e20, 1.1e21, 6.3e21, 2.3e22]),
    "loss": np.array([2.566, 2.299, 2.184, 1.996, 1.834, 1.704, 1.575]),
}
TRUTH = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}


def sweep(noise: float = 0.003, sizes: int = 8, budgets: int = 5) -> dict[str, np.ndarray]:
    c = np.repeat(np.geomspace(1e18, 1e20, budgets), sizes)
    n = laws.n_opt(TRUTH, c) * np.tile(np.geomspace(0.25, 4, sizes), budgets)
    loss = laws.chinchilla(TRUTH, n, c / (6 * n)) * np.exp(noise * np.random.default_rng(0).standard_normal(c.size))
    return {"n": n, "d": c / (6 * n), "loss": loss}


@pytest.mark.slow
def test_one_law_under_two_names_has_one_set_of_intervals():
    made = {}
    for name in ("henighan_c", "compute"):
        found = fit(LAWS[name], SEVEN)
        assert found.params["L_inf"] == 0.0
        assert found.certificate.at_zero == ("L_inf",)
        assert found.certificate.converged
        made[name] = constants(bootstrap(found, draws=200)), profile(found)
    for one, other in zip(made["henighan_c"], made["compute"], strict=True):
        assert one["L_inf"][0] == 0.0
        assert one["L_inf"] == pytest.approx(other["L_inf"], rel=1e-5)
        assert one["alpha_C"] == pytest.approx(other["alpha"], rel=1e-5)
        assert 0.6 < one["L_inf"][1] < 1.4
        assert one["alpha_C"][0] < 0.054 < 0.08 < one["alpha_C"][1]


def test_a_floor_that_the_rows_show_is_not_taken_to_zero():
    c = np.geomspace(1e17, 1e22, 12)
    loss = (0.02 + 30.0 * c**-0.06) * np.exp(1e-5 * np.random.default_rng(0).standard_normal(12))
    found = fit(LAWS["compute"], {"c": c, "loss": loss})
    assert found.certificate.at_zero == ()
    assert found.params["L_inf"] == pytest.approx(0.02, rel=0.2)


def test_what_is_no_minimum_is_recognised_and_solved_on():
    problem = centre(laws.chinchilla, sweep())
    best = search(problem).best
    assert conditions.why_not(problem, best) == ""
    off = best.theta + np.array([[0.0, 0.1, -0.1, 0.02, 0.0]])
    gradient = best.gradient + best.hessian[0] @ (off - best.theta)[0]
    wrong = best._replace(theta=off, gradient=gradient, objective=best.objective * 1.5)
    assert "does not vanish" in conditions.why_not(problem, wrong)
    again, reason = conditions.polish(problem, wrong)
    assert reason == ""
    assert again.objective[0] == pytest.approx(best.objective[0], rel=1e-12)
    bent = best._replace(hessian=best.hessian - 1.1 * best.hessian[0, 3, 3] * np.eye(5)[3] * np.eye(5)[3][:, None])
    assert "bends down" in conditions.why_not(problem, bent)


@pytest.mark.parametrize(
    "change", [{"tie": {"beta": "alpha"}}, {"pin": {"E": 1.7}}, {"delta": 1e-6}, {"delta": np.inf}]
)
def test_held_and_robust_fits_are_minima_too(change):
    assert fit(Question(laws.chinchilla, **change), sweep()).certificate.converged


@pytest.mark.slow
def test_one_outlying_row_is_named_and_leaves_the_intervals_as_they_are():
    clean, dirty = sweep(), sweep()
    dirty["loss"] = dirty["loss"].copy()
    dirty["loss"][17] = 9.7
    without = fit(laws.chinchilla, {name: np.delete(v, 17) for name, v in clean.items()})
    found = fit(laws.chinchilla, dirty)
    assert outliers.gross(found).tolist() == [17]
    assert outliers.gross(without).size == 0
    before, after = (constants(bootstrap(one, draws=200)) for one in (without, found))
    for name in ("E", "alpha", "beta", "a"):
        ratio = np.ptp(after[name]) / np.ptp(before[name])
        assert 1 / 1.5 < ratio < 1.5, (name, ratio)
    (text,) = outliers.sentences(found, [f"run-{i}" for i in range(40)])
    assert "run-17 (loss 9.7, the law says" in text
    assert "--drop-outliers 1 leaves it out" in text
    assert f"{without.derived['a']:.4g} instead of {found.derived['a']:.4g}" in text


def test_shifts_that_no_digit_shows_are_not_told():
    row = influence.Row("outliers", "without the 1 rows", 0.51430001, 1e-8, 40.0)
    assert influence.sentences([row], "a") == []
    assert influence.sentences([row._replace(value=0.52, shift=0.0057)], "a")
