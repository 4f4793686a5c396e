"""Whatever the packaging of the same runs, the rows are the same; and what is not clear is said.

Random tables come from seeds: names, orders, splits into files, units, resumes and copies.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from scaling.logs import formats, readers, records
from scaling.logs.numbers import spelled, unit
from scaling.logs.table import absent, pack
from scripts.check.logs import damage, tables, trackers
from scripts.check.logs import formats as kinds
from scripts.check.logs import runs as logs
from train.errors import UserError


@pytest.mark.parametrize("name", kinds.WRITERS)
def test_the_same_runs_in_every_format(name, tmp_path):
    assert kinds.wrong(kinds.WRITERS[name], tmp_path) == ""


# Random packaging.


def random_runs(rng):
    """Rows of a few runs, each in its order: run, step, n, d, train loss, loss."""
    rows = []
    for i in range(int(rng.integers(2, 7))):
        n, steps = int(10 ** rng.uniform(6, 9)), int(rng.integers(2, 7))
        for step in range(1, steps + 1):
            loss = float(np.round(rng.uniform(2, 5), 6))
            rows.append(
                {
                    "run": f"r{i}",
                    "step": 10 * step,
                    "n": n,
                    "d": int(1e6 * step * (i + 1)),
                    "loss": loss,
                    "train": loss + 0.1,
                }
            )
    return rows


def resumed(rows, rng):
    """With attempts before some runs' later steps, of other losses, that were given up."""
    out = []
    for name in dict.fromkeys(row["run"] for row in rows):
        own = [row for row in rows if row["run"] == name]
        if len(own) > 2 and rng.random() < 0.6:
            back = int(rng.integers(1, len(own) - 1))
            lost = own[back : int(rng.integers(back + 1, len(own) + 1))]
            own = own[:back] + [{**row, "loss": row["loss"] + 0.5} for row in lost] + own[back:]
        out += own
    return out


def sparse(rows):
    """Three entries a step, as many tools write: what was trained on, what was measured, where the run stands."""
    out = []
    for row in rows:
        head = {"run": row["run"], "step": row["step"]}
        out += [{**head, "train": row["train"]}, {**head, "d": row["d"], "n": row["n"]}, {**head, "loss": row["loss"]}]
    return out


def once(rows):
    """N in the first row of each run only."""
    seen = set()
    return [{**row, "n": None} if row["run"] in seen else seen.add(row["run"]) or row for row in rows]


def interleaved(rows, rng):
    """Runs in turns, each in its own order."""
    queues = [[row for row in rows if row["run"] == name] for name in dict.fromkeys(row["run"] for row in rows)]
    out = []
    while queues := [queue for queue in queues if queue]:
        out.append(queues[int(rng.integers(len(queues)))].pop(0))
    return out


def write(path, rows, names):
    """Rows as a table, by the suffix of `path`; `names` are the columns' names there and their units."""
    cells = [
        {
            title: None if row.get(key) is None else row[key] / scale if scale != 1 else row[key]
            for key, (title, scale) in names.items()
        }
        for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        path.write_text(logs.table([{k: "" if v is None else v for k, v in row.items()} for row in cells]))
    elif path.suffix == ".jsonl":
        path.write_text(logs.lines(cells))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(cells), path)


@pytest.mark.parametrize("seed", range(45))
def test_rows_do_not_depend_on_their_packaging(seed, tmp_path):
    rng = np.random.default_rng(seed)
    rows = truth = random_runs(rng)
    chance = lambda: rng.random() < 0.5
    one_each = chance()  # a file a run, which does not name it
    if in_order := chance():
        rows = resumed(rows, rng)
    if one_each or chance():
        rows = sparse(rows)
    elif chance():
        rows = once(rows)
    if chance():
        rows = interleaved(rows, rng) if in_order else [rows[i] for i in rng.permutation(len(rows))]
    names = {
        "step": ("step", 1),
        "n": ("N (M)", 1e6) if chance() else ("n_params", 1),
        "d": ("tokens_billions", 1e9) if chance() else ("tokens", 1),
        "loss": ("val_loss", 1),
        "train": ("train_loss", 1),
    }
    if not one_each:
        names = {"run": ("run_id", 1), **names}
    names = {key: names[key] for key in rng.permutation(list(names))}
    suffix = (".csv", ".jsonl", ".parquet")[seed % 3]
    if one_each:
        for name in dict.fromkeys(row["run"] for row in rows):
            write(tmp_path / name / f"log{suffix}", [row for row in rows if row["run"] == name], names)
        if chance():
            shutil.copytree(tmp_path / "r0", tmp_path / "r0 (copy)")
    else:
        parts = np.array_split(np.arange(len(rows)), int(rng.integers(1, 4)))
        for i, part in enumerate(parts):
            write(tmp_path / f"part{8 + i}{suffix}", [rows[j] for j in part], names)
        if len(parts) == 1 and chance():
            shutil.copy(tmp_path / f"part8{suffix}", tmp_path / f"part8 (copy){suffix}")
    found = records.assign(readers.read([tmp_path]))
    made = kinds.ordered(np.stack([found.columns[role] for role in ("n", "d", "loss")], axis=1))
    known = kinds.ordered(np.array([[row["n"], row["d"], row["loss"]] for row in truth], np.float64))
    np.testing.assert_allclose(made, known, rtol=1e-14)
    assert np.unique(found.run).size == len({row["run"] for row in truth})


# What is not clear is said.


def read(path, text, **options):
    path.write_text(text, encoding="utf-8")
    return records.assign(readers.read([path]), **options)


def test_a_resumed_log_has_no_abandoned_attempt(tmp_path):
    rows = [
        {"run_id": "a", "step": s, "n": 1e7, "d": s * 1e6, "loss": loss}
        for s, loss in [(1, 5.0), (2, 4.5), (3, 9.0), (4, 9.0), (3, 4.2), (4, 4.1)]
    ]
    found = read(tmp_path / "a.jsonl", logs.lines(rows))
    assert found.columns["loss"].tolist() == [5.0, 4.5, 4.2, 4.1]
    assert any("steps go back in 1 run (a): 2 rows" in sentence for sentence in found.said)


def test_rows_of_other_settings_are_no_attempts(tmp_path):
    """A grid of final losses, named by model: equal steps come again, and nothing was resumed."""
    rows = [
        {
            "name": f"m{i}",
            "params": 10.0 ** (6 + i),
            "tokens": t,
            "steps": t / 1e6,
            "decay": w,
            "loss": 3 - w - t / 1e12,
        }
        for i in range(3)
        for w in (0.1, 0.2)
        for t in (1e9, 2e9)
    ]
    assert len(read(tmp_path / "a.csv", logs.table(rows)).where) == 12


def test_two_runs_in_one_file_are_refused(tmp_path):
    rows = [{"step": s, "n": 1e7, "tokens": s * 1e6, "loss": loss + s / 10} for loss in (5.0, 3.0) for s in (1, 2, 3)]
    for name in ("two", "one"):
        (tmp_path / f"{name}.csv").write_text(logs.table(rows if name == "two" else rows[:3]))
    found = records.assign(readers.read([tmp_path]), last=True)
    assert len(found.where) == 1
    assert [d["row"] for d in found.dropped] == ["two.csv"]
    assert "holds two runs" in found.dropped[0]["reason"]


def test_a_log_in_falling_order_is_no_resumed_one(tmp_path):
    rows = [{"run_id": "a", "step": s, "n": 1e7, "d": s * 1e6, "loss": 5.0 - s} for s in (4, 3, 2, 1)]
    found = read(tmp_path / "a.jsonl", logs.lines(rows))
    assert sorted(found.columns["loss"]) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("state", ["crashed", "FAILED", "Running", "killed", "out_of_memory"])
def test_runs_that_did_not_end_are_left_out_and_listed(state, tmp_path):
    rows = logs.ends()
    text = logs.table([{**row, "status": state if i == 3 else "FINISHED"} for i, row in enumerate(rows)])
    found = read(tmp_path / "a.csv", text)
    assert len(found.where) == 24
    assert found.dropped[0]["row"] == "a.csv:5 (run-3)"
    assert found.dropped[0]["reason"].startswith(f"status is {state!r}; --keep unfinished")
    assert len(read(tmp_path / "a.csv", text, keep=["unfinished"]).where) == 25
    assert len(read(tmp_path / "a.csv", text, filters=[f"status={state}"]).where) == 1


def test_nan_between_numbers_was_not_measured_and_at_the_end_is_divergence(tmp_path):
    rows = logs.history()
    for i, row in enumerate(rows):
        if i % 2 == 0 and row["step"] < 600:
            row["val_loss"] = float("nan")
    assert np.unique(read(tmp_path / "a.jsonl", logs.lines(rows)).run).size == 25
    for row in rows[:6]:
        row["val_loss"] = 5.0 if row["step"] < 400 else float("nan")
    found = read(tmp_path / "a.jsonl", logs.lines(rows))
    assert np.unique(found.run).size == 24
    assert any("diverged" in d["reason"] and "run-0" in d["row"] for d in found.dropped)
    absent_at_the_end = [{**row, "val_loss": None if row["step"] > 300 else row["val_loss"]} for row in rows]
    assert np.unique(read(tmp_path / "a.jsonl", logs.lines(absent_at_the_end)).run).size == 25


def test_last_without_runs_is_an_error(tmp_path):
    rows = [{"model": row.pop("run_id"), **row} for row in logs.history()]
    with pytest.raises(UserError, match=r"no column tells runs apart.*--run COL, perhaps 'model'"):
        read(tmp_path / "a.csv", logs.table(rows), last=True)
    found = read(tmp_path / "a.csv", logs.table(rows), last=True, given={"run": "model"})
    assert found.columns["d"].tolist() == [r.rows[-1]["tokens"] for r in logs.RUNS]


def test_a_file_is_a_run_where_its_rows_do_not_say(tmp_path):
    for r in logs.RUNS:
        rows = [{"step": row["step"], "n": r.n, "tokens": row["tokens"], "loss": row["loss"]} for row in r.rows]
        (tmp_path / f"{r.name}.csv").write_text(logs.table(rows))
    table = readers.read([tmp_path])
    assert sorted(set(table.columns["origin"])) == sorted(f"{r.name}.csv" for r in logs.RUNS)
    found = records.assign(table, last=True)
    assert found.mapping["run"] == "origin"
    assert len(found.where) == 25


def test_logs_are_joined_by_the_names_of_their_runs_or_it_is_said(tmp_path):
    trackers.wandb_chart(False)(tmp_path)
    assert any("joined by run name: 25 runs" in said for said in records.assign(readers.read([tmp_path])).said)
    sheet = tmp_path / "table.csv"
    sheet.write_text(sheet.read_text().replace("run-", "other "))
    with pytest.raises(UserError, match="none of 175 rows can be fitted"):
        records.assign(readers.read([tmp_path]))


def test_a_column_of_the_right_name_that_holds_text_is_quoted(tmp_path):
    text = tables.units("n_params; tokens; loss", lambda n, d, loss: ("small", d, loss))
    with pytest.raises(UserError, match="column 'n_params' holds no numbers but 'small'"):
        read(tmp_path / "a.csv", text)


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        ("Model size; Tokens; Loss", '--n "Model size*1e6" --d "Tokens*1e9"'),
        ("params; tokens (B); loss", '--n "params*1e6"'),
    ],
)
def test_sizes_in_millions_without_a_unit_are_doubted_and_can_be_said(header, flags, tmp_path):
    text = tables.units(header, tables.MILLIONS)
    (sentence,) = records.doubts(read(tmp_path / "a.csv", text))
    assert flags in sentence
    names = header.split("; ")
    given = {"n": f"{names[0]}*1e6", "d": f"{names[1]}*1e9"} if "(B)" not in header else {"n": f"{names[0]}*1e6"}
    found = read(tmp_path / "a.csv", text, given=given)
    np.testing.assert_allclose(sorted(set(found.columns["n"])), logs.SIZES)
    np.testing.assert_allclose(sorted(set(found.columns["d"])), [round(d / 6) * 6 for d in logs.TOKENS])
    assert records.doubts(found) == []


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,234", "5,678,901"], [1234, 5678901]),
        (["1,650", "962"], [1650, 962]),
        (["4,927", "4,87501"], [4.927, 4.87501]),
        (["12,000", 3000000.0], [np.nan, 3000000]),
        (["1.234.567", "2.000.000"], [1234567, 2000000]),
        (["1.234,5", "2,5"], [1234.5, 2.5]),
        (["53.3M", "4.4B", "1T", "7k"], [53.3e6, 4.4e9, 1e12, 7e3]),
        (["2.53 ± 0.01", "2.6 +/- 0.1", "2.53(2)"], [2.53, 2.6, 2.53]),
        (["1\xa0234\u202f567", "−2"], [1234567, -2]),
        (["10^18", "10¹⁸", "3×10⁶", "1.5 x 10^9", "2e3"], [1e18, 1e18, 3e6, 1.5e9, 2e3]),
        (["49.27%"], [0.4927]),
        (["m0", "10M-wide", "2025-05-01", "1,23,4", "GPT"], [np.nan] * 5),
        (["N/A", "-", "#N/A", "null"], [np.nan] * 4),
        (["1_234_567", "12 M", "5 tokens", "~3e9"], [1234567, 12e6, 5, 3e9]),
    ],
)
def test_numbers_as_people_write_them(cells, values):
    np.testing.assert_allclose(spelled(cells).values, values, rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "base", "factor"),
    [
        ("tokens (b)", "tokens ", 1e9),
        ("flops (1e18)", "flops ", 1e18),
        ("params [×10⁶]", "params ", 1e6),
        ("n (10^6)", "n ", 1e6),
        ("tokens_billions", "tokens", 1e9),
        ("params in millions", "params ", 1e6),
        ("tokens (b tokens)", "tokens ", 1e9),
        ("tokens x1e9", "tokens", 1e9),
    ],
)
def test_units_of_headers(name, base, factor):
    found = unit(name)
    assert found is not None
    assert (found[0].strip(), found[1]) == (base.strip(), factor)
    assert unit("n") is None
    assert unit("n_params") is None


def test_a_missing_cell_is_not_a_nan_that_was_written():
    values = pack([1.0, None, float("nan")])
    assert absent(values).tolist() == [False, True, False]
    assert np.isnan(values).tolist() == [False, True, True]


def test_tables_that_are_at_hand_go_in_as_they_are():
    rows = logs.ends()
    columns = {name: [row[name] for row in rows] for name in rows[0]}

    class OfArrow:  # as polars has it
        def __arrow_c_stream__(self, requested_schema=None):
            return pyarrow.table(columns).__arrow_c_stream__(requested_schema)

    for table in (
        pyarrow.table(columns),
        columns,
        OfArrow(),
        {k: np.array(v) for k, v in columns.items() if k != "name"},
    ):
        found = records.assign(readers.from_table(table))
        np.testing.assert_array_equal(found.columns["n"], columns["n_params"])
    with pytest.raises(UserError, match="a int cannot be read as a table"):
        readers.read([3])


def test_runs_that_the_plan_no_longer_names_are_said(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        row = {"name": name, "config_hash": name, "params_total": 1e6, "tokens_seen": 1e9, "loss": 3.0}
        (tmp_path / "runs" / name / "record.json").write_text(json.dumps(row))
    (tmp_path / "plan.json").write_text(json.dumps({"jobs": [{"name": "a"}]}))
    found = readers.read([tmp_path])
    assert len(found.where) == 2
    assert found.said == ["1 of the 2 runs of this sweep are not in its plan.json: b"]


def test_a_new_format_is_one_file(tmp_path, monkeypatch):
    """As someone else would add it: nothing but the file."""
    (tmp_path / "upper_case.py").write_text(
        "from scaling.logs.formats import Format, contents\n"
        "from scaling.logs.shapes import from_records\n"
        "def read(file):\n"
        "    rows = [dict(zip(('n', 'd', 'loss'), map(float, line.split(b'~')))) for line in contents(file).split()]\n"
        "    yield from from_records(rows, [str(file.path)] * len(rows), str(file.path))\n"
        "FORMAT = Format('tildes', lambda file: file.head.count(b'~') > 3, read)\n"
    )
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    formats.known.cache_clear()
    log = tmp_path / "log"
    log.write_text("1e6~1e9~3.5\n1e7~1e9~3.25\n")
    try:
        assert records.assign(readers.read([log])).columns["loss"].tolist() == [3.5, 3.25]
    finally:
        formats.known.cache_clear()
        sys.modules.pop("scaling.logs.formats.upper_case", None)


def test_the_first_step_of_a_console_line_is_its_step(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("".join(f"iter {i} | step {7 * i}: loss {5 - i / 10}, tokens {i}e6, params 1e6\n" for i in (10, 20)))
    found = readers.read([log])
    assert found.columns["step"].tolist() == [10.0, 20.0]
    assert found.columns["train loss"].tolist() == [4.0, 3.0]


@pytest.mark.parametrize("name", ["Lightning", "JSON index", "jsonl.zst", "TensorBoard, hparams", "mlruns", "Arrow"])
def test_damaged_files_end_in_rows_or_a_sentence(name):
    assert "BAD" not in damage.mutate(name, 12, 7)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x93NUMPY\x01\x00", "names of columns"),
        (b"\x80\x04\x95", "pickle"),
        (b"PK\x03\x04abc", "spreadsheet"),
        (b"dim,1e18,3e18\nd512,1.07,1.03\nd640,1.06,1.02\n", "a matrix"),
        (b'{"values": [[1, 2], [3, 4]]}', "a matrix"),
    ],
)
def test_what_has_no_columns_is_refused_with_what_to_give(content, sentence, tmp_path):
    path = pathlib.Path(tmp_path / "file")
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        readers.read([path])


def test_an_older_copy_of_a_table_counts_once_whatever_its_columns(tmp_path):
    rows = logs.ends()
    (tmp_path / "results.csv").write_text(logs.table([{**row, "note": f"n{i}"} for i, row in enumerate(rows)]))
    (tmp_path / "results_old.csv").write_text(logs.table(rows[:20]))
    found = records.assign(readers.read([tmp_path]))
    assert len(found.where) == 25
    assert any("20 rows say again" in said for said in found.said)
    for name in ("results", "results_old"):  # without names
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(line.split(",", 1)[1] for line in path.read_text().splitlines()))
    found = records.assign(readers.read([tmp_path]))
    assert len(found.where) == 25
    assert any("20 rows have the same n, d, loss as rows of another file" in said for said in found.said)


def test_tables_of_the_same_runs_are_joined(tmp_path):
    rows = logs.ends()
    sizes = [{"name": row["name"], "n_params": row["n_params"], "tokens": row["tokens"]} for row in rows]
    (tmp_path / "sizes.csv").write_text(logs.table(sizes))
    (tmp_path / "losses.csv").write_text(
        logs.table([{"name": r["name"], "val_loss": r["val_loss"]} for r in rows[::-1]])
    )
    found = records.assign(readers.read([tmp_path]))
    assert dict(zip(found.table["name"], found.columns["loss"], strict=True)) == {
        r["name"]: r["val_loss"] for r in rows
    }


def test_a_resumed_run_of_mlflow_and_of_tensorboard_has_no_abandoned_attempt(tmp_path):
    from tensorboardX import SummaryWriter

    trackers.mlruns(tmp_path / "a")
    metrics = next(iter(sorted((tmp_path / "a").rglob("metrics")))) / "val/loss"
    lines = metrics.read_text().splitlines()
    metrics.write_text("\n".join([*lines[:3], "1 9.0 300", "1 9.0 400", "1 9.0 500", *lines[2:5]]))
    found = records.assign(readers.read([tmp_path / "a"]))
    assert found.columns["loss"].max() < 9.0
    with SummaryWriter(str(tmp_path / "b")) as events:
        for step, loss in ((1, 5.0), (2, 4.0), (3, 9.0), (4, 9.0), (3, 3.5), (5, 3.25)):
            events.add_scalar("val_loss", loss, step)
            events.add_scalar("tokens", 1000.0 * step, step)
    table = readers.read([tmp_path / "b"])
    losses = table.columns["val_loss"]
    assert losses[np.isfinite(losses)].tolist() == [5.0, 4.0, 3.5, 3.25]


def curves_of(r):
    names = {"step": "step", "tokens": "tokens", "val_loss": "loss", "train_loss": "train"}
    return [{"n": r.n, **{name: row[key] for name, key in names.items()}} for row in r.rows]


def some(rows, *names):
    return logs.table([{name: row[name] for name in names} for row in rows])


LAYOUTS = {  # file -> its text, of every run, and of all
    "a file a measurement": lambda: {
        f"{r.name}/{kind}.csv": some(curves_of(r), "step", *names)
        for r in logs.RUNS
        for kind, names in (("train", ("n", "tokens", "train_loss")), ("eval", ("val_loss",)))
    },
    "settings beside": lambda: {
        **{f"{r.name}/config.json": json.dumps({"model": {"n_params": r.n}}) for r in logs.RUNS},
        **{f"{r.name}/log.csv": some(curves_of(r), "step", "tokens", "val_loss") for r in logs.RUNS},
    },
    "curves by name": lambda: {"a.json": json.dumps({r.name: curves_of(r) for r in logs.RUNS})},
    "lists by name": lambda: {
        "a.json": json.dumps(
            {r.name: {k: [row[k] for row in curves_of(r)] for k in curves_of(r)[0]} for r in logs.RUNS}
        )
    },
    "CSV and JSON of the same": lambda: {
        "a.csv": logs.table(logs.history()),
        "a.jsonl": logs.lines([{**row, "i": i} for i, row in enumerate(logs.history())]),
    },
    "papers beside": lambda: {
        "README.md": "|n|d|loss|\n|-|-|-|\n|1|2|3|\n", "a.py": "n,d,loss = 1,2,3\n",
        "notes.txt": "Some prose\nof two lines\n",
        "a.csv": logs.table(logs.history()),
    },
    "a chart of two metrics": lambda: {
        "chart.csv": logs.table([
            {"Step": 100 * (k + 1), **{f"{r.name} - {name}": r.rows[k][key] for r in logs.RUNS
                                       for name, key in (("val/loss", "loss"), ("tokens", "tokens"))}}
            for k in range(logs.STEPS)
        ]),
        "table.csv": logs.table([{"Name": r.name, "params": r.n} for r in logs.RUNS]),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_run_is_a_run_however_its_files_lie(name, tmp_path):
    def write(path):
        for file, text in LAYOUTS[name]().items():
            logs.put(path / file, text)

    assert kinds.wrong(logs.Writer(write), tmp_path) == ""


def test_units_in_a_second_row_and_titles_above(tmp_path):
    rows = [f"{r['n_params'] / 1e6!r},{r['tokens'] / 1e9!r},{r['val_loss']!r}" for r in logs.ends()]
    text = '"Runs"\n"of May, 2025"\n\nparams,tokens,loss\n(M),(B),(nats)\n' + "\n".join(rows)
    found = read(tmp_path / "a.csv", text)
    np.testing.assert_allclose(found.columns["n"], [r["n_params"] for r in logs.ends()], rtol=1e-14)
    np.testing.assert_allclose(found.columns["d"], [r["tokens"] for r in logs.ends()], rtol=1e-14)
    assert found.where[0] == "a.csv:6"
