"""Corpora in a bucket (gs://…): read by ranges into $ISOFLOP_DATA/ranges, and written part by part.

A block of a file is read when a batch first needs it, and kept in a file here, of the same size, beside the checksums
of its blocks.  So training begins at once, and what was read is not read again, by no process and no later run.  The
folder here is named by the corpus's meta data, which hold sizes and fingerprint: a corpus that is written anew is read
anew.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, Integer

from data import cache
from data.documents import as_path, size_of

BLOCK = 1 << 20  # bytes
HEADER = 256  # bytes in which the header of a .npy file ends
AT_ONCE = 16  # requests
CHUNK = 1 << 24  # bytes written at once


def is_address(path: str) -> bool:
    return "://" in path


class Head(NamedTuple):
    """What the header of a .npy file says."""

    dtype: str
    offset: int  # of the first number [bytes]
    count: int  # numbers


class Ranged:
    """A column of a corpus in a bucket; like an array of one axis, as far as batches are read from it."""

    def __init__(self, address: str, folder: Path, name: str, size: int, head: Head):
        self.address, self.folder, self.name, self.bytes, self.head = address, folder, name, size, head

    def __len__(self) -> int:
        return self.head.count

    @property
    def size(self) -> int:
        return self.head.count

    def __getitem__(self, at: slice | Integer[np.ndarray, "..."]) -> np.ndarray:
        ahead([(self, np.arange(*at.indices(len(self))) if isinstance(at, slice) else at)])
        return self.numbers[at]

    def blocks(self, at: Integer[np.ndarray, "..."]) -> Int64[np.ndarray, " K"]:
        """Those that hold numbers `at` and are not known to be here."""
        width = np.dtype(self.head.dtype).itemsize
        first = self.head.offset + np.asarray(at, np.int64) * width
        found = np.unique(np.concatenate([first.ravel() // BLOCK, (first.ravel() + width - 1) // BLOCK]))
        return found[~self.known[found]]

    def bring(self, block: int) -> None:
        """Has a block here: as it lies here, if that is what came, or from the bucket."""
        start, stop = block * BLOCK, min((block + 1) * BLOCK, self.bytes)
        with open(self.folder / self.name, "r+b") as file:
            if self.marks[block]:
                here = os.pread(file.fileno(), stop - start, start)
                self.known[block] = self.marks[block] == _mark(here)
            if not self.known[block]:
                content = read_range(self.address, self.name, start, stop)
                with cache.writable(self.folder):
                    os.pwrite(file.fileno(), content, start)
                self.marks[block], self.known[block] = _mark(content), True

    @functools.cached_property
    def known(self) -> np.ndarray:
        """Blocks that this process has brought or compared with their checksums."""
        return np.zeros(-(-self.bytes // BLOCK), bool)

    @functools.cached_property
    def marks(self) -> np.ndarray:
        """Checksum of each block that is here, 0 of others; shared by all processes."""
        path = self.folder / f"{self.name}.blocks"
        with cache.writable(self.folder), cache.lock(self.folder / "lock"):
            sizes = {path: -(-self.bytes // BLOCK) * 8, self.folder / self.name: self.bytes}
            for file, size in sizes.items():
                if not file.exists() or file.stat().st_size != size:
                    with file.open("wb") as made:
                        made.truncate(size)
        return np.memmap(path, np.uint64, "r+")

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        shape = (self.head.count,)
        made = np.memmap(self.folder / self.name, self.head.dtype, "r", self.head.offset, shape)
        return made.view(np.ndarray)

    def __getstate__(self):
        return self.address, self.folder, self.name, self.bytes, self.head

    def __setstate__(self, state):
        self.__init__(*state)


def _mark(content: bytes) -> int:
    return zlib.crc32(content) + 1


def ahead(wanted: Iterable[tuple[Any, Integer[np.ndarray, "..."]]]) -> None:
    """Brings all blocks that (column, numbers) need, many at once; columns that are arrays need none."""
    missing = [(column, int(b)) for column, at in wanted if isinstance(column, Ranged) and at.size
               for b in column.blocks(at)]  # fmt: skip
    if missing:
        for column in {id(column): column for column, _ in missing}.values():
            _ = column.marks  # made here, before threads ask for it
        in_parallel(lambda pair: pair[0].bring(pair[1]), missing)


def in_parallel(what: Any, each: Sequence[Any]) -> list[Any]:
    with concurrent.futures.ThreadPoolExecutor(min(AT_ONCE, max(1, len(each)))) as pool:
        return list(pool.map(what, each))


def opened(address: str) -> tuple[dict[str, Any], dict[str, Ranged]]:
    """Meta data and columns of the corpus at an address."""
    address = address.rstrip("/")
    with told(address):
        try:
            text = (as_path(address) / "meta.json").read_text()
        except FileNotFoundError:
            raise ValueError(
                f"{address} holds no whole corpus: python -m data tokenize SOURCES --tokenizer … --out {address}"
            ) from None
    meta = json.loads(text)
    if meta.pop("sha256", None) != cache.digest(meta):
        raise ValueError(f"the corpus {address} is damaged (meta.json is not what was written): tokenise again")
    folder = cache.root() / "ranges" / hashlib.sha256(text.encode()).hexdigest()[:16]
    heads = _heads(address, folder, meta["bytes"])
    return meta, {
        name.removesuffix(".npy"): Ranged(address, folder, name, size, heads[name])
        for name, size in meta["bytes"].items()
    }


def _heads(address: str, folder: Path, sizes: dict[str, int]) -> dict[str, Head]:
    """Of all columns, read once."""
    path = folder / "heads.json"
    with cache.writable(cache.root()), cache.lock(folder / "lock"):
        if path.exists():
            return {name: Head(*head) for name, head in json.loads(path.read_text()).items()}
        names = list(sizes)
        raw = in_parallel(lambda name: read_range(address, name, 0, min(HEADER, sizes[name])), names)
        found = {name: _head(address, name, start, sizes[name]) for name, start in zip(names, raw, strict=True)}
        part = path.with_suffix(".part")
        part.write_text(json.dumps(found))
        part.replace(path)
    return found


def _head(address: str, name: str, start: bytes, size: int) -> Head:
    try:
        file = io.BytesIO(start)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        head = Head(np.lib.format.dtype_to_descr(dtype), file.tell(), *shape)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the corpus {address} is damaged ({name}: {error}): tokenise again") from None
    if head.offset + head.count * dtype.itemsize != size:
        raise ValueError(f"the corpus {address} is damaged ({name} does not hold {head.count:,} numbers)")
    return head


def read_range(address: str, name: str, start: int, stop: int) -> bytes:
    """Bytes of a file; all that were asked for."""
    with told(address):
        path = as_path(address) / name
        if isinstance(path, Path):
            with path.open("rb") as file:
                file.seek(start)
                content = file.read(stop - start)
        else:
            from etils.epath import backend

            content = backend.fsspec_backend.fs(path).cat_file(str(path), start, stop)
    if len(content) != stop - start:
        raise ValueError(f"the corpus {address} is damaged ({name} has no bytes {start:,} to {stop:,}): tokenise again")
    return content


@contextlib.contextmanager
def told(address: str) -> Iterator[None]:
    """What Google's and HTTP's libraries raise, as a sentence."""
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks another server for the kind of bucket
    bucket = "/".join(address.split("/")[:3])
    try:
        yield
    except ImportError as error:
        raise ValueError(f"{address} needs gcsfs ({error}); run `uv sync --extra gcs`") from None
    except ValueError:
        raise
    except FileNotFoundError as error:
        raise ValueError(
            f"{address} could not be used: {error} is not there; does the bucket exist?  gcloud storage ls {bucket}"
        ) from None
    except Exception as error:
        reason = str(error).strip().split("\n")[0][:200]
        if getattr(error, "code", None) in (401, 403) or isinstance(error, PermissionError):
            raise ValueError(
                f"{bucket} may not be used with these credentials ({reason}): gcloud auth application-default login, "
                "or ask for the role roles/storage.objectAdmin on it"
            ) from None
        raise ValueError(f"{address} could not be reached: {type(error).__name__}: {reason}") from error


class Upload:
    """A corpus on its way from a folder here to an address; `meta.json` comes last, so it is whole or absent."""

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        self.folder = cache.root() / "uploads" / hashlib.sha256(self.address.encode()).hexdigest()[:16]

    def begin(self, request: str) -> dict[str, Any] | None:
        """The meta data of a finished corpus there; refuses an address with parts of another one."""
        with told(self.address):
            there = as_path(self.address)
            if (there / "meta.json").exists():
                return opened(self.address)[0]
            note = there / "request.json"
            if not note.exists():
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_text(request)
            elif note.read_text() != request:
                raise ValueError(
                    f"{self.address} was begun with other sources or options; repeat that command to go on, or choose "
                    "another --out"
                )
        return None

    def part(self, names: Sequence[str]) -> None:
        """Copies files that are whole here and not there."""
        in_parallel(self.send, names)

    def send(self, name: str) -> None:
        here = self.folder / name
        with told(self.address):
            there = as_path(self.address) / name
            if there.exists() and size_of(there) == here.stat().st_size:
                return
            with here.open("rb") as source, there.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK)

    def end(self) -> None:
        self.part([path.name for path in self.folder.glob("*.npy")])
        with told(self.address):
            there = as_path(self.address)
            (there / "meta.json").write_text((self.folder / "meta.json").read_text())
            (there / "request.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder)
