"""Tables as text: CSV with any separator, columns between spaces or pipes, Markdown."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from scaling.logs.arrow import columns_of
from scaling.logs.formats import File, Format, contents
from scaling.logs.shapes import logs
from scaling.logs.table import Log, Refusal, Unreadable, number

SUFFIXES = (".csv", ".tsv", ".txt")
NO_HEADER = (
    "its first line is no header of two or more columns between commas, semicolons, tabs, pipes or spaces"
)  # fmt: skip


class Layout(NamedTuple):
    """How the first lines are a table."""

    mark: str  # between cells; "" for spaces
    header: int  # the line that names the columns, from 0
    names: str = ""  # that line where it has to be written anew


def fits(file: File) -> bool:
    return file.suffix in SUFFIXES or (bool(file.head.strip()) and not re.search(rb"[\0-\x08\x0e-\x1a]", file.head))


def read(file: File) -> Iterator[Log | Refusal]:
    """Everything is read as text first: the kind of a column is known only when all of it has been seen."""
    import pyarrow
    import pyarrow.csv

    path = str(file.path)
    data, lost = whole_quotes(one_newline(utf8(contents(file))))
    if lost:
        yield Refusal(f"{path}:{lost[0]}", lost[1])
    try:
        form = layout(data[: 2**16].decode("utf-8", "replace").split("\n")[:60])
    except csv.Error as error:
        raise Unreadable(str(error)) from None
    data = from_header(data, form)
    refused: list[Refusal] = []

    def skip(row: Any) -> str:
        ragged.append(row.number)
        if len(refused) < 2000:
            reason = f"{row.actual_columns} cells where the header has {row.expected_columns}"
            refused.append(Refusal(f"{path}:{row.number + form.header}", reason))
        return "skip"

    ragged: list[int] = []
    parsing = pyarrow.csv.ParseOptions(
        delimiter=form.mark if form.mark in (",", ";", "\t") else ",", newlines_in_values=True,
        ignore_empty_lines=False, invalid_row_handler=skip,
    )  # fmt: skip
    converting = pyarrow.csv.ConvertOptions(
        default_column_type=pyarrow.string(), null_values=[""], strings_can_be_null=True
    )
    reading = pyarrow.csv.ReadOptions(use_threads=False, block_size=2**24)  # threads would not count lines
    try:
        table = pyarrow.csv.read_csv(pyarrow.BufferReader(data), reading, parsing, converting)
    except pyarrow.ArrowInvalid as error:
        raise Unreadable(str(error)[:300]) from None
    del data
    yield from refused
    lines = np.delete(np.arange(2, 2 + table.num_rows + len(ragged)), np.array(ragged, np.int64) - 2) + form.header
    columns = columns_of(table)
    del table
    pyarrow.default_memory_pool().release_unused()
    if len(columns) > 2 and all(number(re.sub(r" \(\d+\)$", "", name)) is not None for name in [*columns][1:]):
        raise Unreadable(
            f"a matrix: its columns are numbers ({', '.join([*columns][1:4])}, …), and nothing says what cells are; "
            f"give a row a run with a column each for N, D (or FLOPs) and the loss"
        )
    yield from logs(columns, lines, path)


def utf8(data: bytes) -> bytes:
    """What is not UTF-8 is taken for Latin-1, unless the file was only cut inside its last letter."""
    try:
        data.decode()
        return data
    except UnicodeDecodeError as error:
        cut = error.start >= len(data) - 4
        return (data.decode("utf-8", "replace") if cut else data.decode("latin-1")).encode()


def one_newline(data: bytes) -> bytes:
    """Old spreadsheets end a line with a carriage return alone."""
    return data.replace(b"\r", b"\n") if b"\r" in data[: 2**16] and b"\n" not in data else data


def whole_quotes(data: bytes) -> tuple[bytes, tuple[int, str] | None]:
    """`data` up to a quote that is never closed, which would swallow all that follows; its line and what is lost."""
    if data.count(b'"') % 2 == 0:
        return data, None
    cut = data.rfind(b"\n", 0, data.rfind(b'"')) + 1
    lost = data[cut:].strip().count(b"\n")
    more = f", and {lost} more are lost with it" if lost else ""
    return data[:cut], (data.count(b"\n", 0, cut) + 1, f"half-written: a quote that is never closed{more}")


# Where the table begins, and what is between its cells.


def splits(mark: str) -> Callable[[str], list[str]]:
    """The cells of one line."""
    if mark == "":
        return str.split
    if mark == "  ":
        return lambda line: re.split(r"\s{2,}|\t", line.strip())
    if mark == "|":
        return lambda line: [part.strip() for part in line.strip().strip("|").split("|")]
    return lambda line: next(csv.reader([line], delimiter=mark), []) if line else []


def layout(lines: Sequence[str]) -> Layout:
    """Leaves out what stands above the table: `sep=;`, comments, a title, blank lines."""
    start, comments = 0, []
    while start < len(lines) and (not lines[start].strip() or re.match(r"\s*#|\s*sep=.\s*$", lines[start])):
        comments += [lines[start]] if lines[start].strip() else []
        start += 1
    body = [line.rstrip("\r") for line in lines[start:]]
    best = max(",;\t|", key=lambda mark: score(splits(mark), body))
    if score(splits(best), body)[1] < 2:
        best = next((mark for mark in ("  ", "") if spaced(splits(mark), body)), None)
    if best is None:
        raise Unreadable(NO_HEADER)
    split = splits(best)
    above = titles([split(line) for line in body])
    header, rows = split(body[above]), [split(line) for line in body[above + 1 :] if line.strip()]
    if comments and above == 0 and header and all(number(name) is not None for name in header):
        named = re.sub(r"^\s*#+\s*", "", comments[-1])  # as numpy writes it
        cells = next((s for mark in (best, "  ", "") if len(s := splits(mark)(named)) == len(header)), None)
        if cells:
            return Layout(best, start - 1, written(cells, best))
    longer = [row for row in rows if len(row) == len(header) + 1]
    if rows and len(longer) == len(rows) and best not in ("", "  ", "|"):
        end = all(not row[-1].strip() for row in longer)
        return Layout(best, start + above, written([*header, ""] if end else ["index", *header], best))
    if rows and len(longer) == len(rows):
        return Layout(best, start + above, written(["index", *header], best))
    return Layout(best, start + above)


def score(split: Callable[[str], list[str]], lines: Sequence[str]) -> tuple[float, int]:
    """How many cells a separator gives, as many in each line; and how many the header has, 1 where no line is one."""
    rows = [row for line in lines[:20] if line.strip() and (row := split(line))]
    sizes = [len(row) for row in rows]
    most = max(dict.fromkeys(sizes), key=sizes.count, default=0)
    for i, row in enumerate(rows):
        if len(row) in (most, most - 1) and len(row) > 1:
            header = i == 0 or all(number(part) is None or not part.strip() for part in row)
            return (sizes.count(most) / len(sizes) * most, len(row)) if header else (0.0, 1)
    return 0.0, 1


def spaced(split: Callable[[str], list[str]], lines: Sequence[str]) -> bool:
    """Whether lines are rows of a table between spaces rather than prose: as many cells each, half of them numbers."""
    rows = [split(line) for line in lines if line.strip()]
    if len(rows) < 2 or len(rows[0]) < 2:
        return False
    body = rows[1:-1] or rows[1:]
    even = sum(len(row) in (len(rows[0]), len(rows[0]) + 1) for row in body) > 0.9 * len(body)
    numbers = [sum(number(part) is not None for part in row) >= len(row) / 2 for row in body]
    return even and all(numbers)


def titles(rows: Sequence[list[str]]) -> int:
    """Rows above the header, which fill few of the table's columns: a title, a date."""
    filled = [sum(bool(part.strip()) for part in row) for row in rows]
    full = [count for count in filled if count]
    usual = max(dict.fromkeys(full), key=full.count, default=0)
    header = next((i for i, count in enumerate(filled[:-1]) if count > 1 and count > usual / 2), 0)
    named = all(number(part) is None or not part.strip() for part in rows[header]) if rows else False
    return header if named else next((i for i, count in enumerate(filled) if count), 0)


def written(cells: Sequence[str], mark: str) -> str:
    """One line of CSV."""
    out = io.StringIO()
    csv.writer(out, delimiter=mark if mark in (",", ";", "\t") else ",", lineterminator="").writerow(cells)
    return out.getvalue()


def from_header(data: bytes, form: Layout) -> bytes:
    """The table from its header on, written as CSV where it is between spaces or pipes; a ruler is a blank line."""
    at = 0
    for _ in range(form.header):
        at = data.find(b"\n", at) + 1
    if form.mark in (",", ";", "\t"):
        if not form.names:
            return data[at:] if at else data
        return form.names.encode() + data[data.find(b"\n", at) if b"\n" in data[at:] else len(data) :]
    split = splits(form.mark)
    lines = data[at:].decode("utf-8", "replace").split("\n")
    rows = ["" if re.fullmatch(r"[\s|:+=-]*", line) else written(split(line), ",") for line in lines]
    return "\n".join([form.names or rows[0], *rows[1:]]).encode()


FORMAT = Format("CSV (.csv, .tsv, .txt)", fits, read, last=2)
