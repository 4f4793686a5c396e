"""Tables, one example a row: one column, classes or numbers, is predicted from the others.  N rows, F features."""

import contextlib
import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int

from data import holdout
from data.source import Column, Columns, Dataset, HeldOut, Scale, examples

MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}  # in small letters
FEW, ROWS_OF_EACH = 20, 10  # whole numbers that are taken for classes: at most so many, each in so many rows
Table = Mapping[str, tuple[str, ...]]  # the cells of every column
Header = Literal["auto", "yes", "no"]
Kind = Literal["auto", "classes", "numbers"]


def table(
    path: str, *, target: str = "last", kind: Kind = "auto", valid: float = 0.2, seed: int = 0, header: Header = "auto"
) -> Dataset:
    """A CSV file whose column `target` is a class (`classification`) or a number (`regression`), by `kind`.

    "auto" takes for classes words, and whole numbers of which there are few: at most 20, in ten times as many rows.
    """
    columns = read(Path(path).expanduser(), header)
    target = target_of(path, columns, target)
    are_classes = kind == "classes" or (kind == "auto" and is_class(columns[target]))
    made = of_classes(columns, target, valid, seed) if are_classes else of_numbers(path, columns, target, valid, seed)
    return made._replace(chosen={"kind": "classes" if are_classes else "numbers"} if kind == "auto" else {})


def classification(
    path: str, *, target: str = "last", valid: float = 0.2, seed: int = 0, header: Header = "auto"
) -> Dataset:
    """A CSV file: x float32 [F], and y, the class that stands in the column `target`: a word or a whole number.

    Classes are in the order of their numbers or letters.  `valid` of the rows of each class are held out, drawn by
    `seed`.  Columns are called, standardised and refused as `regression` does; `header` too is as there.
    """
    columns = read(Path(path).expanduser(), header)
    return of_classes(columns, target_of(path, columns, target), valid, seed)


def of_classes(columns: Table, target: str, valid: float, seed: int) -> Dataset:
    names, y_N = classes_of(target, columns[target])
    known, x_NF = inputs(columns, target)
    held = holdout.by_seed(y_N, valid, seed)
    x_NF, of_x = standard(x_NF, np.flatnonzero(~held))
    split = lambda rows: Columns(x=x_NF[rows].astype(np.float32), y=y_N[rows])
    rule = f"{valid:g} of the rows of each class, drawn by the seed {seed}"
    about = {"scales": {"x": of_x}, "columns": {"x": known, "y": (Column(target),)}, "names": names}
    return examples(split(~held), split(held), len(names), **about, held_out=of_rows(rule, np.flatnonzero(held)))


def regression(
    path: str, *, target: str = "last", valid: float = 0.2, seed: int = 0, header: Header = "auto"
) -> Dataset:
    """A CSV file: x float32 [F], y float32 [1] of the column `target`, and `naive` float32 [1], the linear forecast.

    Columns are called as the header calls them, or where there is none "1", "2", …, and the last one also "last".
    Numbers are standardised by the training rows, so that a squared error of 1 is that of their mean; a column of words
    is one feature for each of them, 0 or 1.  A column that holds both, or numbers and gaps, is refused.  Held out is
    the part `valid` of the rows, drawn by `seed`.  `naive` is what least squares on the training rows says, with a
    constant.  `header` says whether the first line names the columns; "auto" judges it, and takes numbers for a row.
    """
    columns = read(Path(path).expanduser(), header)
    return of_numbers(path, columns, target_of(path, columns, target), valid, seed)


def of_numbers(path: str, columns: Table, target: str, valid: float, seed: int) -> Dataset:
    if not has_numbers(columns[target]):
        known = ", ".join(name for name, values in columns.items() if has_numbers(values))
        raise ValueError(f"target={target!r} is no column of numbers in {path!r}; choose one of {known}")
    known, x_NF = inputs(columns, target)
    y_N1 = numbers(target, columns[target])[:, None]
    order, held = np.random.default_rng(seed).permutation(len(y_N1)), int(valid * len(y_N1))
    if not 0 < held < len(y_N1) - x_NF.shape[1]:
        raise ValueError(
            f"valid={valid} of {len(y_N1)} rows: hold out one at least, and train on more than {x_NF.shape[1]}"
        )
    kept, out = order[held:], order[:held]
    (x_NF, of_x), (y_N1, of_y) = standard(x_NF, kept), standard(y_N1, kept)
    with_one = np.concatenate([x_NF, np.ones_like(y_N1)], axis=1)
    weights = np.linalg.lstsq(with_one[kept], y_N1[kept], rcond=None)[0]
    table = {"x": x_NF, "y": y_N1, "naive": with_one @ weights}
    split = lambda rows: Columns(**{name: column[rows].astype(np.float32) for name, column in table.items()})
    about = {"scales": {"x": of_x, "y": of_y}, "columns": {"x": known, "y": (Column(target),)}}
    rule = f"{valid:g} of the rows, drawn by the seed {seed}"
    return examples(split(kept), split(out), **about, held_out=of_rows(rule, np.sort(out)))


def of_rows(rule: str, rows: np.ndarray) -> HeldOut:
    """Rows are counted from 1, a header not among them."""
    return HeldOut(rule, tuple(str(row + 1) for row in rows))


def target_of(path: str, columns: Table, target: str) -> str:
    """The name of the column `target`, which other columns are there to predict."""
    target = list(columns)[-1] if target == "last" else target
    if len(columns) < 2:
        raise ValueError(f"{path!r} has one column, and commas between none; a target is said from other columns")
    if target not in columns:
        raise ValueError(f"target={target!r} is no column of {path!r}; choose one of {', '.join(columns)}")
    return target


def inputs(columns: Table, target: str) -> tuple[tuple[Column, ...], Float64[np.ndarray, "N F"]]:
    """All columns but the target, and their features."""
    known = tuple(described(name, values) for name, values in columns.items() if name != target)
    return known, np.concatenate([features(column, columns[column.name]) for column in known], axis=1)


def is_class(values: tuple[str, ...]) -> bool:
    """Whether a target is taken for a class where nobody says."""
    if not has_numbers(values):
        return True
    found = set(values)
    return all(is_whole(value) for value in found) and len(found) <= min(FEW, len(values) // ROWS_OF_EACH)


def is_whole(value: str) -> bool:
    return value.removeprefix("-").isdecimal()


def classes_of(name: str, values: tuple[str, ...]) -> tuple[tuple[str, ...], Int[np.ndarray, " N"]]:
    """The classes of a column, and of each row its class."""
    lacks = next((row for row, value in enumerate(values, 1) if is_missing(value)), 0)
    if lacks:
        raise ValueError(f"target {name!r} has a missing cell, {values[lacks - 1]!r}, in row {lacks}; fill or drop it")
    broken = next((value for value in values if is_number(value) and not float(value).is_integer()), "")
    if broken:
        raise ValueError(f"target {name!r} holds {broken}, which is no class; name words or whole numbers, or regress")
    order = (lambda value: (float(value), value)) if all(map(is_number, values)) else str
    names = tuple(sorted(set(values), key=order))
    if len(names) < 2:
        raise ValueError(f"target {name!r} is {names[0]!r} in every row: there is nothing to tell apart")
    place = {value: k for k, value in enumerate(names)}
    return names, np.array([place[value] for value in values], np.int32)


def read(path: Path, header: Header = "auto") -> dict[str, tuple[str, ...]]:
    """The columns by name, without the spaces around names and cells.

    By `header` "auto" the first line is one where it holds a word in a column that goes on with numbers.
    """
    if not path.is_file():
        raise ValueError(f"no table at {str(path)!r}: data.path is relative to where you run, {Path.cwd()}")
    with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
        try:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file) if line]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{str(path)!r} is no table of comma-separated values: {error}") from error
    if len(lines) < 2 or any(len(line) != len(lines[0]) for line in lines):
        raise ValueError(f"{str(path)!r} is no table: it needs two rows or more, with equally many values in each")
    titled = header == "yes" or (header == "auto" and any(is_titled(column) for column in zip(*lines, strict=True)))
    names, rows = (lines[0], lines[1:]) if titled else ([str(i + 1) for i in range(len(lines[0]))], lines)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{str(path)!r} has more than one column {twice[0]!r}; give each a name of its own")
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def is_titled(column: tuple[str, ...]) -> bool:
    """Whether a word stands over numbers."""
    first = next((cell for cell in column[1:] if not is_missing(cell)), "")
    return is_number(first) and not is_number(column[0]) and not is_missing(column[0])


def parts(path: Path, columns: Sequence[Column], target: str, rows: int) -> Iterator[Float64[np.ndarray, "N F"]]:
    """The features of a file of new rows, at most `rows` at a time, so that a long file need not fit into memory.

    Its columns may stand in any order, beside others.  Where the training table had no header this one has none
    either, and the column `target` may be missing.
    """
    if not path.is_file():
        raise ValueError(f"no table at {str(path)!r}: paths are relative to where you run, {Path.cwd()}")
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = (line for line in csv.reader(file) if line)
        try:
            first = [cell.strip() for cell in next(lines, [])]
            names, has_header = named(path, first, [column.name for column in columns], target)
            lines = lines if has_header else itertools.chain([first], lines)
            wanted = [names.index(column.name) for column in columns]
            done = 0
            for some in itertools.batched(lines, rows):
                wrong = next((i for i, line in enumerate(some, done + 1) if len(line) != len(names)), 0)
                if wrong:
                    raise ValueError(f"row {wrong} has another number of values than the {len(names)} columns")
                cells = tuple(zip(*some, strict=True))
                made = [features(column, cells[at], done + 1) for column, at in zip(columns, wanted, strict=True)]
                yield np.concatenate(made, axis=1)
                done += len(some)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no table of comma-separated values: {error}") from error
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error


def named(path: Path, first: list[str], needed: list[str], target: str) -> tuple[list[str], bool]:
    """The names of a file's columns by its first line, and whether that line is a header."""
    places = {str(i + 1) for i in range(len(needed) + 1)}
    if {*needed, target} == places:  # the training table had no header
        if len(first) == len(places):
            return [str(i + 1) for i in range(len(places))], False
        if len(first) == len(needed):
            return needed, False
        raise ValueError(f"it has {len(first)} columns and the training table {len(places)}, with the target")
    missing = [name for name in needed if name not in first]
    if missing:
        raise ValueError(
            f"the column {missing[0]!r} is missing; its first line has to name the training table's columns "
            f"({', '.join(needed)}), and begins with {', '.join(first[:8]) or 'nothing'}"
        )
    return first, True


def described(name: str, values: tuple[str, ...]) -> Column:
    return Column(name, () if has_numbers(values) else tuple(map(str, np.unique(values))))


def features(column: Column, values: tuple[str, ...], first: int = 1) -> Float64[np.ndarray, "N F"]:
    """One of numbers; of words one for each, a missing one among them.  `first` is the number of the first row."""
    if not column.words:
        return numbers(column.name, values, first)[:, None]
    place = {word: i for i, word in enumerate(column.words)}
    ids = np.array([place.get(value.strip(), -1) for value in values])
    unknown = np.flatnonzero(ids < 0)
    if unknown.size:
        raise ValueError(
            f"column {column.name!r} holds {values[unknown[0]]!r} in row {first + unknown[0]}, which is no word of the "
            f"training table's; it had {', '.join(map(repr, column.words[:8]))}{' …' * (len(column.words) > 8)}"
        )
    return np.eye(len(column.words))[ids]


def has_numbers(values: tuple[str, ...]) -> bool:
    """Whether this is a column of numbers: one of its cells, wherever it stands, is one.

    `numbers` refuses it where another cell is not: a word or a gap must not make a class of every number.
    """
    return any(is_number(value) for value in values)


def standard(columns: Float64[np.ndarray, "N F"], rows: np.ndarray) -> tuple[Float64[np.ndarray, "N F"], Scale]:
    """With the mean 0 and the deviation 1 on these rows; a column that does not vary there keeps its unit."""
    mean, deviation = columns[rows].mean(0), columns[rows].std(0)
    deviation = np.where(deviation > 0, deviation, 1)
    return (columns - mean) / deviation, Scale(mean.tolist(), deviation.tolist())


def numbers(name: str, values: tuple[str, ...], first: int = 1) -> Float64[np.ndarray, " N"]:
    with contextlib.suppress(ValueError):
        made = np.array([float(value) for value in values], np.float64)
        if np.isfinite(made).all():
            return made
    at = next(i for i, value in enumerate(values) if not is_number(value))
    begins = "begins with a number" if is_number(values[0]) else "has numbers"
    what = f"the missing cell {values[at]!r}" if is_missing(values[at]) else repr(values[at])
    raise ValueError(f"column {name!r} {begins} and holds {what} in row {first + at}; fill or drop it")


def is_number(value: str) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except ValueError:
        return False


def is_missing(value: str) -> bool:
    return value.lower() in MISSING
