"""What the page draws and says: a colour a budget, captions of marks that are there, no paths, no praise of nothing."""

import json
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from scaling import advice, approaches, budgets
from scaling.analyse import analyse
from scaling.approaches import THIRD, Choice, Marks
from scaling.commands import add_fit
from scaling.fit import backtest, intervals
from scaling.fit.backtest import Run
from scaling.fit.estimate import fit
from scaling.fit.question import Question
from scaling.laws import LAWS, chinchilla, hoffmann, n_opt
from scaling.logs import readers, records
from scaling.logs.names import called, names
from scaling.plan import plan
from scaling.report import fitfile, page, plot, verdict
from scaling.report.terminal import summary
from train import charts
from train.cli import Parser


@pytest.fixture(scope="module", autouse=True)
def few_refits():
    """Pages look the same with rough intervals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backtest, "CUTOFFS", 2)
        patch.setattr(intervals, "PILOTS", 20)
        yield


def sweep(known, sizes=5, span=4.0, noise=0.002):
    """N, D and loss of runs made budget by budget."""
    c = np.repeat(known, sizes)
    n = np.round(n_opt(hoffmann.ROUNDED, c) * np.tile(np.geomspace(1 / span, span, sizes), len(known)))
    d = c / (6 * n)
    return np.stack([n, d, chinchilla(hoffmann.ROUNDED, n, d) * np.exp(noise * normal(c.size))], 1)


def scattered(count=40, noise=0.002):
    """N, D and loss of runs that were made for no budget."""
    rng = np.random.default_rng(1)
    n = 10 ** rng.uniform(7, 9.5, count)
    d = n * 10 ** rng.uniform(0.5, 2.5, count)
    return np.stack([n, d, chinchilla(hoffmann.ROUNDED, n, d) * np.exp(noise * normal(count))], 1)


def normal(size):
    return np.random.default_rng(0).standard_normal(size)


def written(rows, folder, header="params,tokens,loss", **options):
    """The analysis of a file in `folder`/data, with its report in `folder`/out."""
    (folder / "data").mkdir(exist_ok=True)
    path = folder / "data" / "runs.csv"
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    analysis = analyse(records.assign(readers.read([path])), **{"draws": 40, "thorough": False, **options})
    page.write(folder / "out", analysis)
    return analysis


def pictures(rows, budget="largest"):
    """Name of a figure -> (SVG, caption), of a fit that forecasts `budget`."""
    columns = dict(zip(("n", "d", "loss"), rows.T, strict=True))
    columns["budget"] = budgets.group(6 * columns["n"] * columns["d"])
    fitted = fit(Question(LAWS["chinchilla"]), columns, certify=False)
    forecast = backtest.heldout(fitted.question, columns, budget, draws=20, windows=[])
    marks = [Marks("the minima of the budgets' profiles", [(6e18, 1e9, 1e9)])] if budgets.is_sweep(columns) else []
    drawn = plot.figures(columns, fitted, forecast.draws._replace(fit=fitted), forecast, marks=marks)
    return {name: (charts.svg(one.figure, name), one.caption) for name, one in drawn.items()}


@pytest.fixture(scope="module")
def twelve():
    return pictures(sweep(np.geomspace(1e17, 3e21, 12)))


def legend(svg):
    """(colour, label) of the entries of a legend, in order; a title has no colour."""
    groups = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}g")
    (group,) = [group for group in groups if "legend" in group.get("id", "")]
    entries, colour = [], None
    for element in group.iter():
        found = re.search(r"fill: (#[0-9a-f]{6})", element.get("style", ""))
        colour = found[1] if found and element.tag.endswith("use") else colour
        if element.tag.endswith("text"):
            if colour:
                entries.append((colour, element.text))
            colour = None
    return entries


def luminance(colour):
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("figure", ["isoflop", "residuals"])
def test_twelve_budgets_have_twelve_colours_in_order(twelve, figure):
    entries = legend(twelve[figure][0])
    labels = [label for _, label in entries]
    assert [float(label.split(",")[0]) for label in labels] == sorted(float(label.split(",")[0]) for label in labels)
    assert labels[-1] == "3e21, held out"
    assert len({colour for colour, _ in entries}) == len(entries) == 12
    lightness = [luminance(colour) for colour, _ in entries[:-1]]
    assert lightness == sorted(lightness)
    assert entries[-1][0] == charts.HELDOUT.lower()


@pytest.mark.parametrize("colours", [charts.FITTED, charts.LEFT_OUT])
@pytest.mark.parametrize("count", [1, 2, 7, 12, 15])
def test_colours_are_apart_and_seen_on_white_and_on_black(colours, count):
    ramp = charts.ramp(count, colours)
    light = [luminance(colour) for colour in ramp]
    assert len(set(ramp)) == count
    assert light in (sorted(light), sorted(light, reverse=True))
    assert min(1.05 / (v + 0.05) for v in light) > 1.8
    assert min((v + 0.05) / (luminance("#1c2127") + 0.05) for v in light) > 1.8


def test_several_held_out_budgets_have_colours_of_their_own():
    known = np.geomspace(1e18, 1e21, 6)
    entries = legend(pictures(sweep(known), float(known[3]))["isoflop"][0])
    assert [label.endswith("held out") for _, label in entries] == [False] * 3 + [True] * 3
    assert len({colour for colour, _ in entries}) == 6


def test_captions_of_a_sweep_name_its_marks(twelve):
    assert "Rings mark the best run of a budget" in twelve["isoflop"][1]
    assert "Dashed lines and diamonds are held out" in twelve["isoflop"][1]
    assert "Squares are the minima of the budgets' profiles" in twelve["optimum"][1]
    assert "Diamonds" not in twelve["optimum"][1]  # squares take the place of the best runs


def test_runs_that_are_no_sweep_are_not_drawn_as_one():
    drawn = pictures(scattered())
    assert drawn.keys() == {"runs", "compute", "optimum", "residuals"}
    for svg, caption in drawn.values():
        for mark in ("Rings", "Squares", "best run", "one budget"):
            assert mark not in svg + caption
    assert "tokens per parameter D/N" in drawn["runs"][0]
    assert "how many tokens a parameter was trained on" in drawn["runs"][1]


def test_runs_of_one_shape_are_coloured_by_size():
    rows = scattered()
    columns = dict(zip(("n", "d", "loss"), rows.T, strict=True)) | {"budget": np.ones(len(rows))}
    columns["d"] = 20 * columns["n"]
    drawn = plot.runs(columns, None)
    assert "parameters N" in charts.svg(drawn.figure, "runs")
    assert "the number of parameters" in drawn.caption
    assert "held out" not in drawn.caption


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    stale = folder / "out/plots/runs.png"  # of an earlier fit
    stale.parent.mkdir(parents=True)
    stale.touch()
    rows = [[f"gem-{i}", *row] for i, row in enumerate(sweep(np.geomspace(1e18, 1e20, 3)))]
    return written([*rows, ["lost", 1e8, 1e9, "nan"]], folder, header="run name,params,tokens,loss"), folder


def test_rows_are_named_as_in_their_file_and_no_path_is_shown(named):
    analysis, folder = named
    text = (folder / "out/report.html").read_text()
    saved = json.loads((folder / "out/fit.json").read_text())
    assert "<td>gem-7</td>" in text
    assert saved["dropped"] == [{"row": "runs.csv:17", "reason": "loss is nan"}]
    for place in (text, json.dumps(saved), summary(analysis), (folder / "out/rows.jsonl").read_text()):
        assert str(folder) not in place


def test_a_figure_of_an_earlier_fit_does_not_stay(named):
    plots = {path.name for path in (named[1] / "out/plots").iterdir()}
    assert "isoflop.png" in plots
    assert "runs.png" not in plots


def test_names_of_rows():
    table = {
        "run": np.array(["a", "a", "b", None], object),
        "experiment": np.array(["sweep"] * 4, object),
    }
    where = np.array([f"log.csv:{i}" for i in range(2, 6)], object)
    assert names(table, where) == ["a (log.csv:2)", "a (log.csv:3)", "b", "log.csv:5"]
    assert names({"run": np.array([1.0, 2.0, 2.5])}, where[:3]) == ["run 1", "run 2", "run 2.5"]
    assert names({"experiment": table["experiment"]}, where) == where.tolist()
    assert names({"Model": np.array(["s", "m", "l"], object)}, where[:3]) == ["s", "m", "l"]


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "log.csv").write_text("n,d,loss\n1e6,1e8,3\n")
    paths = [tmp_path / "x/log.csv", tmp_path / "y/log.csv"]
    assert called([*paths, tmp_path / "z.csv"]) == ["x/log.csv", "y/log.csv", "z.csv"]
    assert readers.read(paths).where.tolist() == ["x/log.csv:2", "y/log.csv:2"]
    assert readers.read([tmp_path]).where.tolist() == ["x/log.csv:2", "y/log.csv:2"]


MEASURED = np.array([2.1, 2.6, 3.4])


@pytest.mark.parametrize(
    ("low", "high", "measured", "kind", "words"),
    [
        (2.9, 3.1, 3.05, "inside", "inside"),
        (2.9, 3.1, 3.2, "outside", "outside"),
        (2.0, 5.6, 3.27, "little", "all measurements span less"),  # the band that praised 8.99 %
        (2.5, 3.5, 3.27, "little", "± 17%"),
        (2.5, np.inf, 3.27, "little", "span less"),
        (np.nan, np.nan, 3.27, "little", "no interval could be made"),
    ],
)
def test_an_interval_that_says_little_earns_no_praise(low, high, measured, kind, words):
    run = Run(0, 1e20, 2.0, measured, 3.0, (low, high), 3.0 / measured - 1, bool(low <= measured <= high))
    found = verdict.judge(run, MEASURED)
    assert found.kind == kind
    assert words in found.words


def test_a_wide_band_is_neutral_on_page_and_terminal(named):
    analysis, _ = named
    held = analysis.heldout
    wide = held.best._replace(
        predicted=1.09 * held.best.measured, relative_error=0.09, interval=(1.0, 9.0), inside=True
    )
    wide = analysis._replace(heldout=held._replace(best=wide, isoflop=True))
    text = page.html(wide, {})
    assert '<div class="error little">+9.00%</div>' in text
    assert "inside, but the interval says little" in text
    assert "inside, but the interval says little" in summary(wide)


def test_what_is_no_number_is_not_printed(tmp_path):
    analysis = written(sweep(np.geomspace(1e18, 4e18, 2)), tmp_path)
    text = re.sub(r"<svg.*?</svg>", "", (tmp_path / "out/report.html").read_text(), flags=re.DOTALL)
    for place in (text, summary(analysis)):
        assert not re.search(r"\bnan\b|\binf\b|\[–", place)
        assert "no interval" in place


def test_advice_is_given_once():
    whole = ["E ran to zero (2.7e-19): pin it.", "alpha is 1.2, outside 0.1 to 1.", "alpha is 1.2, outside 0.1 to 1."]
    held = ["E ran to zero (3e-15): pin it.", "beta is 2, outside 0.1 to 1.", "beta is 2, outside 0.1 to 1."]
    assert advice.once(whole) == whole[:2]
    assert advice.further(held, whole) == held[1:2]


@pytest.mark.slow
def test_of_very_many_runs_a_sample_and_the_outermost_are_drawn(monkeypatch):
    rows = scattered(400)
    rows[7, 2] *= 1.5  # the one that a reader must not miss
    whole = pictures(rows)
    monkeypatch.setattr(plot, "SHOWN", 50)
    monkeypatch.setattr(plot, "OUTERMOST", 2)
    few = pictures(rows)
    for name in ("runs", "compute", "residuals"):
        count = int(re.search(r"Of 400 runs (\d+) are drawn: a sample, and the outermost\.$", few[name][1])[1])
        assert 50 < count <= 58
        assert "a sample" not in whole[name][1]
        assert few[name][0].count("<use ") < whole[name][0].count("<use ") - 300
    n, d, loss = rows.T
    drawn = plot._drawn(n, loss / chinchilla(hoffmann.ROUNDED, n, d))
    assert drawn[[7, n.argmin(), n.argmax()]].all()


TOY = """
import numpy as np
from scaling.approaches import Approach, Estimate, Marks, Option
from scaling.approaches.lines import line

def estimate(rows, options):
    groups = [np.flatnonzero(rows.columns["budget"] == b) for b in np.unique(rows.columns["budget"])]
    best = [g[rows.columns["loss"][g].argmin()] for g in groups][options["skip"] :]
    n, d = (np.log(rows.columns[name][best]) for name in ("n", "d"))
    c = np.log(6) + n + d
    lines = [line(c, y, np.ones(c.size), np.empty((0, 2)), rows.level) for y in (n, d)]
    marks = Marks("the toy's", np.exp(np.transpose([c, n, d])))
    return Estimate(*lines, how="as they are", marks=marks, advice=["a toy."])

APPROACH = Approach("4", "best runs", lambda rows: True, estimate, {"skip": Option(0, "K", "budgets", type=int)})
"""


def test_a_new_approach_is_one_file(tmp_path, monkeypatch):
    """As someone else would add it: its flags, lines on terminal and page, marks, fit.json and `plan`."""
    (tmp_path / "best_runs.py").write_text(TOY)
    monkeypatch.setattr(approaches, "__path__", [*approaches.__path__, str(tmp_path)])
    monkeypatch.setitem(approaches.APPROACHES, "4", approaches.found()["4"])  # as the next process would find it
    known, rows = np.geomspace(1e18, 1e20, 4), sweep(np.geomspace(1e18, 1e20, 4))
    try:
        add_fit(flags := Parser())
        given = flags.parse_args(["runs.csv", "--out", "out", "--approach", "4", "--skip", "2"])
        made = written(rows, tmp_path, choice=Choice(given.approach, vars(given)))
        first, last = (part[part[:, 2].argmin(), 0] for part in np.split(rows, 4)[2:])
        a = np.log(last / first) / np.log(known[3] / known[2])
        assert f"best runs (approach 4), as they are: a {a:.4f}" in summary(made)
        shown = (tmp_path / "out" / "report.html").read_text()
        for text in ("<td>best runs (approach 4), as they are</td>", "Squares are the toy&#39;s.", "<li>a toy.</li>"):
            assert text in shown
        answers = plan(fitfile.load(tmp_path / "out"), flops=1e21).answers
        assert [one.approach for one in answers] == [THIRD, "best runs (approach 4)"]
        assert answers[1].n == pytest.approx(last * (1e21 / known[3]) ** a)
    finally:
        sys.modules.pop("scaling.approaches.best_runs", None)
