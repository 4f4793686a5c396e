"""Tables: what is read, standardised and held out, and the linear forecast beside it."""

import pathlib

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from data import tables


def write(path, text):
    path.write_text(text)
    return str(path)


@pytest.fixture
def table(tmp_path):
    """y = 2 a - b + [kind is "x"] + a little noise."""
    rng = np.random.default_rng(0)
    rows = [(rng.normal(5, 3), rng.normal(), "xyz"[rng.integers(3)]) for _ in range(100)]
    lines = [f"{a},{kind},{b},{2 * a - b + (kind == 'x') + 0.1 * rng.normal()}" for a, b, kind in rows]
    return write(tmp_path / "table.csv", "\n".join(["a,kind,b,y", *lines]))


def test_a_table_is_standardised_by_its_training_rows(table):
    made = tables.regression(table)
    assert (len(made.train), len(made.valid), made.classes, made.unique) == (80, 20, 0, 80)
    x, y = made.train.columns["x"], made.train.columns["y"]
    assert x.shape == (80, 5), "a, three kinds, b"
    for column in (x, y):
        np.testing.assert_allclose(column.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(column.std(0), 1, rtol=1e-6)
    held_out = made.valid.columns["x"]
    assert abs(held_out.mean(0)).max() > 1e-3, "not by their own"
    rows = {tuple(row) for row in np.concatenate([x, held_out])}
    assert len(rows) == 100, "every row is in one split"
    assert made.train.gather(np.arange(3))["x"].dtype == np.float32


def test_the_naive_forecast_is_scikit_learns(table):
    made = tables.regression(table, seed=1)
    fitted = LinearRegression().fit(made.train.columns["x"], made.train.columns["y"])
    for split in (made.train, made.valid):
        np.testing.assert_allclose(split.columns["naive"], fitted.predict(split.columns["x"]), atol=1e-5)
    error = made.valid.columns["naive"] - made.valid.columns["y"]
    assert (error**2).mean() < 0.01


def test_a_header_is_seen_and_can_be_missing(table, tmp_path):
    by_name = tables.regression(table, target="a")
    lines = pathlib.Path(table).read_text().split("\n")[1:]
    bare = write(tmp_path / "bare.csv", "\n".join(lines))
    by_number = tables.regression(bare, target="1")
    assert by_name.fingerprint == by_number.fingerprint
    assert tables.regression(bare).fingerprint == tables.regression(table, target="y").fingerprint
    assert tables.regression(table, seed=1).fingerprint != tables.regression(table).fingerprint


def test_names_are_those_that_a_reader_sees(tmp_path):
    """A byte order mark, and the spaces around names and cells, belong to none; without a header no row is lost."""
    rows = "".join(f"{i}, x,{i * i}\n" for i in range(3))
    for text in ("\ufeffa,kind,b\n" + rows, "a, kind , b\n" + rows, ' a,"kind",b\n' + rows):
        read = tables.read(pathlib.Path(write(tmp_path / "table.csv", text)))
        assert read == {"a": ("0", "1", "2"), "kind": ("x", "x", "x"), "b": ("0", "1", "4")}
    bare = tables.read(pathlib.Path(write(tmp_path / "bare.csv", "\ufeff" + rows)))
    assert bare == {"1": ("0", "1", "2"), "2": ("x", "x", "x"), "3": ("0", "1", "4")}


def test_a_header_can_be_told(tmp_path):
    place = pathlib.Path(write(tmp_path / "years.csv", "2021,2022\n1,2\n3,4\n"))
    assert tables.read(place) == {"1": ("2021", "1", "3"), "2": ("2022", "2", "4")}
    assert tables.read(place, "yes") == {"2021": ("1", "3"), "2022": ("2", "4")}
    words = pathlib.Path(write(tmp_path / "words.csv", "a,b\n1,2\n"))
    assert tables.read(words, "no") == {"1": ("a", "1"), "2": ("b", "2")}
    gap = pathlib.Path(write(tmp_path / "gap.csv", ",2\n1,2\n"))
    assert tables.read(gap) == {"1": ("", "1"), "2": ("2", "2")}, "a gap is no title"


@pytest.mark.parametrize("cell", ["", " ", "NA", "nan", "?"])
@pytest.mark.parametrize("row", [1, 2, 8])
@pytest.mark.parametrize("number", [int, float])
def test_a_gap_makes_no_words_of_numbers(tmp_path, cell, row, number):
    """Wherever it stands, and whatever the numbers are."""
    lines = ["a,b", *(f"{number(i)},{i % 3}" for i in range(8))]
    lines[row] = f"{cell},1"
    said = rf"column 'a' .* holds the missing cell '{cell.strip()}' in row {row}; fill or drop it".replace("?", r"\?")
    with pytest.raises(ValueError, match=said):
        tables.regression(write(tmp_path / "table.csv", "\n".join(lines)))


def test_words_may_be_missing(tmp_path):
    lines = ["kind,b", *(f"{['', 'x', 'y'][i % 3]},{i}" for i in range(12))]
    assert tables.regression(write(tmp_path / "table.csv", "\n".join(lines))).train.columns["x"].shape[1] == 3


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a,b\n1,2\n3,x\n", {}, r"column 'b' begins with a number and holds 'x' in row 2; fill or drop it"),
        ("a,b\nx,2\n3,4\n", {}, r"column 'a' has numbers and holds 'x' in row 1; fill or drop it"),
        ("a,b\n1,2\n3\n", {}, "is no table: it needs two rows or more, with equally many values in each"),
        ("", {}, "is no table"),
        ("x" * 200_000, {}, "is no table of comma-separated values: field larger"),
        ("a,a\n1,2\n3,4\n", {}, r"has more than one column 'a'; give each a name of its own"),
        ("a;b\n1;2\n3;4\n", {}, r"has one column, and commas between none"),
        ("a,b\n1,x\n2,y\n", {}, r"target='b' is no column of numbers in '.*'; choose one of a"),
        ("a,b\n1,2\n3,4\n", {"target": "c"}, r"target='c' is no column of '.*'; choose one of a, b"),
        ("a,b\n1,2\n3,4\n", {}, r"valid=0.2 of 2 rows: hold out one at least, and train on more than 1"),
    ],
)
def test_errors_are_sentences(tmp_path, text, options, said):
    with pytest.raises(ValueError, match=said):
        tables.regression(write(tmp_path / "table.csv", text), **options)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no table at .*none.csv.*relative to where you run"):
        tables.regression(str(tmp_path / "none.csv"))
