"""What is read, and what is said of it: records, the terminal's summary, the report page, the front door."""

import html.parser
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from scaling.__main__ import main
from scaling.analyse import analyse as analyse_runs
from scaling.fit import backtest
from scaling.fit.question import Question
from scaling.laws import LAWS, chinchilla
from scaling.logs import readers, records
from scaling.report import page as report
from scaling.report.terminal import summary
from tests.support.planted import TRUTH, design


def rows(noise=0.005, seed=0):
    """Records as a sweep of 25 runs leaves them."""
    runs, rng = design(5), np.random.default_rng(seed)
    made = []
    for i, (n, d) in enumerate(zip(runs["n"].astype(int).tolist(), runs["d"].astype(int).tolist(), strict=True)):
        loss = float(chinchilla(TRUTH, n, d) * np.exp(noise * rng.standard_normal()))
        made.append(
            {"name": f"run{i:02}", "params_total": n, "params_non_embedding": n * 4 // 5, "params_active": n,
             "tokens_seen": d, "loss": loss, "train_loss": loss - 0.01 * (1 + i % 3), "steps": d // 2**15, "lr": 3e-3,
             "seed": 0, "wall_seconds": 10.0 + i, "config_hash": f"hash{i}", "flops_train": 6.6 * n * d,
             "budget": float(np.geomspace(1e17, 1e19, 5)[i // 5])}
        )  # fmt: skip
    return made


def analyse(entries, question=Question(chinchilla), **options):  # noqa: B008  (frozen)
    runs = records.assign(readers.from_rows(entries), inputs=question.law.inputs, output=question.law.output)
    return analyse_runs(runs, question, **{"thorough": False, **options})


def table(path, entries, tail=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in entries) + tail)
    return path


@pytest.fixture(scope="module")
def analysis():
    lost = [{"row": "runs.jsonl:26", "reason": "half-written or not JSON"}]
    return analyse_runs(records.assign(readers.from_rows(rows())._replace(dropped=lost)), draws=200)


@pytest.fixture(scope="module")
def written(analysis, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "new" / "folder"
    report.write(out, analysis)
    return out


def test_forecasts_from_a_sample_of_many_rows_say_so(monkeypatch):
    monkeypatch.setattr(backtest, "FITTED", 18)
    found = analyse(rows(), draws=20)
    assert found.heldout.fit.residuals.size == 18
    assert found.fit.residuals.size == 25
    said = "held-out forecasts are fitted to 18 rows at most and forecast 1,000 at most, drawn at random"
    assert any(sentence.startswith(said) for sentence in found.warnings)


@pytest.mark.slow
def test_the_interval_is_named_as_it_was_made(written):
    saved = json.loads((written / "fit.json").read_text())
    assert saved["interval"]["method"] == "residual, percentile"
    assert set(saved["other_intervals"]) == {"pairs, BCa", "profile"}


def test_summary_says_what_a_newcomer_needs(analysis):
    text = summary(analysis, "somewhere")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 130
    held = analysis.heldout
    assert f"predicted  {held.best.predicted:.4f}" in text
    assert f"measured   {held.best.measured:.4f}" in text
    assert f"error      {held.relative_error:+.2%}" in text
    for name in ("E", "A", "B", "α", "β", "a", "b"):
        (line,) = [line for line in lines if re.match(rf"  {name} +[\d.]", line)]
        value, low, high = map(float, re.findall(r"[\d.]+", line)[:3])
        assert low < value < high
    assert "valid − train loss: +0.0196 on average, +0.0300 at most (25 runs)" in text
    assert re.search(r"\d+% of 64 starts end in it", text)
    assert "runs.jsonl:26: half-written" in text
    assert lines[-1].startswith("report: somewhere/report.html")


@pytest.mark.slow
def test_a_gap_that_was_not_recorded_is_said():
    found = analyse([{**row, "train_loss": None} for row in rows()], draws=50)
    assert "not recorded; runs with config.eval.train_records > 0 record it" in summary(found)


def test_fit_json_holds_every_number(analysis, written):
    found = json.loads((written / "fit.json").read_text())
    assert found["params"] == analysis.fit.params
    assert found["counting"]["n"] == "params_total"
    assert found["heldout"]["measured"] == analysis.heldout.best.measured
    assert found["gap"]["runs"] == 25
    assert found["certificate"]["starts_at_optimum"] > 0.5
    assert found["certificate"]["gradient_norm"] < 1e-9
    assert found["interval"]["a"] == list(analysis.intervals["a"])
    assert found["dropped"] == [{"row": "runs.jsonl:26", "reason": "half-written or not JSON"}]
    again = analyse([json.loads(line) for line in (written / "rows.jsonl").read_text().splitlines()], draws=50)
    assert again.fit.params == analysis.fit.params


class Page(html.parser.HTMLParser):
    """Ids, links, and balanced tags."""

    VOID = frozenset(("meta", "br", "hr", "img", "link", "input", "path", "use"))

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.note(attrs)

    def handle_startendtag(self, tag, attrs):
        self.note(attrs)

    def note(self, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_one_file_that_asks_nothing_of_a_network(written):
    text = (written / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link[0] for link in page.links} <= {"#"}
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert {reference[5:-1] for reference in re.findall(r"url\(#[^)]*\)", text)} <= set(page.ids)
    assert "<script" not in text
    assert "@import" not in text
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_says_the_numbers(analysis, written):
    text = (written / "report.html").read_text()
    held = analysis.heldout
    assert f"{held.relative_error:+.2%}".replace("-", "−") in text
    assert f"{held.best.predicted:.3f}" in text
    assert f"{held.best.measured:.3f}" in text
    assert "Valid − train loss: +0.0196 on average" in text
    assert text.count("<figure") == 5
    assert {path.name for path in (written / "plots").iterdir()} == {
        f"{name}.{kind}"
        for name in ("isoflop", "compute", "optimum", "forecasts", "residuals")
        for kind in ("svg", "png")
    }


@pytest.mark.slow
def test_names_of_runs_are_escaped(tmp_path):
    made = rows()
    made[0]["name"] = "<script>alert(1)</script>"
    report.write(tmp_path, analyse(made, draws=50))
    assert "<script" not in (tmp_path / "report.html").read_text()


def test_a_sweep_without_a_forecast_says_so(tmp_path):
    one = [{**row, "budget": 1e18} for row in rows()]
    found = analyse(one, draws=50)
    assert found.heldout is None
    assert any("no held-out forecast: every run has the same budget" in sentence for sentence in found.warnings)
    assert "nothing here says how well this law predicts" in summary(found)
    report.write(tmp_path, found)
    assert "No forecast tested" in (tmp_path / "report.html").read_text()


def test_one_dimensional_laws_are_reported_too(tmp_path):
    found = analyse(rows(), question=Question(LAWS["kaplan_d"]), draws=50)
    report.write(tmp_path, found)
    assert "α_D" in summary(found)
    assert any("something else limits them" in sentence for sentence in found.warnings)


@pytest.mark.slow
def test_front_door_fits_tables_and_folders(tmp_path, capsys):
    path = table(tmp_path / "sweep" / "runs.jsonl", rows(), tail='{"half')
    before = path.read_text()
    options = ["--count", "non_embedding", "--delta", "inf", "--draws", "100"]
    main(["fit", str(path), "--out", str(path.parent), *options])
    shown = capsys.readouterr().out
    assert "n = params_non_embedding" in shown
    assert "left out 1:" in shown
    assert path.read_text() == before  # the sweep's own table
    assert json.loads((path.parent / "fit.json").read_text())["delta"] is None
    assert (path.parent / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fit", "nowhere", "--out", "x"], "nowhere does not exist; give folders of runs and sweeps"),
        (["fit", "x", "--out", "x", "--law", "chinchila"], "invalid choice: 'chinchila'"),
        (["fit", "x", "--out", "x", "--delta", "-1"], "delta is -1; "),
    ],
)
def test_front_door_errors_are_sentences(arguments, sentence, tmp_path, monkeypatch):
    table(tmp_path / "x", rows())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        main(arguments)


def test_help_loads_nothing_heavy():
    code = "import sys; sys.argv = ['scaling', '--help']\n" + (
        "from scaling.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('jax', 'matplotlib', 'jinja2', 'scipy', 'pandas') if m in sys.modules])"
    )
    start = time.monotonic()
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"
    assert time.monotonic() - start < 5  # a third of a second on an idle machine, most of it NumPy
