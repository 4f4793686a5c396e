"""The page of a run and the comparison of runs show what was planted in their folders, and nothing else."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from train import charts, compare, configs, curves, files, live, loop
from train.display import Display
from train.errors import UserError

CONFIG = {"steps": 40, "seed": 0, "data": {"name": "text:windows"}, "model": {"name": "gpt:GPT", "width": 8},
          "task": {"name": "supervised:classify"}, "optim": {"name": "adamw", "learning_rate": 0.5},
          "schedule": {"name": "cosine"}}  # fmt: skip
EVIL = '<script>alert("&")<'
STEPS = np.array([10, 20, 30, 40])


def planted(folder, train, valid, finished=True, **changes):
    """A work folder: losses [4] logged every 10 steps of 5 tokens and 0.25 s, null where None; held out every 20."""
    config = json.loads(json.dumps(CONFIG))
    for key, value in changes.items():
        part, _, name = key.rpartition("__")
        (config[part] if part else config)[name] = value
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    more = {"grad_norm": 1.0, "lr": 0.5}
    lines = [
        {"step": int(s), "split": "train", "loss": v, **more, "tokens": int(5 * s)}
        for s, v in zip(STEPS, train, strict=False)
    ]
    lines += [{"step": s, "split": "valid", "loss": v, "accuracy": 0.5} for s, v in zip((20, 40), valid, strict=False)]
    files.write_rows(folder / "metrics.jsonl", lines)
    lap = {"seconds_per_step": 0.25, "units_per_second": 20.0, "flops_per_second": 400.0}
    (folder / "timing.jsonl").write_text(
        "".join(json.dumps({"step": int(s), **lap}) + "\n" for s in STEPS[: len(train)])
    )
    if finished:
        record = {"name": folder.name, "steps": 40, "tokens_seen": 200, "params_total": 1234, "loss": valid[-1],
                  "metrics": {"accuracy": 0.75, "loss": valid[-1]}, "wall_seconds": 12.5, "git_commit": "",
                  "config_hash": "", "unit": "token"}  # fmt: skip
        (folder / "record.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def three(tmp_path):
    """A finished run; a better one that is at step 30; one whose loss became NaN."""
    return [
        planted(tmp_path / "a", [4, 3, 2, 1.5], [3, 2], model__width=16),
        planted(tmp_path / EVIL, [4, 2.5, 1.25], [1.5], finished=False, optim__learning_rate=0.25),
        planted(tmp_path / "nan", [4, None, None, 3], [3.5, None], model__extra=True),
    ]


def path_of(text, chart, line):
    """[points, 2]: where an SVG draws a line's points, y upwards."""
    svg = re.findall(r"<svg (?!x=).*?</svg>", text, re.DOTALL)[chart]
    (group,) = (g for g in ElementTree.fromstring(svg).iter() if g.get("id") == f"curve{chart}-line-{line}")
    return np.array([[float(x), -float(y)] for x, y in re.findall(r"[ML] (\S+) (\S+)", group[0].get("d"))])


def is_image_of(found, values):
    """Whether coordinates are a rising affine map of values."""
    slope, offset = np.polyfit(values, found, 1)
    np.testing.assert_allclose(slope * np.asarray(values) + offset, found, atol=1e-3)
    return slope > 0


def check_self_contained(text, known):
    assert "<script" not in text
    assert known in text
    assert not re.search(r"\bsrc=|<link|@import|url\((?!#)", text)
    assert set(re.findall(r"https?://[\w.]+", text)) <= {
        "http://www.w3.org",
        "http://purl.org",
        "http://creativecommons.org",
    }


def test_rows_are_in_order_with_what_differs(three, capsys, tmp_path):
    (tmp_path / "none").mkdir()
    damaged = planted(tmp_path / "damaged", [4], [4])
    (damaged / "metrics.jsonl").write_text('{"step": "one"}\n')
    others = (tmp_path / "none", damaged, three[0] / "config.json")
    compare.main([*map(str, (*reversed(three), *others)), "--json"])
    printed = capsys.readouterr()
    best, second, last = json.loads(printed.out)
    assert [best["run"], second["run"], last["run"]] == [EVIL, "a", "nan"]
    assert best["differs"] == {"model.width": 8, "optim.learning_rate": 0.25, "model.extra": compare.MISSING}
    assert second["differs"] == {"model.width": 16, "optim.learning_rate": 0.5, "model.extra": compare.MISSING}
    assert last["differs"] == {"model.width": 8, "optim.learning_rate": 0.5, "model.extra": True}
    keys = ("finished", "step", "steps", "params", "unit", "seen", "lr", "loss", "metrics", "seconds")
    assert [best[k] for k in keys] == [False, 30, 40, None, "token", 150, 0.25, 1.5, {"accuracy": 0.5}, 7.5]
    assert [second[k] for k in keys] == [True, 40, 40, 1234, "token", 200, 0.5, 2, {"accuracy": 0.75}, 12.5]
    assert last["loss"] is None
    said = printed.err.strip().split("\n")
    assert len(said) == 2
    assert "damaged/metrics.jsonl, line 1" in said[0]
    assert said[1] == f"no run is in {others[0]}, {others[2]}"


def test_the_table_fits_its_terminal(three, capsys, monkeypatch):
    for columns, shown in (
        ("300", r"model\.width .*\n.*\(step 30 of 40\).* – .*150 tokens .* 0\.25"),
        ("80", r"width=16 "),
    ):
        monkeypatch.setenv("COLUMNS", columns)
        compare.main([str(folder) for folder in three])
        assert re.search(shown, capsys.readouterr().out)


def test_the_comparison_draws_the_planted_losses(three, tmp_path, capsys):
    compare.main([*map(str, three), "--out", str(tmp_path / "new" / "all.html")])
    text = (tmp_path / "new" / "all.html").read_text()
    check_self_contained(text, "&lt;script&gt;alert(&#34;&amp;&#34;)&lt; (step 30 of 40)")
    for chart in range(3):  # over steps, tokens and seconds: 20 and 40 of 40, linear all
        found = path_of(text, chart, 1)
        assert is_image_of(found[:, 1], [3, 2])
    training = [path_of(text, 4, line) for line in range(2)]
    assert is_image_of(np.concatenate(training)[:, 0], [10, 20, 30, 10, 20, 30, 40])
    assert is_image_of(np.concatenate(training)[:, 1], [4, 2.5, 1.25, 4, 3, 2, 1.5])


def test_a_sweep_stands_for_its_runs(tmp_path):
    (tmp_path / "sweep" / "runs").mkdir(parents=True)
    folders = [planted(tmp_path / "sweep" / "runs" / name, [4], [loss]) for name, loss in (("a", 3), ("b", 2))]
    given = [tmp_path / "sweep", tmp_path / "sweep" / ".." / "sweep" / "runs" / "a"]  # which is one of them
    assert [run.folder for run in compare.read(given, print)] == folders[::-1]


def test_data_that_differ_are_said(tmp_path, capsys):
    folders = [planted(tmp_path / name, [4], [3], data__name=f"text:{name}") for name in "ab"]
    compare.main([str(folder) for folder in folders])
    assert "their data or tasks differ (data.name)" in capsys.readouterr().out


def test_nothing_to_compare_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"no run is in .*; name work folders"):
        compare.main([str(tmp_path)])
    with pytest.raises(UserError, match=r"name a file that ends in \.html"):
        compare.main([str(tmp_path), "--out", "x.png"])


def test_a_run_draws_its_losses(tmp_path):
    folder = planted(tmp_path / EVIL, [4, 3, 2, 1.5], [3.5, 2.5], model__name=f"{EVIL}:$x^$")
    curves.write(folder, running=True)
    text = (folder / "run.html").read_text()
    check_self_contained(text, "<title>&lt;script&gt;alert(&#34;&amp;&#34;)&lt;</title>")
    assert 'http-equiv="refresh"' in text
    both = np.concatenate([path_of(text, 0, line) for line in range(2)])
    assert is_image_of(both[:, 0], [10, 20, 30, 40, 20, 40])
    assert is_image_of(both[:, 1], [4, 3, 2, 1.5, 3.5, 2.5])
    assert ElementTree.parse(folder / "curves.svg").getroot().get("viewBox")
    curves.write(folder)
    assert 'http-equiv="refresh"' not in (folder / "run.html").read_text()


@pytest.mark.parametrize("losses", [[], [None] * 4, [4, None, 2, 1]])
def test_losses_that_are_missing_are_gaps(tmp_path, losses):
    folder = planted(tmp_path / "run", losses, losses[:2], finished=False)
    curves.write(folder)
    text = (folder / "run.html").read_text()
    assert ("no finite value" in text) == (not any(losses))
    if any(losses):
        assert is_image_of(path_of(text, 0, 0)[:, 1], [4, 2, 1])


def test_names_of_metrics_are_no_formulas():
    figure = charts.curves("step", "a$^$ 損失 <b>", [charts.Line(np.arange(3.0), np.arange(3.0), charts.LAW)])
    assert "a$^$ 損失 &lt;b&gt;" in charts.svg(figure, "x")


def test_a_long_line_keeps_its_spikes_and_gaps():
    x, y = np.arange(100_000.0), np.zeros(100_000)
    y[777], y[888], y[999] = 5, -5, np.nan
    at, values = charts.thinned(x, y)
    assert at.size <= 2 * charts.DRAWN
    assert {777, 888, 999, 0, 99_999} <= set(at.tolist())
    np.testing.assert_array_equal(values, y[at.astype(int)])


def test_a_page_takes_its_share_of_the_time_and_ends_no_run(tmp_path, monkeypatch):
    now, drawn, said = [0.0], [], []
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])

    def slow(folder, running):
        drawn.append((now[0], running))
        now[0] += 2
        if len(drawn) > 1:
            raise RuntimeError("no room")

    monkeypatch.setattr(curves, "write", slow)
    page = live.Page(tmp_path, said.append, draws=True)
    for second in range(0, 400, 10):
        now[0] = max(now[0], second)
        page.refresh()
    page.write()
    assert drawn == [(30, True), (140, True), (250, True), (360, True), (390, False)]
    assert said == [f"{tmp_path / 'run.html'} is not drawn (RuntimeError: no room); the run does not need it"]
    live.Page(tmp_path, said.append, draws=False).write()
    assert len(drawn) == 5


@pytest.mark.slow
def test_a_run_draws_itself_and_its_numbers_stay(tmp_path, monkeypatch):
    steps = ["steps=6", "log_every=2", "eval.every=2", "schedule.warmup=1"]
    small = [*steps, "batch_size=8", "model.width=4", "model.layers=1"]
    config = configs.config_of(configs.load("digits_mlp"), small)
    monkeypatch.setattr(live, "SHARE", 1e9)
    drawn, write = [], curves.write
    for name, every in (("often", 0.0), ("once", 30.0)):
        monkeypatch.setattr(live, "EVERY", every)
        monkeypatch.setattr(curves, "write", lambda folder, running: (drawn.append(running), write(folder, running)))
        loop.train(config, tmp_path / name, Display())
        assert "· finished ·" in (tmp_path / name / "run.html").read_text()
    assert drawn == [True, True, False, False]
    logs = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("often", "once")]
    assert logs[0] == logs[1]
