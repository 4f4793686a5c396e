"""Newer forms of the law, and the reader's own: against closed forms, limits, planted truths, and SciPy."""

import doctest
import json

import numpy as np
import pytest
import scipy.optimize

from scaling import analyse, plan
from scaling.__main__ import main
from scaling.fit import backtest
from scaling.fit.estimate import fit
from scaling.fit.flags import flags
from scaling.fit.question import LOG_MSE, Question
from scaling.laws import LAWS, chinchilla, hoffmann, own
from scaling.laws.optimum import optimum
from scaling.logs import readers, records
from scaling.report import fitfile
from tests.test_scaling_laws import PLANTED, design
from train.errors import UserError

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


def untested(*_, **__):
    raise UserError("this test looks at no forecast")


def fitted(tmp_path, columns, *options, forecasts: bool = False) -> dict:
    """fit.json of the command; without the tables that refit again and again, and the forecasts unless asked for."""
    path = write(tmp_path / "runs.csv", columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyse, "FEW", 0)
        patch.setattr(backtest, "CUTOFFS", 1)
        if not forecasts:
            patch.setattr(analyse, "backtest", untested)
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


@pytest.mark.slow
def test_the_loss_of_a_guess_is_asked_for_where_no_run_shows_it():
    n, d, u = (v.ravel() for v in np.meshgrid(np.geomspace(3e8, 1e10, 4), np.geomspace(3e10, 1e12, 4), [3e9, 1e11]))
    columns = {"n": n, "d": d, "u": u, "loss": LAWS["bounded"](BOUNDED, n, d, u)}
    columns["loss"] = columns["loss"] * np.exp(1e-4 * RNG(0).standard_normal(n.size))
    free = fit(LAWS["bounded"], columns, certify=False)
    assert any("--pin L_0=" in sentence for sentence in flags(free))
    pinned = free._replace(question=Question(LAWS["bounded"], pin={"L_0": 10.82}))
    assert not any("--pin L_0=" in sentence for sentence in flags(pinned))


# Optimizers compared.


@pytest.mark.slow
def test_efficiencies_of_optimizers_are_found_by_the_command(tmp_path, capsys):
    """Two optimizers: rho_N and rho_D inside their intervals, named by the file's own labels."""
    truth = {"muon": (1.5, 0.7), "adamw": (1.0, 1.0)}
    parts = []
    for of_n, of_d in truth.values():
        part = {name: v[::2] for name, v in grid().items()}
        parts.append(part | {"loss": chinchilla(TEX, of_n / 1.5 * part["n"], of_d / 0.7 * part["d"])})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["loss"] = columns["loss"] * np.exp(3e-4 * RNG(1).standard_normal(columns["n"].size))
    labels = np.repeat(list(truth), parts[0]["n"].size)
    found = fitted(tmp_path, columns | {"optimizer": labels}, "--law", "efficiency", "--group", "optimizer")
    assert found["groups"] == ["muon", "adamw"]
    for name, ratio in (("rho_N[adamw]", 1.0 / 1.5), ("rho_D[adamw]", 1.0 / 0.7)):
        value, (low, high) = found["params"][name], found["interval"][name]
        assert value == pytest.approx(ratio, rel=0.05)
        assert 0.99 * low < ratio < 1.01 * high
        assert high / low < 1.2
    with pytest.raises(UserError, match="choose one with --group: muon, adamw"):
        plan.plan(fitfile.load(tmp_path / "out"), flops=1e22)
    made = plan.plan(fitfile.load(tmp_path / "out"), flops=1e22, group="adamw")
    same = TEX | {"A": TEX["A"] * 1.5 ** TEX["alpha"], "B": TEX["B"] * 0.7 ** TEX["beta"]}  # as the runs were made
    assert made.n == pytest.approx(float(hoffmann.n_opt(same, 1e22)), rel=0.1)
    assert made.loss == pytest.approx(float(hoffmann.l_opt(same, 1e22)), rel=2e-3)
    assert "the reference is 'muon'" in capsys.readouterr().out


def test_groups_are_numbered_as_the_law_numbers_them_whatever_file_they_are_in(tmp_path):
    file = write(tmp_path / "runs.csv", {"n": [1e9, 1e9], "d": [1e11, 1e11], "loss": [2, 2], "kind": ["sgd", "adam"]})
    runs = records.assign(readers.read([file]), inputs=("n", "d", "group"), given={"group": "kind"})
    assert runs.columns["group"].tolist() == [1.0, 2.0]
    assert records.numbered(runs, ("adam", "muon", "sgd")).columns["group"].tolist() == [3.0, 1.0]
    with pytest.raises(UserError, match="group 'sgd' is none of those"):
        records.numbered(runs, ("adam", "muon"))


def test_one_law_of_two_groups_is_chinchillas_of_each():
    law, data = LAWS["efficiency"], grid()
    params = TEX | {"rho_N[second]": 2.0, "rho_D[second]": 0.3}
    np.testing.assert_allclose(law(params, data["n"], data["d"], 1.0), data["loss"], rtol=1e-14)
    np.testing.assert_allclose(
        law(params, data["n"], data["d"], 2.0), chinchilla(TEX, 2.0 * data["n"], 0.3 * data["d"]), rtol=1e-14
    )


# The reader's own law.

FORMULAS = {
    "chinchilla": "L(N, D) = E + A / N^alpha + B / D^beta",
    "kaplan_nd": "L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D",
    "compute": "L = L_inf + A * C^-alpha",
    "m3": "b * (1/x + gamma)^(-c)",
    "power_mean": "L = E + ((A * N^-alpha)^q + (B / D**beta)^q)^(1/q)",
    "precision": "L = E + A / (N * (1 - e^(-P / gamma)))^alpha + B / D^beta",
    "step_lr": "lr = c * N^a * D^b",
    "error": "error = epsilon - k * exp(-gamma * L)",
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_is_the_law_that_it_says(name):
    """The same predictions at the same constants, and the same under a change of every unit that it is closed under."""
    built_in, law = LAWS[name], own.from_formula(FORMULAS[name])
    params = PLANTED[name]
    assert set(law.names) == set(built_in.names)
    assert (law.inputs, law.output, law.space) == (built_in.inputs, built_in.output, built_in.space)
    x = [values for column, values in design(built_in).items() if column != built_in.output]
    np.testing.assert_allclose(law(params, *x), built_in(params, *x), rtol=1e-11)
    theta, units = law.free(params), {column: 0.5 for column in (*law.inputs, law.output) if column not in law.units}
    logs = [np.log(v) for v in x]
    moved = law.at(law.rescale(theta, units), *(v + units.get(k, 0.0) for k, v in zip(law.inputs, logs, strict=True)))
    np.testing.assert_allclose(
        moved, law.at(theta, *logs) + units.get(law.output, 0.0) * (law.space == "log"), atol=1e-9
    )


def test_the_units_of_a_formula_are_those_of_the_law():
    assert own.from_formula("E + A / N^α").params[1].unit == "n^α · loss"
    for name in ("chinchilla", "kaplan_nd", "compute", "power_mean", "step_lr"):
        law = own.from_formula(FORMULAS[name])
        assert law.units == {}, name  # every column is centred
        for param in LAWS[name].params:
            assert law.params[law.index(param.name)].parsed == param.parsed, (name, param.name)


def test_the_formula_of_chinchilla_has_the_optimum_of_the_built_in_law():
    data, law = grid(0.003), own.from_formula(FORMULAS["chinchilla"])
    built_in, found = fit(chinchilla, data, certify=False), fit(law, data, certify=False)
    assert found.params == pytest.approx(built_in.params, rel=1e-9)
    assert found.objective == pytest.approx(built_in.objective, rel=1e-12)
    best = [optimum(f.law, f.theta, BUDGETS)["n"] for f in (found, built_in)]
    np.testing.assert_allclose(*best, rtol=1e-9)


WRONG = {
    "L = E + A / N^": "character 15: here stands 'its end', not a number, a name or a bracket",
    "L = E + A N^-alpha": "character 11: 'N' cannot follow here; write * between factors (L = E + A ▸ N^-alpha)",
    "L = E + (A / N^alpha": "character 21: ')' is missing",
    "L = E + A / N^alpha $": "character 21: '$' means nothing here",
    "L = foo(N) + E": "'foo' is no function",
    "L = min(N) + E": "min takes 2 argument(s), not 1",
    "L = E + A": "reads no column",
    "L = N / D": "has no parameter to fit",
    "Q = E + A / N": "'Q' is nothing that a law predicts",
    "L(N, D) = E + A / N^alpha": "character 6: 'D' is listed on the left and read nowhere",
    "L(N) = E + A / N^alpha + B / D^beta": "reads D, which its left side does not list",
    "L = level + A / N^alpha": "'level' cannot be a parameter",
    "L = " + "(" * 40 + "N": "more than 25 brackets",
    "__import__('os').system('true')": "character 12",
    "L = E.real + N": "character 6: '.' means nothing here",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_formula_is_answered_with_its_character(text):
    with pytest.raises(UserError) as caught:
        own.from_formula(text)
    assert WRONG[text] in str(caught.value)


@pytest.mark.slow
def test_a_law_without_a_best_split_says_so(tmp_path, capsys, monkeypatch):
    """L = E + A / (N D)^a is flat along every budget: nothing is drawn or tabled that is not there."""
    monkeypatch.setattr(analyse, "FEW", 0)  # no tables of other fits
    monkeypatch.setattr(backtest, "CUTOFFS", 1)
    data = grid()
    data["loss"] = 1.5 + 900.0 / (data["n"] * data["d"]) ** 0.15 * np.exp(1e-3 * RNG(0).standard_normal(data["n"].size))
    rows = zip(*(data[k].tolist() for k in ("n", "d", "loss")), strict=True)
    (tmp_path / "runs.csv").write_text("n,d,loss\n" + "".join(f"{n},{d},{loss}\n" for n, d, loss in rows))
    law = ["--formula", "L = E + A / (N^a * D^a)", "--draws", "20", "--out", str(tmp_path / "out")]
    main(["fit", str(tmp_path / "runs.csv"), *law])
    said = capsys.readouterr().out
    assert "no N and D are best" in said
    assert "next       by" not in said
    assert not (tmp_path / "out" / "plots" / "optimum.svg").exists()


def test_two_laws_at_once_are_refused(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("n,d,loss\n1e7,1e9,3\n")
    with pytest.raises(UserError, match="--law and --formula each give a law; leave one of them out"):
        main(["fit", str(path), "--law", "compute", "--formula", "L = A / N^a", "--out", str(tmp_path / "out")])


def test_a_question_takes_the_delta_of_its_law():
    assert Question(LAWS["chinchilla"]).delta == 1e-3
    assert Question(LAWS["step_lr"]).delta == LOG_MSE
    assert Question(LAWS["step_lr"], 1e-2).delta == 1e-2


@pytest.mark.slow
def test_a_formula_is_fitted_and_planned_by_command(tmp_path, capsys):
    formula = FORMULAS["chinchilla"]
    found = fitted(tmp_path, grid(0.003), "--formula", formula, "--pin", "E=1.69", "--tie", "beta=alpha")
    assert found["formula"] == formula
    assert found["params"]["E"] == 1.69
    assert found["params"]["alpha"] == found["params"]["beta"] == pytest.approx(0.31, abs=0.05)
    main(["plan", "--fit", str(tmp_path / "out"), "--flops", "1e23", "--json"])
    made = json.loads(capsys.readouterr().out.partition("\n{\n")[2].join(["{", ""]))
    theta = own.from_formula(formula).free(found["params"])
    assert made["n"] == pytest.approx(float(optimum(own.from_formula(formula), theta, 1e23)["n"]), rel=1e-9)


MINE = """
import dataclasses
from scaling.laws import chinchilla
predict = lambda theta, *logs: chinchilla.predict(2 * theta / 2, *logs)
mine = dataclasses.replace(chinchilla, name="mine", equation="L = my own", predict=predict)
"""


def test_a_law_file_is_fitted_and_asked_for_again(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    found = fitted(tmp_path, grid(0.003), "--law-file", str(tmp_path / "mine.py"))
    assert found["law"] == "mine"
    with pytest.raises(UserError, match=r"give that file again, with --law-file"):
        fitfile.load(tmp_path / "out")
    again = fitfile.load(tmp_path / "out", tmp_path / "mine.py")
    assert again.params == pytest.approx(fit(chinchilla, grid(0.003), certify=False).params, rel=1e-9)
    for text, sentence in {
        "x = 1": "it holds none",
        "import numpy\nx = 1 / 0": "line 2: ZeroDivisionError",
        "x = (": "line 1: SyntaxError",
        MINE + "other = dataclasses.replace(mine, name='other')": "it holds mine, other",
    }.items():
        (tmp_path / "mine.py").write_text(text)
        with pytest.raises(UserError, match=sentence):
            own.from_file(tmp_path / "mine.py")


# Residuals in the loss itself.


@pytest.mark.parametrize("delta", [1e-2, LOG_MSE])
def test_residuals_in_the_loss_have_the_optimum_that_scipy_finds(delta):
    """The Huber loss of measured - fitted in nats, from the optimum in logs by another minimiser of another form."""
    data = grid(0.01)
    found = fit(Question(chinchilla, delta=delta, space="loss"), data)
    assert found.certificate.gradient_norm < 1e-9
    assert found.certificate.starts_at_optimum > 0.2
    np.testing.assert_allclose(
        found.residuals, data["loss"] - chinchilla(found.params, data["n"], data["d"]), atol=1e-12
    )

    def objective(theta):
        fitted = np.exp(theta[0]) + np.exp(theta[1] - theta[3] * n) + np.exp(theta[2] - theta[4] * d)
        r = np.abs(data["loss"] - fitted)
        return np.where(r <= delta, 0.5 * r**2, delta * (r - 0.5 * delta) if np.isfinite(delta) else 0.0).sum()

    n, d = np.log(data["n"]) - 19.0, np.log(data["d"]) - 24.0
    p = TEX
    start = [
        np.log(p["E"]),
        np.log(p["A"]) - 19.0 * p["alpha"],
        np.log(p["B"]) - 24.0 * p["beta"],
        p["alpha"],
        p["beta"],
    ]
    options = {"maxiter": 40_000, "maxfev": 40_000, "xatol": 1e-12, "fatol": 1e-18}
    other = scipy.optimize.minimize(objective, start, method="Nelder-Mead", options=options)
    assert objective(other.x) == pytest.approx(found.objective, rel=1e-8)
    assert found.params["alpha"] == pytest.approx(other.x[3], rel=1e-4)
    assert found.objective < objective(np.array(start))
    logs = fit(Question(chinchilla, delta=delta), data, certify=False)
    assert abs(logs.params["alpha"] / found.params["alpha"] - 1) > 1e-4  # another question, another answer


def test_a_planted_law_is_found_in_the_loss_too():
    name = "kaplan_nd"  # no sum of amplitudes: its starts are those of a centred output
    law = LAWS[name]
    found = fit(Question(law, space="loss"), design(law), certify=False)
    assert found.params == pytest.approx(PLANTED[name], rel=1e-5)
    np.testing.assert_allclose(
        optimum(found.law, found.theta, BUDGETS)["loss"], optimum(law, found.theta, BUDGETS)["loss"], rtol=1e-12
    )


@pytest.mark.slow
def test_everything_of_a_fit_in_the_loss_is_in_nats(tmp_path, capsys):
    """Errors of one size in nats: constants and forecasts hold the truth; fit.json says the space, and plans use it."""
    data = grid()
    data["loss"] = data["loss"] + 0.004 * RNG(3).standard_normal(data["loss"].size)
    found = fitted(tmp_path, data, "--space", "loss", "--delta", "0.01", forecasts=True)
    assert found["space"] == "loss"
    assert found["residual_rms"] == pytest.approx(0.004, rel=0.3)
    for name in ("E", "alpha", "beta"):
        low, high = found["interval"][name]
        assert low < TEX[name] < high
    assert found["heldout"]["coverage"] > 0.5
    made = plan.plan(fitfile.load(tmp_path / "out"), flops=1e22)
    best = float(optimum(chinchilla, chinchilla.free(found["params"]), 1e22)["loss"])
    assert made.loss == pytest.approx(best, rel=1e-9)
    assert made.interval[0] < made.loss < made.interval[1]
    assert made.interval[1] - made.interval[0] < 0.1


# D in bytes.


def in_bytes(spread: float) -> dict[str, np.ndarray]:
    """Runs of Chinchilla's law in bytes, with tokens of 3.2 to 5.1 bytes where `spread` is 1, of 4 where it is 0."""
    data = grid()
    size = 4.0 * (1.27 ** (spread * np.tile([-1.0, 1.0], 20)))
    return {"n": data["n"], "tokens_seen": data["d"] / size, "bytes_seen": data["d"], "loss": data["loss"]}


def test_d_in_bytes_has_the_exponents_of_bytes_and_the_compute_of_tokens(tmp_path, capsys):
    data = in_bytes(1.0)
    found = fitted(tmp_path, data, "--d", "bytes_seen")
    assert found["counting"]["d"] == "bytes_seen"
    assert found["params"]["alpha"] == pytest.approx(TEX["alpha"], rel=1e-6)
    assert found["params"]["beta"] == pytest.approx(TEX["beta"], rel=1e-6)
    mean = np.exp(np.log(data["bytes_seen"] / data["tokens_seen"]).mean())
    assert found["params"]["B"] == pytest.approx(TEX["B"] / mean ** TEX["beta"], rel=1e-5)
    assert found["range"]["c"] == pytest.approx(
        [f(6 * data["n"] * data["tokens_seen"]) for f in (np.min, np.max)], rel=1e-12
    )
    assert "counts bytes, here in units of 4" in capsys.readouterr().out


def test_bytes_are_taken_only_where_they_are_named(tmp_path):
    data = in_bytes(0.0)
    table = readers.read([write(tmp_path / "runs.csv", data)])
    np.testing.assert_allclose(records.assign(table).columns["d"], data["tokens_seen"], rtol=1e-9)
    named = records.assign(table, given={"d": "bytes_seen"})
    np.testing.assert_allclose(named.columns["d"], data["tokens_seen"], rtol=1e-9)  # tokens of one size: the same runs
    alone = readers.read([write(tmp_path / "bytes.csv", {k: v for k, v in data.items() if k != "tokens_seen"})])
    with pytest.raises(UserError, match="no column is named like d"):
        records.assign(alone)
    assert any("no column tokens" in sentence for sentence in records.assign(alone, given={"d": "bytes_seen"}).said)


# The page.


def test_the_page_lists_every_law_and_its_lines_run():
    from scripts import list_laws

    page = list_laws.PAGE.read_text(encoding="utf-8")
    assert list_laws.markdown() in page, "`python -m scripts.list_laws` writes it"
    assert all(f"`{name}`" in page for name in LAWS)
    ran = doctest.testfile(str(list_laws.PAGE.resolve()), module_relative=False, encoding="utf-8")
    assert ran.attempted > 15
    assert ran.failed == 0


def test_the_law_file_of_the_page_is_a_law(tmp_path):
    from scripts import list_laws

    page = list_laws.PAGE.read_text(encoding="utf-8")
    code = page[page.index("from scaling.laws.api import Law, grid") :].partition("```")[0]
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    data, law = grid(), own.from_file(tmp_path / "mine.py")
    np.testing.assert_allclose(law(TEX, data["n"], data["d"]), data["loss"], rtol=1e-14)
    assert np.shape(law.starts) == (9, 5)
