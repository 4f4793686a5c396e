"""The commands as a user gives them: fit on foreign logs, plan, design, report, selftest; and what they refuse."""

import contextlib
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from scaling import laws, plan
from scaling.__main__ import main
from scaling.laws import chinchilla
from scaling.report import fitfile
from tests.support.planted import TRUTH, design, only_the_fit
from train.errors import UserError


def write(path, noise=0.003, change=lambda rows: None, sizes=6):
    """A table of another origin: other names, FLOPs instead of tokens."""
    runs = design(sizes)
    errors = noise * np.random.default_rng(0).standard_normal(runs["n"].size)
    loss = chinchilla(TRUTH, runs["n"], runs["d"]) * np.exp(errors)
    rows = [
        {"model": f"m{i}", "Model Size": n, "Training FLOP": 6 * n * d, "val loss": v}
        for i, (n, d, v) in enumerate(zip(runs["n"].tolist(), runs["d"].tolist(), loss.tolist(), strict=True))
    ]
    change(rows)
    names = list(rows[0]) if rows else ["Model Size", "Training FLOP", "val loss"]
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The folder of a whole fit, with all its tables and forecasts; beside it what the command said."""
    folder = tmp_path_factory.mktemp("fitted")
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        main(["fit", str(write(folder / "runs.csv")), "--out", str(folder / "out"), "--draws", "100"])
    (folder / "shown").write_text(shown.getvalue())
    return folder / "out"


@pytest.mark.slow
def test_foreign_columns_are_guessed_and_said(fitted):
    shown = (fitted.parent / "shown").read_text()
    assert "n: column 'Model Size' (guessed; --n COL names another)" in shown
    assert "d: c / (6 n), c from column 'Training FLOP'" in shown
    found = json.loads((fitted / "fit.json").read_text())
    for name in ("law", "counting", "space", "delta", "objective", "n_rows", "dropped", "params", "interval", "derived",
                 "certificate", "heldout", "versions"):  # fmt: skip
        assert name in found, name
    assert set(found["params"]) == set(TRUTH)
    assert {"level", "method", "E", "A", "B", "alpha", "beta", "a"} <= set(found["interval"])
    assert {"gradient_norm", "starts", "starts_at_optimum", "other_minima", "hessian_condition"} <= set(
        found["certificate"]
    )
    assert found["params"]["alpha"] == pytest.approx(0.34, abs=0.05)


def test_fit_as_json_is_fit_json(tmp_path, capsys, monkeypatch):
    only_the_fit(monkeypatch)
    path = write(tmp_path / "runs.csv")
    main(["fit", str(path), "--n", "Model Size", "--flops", "Training FLOP", "--loss", "val loss", "--json", "--draws",
          "50", "--out", str(tmp_path / "out"), "--tie", "beta=alpha", "--pin", "E=1.69", "--drop-outliers", "2",
          "--filter", "model!=m3"])  # fmt: skip
    shown = json.loads(capsys.readouterr().out)
    assert shown["n_rows"] == 27
    assert shown["params"]["alpha"] == shown["params"]["beta"]
    assert shown["params"]["E"] == pytest.approx(1.69)
    assert shown["params"] == json.loads((tmp_path / "out/fit.json").read_text())["params"]


@pytest.mark.slow
def test_report_says_where_the_page_is(tmp_path, capsys):
    main(["report", str(write(tmp_path / "runs.csv")), "--out", str(tmp_path / "out"), "--draws", "50"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "out/report.html")
    assert "What moves" in (tmp_path / "out/report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("question", [{"flops": 1e21}, {"loss": 2.4}, {"tokens": 1e12}, {"params": 7e9}])
def test_a_plan_is_the_laws_optimum_however_it_is_asked(question, fitted):
    law = fitfile.load(fitted)
    made = plan.plan(law, batch=1e6, **question)
    assert made.n == pytest.approx(laws.n_opt(law.params, made.c), rel=1e-6)
    assert made.d == pytest.approx(laws.d_opt(law.params, made.c), rel=1e-6)
    assert made.loss == pytest.approx(laws.l_opt(law.params, made.c), rel=1e-9)
    asked = {"flops": made.c, "loss": made.loss, "tokens": made.d, "params": made.n}
    ((name, value),) = question.items()
    assert asked[name] == pytest.approx(value, rel=1e-6)
    assert made.interval[0] < made.loss < made.interval[1]
    assert made.steps == int(np.ceil(made.d / 1e6))
    assert made.per_doubling == pytest.approx(made.loss - laws.l_opt(law.params, 2 * made.c), rel=1e-6)
    assert made.per_doubling > max(made.per_tokens, made.per_params) / 2


@pytest.mark.slow
def test_a_plan_far_out_is_uncertain_and_says_so(fitted, capsys):
    law = fitfile.load(fitted)
    near, far = plan.plan(law, flops=1e19), plan.plan(law, flops=1e24)
    width = lambda p: p.interval[1] / p.interval[0]
    assert width(far) > width(near)
    assert any("times beyond the largest run fitted" in sentence for sentence in far.warnings)
    main(["plan", "--fit", str(fitted), "--flops", "1e21"])
    shown = capsys.readouterr().out
    assert "D / N" in shown
    assert "twice the compute gains" in shown
    main(["plan", "--fit", str(fitted / "fit.json"), "--params", "1e9", "--tokens", "2e10", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert (shown["n"], shown["d"], shown["tokens_per_parameter"]) == (1e9, 2e10, 20.0)


@pytest.mark.slow
def test_a_design_tells_more_than_the_configs_own_grid(capsys):
    main(["design", "--config", "configs/scaling/scaling_demo.py", "--budget", "4.4e12", "--points", "20", "--json"])
    made = json.loads(capsys.readouterr().out)
    assert len(made["runs"]) == 20
    assert made["flops"] <= 4.4e12
    assert made["sd_log_n"] < 0.8 * made["grid_sd_log_n"]


@pytest.mark.slow
def test_a_design_repeats_the_grid_to_what_it_spends_itself(capsys):
    """Twelve small shapes cannot spend 1e15 FLOPs: that is said, and a larger budget makes the grid no better."""
    grids = []
    for budget in ("1e15", "1e17"):
        flags = ["--budget", budget, "--points", "12", "--target", "1e14", "--json"]
        main(["design", "--config", "scaling_demo", *flags])
        made = json.loads(capsys.readouterr().out)
        assert "cannot spend the budget" in made["said"][0]
        grids.append(made["grid_sd_log_n"])
    assert grids[0] == pytest.approx(grids[1], rel=1e-9)


@pytest.mark.slow
def test_a_design_of_runs_made_elsewhere_needs_no_config(capsys, fitted):
    main(["design", "--n", "1e7:1e9", "--d", "1e9:1e11", "--budget", "1e20", "--points", "8", "--fit", str(fitted)])
    shown = capsys.readouterr().out
    assert "8 runs" in shown
    assert "--fit FILE" not in shown


def test_columns_are_judged_before_slow_libraries_load(tmp_path):
    code = (
        "import sys; from scaling.__main__ import main\n"
        f"try: main(['fit', {str(write(tmp_path / 'runs.csv'))!r}, '--loss', 'nosuch', '--out', 'o'])\n"
        "except ValueError: print([m for m in ('jax', 'scipy', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "[]\n"


def drop(name):
    return lambda rows: [row.pop(name) for row in rows]


def put(name, value, which=slice(None)):
    return lambda rows: [row.update({name: value}) for row in rows[which]]


BAD = {
    "no file": (None, ["fit", "nowhere.csv", "--out", "out"], "nowhere.csv does not exist; give folders"),
    "empty file": ("", ["fit", "runs.csv", "--out", "out"], "runs.csv cannot be read (its first line is no header"),
    "no loss": (drop("val loss"), ["fit", "runs.csv", "--out", "out"], "loss"),
    "no tokens": (drop("Training FLOP"), ["fit", "runs.csv", "--out", "out"], "d"),
    "wrong column": (None, ["fit", "runs.csv", "--loss", "val los", "--out", "out"], "did you mean 'val loss'"),
    "text column": (None, ["fit", "runs.csv", "--loss", "model", "--out", "out"], "holds no numbers but 'm0'"),
    "all nan": (put("val loss", "nan"), ["fit", "runs.csv", "--loss", "val loss", "--out", "out"], "no numbers"),
    "all zero": (put("val loss", 0), ["fit", "runs.csv", "--out", "out"], "none of 30 rows can be fitted"),
    "all negative": (put("val loss", -1), ["fit", "runs.csv", "--out", "out"], "none of 30 rows can be fitted"),
    "one row": (
        lambda rows: rows.__delitem__(slice(1, None)),
        ["fit", "runs.csv", "--out", "out"],
        "1 rows cannot fit",
    ),
    "unknown law": (None, ["fit", "runs.csv", "--law", "chinchila", "--out", "out"], "invalid choice: 'chinchila'"),
    "unknown count": (None, ["fit", "runs.csv", "--count", "all", "--out", "out"], "invalid choice: 'all'"),
    "bad delta": (None, ["fit", "runs.csv", "--delta", "-1", "--out", "out"], "delta is -1"),
    "bad pin": (None, ["fit", "runs.csv", "--pin", "E", "--out", "out"], "'E' is not NAME=VALUE"),
    "pin of nothing": (None, ["fit", "runs.csv", "--pin", "F=1", "--out", "out"], "chinchilla has no parameter 'F'"),
    "pin of text": (None, ["fit", "runs.csv", "--pin", "E=low", "--out", "out"], "--pin takes a number, not 'low'"),
    "bad tie": (None, ["fit", "runs.csv", "--tie", "A=B", "--out", "out"], "A cannot be tied to B"),
    "bad filter": (None, ["fit", "runs.csv", "--filter", "modle=m1", "--out", "out"], "did you mean 'model'"),
    "empty filter": (None, ["fit", "runs.csv", "--filter", "model=m99", "--out", "out"], "m99"),
    "bad outliers": (None, ["fit", "runs.csv", "--drop-outliers", "few", "--out", "out"], "--drop-outliers is 'few'"),
    "bad level": (None, ["fit", "runs.csv", "--level", "95", "--out", "out"], "--level is 95"),
    "few draws": (None, ["fit", "runs.csv", "--draws", "3", "--out", "out"], "--draws is 3"),
    "no input": (None, ["fit", "runs.csv", "--law", "m1", "--out", "out"], "--x"),
    "unread column": (None, ["fit", "runs.csv", "--x", "val loss", "--out", "out"], "nothing would read --x: this law"),
    "two wrong columns": (
        None,
        ["fit", "runs.csv", "--n", "a", "--loss", "b", "--out", "out"],
        "no column 'a' (--n) nor 'b' (--loss)",
    ),
    "no fit": (None, ["plan", "--fit", "nowhere", "--flops", "1e21"], "nowhere does not exist; `python -m scaling fit"),
    "not a fit": (None, ["plan", "--fit", "runs.csv", "--flops", "1e21"], "is not the fit.json"),
    "design of what": (None, ["design", "--budget", "1e12"], "a design is of a --config, or of sizes and tokens"),
    "design of text": (
        None,
        ["design", "--n", "small", "--d", "1e9:1e11", "--budget", "1e20"],
        "--n is 'small'; give a range such as",
    ),
    "design of nothing": (None, ["design", "--config", "configs/nothing.py", "--budget", "1e12"], "nothing"),
}


@pytest.mark.parametrize(("change", "arguments", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_answered_in_a_sentence(change, arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if change == "":
        (tmp_path / "runs.csv").write_text("")
    else:
        write(tmp_path / "runs.csv", change=change or (lambda rows: None))
    before = (tmp_path / "runs.csv").read_bytes()
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        main(arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "runs.csv").read_bytes() == before


PLANS = {
    "nothing asked": ({}, "a plan starts from one of"),
    "two asked": ({"flops": 1e20, "loss": 2.0}, "a plan starts from one of"),
    "negative": ({"flops": -1.0}, "--flops is -1; it must be positive"),
    "below the floor": ({"loss": 0.5}, "no compute reaches a loss of 0.5: the law's floor is"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("question", "sentence"), PLANS.values(), ids=PLANS)
def test_a_plan_that_cannot_be_made_says_why(question, sentence, fitted):
    with pytest.raises(UserError, match=sentence):
        plan.plan(fitfile.load(fitted), **question)


def test_some_bad_rows_are_left_out_and_listed(tmp_path, capsys, monkeypatch):
    only_the_fit(monkeypatch)

    def change(rows):
        rows[0]["val loss"], rows[1]["val loss"], rows[2]["Model Size"] = "nan", -2.0, "many"

    main(["fit", str(write(tmp_path / "runs.csv", change=change)), "--out", str(tmp_path / "o"), "--draws", "50"])
    assert "left out 3:" in capsys.readouterr().out
    reasons = [entry["reason"] for entry in json.loads((tmp_path / "o/fit.json").read_text())["dropped"]]
    assert len(reasons) == 3
    assert any("many" in reason for reason in reasons)


def test_a_failed_fit_exits_with_2_and_leaves_the_last_report(tmp_path):
    old = tmp_path / "out" / "fit.json"
    old.parent.mkdir()
    old.write_text("{}")
    path = write(tmp_path / "runs.csv", change=put("val loss", 0))
    command = [sys.executable, "-m", "scaling", "fit", str(path), "--out", str(old.parent)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 2
    assert made.stderr.startswith("error: none of 30 rows can be fitted")
    assert len(made.stderr.splitlines()) == 1
    assert [f.name for f in old.parent.iterdir()] == ["fit.json"]
    assert old.read_text() == "{}"


def test_every_column_that_a_law_reads_can_be_named():
    from scaling.logs import vocabulary

    needed = {name for law in laws.LAWS.values() for name in (*law.inputs, law.output)}
    assert needed <= set(vocabulary.MEANINGS)
    assert set(vocabulary.MEANINGS) <= {"n", *vocabulary.NAMES}
    assert next(iter(laws.LAWS)) == "chinchilla"
