"""Data of one's own: what a source infers, holds out and says of itself; what a page leaves to it."""

import csv
import inspect
import json
import pathlib
import tarfile

import numpy as np
import pytest
from PIL import Image

from data import arrays, catalogue, holdout, images, series, tables, text
from data.__main__ import main as data_main
from data.source import Dataset
from train import configs, found, sizes
from train.display import Display
from train.errors import UserError
from train.experiment import build_experiment
from train.loop import train
from train.optim import schedules
from train.saved import load

PAGES = {
    "text": "configs/text/text.py",
    "images": "configs/images/images.py",
    "table": "configs/tables/table.py",
    "series": "configs/series/series.py",
}


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path / "cache"))


def pictures(folder, classes=("cat", "dog"), count=10, size=(12, 8)):
    rng = np.random.default_rng(0)
    for label in classes:
        (folder / label).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).save(folder / label / f"{i:02}.png")
    return str(folder)


def rows(path, lines):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return str(path)


def config_of(name, path, *overrides):
    return configs.config_of(configs.load(PAGES[name]), [f"data.path={path}", *overrides])


# What is held out.


def test_a_share_of_each_class_is_held_out():
    labels = np.repeat([0, 1, 2], [50, 10, 2])
    held = holdout.by_seed(labels, 0.2, seed=0)
    assert [held[labels == k].sum() for k in range(3)] == [10, 2, 1]
    assert (holdout.by_seed(labels, 0.2, seed=0) == held).all()
    assert (holdout.by_seed(labels, 0.2, seed=1) != held).any()
    assert not holdout.by_seed(np.array([0, 0, 1]), 0.9, seed=0).all(), "something is left to train on"
    with pytest.raises(ValueError, match=r"valid=20.0 must be the part that is held out, such as 0.2"):
        holdout.by_seed(labels, 20.0, seed=0)


def test_names_decide_and_not_their_order():
    """A hundred more records move less than a few of the old ones to another side."""
    names = [f"cat/{i:03}.png" for i in range(300)]
    label = lambda some: np.zeros(len(some), int)
    of = lambda some: {
        n for n, is_held in zip(some, holdout.by_name(some, label(some), 0.2, 0), strict=True) if is_held
    }
    few, many = of(names[:200]), of(names)
    assert of(names[:200][::-1]) == few
    assert len(few) == 40
    moved = [n for n in names[:200] if (n in few) != (n in many)]
    assert len(moved) <= 12


def test_a_folder_of_classes_is_split_by_its_names(tmp_path):
    place = pictures(tmp_path / "set")
    made = images.folder(place)
    assert (len(made.train), len(made.valid), made.names) == (16, 4, ("cat", "dog"))
    assert np.bincount(made.valid.columns["y"]).tolist() == [2, 2]
    assert made.held_out.rule == "0.2 of each class, the first by SHA-256 of 0/CLASS/NAME"
    for name, pixels in zip(made.held_out.records, made.valid.columns["x"], strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(pathlib.Path(place) / name)))
    with tarfile.open(tmp_path / "set.tar", "w") as file:
        for member in sorted((tmp_path / "set").rglob("*.png"), reverse=True):
            file.add(member, f"some/where/{member.relative_to(tmp_path / 'set')}")
    assert images.folder(str(tmp_path / "set.tar"), valid=0.2).fingerprint == made.fingerprint
    assert len(images.folder(place, valid=0.5).valid) == 10
    assert images.folder(place, seed=1).held_out.records != made.held_out.records


def test_a_split_goes_before_a_share(tmp_path):
    for split in ("train", "test"):
        pictures(tmp_path / "set" / split, count=5)
    told = images.folder(str(tmp_path / "set"))
    assert (len(told.train), len(told.valid), told.held_out.rule) == (10, 10, "")
    shared = images.folder(str(tmp_path / "set"), valid=0.4)
    assert (len(shared.train), len(shared.valid)) == (6, 4), "of the training folder"
    (tmp_path / "set" / "test").rename(tmp_path / "set" / "exam")
    (tmp_path / "set" / "train").rename(tmp_path / "set" / "school")
    with pytest.raises(ValueError, match=r"no images train/CLASS.*it has exam, school.  data.valid=0.2 holds out"):
        images.folder(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("shapes", "side", "shape"),
    [([(12, 8)], 0, (8, 12, 3)), ([(12, 8), (20, 30)], 8, (8, 8, 3)), ([(100, 90)], 64, (64, 64, 3))],
)
def test_a_size_is_found(tmp_path, shapes, side, shape):
    for i, size in enumerate(shapes):
        pictures(tmp_path / "set", classes=(f"a{i}", f"b{i}"), count=3, size=size)
    made = images.folder(str(tmp_path / "set"), size=-1)
    assert made.chosen == {"size": side}
    assert made.train.columns["x"].shape[1:] == shape
    assert images.folder(str(tmp_path / "set"), size=side).fingerprint == made.fingerprint


# Tables and series.


def test_a_target_of_words_is_a_class(tmp_path):
    rng = np.random.default_rng(0)
    lines = [[rng.normal(k, 0.1), "ab"[k % 2], ("rose", "iris", "lily")[k]] for k in rng.integers(0, 3, 200)]
    made = tables.table(rows(tmp_path / "t.csv", [["width", "kind", "flower"], *lines]))
    assert (made.names, made.classes, made.chosen) == (("iris", "lily", "rose"), 3, {"kind": "classes"})
    order = {name: k for k, name in enumerate(made.names)}
    expected = np.array([order[line[2]] for line in lines])
    held = np.array([int(row) - 1 for row in made.held_out.records])
    np.testing.assert_array_equal(made.valid.columns["y"], expected[held])
    np.testing.assert_array_equal(made.train.columns["y"], np.delete(expected, held))
    widths = np.array([line[0] for line in lines])
    kept = np.delete(widths, held)
    np.testing.assert_allclose(made.valid.columns["x"][:, 0], (widths[held] - kept.mean()) / kept.std(), rtol=1e-5)
    share = np.bincount(made.valid.columns["y"]) / np.bincount(expected)
    np.testing.assert_allclose(share, 0.2, atol=0.02)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([i % 3 for i in range(90)], "classes"),
        ([-1 if i % 2 else 1 for i in range(90)], "classes"),
        ([i % 12 for i in range(90)], "numbers"),  # fewer than ten rows of each
        ([i % 25 for i in range(900)], "numbers"),
        ([f"{i % 3}.0" for i in range(90)], "numbers"),
    ],
)
def test_few_whole_numbers_are_classes(tmp_path, values, kind):
    path = rows(tmp_path / "t.csv", [["a", "y"], *([i * 0.37 % 1, value] for i, value in enumerate(values))])
    assert tables.table(path).chosen == {"kind": kind}
    assert tables.table(path, kind="numbers").classes == 0
    assert tables.table(path, kind="classes").classes == len(set(values))


def test_classes_are_in_the_order_of_their_numbers(tmp_path):
    path = rows(tmp_path / "t.csv", [["a", "y"], *([i, [10, 9, -2][i % 3]] for i in range(60))])
    assert tables.classification(path).names == ("-2", "9", "10")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["x", "", "y", "x"], r"target 'y' has a missing cell, '', in row 2; fill or drop it"),
        (["1", "2", "1.5", "2"], r"target 'y' holds 1.5, which is no class"),
        (["x", "x", "x", "x"], r"target 'y' is 'x' in every row: there is nothing to tell apart"),
    ],
)
def test_what_is_no_class_is_refused(tmp_path, values, said):
    path = rows(tmp_path / "t.csv", [["a", "y"], *([i, value] for i, value in enumerate(values))])
    with pytest.raises(ValueError, match=said):
        tables.classification(path)


@pytest.mark.parametrize("season", [7, 12, 24])
def test_a_period_is_found_under_noise_and_a_trend(season):
    rng = np.random.default_rng(season)
    pattern = np.sin(2 * np.pi * np.arange(season) / season) + 0.3 * rng.standard_normal(season)
    series_T = np.resize(pattern, 600) + 0.3 * rng.standard_normal(600) + 0.01 * np.arange(600)
    assert series.period(series_T) == season


def test_noise_has_no_period():
    rng = np.random.default_rng(0)
    assert series.period(rng.standard_normal(600)) == 1
    assert series.period(np.zeros(600)) == series.period(np.arange(600.0)) == series.period(np.arange(3.0)) == 1


def test_a_series_chooses_its_windows(tmp_path):
    lines = [[f"day {i}", np.sin(2 * np.pi * i / 12) + 5, i % 2] for i in range(300)]
    path = rows(tmp_path / "s.csv", [["day", "height", "odd"], *lines])
    made = series.table(path, target="height", season=0)
    assert made.chosen == {"season": 12, "horizon": 12, "lookback": 24}
    assert series.table(path, target="height", season=0, horizon=3).chosen == {"season": 12, "lookback": 8}
    assert series.table(path, lookback=8, horizon=3).columns["y"][0].name == "odd", "the last column of numbers"


# Arrays.


def test_arrays_are_a_source(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 4)), np.arange(50) % 5
    made = arrays.given(x, y, valid=0.2)
    assert (len(made.train), len(made.valid), made.classes) == (40, 10, 5)
    held = np.array([int(row) for row in made.held_out.records])
    np.testing.assert_array_equal(made.valid.columns["x"], x[held].astype(np.float32))
    np.savez(tmp_path / "xy.npz", x=x, y=y)
    assert arrays.file(str(tmp_path / "xy.npz"), valid=0.2).fingerprint == made.fingerprint
    numbers = arrays.given(x, y / 2)
    assert (numbers.classes, numbers.train.columns["y"].shape) == (0, (40, 1))
    with pytest.raises(ValueError, match="x has 50 records and y 49"):
        arrays.given(x, y[1:])
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match=r"is no file that numpy.savez\(FILE, x=x, y=y\) has written"):
        arrays.file(str(tmp_path / "x.npy"))


# What a page leaves to its data.


def inferred(name, folder):
    """A config whose page leaves sizes to its data, and what they have to be."""
    if name == "text":
        (folder / "t.txt").write_text("abcdefgh\n" * 200)
        return config_of(name, folder / "t.txt"), {"model.vocab": 9, "model.context": 64}
    if name == "images":
        place = pictures(folder / "set", classes=("a", "b", "c"), count=20, size=(9, 9))
        return config_of(name, place), {"model.classes": 3, "data.size": 0}
    if name == "table":
        path = rows(folder / "t.csv", [["a", "y"], *([i * 0.37 % 1, "uvwx"[i % 4]] for i in range(80))])
        expected = {"model.classes": 4, "task.name": "supervised:classify", "data.kind": "classes"}
        return config_of(name, path), expected
    path = rows(folder / "s.csv", [["t", "y"], *([f"d{i}", np.sin(2 * np.pi * i / 6)] for i in range(200))])
    return config_of(name, path), {"model.outputs": 6, "data.horizon": 6, "data.lookback": 12, "data.season": 6}


@pytest.mark.parametrize("name", PAGES)
def test_sizes_follow_from_the_data(name, tmp_path):
    """And once filled in, they are as if the page had set them: nothing more is chosen."""
    config, expected = inferred(name, tmp_path)
    made = build_experiment(config)
    get = lambda key: getattr(getattr(made.config, key.split(".")[0]), key.split(".")[1])
    assert {key: get(key) for key in expected} == expected
    assert set(found.changes(config.to_dict(), made.config.to_dict())) == {f"{k}={v}" for k, v in expected.items()}
    again = build_experiment(made.config)
    assert again.config is made.config
    assert again.dataset.fingerprint == made.dataset.fingerprint


def test_a_table_of_numbers_is_a_regression_beside_least_squares(tmp_path):
    path = rows(tmp_path / "t.csv", [["a", "b", "y"], *([i, -i % 7, i * 0.5] for i in range(60))])
    made = build_experiment(config_of("table", path))
    assert (made.config.task.name, made.config.model.classes) == ("forecast:forecast", 1)


def test_nothing_of_another_page_is_filled_in():
    """Not even where a network has a size for which its page takes the default."""
    module = configs.load("configs/series/adding_lstm.py")
    config = configs.config_of(module, [])
    assert build_experiment(config).config is config


@pytest.mark.parametrize(
    ("name", "flag", "said"),
    [
        ("text", "model.vocab=5", "--config.model.vocab=9"),
        ("text", "model.context=32", "--config.model.context=64"),
        ("images", "model.classes=2", "--config.model.classes=3"),
        ("table", "model.classes=2", "--config.model.classes=4"),
        ("series", "model.outputs=9", "--config.model.outputs=6"),
    ],
)
def test_an_error_about_a_size_names_its_flag(name, flag, said, tmp_path):
    inferred(name, tmp_path)
    path = {"text": "t.txt", "images": "set", "table": "t.csv", "series": "s.csv"}[name]
    with pytest.raises(UserError, match=rf"set {said}, or leave that out of the page"):
        build_experiment(config_of(name, tmp_path / path, flag))


@pytest.mark.slow
def test_what_was_found_is_said_and_kept(tmp_path):
    """In the terminal, in data.json and held_out.txt; and the run is read back and known to be complete."""
    config, _ = inferred("table", tmp_path)
    overrides = ["steps=3", "eval.every=0", "batch_size=8", "model.width=8", "writers=()"]
    config = config_of("table", tmp_path / "t.csv", *overrides)
    said = []
    display = Display(quiet=True)
    display.say = said.append
    train(config, tmp_path / "run", display)
    shown = "\n".join(said)
    assert "tables:table" in shown
    assert "classes   4: u 16 + 4, v 16 + 4, w 16 + 4, x 16 + 4" in shown
    assert "chance    0.250" in shown
    assert "target    y, from a" in shown
    assert "listed in held_out.txt" in shown
    assert "chosen    data.kind=classes model.classes=4 task.name=supervised:classify" in shown
    kept = json.loads((tmp_path / "run" / "data.json").read_text())["found"]
    assert kept["counts"] == {name: [16, 4] for name in "uvwx"}
    held = (tmp_path / "run" / "held_out.txt").read_text().split()
    assert len(held) == 16
    assert kept["held_out"] == "0.2 of the rows of each class, drawn by the seed 0"
    assert load(tmp_path / "run").predict([{"a": 0.5}]).best[0] in "uvwx"
    said.clear()
    train(config, tmp_path / "run", display)
    assert "is complete" in said[0]


# What is lacking is said before anything is read.


@pytest.mark.parametrize("name", PAGES)
def test_a_page_for_your_own_data_asks_for_it(name):
    with pytest.raises(UserError, match=r"config.data.path is not set: name .*, --config.data.path=PATH"):
        configs.config_of(configs.load(PAGES[name]), [])


def test_a_page_without_its_file_says_where_it_is(tmp_path, monkeypatch):
    page = configs.load("configs/text/shakespeare_gpt.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"reads 'input.txt', which is not in .*Get it: curl -LO https://.*input.txt"):
        configs.config_of(page, [])
    (tmp_path / "other.txt").write_text("text")
    assert configs.config_of(page, ["data.path=other.txt"]).data.path == "other.txt"


# One flag.


def test_a_warmup_below_one_is_a_share():
    for steps in (1, 7, 100, 2000):
        first = max(1, round(0.05 * steps))
        shared, counted = (schedules.cosine(steps, warmup) for warmup in (0.05, first))
        assert [shared(t) for t in range(steps)] == [counted(t) for t in range(steps)]
    with pytest.raises(UserError, match=r"warmup=1.5 is neither whole steps nor a share below 1"):
        schedules.cosine(100, 1.5)


@pytest.mark.parametrize("page", [p for p in configs.pages(configs.FOLDER) if p.parent.name != "scaling"])
def test_a_run_is_shortened_by_one_flag(page):
    module = configs.load(str(page))
    config = module.get_config()
    configs.override(config, "steps", "3")
    build = schedules.__dict__[config.schedule.name]
    options = {k: v for k, v in config.schedule.to_dict().items() if k != "name"}
    assert 0 < build(steps=3, **options)(0) <= 1


def test_augmentations_are_switched_by_flags():
    page = configs.load("configs/images/mnist_lenet.py")
    shown = lambda *flags: configs.config_of(page, [*flags]).augment.to_dict()
    assert shown() == {"crop": {"padding": 2}}
    assert shown("augment.flip=True", "augment.mixup.alpha=0.4") == {
        "crop": {"padding": 2}, "flip": {}, "mixup": {"alpha": 0.4}
    }  # fmt: skip
    assert shown("augment.crop=True") == shown()
    assert shown("augment.crop=False") == shown("augment.crop=None") == {}
    assert shown("augment.crop.padding=4") == {"crop": {"padding": 4}}
    with pytest.raises(UserError, match=r"config.augment.flop is no augmentation; did you mean 'flip'"):
        shown("augment.flop=True")
    with pytest.raises(UserError, match=r"config.augment.crop=4: it takes True or False; its options have flags"):
        shown("augment.crop=4")


# The sources list themselves.


def test_every_source_of_a_page_is_listed(capsys):
    data_main([])
    shown = capsys.readouterr().out
    names = {configs.load(str(page)).get_config().data.name for page in configs.pages(configs.FOLDER)}
    assert {source.name for source in catalogue.sources()} >= names
    assert all(f"\n  {name}\n" in shown for name in names)
    for source in catalogue.sources():
        for name in inspect.signature(source.make).parameters:
            assert name in source.brief()
            assert f"  {name}: " in source.whole()


def test_a_new_source_lists_itself(monkeypatch):
    def rows(path: str, *, sorted_by: str = "time") -> Dataset:
        """Rows of a file."""
        raise NotImplementedError

    rows.__module__ = "data.text"
    monkeypatch.setattr(text, "rows", rows, raising=False)
    (made,) = [source for source in catalogue.sources() if source.name == "text:rows"]
    assert (made.kind, made.brief()) == ("path", "Rows of a file.\n  path, sorted_by='time'")
    assert catalogue.find("text:rows").make is rows
    with pytest.raises(ValueError, match=r"there is no source text:row; did you mean text:rows\?"):
        catalogue.find("text:row")


def test_what_helps_sources_is_none():
    names = {source.name for source in catalogue.sources()}
    assert not names & {"source:examples", "sequences:generated", "series:forecasting", "random:_images"}
    assert {source.name for source in catalogue.sources() if source.kind == "arrays"} == {"arrays:given"}
    assert sizes.ANYWAY
