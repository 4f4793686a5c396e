"""Every file of a run that is no array: written whole, and read by one reader that says what is wrong with it.

JSON (one object a file) and JSON lines (one object a line).  A line that a crash cut short, the last of its file, is
left out; anything else that is not what the caller needs is `Damaged`: file, line, what is wrong, the remedy.
"""

import contextlib
import json
import os
import pathlib
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from train.errors import UserError

Kinds = Mapping[str, type | tuple[type, ...]]  # a key that must be there → the types that its value may have
WORDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number", bool: "true/false"}
NUMBER = (int, float, type(None))  # null stands for a number that is not finite


class Damaged(UserError):
    """A file is not what was written there."""


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes `content` (text as UTF-8), as `as_part` does."""
    with as_part(pathlib.Path(path)) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def as_part(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file beside `path` to write to.  It is renamed at the end, which the file system does at once.

    The name of the part carries the process and random digits, so that no two writers of a file share a part, threads
    and hosts included.  A part that could not be written is removed.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_json(path: pathlib.Path, value: Any) -> None:
    write_whole(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_rows(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_whole(path, "".join(as_line(row) for row in rows))


def as_line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"


def append_row(path: pathlib.Path, row: Mapping[str, Any]) -> None:
    """Adds a line in one write.  A line that a crash cut short before is ended, so that it spoils no other."""
    with open(path, "a+b") as file:
        whole = file.tell() == 0 or (file.seek(-1, os.SEEK_END), file.read(1))[1] == b"\n"
        if not whole:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(as_line(row).encode())


def read_json(path: pathlib.Path, needs: Kinds, remedy: str) -> dict[str, Any]:
    """The object in a file; raises `FileNotFoundError` where there is none.  `remedy` ends the sentence."""
    return parsed(contents(path, remedy), needs, str(path), remedy)


def read_rows(
    path: pathlib.Path, needs: Kinds, remedy: str, say: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """The objects in the lines of a file, none where there is no file; says that a line cut short is left out."""
    try:
        *lines, rest = contents(path, remedy).split(b"\n")
    except FileNotFoundError:
        return []
    rows = [parsed(line, needs, f"{path}, line {i}", remedy) for i, line in enumerate(lines, 1)]
    if rest:
        try:
            rows.append(parsed(rest, needs, str(path), remedy))
        except Damaged:
            say(f"{path}: line {len(lines) + 1}, the last, was cut short when the run ended; it is left out")
    return rows


def contents(path: pathlib.Path, remedy: str) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device never ends
        raise Damaged(f"{path} is no regular file; {remedy}")
    return path.read_bytes()


def parsed(text: bytes, needs: Kinds, place: str, remedy: str) -> dict[str, Any]:
    wrong = lambda what: Damaged(f"{place} {what}; {remedy}")
    try:
        found = json.loads(text.decode())
    except json.JSONDecodeError as error:
        raise wrong(f"is not readable JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise wrong(f"is not readable JSON ({error})") from None
    if not isinstance(found, dict):
        raise wrong(f"holds {WORDS.get(type(found), 'null')} instead of an object")
    for key, kinds in needs.items():
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if key not in found:
            raise wrong(f"has no {key!r}")
        if type(found[key]) not in kinds:
            raise wrong(f"has {key}={json.dumps(found[key])[:40]}, which is not {WORDS[kinds[0]]}")
    return found


def settle_home() -> None:
    """Gives a user without a home directory (a number that no password file knows) one among the temporary files.

    Compiled programs and data are cached there, so it must be the user's own: it carries the number, and is checked.
    """
    try:
        pathlib.Path.home()
    except RuntimeError:
        folder = pathlib.Path(tempfile.gettempdir()) / f"isoflop-{os.getuid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            own = folder.stat().st_uid == os.getuid() and not folder.is_symlink()
        except OSError:
            own = False
        if not own:
            raise UserError(f"this user has no home directory, and {folder} cannot be used; set HOME") from None
        os.environ["HOME"] = str(folder)
