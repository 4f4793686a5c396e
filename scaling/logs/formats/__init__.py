"""What is read, a format a file.  A module here that has a FORMAT or a TREE is found by its being here.

A reader is a value: it says what it reads by the beginning of the content, and yields logs and refusals.
"""

import codecs
import functools
import importlib
import json
import pkgutil
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from scaling.logs.table import Log, Refusal, Unreadable, flat

HEAD = 2**14  # bytes by which a format is known
LIMIT = 2**31  # bytes of one file after it is unpacked
PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}


class File(NamedTuple):
    """A file and how it begins."""

    path: Path
    head: bytes  # after unpacking, UTF-8 where it is text

    @property
    def stem(self) -> str:
        """Its name without suffixes."""
        return self.path.name.partition(".")[0] or self.path.name

    @property
    def suffix(self) -> str:
        """ ".csv" of runs.csv and of runs.csv.gz."""
        return Path(re.sub(r"\.(gz|zst|bz2)$", "", self.path.name.lower())).suffix


class Folder(NamedTuple):
    """A folder and the names in it, in natural order."""

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]

    def has(self, *names: str) -> bool:
        return {*names} <= {*self.files, *self.folders}


class Below(NamedTuple):
    """A file or folder that is still to be read, and what holds for every log in it."""

    path: Path
    constants: Mapping[str, Any] = {}
    run: str = ""  # see `Log`


class Format(NamedTuple):
    """Files of one kind."""

    name: str  # as messages say it
    fits: Callable[[File], bool]
    read: Callable[[File], Iterator[Log | Refusal]]
    last: int = 0  # those that fit more are asked later


class Tree(NamedTuple):
    """Folders of one kind: more than their files one by one."""

    name: str
    fits: Callable[[Folder], bool]
    read: Callable[[Folder], Iterator[Log | Refusal | Below]]


@functools.cache
def known() -> tuple[list[Format], list[Tree]]:
    """Those of this folder's modules, in the order of their names."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    formats = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return sorted(formats, key=lambda f: f.last), [module.TREE for module in modules if hasattr(module, "TREE")]


def open_file(path: Path) -> File:
    """UserError's cause for what is no regular file: reading a pipe or a device might never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise Unreadable("it is no regular file")
    with open(path, "rb") as opened:
        head = opened.read(HEAD)
    if packed(head):
        head = unpacked(path, HEAD)
    return File(path, decoded(head))


def open_folder(path: Path) -> Folder:
    """Hidden entries but .hydra stay out, and so do links to folders, which may lead in circles."""
    inside = [p for p in path.iterdir() if not p.name.startswith(".") or p.name == ".hydra"]
    files, folders = [], []
    for p in inside:
        if p.is_dir():
            folders += [] if p.is_symlink() else [p.name]
        else:
            files.append(p.name)
    return Folder(path, tuple(sorted(files, key=natural)), tuple(sorted(folders, key=natural)))


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts part 2 before part 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,18})", name) if part]


def packed(head: bytes) -> str:
    return next((name for magic, name in PACKED.items() if head.startswith(magic)), "")


def unpacked(path: Path, most: int) -> bytes:
    """The first `most` bytes of what is packed in a file; what a cut file still holds."""
    import pyarrow

    with open(path, "rb") as opened:
        kind = packed(opened.read(8))
    parts, size = [], 0
    try:
        with pyarrow.input_stream(str(path), compression=kind) as stream:
            while size < most and (part := stream.read(min(2**20, most - size))):
                parts.append(part)
                size += len(part)
    except (OSError, EOFError, zlib.error) as error:
        if not parts:
            raise Unreadable(f"damaged {kind} ({error})") from None
    return b"".join(parts)


def contents(file: File) -> bytes:
    """All of it as UTF-8 without a byte order mark; spreadsheets write UTF-16 too."""
    with open(file.path, "rb") as opened:
        compressed = packed(opened.read(8))
    data = unpacked(file.path, LIMIT + 1) if compressed else raw(file.path)
    if len(data) > LIMIT:
        raise Unreadable(f"holds more than {LIMIT / 2**30:g} GiB when unpacked; split it")
    return decoded(data)


def raw(path: Path) -> bytes:
    if path.stat().st_size > LIMIT:
        raise Unreadable(f"holds {path.stat().st_size / 2**30:.1f} GiB, more than {LIMIT / 2**30:g}; split it")
    return path.read_bytes()


def decoded(data: bytes) -> bytes:
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return data.decode("utf-16", "replace").encode()
    return data.removeprefix(codecs.BOM_UTF8)


def settings(path: Path, prefix: str = "config.") -> dict[str, Any]:
    """The constants in a YAML or JSON file of settings, {} where it holds none: {"config.model.n_params": 10104000}.

    W&B wraps each in {"value": …}.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Takes objects of unknown classes for missing."""

    Loader.add_multi_constructor("", lambda loader, suffix, node: None)
    try:
        text = decoded(raw(path)).decode("utf-8", "replace")
        given = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader) if len(text) < 2**20 else None
    except (ValueError, RecursionError, yaml.YAMLError, OSError, Unreadable, TypeError, AttributeError):
        return {}
    if isinstance(given, list):  # Hydra's overrides: "model.n_params=49075000"
        pairs = [item.lstrip("+").partition("=") for item in given if isinstance(item, str)]
        given = {name: value for name, equals, value in pairs if equals}
    if not isinstance(given, dict):
        return {}
    given = {str(k): v["value"] if isinstance(v, dict) and {"value"} <= v.keys() <= {"value", "desc"} else v
             for k, v in given.items()}  # fmt: skip
    return {f"{prefix}{name}": v for name, v in flat(given).items() if isinstance(v, str | int | float | bool)}
