"""Reads the logs of runs, whoever wrote them, into one flat table.  Rows left out are listed with why.

What comes in says nothing of laws here: which column is N or the loss is `records.assign`'s to find.  What is read is
in `formats`, a format a file.  R rows.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scaling.logs import formats
from scaling.logs.formats import Below, Folder
from scaling.logs.formats.jsons import of_rows
from scaling.logs.names import called
from scaling.logs.table import MOST, Columns, Log, Refusal, Table, Unreadable, absent, full, join, numeric, pack_rows
from train.bucket import local
from train.errors import UserError

# Files of a foreign folder that are no logs, whatever a line of them looks like.
NO_LOGS = frozenset((
    ".md", ".rst", ".py", ".ipynb", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".sh", ".html", ".css", ".js", ".png",
    ".jpg", ".jpeg", ".svg", ".pdf", ".gif", ".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".so",
    ".lock", ".tex", ".bib", ".patch", ".diff",
))  # fmt: skip


def kinds() -> str:
    """What is read, for messages."""
    files, trees = formats.known()
    named = sorted((each.name for each in (*trees, *files) if each.name), key=lambda name: "folders" not in name)
    return ", ".join(named[:-1]) + " and " + named[-1]


def read(paths: Iterable[Any]) -> Table:
    """One table of all rows in `paths`: files and folders at any depth, in natural order, and tables that are at hand.

    Raises UserError for a path that is missing, in no known format, or without a single row.
    """
    given = list(paths)
    files = [local(each) for each in given if isinstance(each, str | Path)]
    tables = [each for each in given if not isinstance(each, str | Path)]
    parts: list[tuple[Log | Refusal, int]] = []
    for argument, (path, name) in enumerate(zip(files, called(files), strict=True)):
        if not path.exists():
            raise UserError(f"{path} does not exist; give {kinds()}")
        show = shown(path, name if len(files) > 1 or path.is_file() else "")
        try:
            found = [renamed(part, show) for part in (walk(path) if path.is_dir() else one(path))]
        except (Unreadable, OSError) as error:
            raise UserError(f"{path} cannot be read ({error}); give {kinds()}") from None
        if not any(isinstance(part, Log) and len(part.where) for part in found):
            reasons = [part.reason for part in found if isinstance(part, Refusal) and (part.final and part.where)]
            raise UserError(f"{path} holds no finished run{why(reasons)}; give {kinds()}")
        parts += [(part, argument) for part in found]
    for place, table in enumerate(tables, 1):
        parts += [(part, len(files) + place) for part in at_hand(table, place)]
    return joined(parts)


def why(reasons: list[str]) -> str:
    return f" ({'; '.join(reasons[:3])})" if reasons else ""


def from_rows(rows: Iterable[dict[str, Any]]) -> Table:
    """A table of records that are at hand."""
    numbered = ((str(row.get("name", f"row {i}")), row) for i, row in enumerate(rows, 1))
    return joined([(part, 0) for part in of_rows(numbered, "")])


def from_table(table: Any) -> Table:
    """A table that is at hand: of pandas, polars or pyarrow, or a dictionary of columns."""
    return joined([(part, 0) for part in at_hand(table, 1)])


def at_hand(table: Any, place: int) -> Iterator[Log | Refusal]:
    import pyarrow

    from scaling.logs.formats.parquet import of_table

    try:
        if isinstance(table, dict):
            made = pyarrow.table({str(name): np.asarray(values) if not isinstance(values, list) else values
                                  for name, values in table.items()})  # fmt: skip
        else:
            made = pyarrow.table(table)  # also what has Arrow's interface, as pandas and polars have
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise UserError(
            f"a {type(table).__name__} cannot be read as a table ({error}); give a path, a table of pandas, polars or "
            f"pyarrow, or a dictionary of columns"
        ) from None
    yield from of_table(made, f"table {place}")


# Files and folders.


def walk(path: Path) -> Iterator[Log | Refusal]:
    """A folder: as the first tree of `formats` that knows it reads it, or file by file and then folder by folder."""
    folder = formats.open_folder(path)
    tree = next((tree for tree in formats.known()[1] if tree.fits(folder)), None)
    yield from below(tree.read(folder) if tree else by_itself(folder))


def by_itself(folder: Folder) -> Iterator[Below]:
    """Files before folders."""
    for name in (*folder.files, *folder.folders):
        yield Below(folder.path / name)


def below(parts: Iterable[Log | Refusal | Below]) -> Iterator[Log | Refusal]:
    for part in parts:
        if not isinstance(part, Below):
            yield part
            continue
        try:
            for inner in walk(part.path) if part.path.is_dir() else inside(part.path):
                if isinstance(inner, Log):
                    inner = inner._replace(constants={**part.constants, **inner.constants}, run=part.run or inner.run)
                yield inner
        except (Unreadable, OSError) as error:  # of a folder that is read as a whole
            yield Refusal(str(part.path), f"not read: {error}")


def inside(path: Path) -> Iterator[Log | Refusal]:
    """A file of a folder: what is no log is passed over, in silence where it does not look like one."""
    if path.suffix.lower() in NO_LOGS:
        return
    try:
        yield from one(path)
    except (Unreadable, OSError) as error:
        yield Refusal(str(path), f"not read: {error}", final=path.suffix.lower() not in (".log", "", ".out", ".err"))


def one(path: Path) -> Iterator[Log | Refusal]:
    """A file, in the first format that its beginning fits."""
    file = formats.open_file(path)
    found = next((each for each in formats.known()[0] if each.fits(file)), None)
    if found is None:
        raise Unreadable(
            f"{path.suffix or 'a name without a suffix'!r} names no format, and neither does its beginning"
        )
    if not found.name:
        raise Unreadable(next(part.reason for part in found.read(file) if isinstance(part, Refusal)))
    yield from found.read(file)


def shown(path: Path, name: str) -> tuple[str, str]:
    """The path being read, as it is written before places below it, and what reports call it."""
    return "" if path == Path() else str(path), name


def renamed(part: Log | Refusal, show: tuple[str, str]) -> Log | Refusal:
    """With places below the path being read as reports name them: without the way to that path on this machine."""
    path, name = show

    def place(where: str) -> str:
        if not path or (where != path and not where.startswith((f"{path}/", f"{path}:", f"{path}#"))):
            return where
        return f"{name}{where.removeprefix(path)}".lstrip("/") or Path(path).name

    if isinstance(part, Log):
        return part._replace(
            where=[place(where) for where in part.where], origin=place(part.origin), run=place(part.run)
        )
    reason = part.reason.replace(f"{path}/", f"{name}/".lstrip("/")) if path.startswith("/") else part.reason
    return part._replace(where=place(part.where), reason=reason)


# One table.


def joined(parts: Iterable[tuple[Log | Refusal, int]]) -> Table:
    """Logs and refusals, each with the number of the path that it is from."""
    logs: list[Log] = []
    ours: dict[str, tuple[dict[str, Any], str, int]] = {}
    dropped: list[dict[str, str]] = []
    said: list[str] = []
    for part, argument in parts:
        if isinstance(part, Log) and part.ours:
            dropped += add_ours(ours, part, argument)
        elif isinstance(part, Log):
            logs += [part] if len(part.where) else []
            said += part.said
        elif part.where and part.final:
            dropped.append({"row": part.where, "reason": part.reason})
        elif part.final:
            said.append(part.reason)
    origins = {log.origin for log in logs if not log.run}
    blocks = [block(log, len(origins) > 1 or (bool(origins) and any(log.run for log in logs))) for log in logs]
    if ours:
        rows, where, _ = zip(*ours.values(), strict=True)
        blocks.append((pack_rows(rows), where))
    names = dict.fromkeys(name for columns, _ in blocks for name in columns)
    sizes = [len(where) for _, where in blocks]
    columns: Columns = {}
    for name in names:
        columns[name] = numeric(join([(c.pop(name, None), rows) for (c, _), rows in zip(blocks, sizes, strict=True)]))
    places = np.empty(sum(sizes), object)
    places[:] = [*itertools.chain.from_iterable(where for _, where in blocks)]
    more = [{"row": "…", "reason": f"and {len(dropped) - MOST} more"}] if len(dropped) > MOST else []
    return Table(columns, places, dropped[:MOST] + more, [*dict.fromkeys(said)])


def block(log: Log, many: bool) -> tuple[Columns, Any]:
    """A log's columns with its constants, the run that it is of and, where there are `many` files, its origin."""
    rows, columns = len(log.where), dict(log.columns)
    if log.run and "run" not in columns:
        columns = {"run": full(log.run, rows), **columns}
    elif many and "origin" not in columns:
        columns["origin"] = full(log.origin, rows)
    columns |= {name: full(value, rows) for name, value in log.constants.items() if name not in columns}
    return columns, log.where


def add_ours(ours: dict[str, tuple[dict[str, Any], str, int]], log: Log, argument: int) -> list[dict[str, str]]:
    """Counting a run twice would narrow every interval.  A sweep's table knows the budgets, the records do not."""
    row = {name: None if absent(v)[0] else v.tolist()[0] for name, v in log.columns.items()}
    (where,) = log.where
    key = repr([row.get(name) for name in ("name", "config_hash", "seed", "wall_seconds")])
    if key not in ours:
        ours[key] = row, where, argument
        return []
    first, before, earlier = ours[key]
    in_table, was_in_table = ".jsonl:" in where, ".jsonl:" in before
    wins = in_table > was_in_table
    ours[key] = ({**first, **row}, where, earlier) if wins else ({**row, **first}, before, earlier)
    if argument != earlier or in_table == was_in_table:
        return [{"row": where, "reason": f"the same run again: {before} is counted"}]
    return []
