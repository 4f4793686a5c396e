"""Approaches 1 and 2 against planted surfaces, closed forms, SciPy, and what they must refuse."""

import time

import numpy as np
import pytest
import scipy.interpolate
import scipy.optimize

from scaling import approaches
from scaling.approaches import THIRD, Answer, Choice, Rows, causes, disagreement, elasticity, isoflop, shapes
from scaling.approaches import envelope as approach1
from scaling.approaches.bias import bias
from scaling.approaches.envelope import envelope
from scaling.approaches.lines import slope
from scaling.fit.backtest import heldout
from scaling.laws import LAWS, chinchilla, hoffmann, n_opt
from train.errors import UserError
from train.numbers import si

ROUNDED = hoffmann.ROUNDED
SECOND = "isoFLOP profiles (approach 2)"
STEEP = {"E": 1.69, "A": 400.0, "B": 400.0, "alpha": 0.465, "beta": 0.155}
EVEN = {"E": 1.7, "A": 420.0, "B": 1100.0, "alpha": 0.33, "beta": 0.33}  # its profiles are symmetric: no bias
CAUTIOUS = {"E": 1.69, "A": 10.0, "B": 3e4, "alpha": 0.1, "beta": 0.506}  # a = .835
BUDGETS = np.geomspace(6e18, 3e21, 9)


def runs(law=ROUNDED, budgets=BUDGETS, sizes=10, span=6.0, noise=0.0, seed=0, centre=1.0):
    c = np.repeat(np.asarray(budgets, np.float64), sizes)
    n = n_opt(law, c) * np.tile(centre * np.geomspace(1 / span, span, sizes), len(budgets))
    d = c / (6 * n)
    loss = chinchilla(law, n, d) + noise * np.random.default_rng(seed).standard_normal(c.size)
    return {"n": n, "d": d, "loss": loss, "budget": c}


def curves(law=ROUNDED, sizes=30, checkpoints=60):
    n = np.repeat(np.geomspace(1e7, 1e10, sizes), checkpoints)
    d = np.tile(np.geomspace(1e8, 1e12, checkpoints), sizes)
    return {"n": n, "d": d, "loss": chinchilla(law, n, d), "run": np.repeat(np.arange(sizes), checkpoints)}


@pytest.mark.parametrize("law", [ROUNDED, STEEP, EVEN, CAUTIOUS], ids=["rounded", "steep", "even", "cautious"])
@pytest.mark.parametrize("method", list(shapes.SHAPES))
def test_noise_free_profiles_give_back_the_exponents(law, method):
    """Sizes follow the optimum, so a parabola is off by one factor on every budget; Akima's, in log loss, is not."""
    found = isoflop.profiles(runs(law, sizes=11), method=method, draws=0)
    tolerance = 2e-3 if method in ("akima", "cubic") else 1e-6
    assert found.a == pytest.approx(hoffmann.a(law), abs=tolerance)
    assert found.b == pytest.approx(hoffmann.b(law), abs=tolerance)
    assert [m.status for m in found.minima] == ["ok"] * 9
    assert found.warnings == []


@pytest.mark.parametrize("method", list(shapes.SHAPES))
def test_symmetric_profiles_give_back_the_optimum_itself(method):
    found = isoflop.profiles(runs(EVEN, sizes=11), method=method, draws=0)
    for m in found.minima:
        assert m.n == pytest.approx(n_opt(EVEN, m.c), rel=5e-3 if method == "cubic" else 1e-6)
        assert 6 * m.n * m.d == pytest.approx(m.c, rel=1e-12)
        assert m.loss == pytest.approx(hoffmann.l_opt(EVEN, m.c), rel=2e-2 if method == "parabola" else 5e-3)
    assert found.n(1e24) == pytest.approx(n_opt(EVEN, 1e24), rel=3e-2 if method == "cubic" else 1e-5)


@pytest.mark.parametrize(
    ("law", "span", "percent"),
    [
        (ROUNDED, 2.0, -0.327), (ROUNDED, 4.0, -1.301), (ROUNDED, 8.0, -2.903), (ROUNDED, 16.0, -5.100),
        (STEEP, 2.0, -1.675), (STEEP, 4.0, -6.498), (STEEP, 8.0, -13.910), (STEEP, 16.0, -23.116),
    ],
)  # fmt: skip
def test_bias_of_noise_free_parabolas(law, span, percent):
    found = bias(law, span)
    assert 100 * found.d == pytest.approx(percent, abs=5e-4), "the bias of approach 2 is exact; the parabola changed"
    assert (1 + found.n) * (1 + found.d) == pytest.approx(1.0, rel=1e-9)
    assert found.a == pytest.approx(0.0, abs=1e-9)


def test_akima_and_windows_are_less_biased_than_parabolas():
    for method in ("window", "akima"):
        assert abs(bias(STEEP, 16.0, method=method).d) < 0.15 * abs(bias(STEEP, 16.0).d)


def test_off_centre_sizes_tilt_the_line_and_are_said():
    """Sizes that grow faster than the optimum: the parabola reports 1.1 where .835 is right."""
    design = {"span": 64.0, "budgets": 1e18 * 2.0 ** np.arange(4), "centre": np.geomspace(1 / 16, 16, 4)}
    assert hoffmann.a(CAUTIOUS) == pytest.approx(0.835, abs=1e-3)
    tilted = bias(CAUTIOUS, **design).found
    assert tilted.a > 1.1
    said = " ".join(tilted.warnings)
    assert "upper third" in said
    assert "lower third" in said
    assert "add sizes up to" in said
    assert bias(CAUTIOUS, method="window", **design).found.a == pytest.approx(0.835, abs=0.01)


@pytest.mark.parametrize("method", ["parabola", "window", "akima"])
@pytest.mark.parametrize(("edge", "side"), [(30.0, "smallest"), (1 / 30.0, "largest")])
def test_minima_at_an_edge_are_refused_and_left_out(method, edge, side):
    good, bad = runs(budgets=BUDGETS[1:]), runs(budgets=BUDGETS[:1], centre=edge, sizes=7)
    both = {name: np.concatenate([bad[name], good[name]]) for name in good}
    found = isoflop.profiles(both, method=method, draws=0)
    first = found.minima[0]
    limit = si(bad["n"].min() if side == "smallest" else bad["n"].max())
    where = f"{'below' if side == 'smallest' else 'above'} {limit}"
    assert first.status == f"at 6e18 FLOPs the best run is the {side} of 7 sizes; add sizes {where}"
    assert np.isnan(first.n)
    assert first.status in found.warnings
    assert found.a == pytest.approx(isoflop.profiles(good, method=method, draws=0).a, rel=1e-12)


def hand_made(losses, budget=1e18, n=None):
    n = np.geomspace(1e6, 1e8, len(losses)) if n is None else np.asarray(n)
    return {"n": n, "d": budget / (6 * n), "loss": np.asarray(losses), "budget": np.full(len(losses), budget)}


@pytest.mark.parametrize(
    ("losses", "method", "sentence"),
    [
        ([3.0, 2.0], "parabola", "there are 2 sizes and parabola needs 4"),
        ([3.0], "parabola", "there is 1 size and parabola needs 4"),
        ([3.0, 2.5, 2.9], "skewed", "there are 3 sizes and skewed needs 4"),
        ([3.0, 2.0, 2.5, 2.9], "akima", "there are 4 sizes and akima needs 5"),
        ([3.0, 3.5, 2.9, 3.6, 3.0], "parabola", "the fitted profile opens downwards"),
        ([4.0, 3.0, 2.1, 2.0, 2.2], "parabola", "the minimum has one size above it and needs 2; add sizes above 100M"),
        ([9.0, 3.1, 3.0, 2.98, 2.9801], "akima", "one size above it and needs 2; add sizes above 100M"),
        ([2.1, 2.0, 2.15, 2.5, 3.1], "window", "one size below it and needs 2; add sizes below 1M"),
        ([3.0, 2.1, 2.0, 2.11, 2.9], "parabola", None),
        ([9.0, 8.0, 7.0, 6.0, 4.9, 5.0], "parabola", "vertex lies above the sizes"),
        ([5.0, 4.9, 6.0, 7.0, 8.0, 9.0], "parabola", "vertex lies below the sizes"),
    ],
)
def test_profiles_without_a_minimum_are_refused_in_a_sentence(losses, method, sentence):
    good = runs(budgets=BUDGETS[-3:])
    bad = hand_made(losses)
    found = isoflop.profiles({k: np.concatenate([bad[k], good[k]]) for k in good}, method=method, draws=0)
    status = found.minima[0].status
    assert status == "ok" if sentence is None else sentence in status
    if sentence is not None:
        assert status.startswith("at 1e18 FLOPs")
        assert "add sizes" in status


def test_one_good_budget_is_no_line():
    bad, good = hand_made([6.0, 5.0, 4.0, 3.0]), runs(budgets=[1e20])
    with pytest.raises(UserError, match=r"1 of 2 budgets brackets.*largest of 4 sizes; add sizes above 100M"):
        isoflop.profiles({k: np.concatenate([bad[k], good[k]]) for k in good})


def test_of_equal_sizes_the_best_run_is_kept_and_row_order_does_not_matter():
    plain = runs()
    worse = {**plain, "loss": plain["loss"] + 0.3}
    both = {k: np.concatenate([worse[k], plain[k]]) for k in plain}
    order = np.random.default_rng(0).permutation(both["n"].size)
    once, twice = (isoflop.profiles(v, draws=0) for v in (plain, {k: v[order] for k, v in both.items()}))
    assert twice.a == pytest.approx(once.a, rel=1e-12)
    np.testing.assert_array_equal(np.sort(order[np.concatenate([m.rows for m in twice.minima])])[:1], plain["n"].size)


def test_flops_counted_otherwise_leave_tokens_to_the_runs():
    """C = 6 (N + head) D: tokens come from the runs, and a + b is not 1."""
    plain = runs(sizes=15)
    d = plain["budget"] / (6 * (plain["n"] + 4e8))
    counted = {**plain, "d": d, "c": plain["budget"], "loss": chinchilla(ROUNDED, plain["n"], d)}
    found = isoflop.profiles(counted, method="akima", draws=0)
    for m in found.minima:
        assert 6 * (m.n + 4e8) * m.d == pytest.approx(m.c, rel=5e-3)
    assert abs(found.a + found.b - 1) > 0.05
    same = isoflop.profiles({**plain, "c": 6 * plain["n"] * plain["d"]}, draws=0)
    assert same.a == isoflop.profiles(plain, draws=0).a


def test_akima_minimum_is_that_of_scipys_interpolant():
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(10, 20, 9))
    losses = np.exp(0.02 * (x - 15) ** 2 + 0.05 * rng.standard_normal((50, 9)))
    at, loss = shapes.akima(x, losses)[:2]
    fine = np.linspace(x[0], x[-1], 20_001)
    for y, vertex, lowest in zip(losses, at, loss, strict=True):
        curve = scipy.interpolate.Akima1DInterpolator(x, np.log(y))
        assert np.exp(curve(vertex)) == pytest.approx(lowest, rel=1e-12)
        assert lowest <= np.exp(curve(fine)).min() + 1e-12
        assert lowest == pytest.approx(np.exp(curve(fine)).min(), rel=1e-6)


def test_weights_are_inverse_variances_as_curve_fit_takes_sds():
    """Passing 1 / sd^2 as curve_fit's sigma trusts the worst budgets most."""
    rng = np.random.default_rng(0)
    c, sd = np.geomspace(1e17, 1e21, 9), np.geomspace(0.01, 1.0, 9)
    n = np.exp(0.5 * np.log(c) + sd * rng.standard_normal(9))
    line = lambda x, m, k: m * x + k
    right, wrong = (scipy.optimize.curve_fit(line, np.log(c), np.log(n), sigma=s)[0][0] for s in (sd, 1 / sd**2))
    found = slope(c, n, 1 / sd**2)
    assert found == pytest.approx(right, rel=1e-6)
    assert abs(found - 0.5) < 0.2 * abs(wrong - 0.5)
    assert slope(c, n) == pytest.approx(np.polyfit(np.log(c), np.log(n), 1)[0], rel=1e-10)


def test_a_noisy_budget_counts_less_under_variance_weights():
    table = runs(EVEN)
    noise = np.where(table["budget"] == BUDGETS[0], 0.05, 0.001)
    table["loss"] = table["loss"] + np.where(table["budget"] == BUDGETS[0], 0.02, 0.0) * np.tile(
        np.linspace(-1, 1, 10), 9
    )
    equal = isoflop.profiles(table, method="parabola", noise=noise, draws=300)
    weighted = isoflop.profiles(table, method="parabola", noise=noise, draws=300, weights="variance")
    sd = np.array([m.sd for m in weighted.minima])
    assert sd[0] > 10 * sd[1:].max()
    assert abs(weighted.a - 0.5) < 0.1 * abs(equal.a - 0.5)
    n, c = (np.array([getattr(m, name) for m in weighted.minima]) for name in ("n", "c"))
    assert weighted.a == pytest.approx(slope(c, n, 1 / sd**2), rel=1e-9)


def test_parabola_sd_is_that_of_the_delta_method():
    """The vertex of a least-squares parabola at small noise: sd by the derivative of -b / 2a."""
    noise = 1e-4
    found = isoflop.profiles(runs(EVEN), method="parabola", noise=noise, draws=4000)
    m = found.minima[4]
    columns = runs(EVEN)
    x, y = np.log(columns["n"][m.rows]), columns["loss"][m.rows]
    middle = x.mean()
    design = np.vander(x - middle, 3)
    curve, tilt, _ = np.linalg.lstsq(design, y, rcond=None)[0]
    gradient = np.array([tilt / (2 * curve**2), -1 / (2 * curve), 0.0])
    expected = noise * np.sqrt(gradient @ np.linalg.inv(design.T @ design) @ gradient)
    assert m.sd == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("method", ["parabola", "window", "akima"])
def test_intervals_cover_the_truth_about_as_often_as_they_say(method):
    trials = 60
    inside = 0
    for seed in range(trials):
        found = isoflop.profiles(runs(EVEN, noise=0.003, seed=seed), method=method, noise=0.003, draws=200, seed=seed)
        low, high = found.n.interval
        inside += low <= 0.5 <= high
        assert low < found.a < high
    assert inside / trials >= 0.8


def test_noise_is_measured_from_residuals():
    found = isoflop.profiles(runs(EVEN, span=2.0, noise=0.004, seed=3))
    assert found.noise == pytest.approx(0.004, rel=0.2)
    assert found.noise_source == "residuals"
    low, high = found.n.band(1e24)
    assert low < found.n(1e24) < high
    assert found.loss.exponent < 0
    again = isoflop.profiles(runs(EVEN, span=2.0, noise=0.004, seed=3))
    assert again.n.interval == found.n.interval


def test_intervals_are_absent_where_nothing_identifies_them():
    two = isoflop.profiles(runs(budgets=BUDGETS[:2]))
    assert np.isnan(two.n.interval).all()
    assert "two budgets give a line and no interval; add a third" in two.warnings
    bare = isoflop.profiles(runs(budgets=BUDGETS[:2], sizes=4))  # as many constants as losses
    assert bare.noise_source == "none"
    assert np.isnan(bare.n.band(1e24)).all()


def test_noise_that_hides_the_minimum_is_said():
    found = isoflop.profiles(runs(EVEN, span=1.3, sizes=5), noise=0.05, draws=200)
    assert sum("to the edge of the sizes" in v for v in found.warnings) == 9


def test_budgets_of_unequal_flops_are_said():
    table = runs()
    table["d"][3] *= 2
    assert any("differ in FLOPs by a factor of 2" in v for v in isoflop.profiles(table, draws=0).warnings)


def test_a_thousand_draws_are_quick():
    start = time.process_time()
    isoflop.profiles(runs(noise=0.003), noise=0.003, draws=1000)
    assert time.process_time() - start < 2.0


def test_of_very_many_sizes_some_are_taken_and_it_is_said(monkeypatch):
    table = runs(budgets=BUDGETS[::3], sizes=3001)
    monkeypatch.setattr(isoflop, "MOST", 300)
    found = isoflop.profiles(table, draws=100)
    assert found.warnings[0] == "isoFLOP profiles are drawn through 300 of 9,003 sizes, at equal steps of their order"
    for minimum, n in zip(found.minima, table["n"].reshape(3, -1), strict=True):
        np.testing.assert_allclose(minimum.sizes[[0, -1]], n[[0, -1]])
    assert found.a == pytest.approx(hoffmann.a(ROUNDED), abs=0.004)


@pytest.mark.parametrize("law", [ROUNDED, EVEN], ids=["rounded", "even"])
def test_envelope_of_training_curves_gives_back_the_exponents(law):
    found = envelope(curves(law), draws=100)
    assert found.a == pytest.approx(hoffmann.a(law), abs=0.01)
    assert found.a + found.b == pytest.approx(1.0, abs=1e-3)
    low, high = found.n_line.interval
    assert low < hoffmann.a(law) < high
    assert found.c.size + sum(found.left_out.values()) == 1500
    assert found.n_line(1e20) == pytest.approx(n_opt(law, 1e20), rel=0.1)
    np.testing.assert_allclose(found.loss, chinchilla(law, found.n, found.d), rtol=1e-4)
    np.testing.assert_allclose(6 * found.n * found.d, found.c, rtol=1e-9)


def test_envelope_leaves_out_what_the_sizes_do_not_bracket():
    table = curves()
    found = envelope(table, draws=0)
    assert set(found.n) <= set(np.unique(table["n"])[1:-1])
    assert found.left_out["one size"] > 0
    assert found.left_out["smallest size"] > 0
    assert np.isnan(found.n_line.interval).all()
    large = table["n"] > 2e9  # the optimum at these C lies below all sizes
    few = {k: v[large & (table["d"] < 2e9)] for k, v in table.items()}
    with pytest.raises(UserError, match="smallest size: "):
        envelope(few, draws=0)


def test_a_draw_of_an_envelope_is_the_envelope_of_the_runs_drawn(monkeypatch):
    """What a draw looks up among the best and the outermost runs of each C, all of its curves say."""
    monkeypatch.setattr(approach1, "DEEP", 20)  # of 40
    rng, log_c = np.random.default_rng(1), np.linspace(40.0, 46.0, 150)
    log_n = np.sort(rng.uniform(16, 23, 40).round(1))  # some alike
    ends = 43 + rng.uniform(-2, 3, 40)
    made = [(np.exp(n), c := np.linspace(40.0, end, 9), c - n, 0.01 * (c / 2 - n) ** 2 + 0.1 * rng.random(9))
            for n, end in zip(log_n, ends, strict=True)]  # fmt: skip
    drawn = approach1._redraw(log_c, made, log_n, 25, seed=0)
    rng, losses = np.random.default_rng(0), approach1._losses(made, log_c)
    for line in drawn:
        chosen = np.unique(rng.integers(40, size=40))
        best, why = approach1._lowest(losses[chosen], log_n[chosen])
        kept = np.flatnonzero(why == "")
        run = chosen[best[kept]]
        assert kept.size > 50
        y = np.stack([log_n[run], log_c[kept] - log_n[run]])
        np.testing.assert_allclose(line, np.polyfit(log_c[kept], y.T, 1)[::-1].T, rtol=1e-7)


def test_envelope_does_not_extrapolate_a_run():
    """A size whose runs ended early is not the best beyond its last checkpoint."""
    table = curves()
    middle = np.unique(table["n"])[12]
    kept = (table["n"] != middle) | (table["d"] < 1e10)
    found = envelope({k: v[kept] for k, v in table.items()}, draws=0)
    assert not np.any((found.n == middle) & (found.d > 1e10))


def test_runs_of_one_size_may_be_many_and_rows_in_any_order():
    table = curves()
    horizons = {k: np.concatenate([v, v]) for k, v in table.items()}
    horizons["run"] = horizons["run"] + np.repeat([0, 100], table["n"].size)
    horizons["loss"] = horizons["loss"] * np.repeat([1.0, 1.05], table["n"].size)
    order = np.random.default_rng(0).permutation(horizons["n"].size)
    found = envelope({k: v[order] for k, v in horizons.items()}, draws=0)
    assert found.a == pytest.approx(envelope(table, draws=0).a, rel=1e-9)
    assert found.run.max() < 100


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: isoflop.profiles(runs(), method="parabla"), "did you mean 'parabola'"),
        (lambda: isoflop.profiles(runs(), method="window", window=2), "window of 2"),
        (lambda: isoflop.profiles(runs(), weights="sd"), "'sd' is not known"),
        (lambda: isoflop.profiles(runs(), noise=-1.0), "sd of a loss"),
        (lambda: isoflop.profiles(runs(budgets=BUDGETS[:2], sizes=4), weights="variance"), "need the noise"),
        (lambda: isoflop.profiles({"n": [1.0], "d": [1.0], "loss": [1.0]}), "no column 'budget'"),
        (lambda: isoflop.profiles({**runs(), "loss": np.zeros(90)}), "loss of row 0 is 0"),
        (lambda: isoflop.profiles({**runs(), "d": np.ones(3)}), "different lengths"),
        (lambda: bias(ROUNDED, 1.0), "span is 1"),
        (lambda: slope([1e18], [1e8]), "two different"),
        (lambda: envelope({**curves(), "run": np.zeros(1800)}), "several sizes"),
        (lambda: envelope(curves(sizes=2)), "2 sizes brackets no best"),
    ],
)
def test_refusals_are_sentences(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()


@pytest.mark.parametrize("law", [ROUNDED, STEEP, CAUTIOUS], ids=["rounded", "steep", "cautious"])
def test_the_default_is_unbiased_where_sizes_drift_from_the_optimum(law):
    """Wide, off-centre sizes, two on each side at the least: a parabola errs by over .004, the default by none."""
    drift = {"span": 16.0, "budgets": np.geomspace(1e18, 1e21, 4), "centre": np.geomspace(0.2, 5.0, 4), "sizes": 11}
    assert isoflop.DEFAULT == "skewed"
    assert bias(law, method="skewed", **drift).a == pytest.approx(0.0, abs=1e-8)
    assert abs(bias(law, method="parabola", **drift).a) > 0.004


def test_one_ladder_of_sizes_for_all_budgets():
    """The same 5 to 7 sizes around each optimum, off its centre now one way and now the other."""
    ladder = 2.0 ** np.arange(5, 45)
    budgets = np.geomspace(1e18, 1e21, 6)
    kept = [ladder[np.abs(np.log(ladder / n_opt(STEEP, c))) < np.log(5.0)] for c in budgets]
    n, c = np.concatenate(kept), np.repeat(budgets, [k.size for k in kept])
    table = {"n": n, "d": c / (6 * n), "loss": chinchilla(STEEP, n, c / (6 * n)), "budget": c}
    assert isoflop.profiles(table, draws=0).a == pytest.approx(hoffmann.a(STEEP), abs=1e-8)


def test_elasticity_of_substitution_is_that_of_the_law():
    """Chinchilla's law has 2 / (2 + alpha + beta) at every budget, whatever the loss is measured in."""
    for law in (ROUNDED, STEEP, EVEN, CAUTIOUS):
        right = 2 / (2 + law["alpha"] + law["beta"])
        found = isoflop.profiles(runs(law, sizes=11), draws=0).elasticity
        assert found.value == pytest.approx(right, abs=5e-3)
        surface = lambda n, d, law=law: chinchilla(law, np.exp(n), np.exp(d))
        n = n_opt(law, 1e20)
        for transform in (lambda v: v, np.log, lambda v: (v - 1.0) ** 3):
            at = elasticity.of_surface(lambda n, d, f=transform, s=surface: f(s(n, d)), np.log(n), np.log(1e20 / 6 / n))
            assert at == pytest.approx(right, abs=1e-5)


def test_elasticity_has_an_interval_that_holds_it():
    found = isoflop.profiles(runs(EVEN, noise=0.002, sizes=11), noise=0.002, draws=200).elasticity
    low, high = found.interval
    assert low < 2 / 2.66 < high
    assert high - low < 0.2


@pytest.mark.slow
def test_the_headline_of_a_budget_compares_the_optimum_with_the_profiles_minimum():
    """Without noise the law is exact; the best of five sizes lies above the optimum and is not what is forecast."""
    table = runs(ROUNDED, budgets=np.geomspace(1e18, 1e20, 5), sizes=5, span=6.0, centre=1.3)
    found = heldout(LAWS["chinchilla"], table, draws=50)
    assert found.isoflop
    assert found.best.measured == pytest.approx(hoffmann.l_opt(ROUNDED, 1e20), rel=1e-7)
    assert found.relative_error == pytest.approx(0.0, abs=1e-6)
    assert found.best.inside
    kept = (table["budget"] < 1e20 * (1 - 1e-9)) | (np.arange(25) % 5 < 4)
    few = heldout(LAWS["chinchilla"], {k: v[kept] for k, v in table.items()}, draws=50)
    assert not few.isoflop  # four sizes: each run at its own N and D
    assert few.relative_error == pytest.approx(0.0, abs=1e-6)


def test_an_approach_that_the_runs_do_not_allow_says_what_is_missing():
    table, law = runs(), LAWS["chinchilla"]
    answered = lambda columns, number, **options: approaches.estimates(law, Rows(columns), Choice(number, options))
    found, (why,) = answered(table, "1")
    assert not found
    assert "give the checkpoints" in why
    found, (why,) = answered({k: v[:12] for k, v in table.items()}, "2")
    assert not found
    assert "needs two budgets" in why
    assert answered({k: v[:12] for k, v in table.items()}, "all") == ({}, [])
    assert answered(table, "3") == ({}, [])
    assert approaches.estimates(LAWS["compute"], Rows(table), Choice("2"))[1][0].startswith("approach 2 needs N and D")
    found, why = answered(table, "2", profile="window", weights="variance", noise=0.003)
    assert (found[SECOND].fields, why) == ({"method": "window", "weights": "variance"}, [])


def test_approaches_that_disagree_are_said_with_the_cause_and_the_rows():
    table = Rows(runs(EVEN, noise=0.002), noise=0.002)
    (estimate,) = approaches.estimates(LAWS["chinchilla"], table, Choice("2"))[0].values()
    n, (low, high) = estimate.n.at(1e21)
    assert low < n < high
    read = Answer(SECOND, n, 1.0, (low, high), (1.0, 1.0))
    far = Answer(THIRD, 2 * high, 1.0, (1.8 * high, 2.2 * high), (1.0, 1.0))
    residuals = np.random.default_rng(0).normal(0, 1e-3, 90)
    residuals[17] = 0.5
    why = causes([estimate], residuals, lambda rows: [f"run{i}" for i in rows], [("run 3", 0.01), ("run 9", -0.2)])
    text = disagreement([far, read], 1e21, why)
    assert text.startswith("the approaches disagree at 1e21 FLOPs: law (approach 3) says N")
    for part in ("1 row lies far off the law: run17.", "The law rests most on run 9", "Approach 2 rests most on"):
        assert part in text
    assert disagreement([read, read], 1e21, why) == ""
