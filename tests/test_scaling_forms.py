"""Newer forms of the law, and the reader's own: against closed forms, limits, planted truths, and SciPy."""

import json

import numpy as np
import pytest
import scipy.optimize

from scaling.__main__ import main
from scaling.laws import LAWS, chinchilla, hoffmann
from scaling.laws.optimum import optimum

TEX = hoffmann.PUBLISHED
BUDGETS = np.geomspace(1e17, 1e24, 8)
RNG = np.random.default_rng


def grid(noise: float = 0.0, seed: int = 0) -> dict[str, np.ndarray]:
    """Forty runs of Chinchilla's law: five sizes at each of eight token counts, errors of log loss of size `noise`."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e12, 8)))
    loss = chinchilla(TEX, n, d) * np.exp(noise * RNG(seed).standard_normal(n.size))
    return {"n": n, "d": d, "loss": loss}


def write(path, columns) -> str:
    names = list(columns)
    rows = zip(*(np.asarray(columns[name]).tolist() for name in names), strict=True)
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def fitted(tmp_path, columns, *options) -> dict:
    """fit.json of the command."""
    path = write(tmp_path / "runs.csv", columns)
    main(["fit", path, "--out", str(tmp_path / "out"), "--draws", "40", *options])
    return json.loads((tmp_path / "out/fit.json").read_text())


# Power mean.


def test_a_power_mean_with_q_1_is_chinchilla():
    data, law = grid(), LAWS["power_mean"]
    np.testing.assert_allclose(law(TEX | {"q": 1.0}, data["n"], data["d"]), data["loss"], rtol=1e-14)
    same = optimum(law, law.free(TEX | {"q": 1.0}), BUDGETS)
    np.testing.assert_allclose(same["n"], hoffmann.n_opt(TEX, BUDGETS), rtol=1e-12)


@pytest.mark.parametrize("q", [0.4, 1.0, 3.0])
def test_the_optimum_of_a_power_mean_is_the_least_loss(q):
    law, params = LAWS["power_mean"], TEX | {"q": q}
    theta = law.free(params)
    best = optimum(law, theta, BUDGETS)
    np.testing.assert_allclose(6 * best["n"] * best["d"], BUDGETS, rtol=1e-12)
    np.testing.assert_allclose(
        best["n"], law.derived["G"](params) * (BUDGETS / 6) ** law.derived["a"](params), rtol=1e-12
    )
    for c, n, loss in zip(BUDGETS, best["n"], best["loss"], strict=True):
        at = lambda x, c=c: float(law(params, np.exp(x), c / (6 * np.exp(x))))
        found = scipy.optimize.minimize_scalar(at, bracket=(np.log(n) - 2, np.log(n) + 3), tol=1e-12)
        assert found.fun == pytest.approx(float(loss), rel=1e-12)
        assert np.exp(found.x) == pytest.approx(float(n), rel=1e-5)


def test_a_large_q_lets_the_larger_term_decide():
    p, n, d = TEX | {"q": 400.0}, 1e9, np.array([1e8, 1e13])
    worst = np.maximum(p["A"] / n ** p["alpha"], p["B"] / d ** p["beta"])
    np.testing.assert_allclose(LAWS["power_mean"](p, n, d), p["E"] + worst, rtol=1e-3)


# Bounded, data-limited.

BOUNDED = {"E": 1.7, "L_0": 10.82, "a": 60.0, "b": 120.0, "c": 0.04, "alpha": 0.34, "beta": 0.31, "gamma": 0.42,
           "delta": 0.39}  # fmt: skip


def test_the_bounded_law_has_its_limits():
    law = LAWS["bounded"]
    assert law(BOUNDED, 1e-9, 1e-9, 1e12) == pytest.approx(10.82, rel=1e-5)  # nothing learnt: an uninformed guess
    rich = BOUNDED | {"c": 1e-300}  # data without end: Chinchilla's law where h is small
    scale = BOUNDED["L_0"] - BOUNDED["E"]
    same = {"E": 1.7, "A": scale * 60.0, "B": scale * 120.0, "alpha": 0.34, "beta": 0.31}
    n, d = 1e15, 1e17
    above = float(law(rich, n, d, d)) - 1.7
    assert above == pytest.approx(float(chinchilla(same, n, d)) - 1.7, rel=2e-3)
    h = 60.0 / 1e9**0.34 + 120.0 / 1e11**0.31 + 0.04 * 1e9**0.42 / 1e10**0.39
    assert law(BOUNDED, 1e9, 1e11, 1e10) == pytest.approx(1.7 + scale * h / (1 + h), rel=1e-13)


def test_the_loss_of_a_guess_is_asked_for_where_no_run_shows_it(tmp_path, capsys):
    n, d, u = (
        v.ravel() for v in np.meshgrid(np.geomspace(3e8, 1e10, 4), np.geomspace(3e10, 1e12, 4), [3e9, 1e11, 1e12])
    )
    columns = {"n": n, "d": d, "u": np.minimum(u, d), "loss": LAWS["bounded"](BOUNDED, n, d, np.minimum(u, d))}
    columns["loss"] = columns["loss"] * np.exp(1e-4 * RNG(0).standard_normal(n.size))
    free = fitted(tmp_path, columns, "--law", "bounded")
    assert any("--pin L_0=" in sentence for sentence in free["warnings"])
    pinned = fitted(tmp_path, columns, "--law", "bounded", "--pin", "L_0=10.82")
    assert not any("--pin L_0=" in sentence for sentence in pinned["warnings"])
    assert pinned["params"]["alpha"] == pytest.approx(0.34, rel=0.05)
    assert pinned["params"]["E"] == pytest.approx(1.7, rel=0.02)


# Optimizers compared.


def test_efficiencies_of_optimizers_are_found_by_the_command(tmp_path, capsys):
    """Three optimizers: rho_N and rho_D inside their intervals, named by the file's own labels."""
    truth = {"muon": (1.5, 0.7), "adamw": (1.0, 1.0), "sgd": (0.5, 0.4)}
    parts = []
    for of_n, of_d in truth.values():
        part = grid()
        parts.append(part | {"loss": chinchilla(TEX, of_n / 1.5 * part["n"], of_d / 0.7 * part["d"])})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["loss"] = columns["loss"] * np.exp(3e-4 * RNG(1).standard_normal(columns["n"].size))
    labels = np.repeat(list(truth), parts[0]["n"].size)
    found = fitted(tmp_path, columns | {"optimizer": labels}, "--law", "efficiency", "--group", "optimizer")
    assert found["groups"] == ["muon", "adamw", "sgd"]
    for name in ("adamw", "sgd"):
        for symbol, i in (("N", 0), ("D", 1)):
            ratio = truth[name][i] / truth["muon"][i]
            value, (low, high) = (found[k][f"rho_{symbol}[{name}]"] for k in ("params", "interval"))
            assert value == pytest.approx(ratio, rel=0.05)
            assert low - 0.01 * ratio < ratio < high + 0.01 * ratio
            assert high / low < 1.2
    assert "the reference is 'muon'" in capsys.readouterr().out


def test_one_law_of_two_groups_is_chinchillas_of_each():
    law, data = LAWS["efficiency"], grid()
    params = TEX | {"rho_N[second]": 2.0, "rho_D[second]": 0.3}
    np.testing.assert_allclose(law(params, data["n"], data["d"], 1.0), data["loss"], rtol=1e-14)
    np.testing.assert_allclose(
        law(params, data["n"], data["d"], 2.0), chinchilla(TEX, 2.0 * data["n"], 0.3 * data["d"]), rtol=1e-14
    )
