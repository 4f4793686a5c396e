"""Files that are damaged: each must end in rows or in a sentence, within `LONG` seconds and `MOST` GB."""

import bz2
import collections
import concurrent.futures
import gzip
import io
import math
import multiprocessing
import pathlib
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scaling.logs import readers, records
from scripts.check.logs.formats import WRITERS
from scripts.check.logs.runs import fewer
from scripts.check.logs.tables import zstd
from train.errors import UserError

LONG = 10  # seconds of CPU that a damaged file may take
BLOCKED = 300  # seconds by the clock, for a reader that waits; a loaded machine takes its time too
MOST = 1.0  # GB that the process may have held in the end
FEW = 4  # files of a folder that are kept, and runs written: a few are read as many are, and faster
STEPS = 2  # of a run
READERS = ("pyarrow.csv", "pyarrow.parquet", "yaml")  # what readers import when they first need it
LIMIT = 4 << 30  # bytes of a process's data, so that a reader that takes all memory ends alone
INSIDE: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {  # what unpacks, what packs
    ".gz": (gzip.decompress, gzip.compress), ".bz2": (bz2.decompress, bz2.compress),
    ".zst": (lambda data: unzstd(data), zstd),
}  # fmt: skip


def unzstd(data: bytes) -> bytes:
    import pyarrow

    with pyarrow.CompressedInputStream(io.BytesIO(data), "zstd") as stream:
        return stream.read()


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, some bytes flipped or inserted, or lines doubled, swapped or lost."""
    kind, size = int(rng.integers(6)), max(len(content), 1)
    if kind == 0:
        return content[: int(rng.integers(size))]
    if kind in (1, 2):
        data = bytearray(content)
        for at in rng.integers(size, size=int(rng.integers(1, 8))).tolist():
            data[at : at + 1] = bytes([int(rng.integers(256))]) if kind == 1 else b"\x00"
        return bytes(data)
    if kind == 3:
        at, marks = int(rng.integers(size)), (b'"', b",", b"\n", b"{", b"]", b"NaN", b"1e999", b"\xff\xfe", b"9" * 400)
        return content[:at] + marks[int(rng.integers(len(marks)))] + content[at:]
    parts = content.split(b"\n")
    a, b = rng.integers(len(parts), size=2).tolist()
    parts[a:a] = parts[b : b + int(rng.integers(1, 20))]
    return b"\n".join(parts if kind == 4 else parts[:a] + parts[b:])


def within(suffix: str, content: bytes, rng: np.random.Generator) -> bytes:
    """Of a packed file half of the damage is to what it holds."""
    if suffix not in INSIDE or rng.random() < 0.5:
        return damaged(content, rng)
    unpack, pack = INSIDE[suffix]
    return pack(damaged(unpack(content), rng))


class Late(BaseException):
    """A reader that takes too long; no reader catches this."""


def late(number: int, frame: object) -> None:
    raise Late


def outcome(path: pathlib.Path) -> str:
    """ "rows", "a sentence", or what is wrong."""
    timers = ((signal.SIGPROF, signal.ITIMER_PROF, LONG), (signal.SIGALRM, signal.ITIMER_REAL, BLOCKED))
    before = [signal.signal(number, late) for number, _, _ in timers]
    for _, timer, most in timers:
        signal.setitimer(timer, most)
    try:
        records.assign(readers.read([path]))
        return "rows"
    except UserError as error:
        short = "\n" not in str(error) and len(str(error)) < 5000
        return "a sentence" if short else f"no sentence: {error!s:.300}"
    except Late:
        return f"no end after {LONG} s: {traceback.format_exc()}"
    except Exception:
        return traceback.format_exc()
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def memory() -> float:
    """GB, the most that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def mutate(name: str, count: int, seed: int, seconds: float = math.inf) -> dict[str, int]:
    """How `count` damaged folders of one format end, or as many as `seconds` of CPU allow; prints the bad ends."""
    rng = np.random.default_rng((seed, *name.encode()))
    ends: collections.Counter[str] = collections.Counter()
    start = time.process_time()
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        with fewer(FEW, STEPS):
            if WRITERS[name].write(folder) is not None:
                return ends
        files = few(folder)
        for _ in range(count):
            if time.process_time() - start > seconds:
                break
            file = files[int(rng.integers(len(files)))]
            before, held = file.read_bytes(), memory()
            file.write_bytes(within(file.suffix, before, rng))
            end = outcome(folder if rng.random() < 0.7 else file)
            if memory() > max(MOST, held):
                end = f"{memory():.2f} GB"
            if end not in ("rows", "a sentence"):
                print(f"{name}: {file.name}: {end}")
                pathlib.Path(f"{tempfile.gettempdir()}/damaged-{file.name}").write_bytes(file.read_bytes())
                end = "BAD"
            ends[end] += 1
            file.write_bytes(before)
    return ends


class Trials(NamedTuple):
    """How the damaged folders of one format ended."""

    ends: dict[str, int]  # "rows", "a sentence", "BAD" -> how many
    seconds: float  # of CPU
    memory: float  # GB, the most that was held


def limited(name: str, count: int, seed: int, seconds: float) -> Trials:
    """`mutate` in a process of its own that cannot take more than `LIMIT`."""
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    start = time.process_time()
    ends = mutate(name, count, seed, seconds)
    return Trials(ends, time.process_time() - start, memory())


def contained(name: str, count: int, seed: int, seconds: float = math.inf) -> Trials:
    """The same where a reader may crash: the process that reads is forked from one that has imported all of it."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([__name__, *READERS])
    with concurrent.futures.ProcessPoolExecutor(1, forks) as pool:
        try:
            return pool.submit(limited, name, count, seed, seconds).result()
        except concurrent.futures.process.BrokenProcessPool:
            print(f"{name}: the process that read it has died")
            return Trials({"BAD": 1}, math.nan, math.nan)


def few(folder: pathlib.Path) -> list[pathlib.Path]:
    """The first files of a folder and the first of every kind; the others are removed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    kinds: set[str] = set()
    kept = []
    for i, path in enumerate(files):
        if i < FEW or path.suffix not in kinds:
            kept.append(path)
        else:
            path.unlink()
        kinds.add(path.suffix)
    return kept
