"""Documents of text files, JSON lines, Parquet, Arrow, ArrayRecord and TFDS sets, wherever a path can be opened.

A corpus is read in parts, each a list of pieces of files, so that several processes share the work and a part that was
interrupted is read again alone.  `parts` depends on names and sizes of files only, so every run makes the same ones.
"""

import contextlib
import fnmatch
import itertools
import json
import logging
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

Kind = Literal["text", "lines", "jsonl", "parquet", "arrow", "array_record", "tfds"]
KINDS: dict[str, Kind] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".arrow": "arrow",
    ".array_record": "array_record", ".arrayrecord": "array_record",
}  # fmt: skip
PACKED = {".gz": "gzip", ".zst": "zstd"}  # suffix -> codec of pyarrow
PART = 64 << 20  # bytes of a part at most, before decompression
SHARE = 16  # parts of a small corpus, so that all cores have work
PIECE = 1 << 20  # bytes at which a text file too large for one document is cut, at the end of a line
RECORDS = 100_000  # of a TFDS set or an ArrayRecord in one piece
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
    "=": operator.eq,
}  # fmt: skip
WHERE = re.compile(r"\s*(.+?)\s*(==|!=|<=|>=|<|>|=)\s*(.+?)\s*$")


class Reading(NamedTuple):
    """How documents are found in files."""

    column: str = "text"  # of JSON lines and tables
    where: tuple[str, ...] = ()  # conditions on other columns: "language=en", "score>=0.5"
    separator: str = ""  # between the documents of a text file; "" takes a file as one
    pattern: str = "*"  # of file names in a folder


class Piece(NamedTuple):
    """What one process reads of one file: bytes, row groups or records from `start` to `stop`."""

    path: str
    kind: Kind
    start: int
    stop: int
    size: int  # bytes, about
    codec: str = ""


def parts(sources: Sequence[str], how: Reading) -> list[list[Piece]]:
    """All pieces of `sources` in order, in parts of a `SHARE`-th of all bytes, `PIECE` to `PART`.

    Raises ValueError where a source does not exist, is empty, or has no document.
    """
    files = [file for source in sources for file in _files(source, how)]
    most = min(PART, max(PIECE, sum(file.size for file in files) // SHARE))
    found, size = [[]], 0
    for file in files:
        for piece in _pieces(file, how, most):
            if found[-1] and size + piece.size > most:
                found.append([])
                size = 0
            found[-1].append(piece)
            size += piece.size
    return [part for part in found if part]


def documents(part: Sequence[Piece], how: Reading) -> Iterator[bytes]:
    """The UTF-8 texts of a part, empty ones left out."""
    conditions = [condition(text) for text in how.where]
    for piece in part:
        read = {"text": _texts, "lines": _texts, "jsonl": _json_lines}.get(piece.kind, _rows)
        for text in read(piece, how, conditions):
            if text:
                yield text


def condition(text: str) -> tuple[str, Callable[[Any], bool]]:
    """Column and test of a condition such as "score>=0.5"; numbers are compared as numbers."""
    found = WHERE.match(text)
    if not found:
        raise ValueError(f"the condition {text!r} is not understood: write COLUMN=VALUE, !=, <, <=, > or >=")
    column, sign, value = found.groups()
    compare = OPERATORS[sign]

    def holds(given: Any) -> bool:
        if given is None:
            return False
        if isinstance(given, bool):
            return compare(str(given).lower(), value.lower())
        if isinstance(given, (int, float)):
            try:
                return compare(given, float(value))
            except ValueError:
                raise ValueError(f"{text!r} compares the number {given} of {column} with a word") from None
        return compare(str(given), value)

    return column, holds


# Pieces of a source.


def _files(source: str, how: Reading) -> Iterator[Piece]:
    """Each file of a source, whole; what holds records has their number as `stop`."""
    if source.startswith("tfds:"):  # "tfds:NAME" or "tfds:NAME:SPLIT"
        count = len(_tfds(source))
        yield Piece(source, "tfds", 0, count, count << 10)
        return
    path = as_path(source)
    if any(c in source for c in "*?["):
        fixed = list(itertools.takewhile(lambda part: not any(c in part for c in "*?["), path.parts))
        base = as_path("/".join(fixed)) if fixed else as_path(".")
        files = sorted(p for p in base.glob("/".join(path.parts[len(fixed) :])) if p.is_file())
        missing = f"no file matches {source!r}"
    elif path.is_dir():
        hidden = lambda p: any(part.startswith(".") for part in p.parts[len(path.parts) :])
        below = (folder / name for folder, _, names in path.walk() for name in names)
        files = sorted(p for p in below if fnmatch.fnmatch(p.name, how.pattern) and not hidden(p))
        if (path / "state.json").exists():  # a data set as Hugging Face's library saves it
            files = [p for p in files if p.suffix == ".arrow"]
        missing = f"the folder {source!r} has no file that matches {how.pattern!r}"
    else:
        files = [path] if path.exists() else []
        missing = f"there is no file {source!r}: paths are relative to where you run"
    if not files:
        raise ValueError(missing)
    sizes = {file: size_of(file) for file in files}
    if not any(sizes.values()):
        raise ValueError(f"{source} is empty; leave it out, or name another")
    for file, size in sizes.items():
        if size:  # a folder of code has empty files
            yield _whole(str(file), size)


def size_of(path: Any) -> int:
    """Bytes of a file here or in a bucket."""
    found = path.stat()
    return found.st_size if isinstance(path, Path) else found.length


def as_path(path: str) -> Any:
    """A path here, or in a bucket (gs://…)."""
    if "://" not in path:
        return Path(path).expanduser()
    from etils import epath

    for name in ("fsspec", "gcsfs"):  # which print a traceback of what they raise, too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return epath.Path(path)


def _whole(path: str, size: int) -> Piece:
    name = PurePosixPath(path)
    codec = PACKED.get(name.suffix, "")
    kind = KINDS.get((name.with_suffix("") if codec else name).suffix, "text")
    if codec or kind == "arrow":  # can be read from the start only
        return Piece(path, kind, 0, -1, size, codec)
    if kind == "parquet":
        with _parquet(path) as file:
            return Piece(path, kind, 0, file.num_row_groups, size)
    return Piece(path, kind, 0, len(_array_record(path)) if kind == "array_record" else size, size)


def _pieces(file: Piece, how: Reading, most: int) -> Iterator[Piece]:
    """A file in pieces of at most `most` bytes, where it can be read from anywhere."""
    cut = lambda stops: (
        file._replace(start=a, stop=b, size=file.size * (b - a) // max(file.stop, 1))
        for a, b in itertools.pairwise([*stops, file.stop])
    )
    if file.kind == "parquet":
        yield from cut(range(file.stop))
    elif file.kind in ("array_record", "tfds"):
        yield from cut(range(0, file.stop, RECORDS))
    elif file.stop >= 0 and (file.kind == "jsonl" or (how.separator and _parts_company(how.separator))):
        yield from cut(range(0, file.stop, most))
    elif file.stop > PART and not how.separator:  # too large for one document
        yield from (piece._replace(kind="lines") for piece in cut(range(0, file.stop, most)))
    else:
        yield file


# Readers of a piece.


def _texts(piece: Piece, how: Reading, _: Any) -> Iterator[bytes]:
    if how.where:
        raise ValueError(f"{piece.path} is plain text and has no columns for {how.where[0]!r}")
    with _opened(piece) as file:
        if how.separator:
            yield from _between(file, piece, how.separator.encode())
        elif piece.kind == "text" and not piece.codec:
            yield file.read()
        else:  # of unknown size, or too large for one document
            held, size = [], 0
            for line in _between(file, piece, b"\n", keep=True):
                held.append(line)
                size += len(line)
                if size >= PIECE:
                    yield b"".join(held)
                    held, size = [], 0
            yield b"".join(held)


def _json_lines(piece: Piece, how: Reading, conditions: Any) -> Iterator[bytes]:
    with _opened(piece) as file:
        for line in _between(file, piece, b"\n"):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{piece.path} has a line that is no JSON ({error}): {line[:60]!r}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{piece.path} has a line that is no JSON object: {line[:60]!r}")
            yield from _chosen(row, piece.path, how, conditions)


def _rows(piece: Piece, how: Reading, conditions: Any) -> Iterator[bytes]:
    needed = [how.column, *(column for column, _ in conditions)]
    for row in _tables(piece, needed):
        yield from _chosen(row, piece.path, how, conditions)


def _tables(piece: Piece, needed: list[str]) -> Iterator[dict[str, Any]]:
    match piece.kind:
        case "parquet":
            with _parquet(piece.path) as file:
                _have(file.schema_arrow.names, needed, piece.path)
                for batch in file.iter_batches(1024, row_groups=[piece.start], columns=needed):
                    yield from batch.to_pylist()
        case "arrow":
            with _opened(piece) as file:
                for batch in _arrow(file, piece.path):
                    _have(batch.schema.names, needed, piece.path)
                    yield from batch.select(needed).to_pylist()
        case "array_record":
            records = _array_record(piece.path)
            for first in range(piece.start, piece.stop, 256):
                for raw in records.__getitems__(list(range(first, min(first + 256, piece.stop)))):
                    yield {needed[0]: raw}
        case "tfds":
            records = _tfds(piece.path)
            for first in range(piece.start, piece.stop, 256):
                yield from records.__getitems__(list(range(first, min(first + 256, piece.stop))))


def _chosen(row: dict[str, Any], path: str, how: Reading, conditions: Any) -> Iterator[bytes]:
    _have(list(row), [how.column, *(column for column, _ in conditions)], path)
    if all(holds(row[column]) for column, holds in conditions) and (text := row[how.column]) is not None:
        if not isinstance(text, (str, bytes)):
            raise ValueError(f"{how.column!r} of {path} holds {type(text).__name__}, not text: name another --column")
        yield text.encode(errors="surrogatepass") if isinstance(text, str) else text


def _have(names: list[str], needed: list[str], path: str) -> None:
    for name in needed:
        if name not in names:
            raise ValueError(f"{path} has no column {name!r}; it has {', '.join(names)}: name one with --column")


def _between(file: Any, piece: Piece, separator: bytes, keep: bool = False) -> Iterator[bytes]:
    """What lies between separators, and begins in this piece: at its start, or right after a separator in it."""
    at = piece.start
    if at:  # a document that begins before this piece belongs to the piece before
        at -= len(separator)
        file.seek(at)
    held, searched, begun = b"", 0, not piece.start
    while True:
        while (cut := held.find(separator, searched)) >= 0:
            if begun:
                yield held[: cut + len(separator) * keep]
            at, held, searched, begun = at + cut + len(separator), held[cut + len(separator) :], 0, True
            if 0 <= piece.stop <= at:
                return
        searched = max(len(held) - len(separator) + 1, 0)
        more = file.read(1 << 20)
        if not more:
            if begun:
                yield held
            return
        held += more


def _parts_company(separator: str) -> bool:
    """Can no two of it overlap, so that reading from anywhere finds the same ones?"""
    return not any(separator.endswith(separator[:n]) for n in range(1, len(separator)))


# Files.


@contextlib.contextmanager
def _opened(piece: Piece) -> Iterator[Any]:
    with as_path(piece.path).open("rb") as file:
        if not piece.codec:
            yield file
            return
        import pyarrow

        with pyarrow.CompressedInputStream(file, piece.codec) as stream:
            yield stream


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[Any]:
    import pyarrow.parquet

    with as_path(path).open("rb") as file:
        try:
            found = pyarrow.parquet.ParquetFile(file)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path} is no whole Parquet file ({error}): copy it again, or leave it out") from None
        yield found


def _arrow(file: Any, path: str) -> Iterator[Any]:
    import pyarrow

    try:
        start = file.read(6)
        file.seek(0)
        if start == b"ARROW1":
            reader = pyarrow.ipc.open_file(file)
            yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            yield from pyarrow.ipc.open_stream(file)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is no whole Arrow file ({error}): copy it again, or leave it out") from None


def _array_record(path: str) -> Any:
    from array_record.python import array_record_data_source

    return array_record_data_source.ArrayRecordDataSource([path])


def _tfds(source: str) -> Any:
    from data import tfds

    _, name, *split = source.split(":", 2)
    return tfds.splits(name, split[0] if split else "train", "auto")[1]["train"]
