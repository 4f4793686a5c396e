"""Tokenised once: `python -m data tokenize SOURCES --tokenizer … --out DIR` writes a corpus that `data.corpus` reads.

DIR/meta.json             sources, tokenizer, counts, digests; written last, so that a folder is whole or has none
DIR/train.00012.npy       tokens of part 12, uint16 or uint32; each document ends with one more token
DIR/train.00012.ends.npy  where its documents end, int64
DIR/parts/                what is needed to go on after an interruption, and to count duplicates

A part is read, tokenised and written by one process, whichever it is, so its bytes do not depend on how many there are
nor on interruptions.  A document is held out by the hash of its text, so that two equal ones are never in two splits.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from data import cache, corpus, remote, tokenize
from data.decode import cores
from data.documents import Piece, Reading, as_path, documents, parts

VERSION = 2  # of the files of a part: what one version began, another does not go on with
GRAM = 13  # tokens in a row by which near duplicates are known (Brown et al. 2020, appendix C)
SAMPLED = 16  # one of so many of them is kept
NEAR = 0.5  # of a document's grams, found in the other split
SAMPLE = 100 << 20  # bytes of text that a vocabulary is trained on
IN_MEMORY = 1 << 22  # hashes of documents that are compared at a time
SPLITS = ("train", "valid")


class Job(NamedTuple):
    """What every process is told, once."""

    out: str
    parts: list[list[Piece]]
    how: Reading
    tokenizer: str  # what `tokenize.load` makes it from
    state: str
    valid: float  # share of the documents that are held out


def write(
    sources: Sequence[str], out: str, tokenizer: str, *, how: Reading = Reading(), valid: float = 0.01,  # noqa: B008
    pattern: str = "", processes: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Writes the corpus and returns its meta data; goes on where an earlier call with the same arguments stopped."""
    if not 0 < valid < 1:
        raise ValueError(f"valid={valid} must be the share of the documents that is held out, such as 0.01")
    upload = remote.Upload(out) if remote.is_address(out) else None
    folder = upload.folder if upload else Path(out).expanduser()
    with cache.writable(folder), cache.lock(folder / "lock"):
        made = parts(sources, how)
        asked = {"version": VERSION, "sources": list(sources), "how": list(how), "valid": valid, "tokenizer": tokenizer}
        asked |= {"pattern": pattern, "pieces": [list(piece) for part in made for piece in part]}
        if (folder / "meta.json").exists():
            meta = _own(out, corpus.read(str(folder))[0], asked)
            if upload:  # it was stopped between its last two steps
                upload.end()
            return meta
        if upload and (meta := upload.begin(_digest(asked))):
            return _own(out, meta, asked)
        spec, state = _begun(folder, asked, made, how, valid)
        job = Job(str(folder), made, how, spec, state, valid)
        done = _run(job, processes or cores(), upload)
        meta = _finish(folder, asked, job, done)
        if upload:
            upload.end()
        return meta


def _digest(asked: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _own(out: str, meta: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The meta data of a finished corpus, where the same was asked before: the same files, by names and sizes."""
    if meta["request"].get("digest") != _digest(asked):
        raise ValueError(
            f"{out} holds a finished corpus of other sources or options; choose another --out, or delete it first"
        )
    print(f"tokenize: {out} is complete", file=sys.stderr, flush=True)
    return meta


def _begun(folder: Path, asked: dict[str, Any], made: list[list[Piece]], how: Reading, valid: float) -> tuple[str, str]:
    """The tokenizer's spec and state, fixed when the first call begins."""
    request = folder / "parts" / "request.json"
    asked = json.loads(json.dumps(asked))
    if request.exists():
        before = json.loads(request.read_text())
        other = [name for name in asked if before["asked"].get(name) != asked[name]]
        if other:
            raise ValueError(
                f"{folder} was begun with other {', '.join('files' if n == 'pieces' else n for n in other)}; "
                f"repeat that command to go on, or choose another --out"
            )
        return before["spec"], before["state"]
    spec, state = chosen(asked["tokenizer"], asked["pattern"], made, how, valid)
    request.parent.mkdir(parents=True, exist_ok=True)
    _whole(request, json.dumps({"asked": asked, "spec": spec, "state": state}))
    return spec, state


def chosen(tokenizer: str, pattern: str, made: list[list[Piece]], how: Reading, valid: float = 0.0) -> tuple[str, str]:
    """Spec and state of "bytes", "chars", "bpe:N" or the path of a tokenizer.json or .tiktoken file.

    A vocabulary is trained on documents that are not held out; characters are those of all.
    """
    path = as_path(tokenizer)
    if path.suffix in (".json", ".tiktoken"):
        if not path.is_file():
            raise ValueError(
                f"there is no tokenizer file {tokenizer!r}; get the tokenizer.json of that checkpoint, or use bytes, "
                "chars or bpe:N, which are made from the texts"
            )
        raw = path.read_bytes()
        if path.suffix == ".tiktoken" and not pattern:
            raise ValueError(
                "a tiktoken file does not say how text is split into words: give that regex with --pattern"
            )
        state = tokenize.from_tiktoken(raw, pattern) if path.suffix == ".tiktoken" else raw.decode()
        return "json+end", state
    if tokenizer == "chars":
        known = {letter for part in made for text in readable(part, how) for letter in tokenize.as_text(text)}
        return "chars+end", tokenize.fit("chars", "".join(sorted(known)).encode(), b"")
    sample: list[bytes] = []
    if not tokenizer.startswith("bytes"):
        step = max(1, sum(piece.size for part in made for piece in part) // SAMPLE)  # parts from all sources
        texts = (text for part in made[::step] for text in readable(part, how))
        sample = [text for text in texts if not is_held_out(name_of(text), valid)]
    joined = b"\n".join(sample)
    return f"{tokenizer}+end", tokenize.fit(tokenizer, joined, b"")


def readable(part: Sequence[Piece], how: Reading) -> Iterator[bytes]:
    """The documents of a part, each found to be UTF-8; else the sentence names the file."""
    for piece in part:
        for text in documents([piece], how):
            try:
                text.decode()
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{piece.path} is not UTF-8 ({error}): convert it, leave it out (--files '*.txt'), or use "
                    "--tokenizer bytes"
                ) from None
            yield text


def name_of(text: bytes) -> int:
    """64 bits of a document's hash."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def is_held_out(name: int, valid: float) -> bool:
    return name < int(valid * 2**64)


def _run(job: Job, processes: int, upload: remote.Upload | None) -> list[dict[str, Any]]:
    """What every part wrote, in order; parts that are there already are not made again."""
    folder = Path(job.out)
    notes = [folder / "parts" / f"{i:05d}.json" for i in range(len(job.parts))]
    left = [i for i, note in enumerate(notes) if not note.exists()]
    if upload:  # a part that was whole before the interruption
        for i in set(range(len(notes))) - set(left):
            upload.part(_names(i))
    size, started = sum(p.size for i in left for p in job.parts[i]), time.monotonic()
    read = tokens = 0
    workers = min(processes, len(left))
    if workers <= 1:
        results = map(_part, [job] * len(left), left)
        pool = None
    else:
        context = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(workers, context, _told, (job,))
        waiting = [pool.submit(_part_of_told, i) for i in left]
        results = (future.result() for future in concurrent.futures.as_completed(waiting))
    try:
        for note in results:
            read += sum(p.size for p in job.parts[note["part"]])
            tokens += sum(note["tokens"].values())
            if upload:
                upload.part(_names(note["part"]))
            _progress(read, size, tokens, time.monotonic() - started)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
    return [json.loads(note.read_text()) for note in notes]


def _names(part: int) -> list[str]:
    return [f"{split}.{part:05d}{kind}.npy" for split in SPLITS for kind in ("", ".ends")]


_job: Job  # of a process of several


def _told(job: Job) -> None:
    """Once a process: what all parts have in common, which is long.  One of several leaves the other cores to them."""
    global _job
    _job = job
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _part_of_told(number: int) -> dict[str, Any]:
    return _part(_job, number)


def _progress(read: int, size: int, tokens: int, seconds: float) -> None:
    left = seconds * (size - read) / max(read, 1)
    rate = tokens / max(seconds, 1e-9)
    text = f"{read / 1e6:,.0f} of {size / 1e6:,.0f} MB, {tokens / 1e6:,.1f} M tokens, {rate / 1e6:.2f} M tokens/s"
    print(f"tokenize: {text}, {left:,.0f} s left", file=sys.stderr, flush=True)


@functools.lru_cache(maxsize=1)
def _tokenizer(spec: str, state: str) -> tokenize.Tokenizer:
    """One for all parts of a process: it remembers words that it has met."""
    return tokenize.load(spec, state)


def _part(job: Job, number: int) -> dict[str, Any]:
    """Tokenises one part; its note is written last."""
    folder, tokenizer = Path(job.out), _tokenizer(job.tokenizer, job.state)
    dtype, end = np.min_scalar_type(max(tokenizer.vocab - 1, 256)), tokenizer.vocab - 1
    names = {split: folder / f"{split}.{number:05d}.npy" for split in SPLITS}
    ends: dict[str, list[int]] = {split: [] for split in SPLITS}
    grams: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    hashes, size = [], dict.fromkeys(SPLITS, 0)
    with contextlib.ExitStack() as stack:
        files = {split: stack.enter_context(Growing(_unfinished(path), dtype)) for split, path in names.items()}
        for text in (documents if job.tokenizer.startswith("bytes") else readable)(job.parts[number], job.how):
            name = name_of(text)
            split = "valid" if is_held_out(name, job.valid) else "train"
            tokens = np.append(tokenizer.encode(text), end)
            files[split].write(tokens.astype(dtype))
            ends[split].append(files[split].rows)
            grams[split].append(_grams(tokens[:-1]))
            hashes.append(name)
            size[split] += len(text)
    for split, path in names.items():
        _unfinished(path).replace(path)
        _saved(path.with_suffix(".ends.npy"), np.array(ends[split], np.int64))
        counts = np.array([g.size for g in grams[split]], np.int64)
        _saved(folder / "parts" / f"{split}.{number:05d}.counts.npy", counts)
        _saved(
            folder / "parts" / f"{split}.{number:05d}.grams.npy",
            np.concatenate([*grams[split], np.empty(0, np.uint64)]),
        )
    _saved(folder / "parts" / f"{number:05d}.hashes.npy", np.sort(np.array(hashes, np.uint64)))
    note = {
        "part": number, "tokens": {split: files[split].rows for split in SPLITS}, "text_bytes": size,
        "documents": {split: len(ends[split]) for split in SPLITS},
    }  # fmt: skip
    _whole(folder / "parts" / f"{number:05d}.json", json.dumps(note))
    return note


def _grams(tokens: np.ndarray) -> np.ndarray:
    """Hashes of a sample of the runs of `GRAM` tokens: those whose hash ends so [uint64]."""
    if tokens.size < GRAM:
        return np.empty(0, np.uint64)
    one = (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    base = np.uint64(0xBF58476D1CE4E5B9)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        join = lambda left, right, shift: left[: right.size - shift] * base ** np.uint64(shift) + right[shift:]
        two = join(one, one, 1)
        four = join(two, two, 2)
        eight = join(four, four, 4)
        twelve = join(eight, four, 8)
        found = join(twelve, one, 12)
        found ^= found >> np.uint64(29)
        found *= np.uint64(0x94D049BB133111EB)
    return found[found >> np.uint64(32) & np.uint64(SAMPLED - 1) == 0]


def _finish(folder: Path, asked: dict[str, Any], job: Job, done: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts duplicates, writes the meta data, and removes what only an interruption needs."""
    total = {
        key: {s: sum(note[key][s] for note in done) for s in SPLITS} for key in ("tokens", "documents", "text_bytes")
    }
    for split in SPLITS:
        if not total["documents"][split]:
            raise ValueError(
                f"no document is in the {split} split: the sources hold {sum(total['documents'].values())}; "
                f"with a new --out, cut files into more with --separator, or change --valid"
            )
    repeated = _repeated([folder / "parts" / f"{i:05d}.hashes.npy" for i in range(len(done))])
    near = _near(folder, len(done))
    meta = {
        "request": {**{k: asked[k] for k in ("version", "sources", "how", "valid")}, "digest": _digest(asked)},
        "parts": len(done), "tokenizer": {"spec": job.tokenizer, "state": job.state}, **total,
        "repeated_documents": repeated, "valid_documents_near_train": near,
    }  # fmt: skip
    meta = cache.seal(folder, meta)
    for path in (folder / "parts").iterdir():
        path.unlink()
    (folder / "parts").rmdir()
    return meta


def _repeated(paths: list[Path]) -> int:
    """Documents whose hash an earlier one has.  Hashes are uniform: one range of them after another is in memory."""
    files = [np.load(path, mmap_mode="r") for path in paths]  # each sorted
    ranges = 1 + sum(file.size for file in files) // IN_MEMORY
    edges = [np.uint64(i * 2**64 // ranges) for i in range(1, ranges)]
    cuts = [[0, *np.searchsorted(file, edges), file.size] for file in files]
    repeated = 0
    for i in range(ranges):
        names = np.concatenate([file[cut[i] : cut[i + 1]] for file, cut in zip(files, cuts, strict=True)])
        names.sort()
        repeated += int(np.count_nonzero(names[1:] == names[:-1]))
    return repeated


def _near(folder: Path, count: int) -> int:
    """Held-out documents of whose sampled grams at least `NEAR` occur in the training split too."""
    load = lambda split, i, what: np.load(folder / "parts" / f"{split}.{i:05d}.{what}.npy")
    counts = np.concatenate([load("valid", i, "counts") for i in range(count)])
    grams = np.concatenate([load("valid", i, "grams") for i in range(count)])
    known = np.unique(grams)
    met = np.zeros(known.size, bool)
    for i in range(count):
        met |= np.isin(known, load("train", i, "grams"))
    hit = met[np.searchsorted(known, grams)]
    which = np.repeat(np.arange(counts.size), counts)
    hits = np.bincount(which, hit, counts.size)
    return int(np.count_nonzero((counts >= 3) & (hits >= NEAR * counts)))


# Files.


class Growing:
    """A .npy file of one axis that grows; its header is written again at the end."""

    def __init__(self, path: Path, dtype: np.dtype):
        self.file: BinaryIO = path.open("wb")
        self.rows, self.dtype = 0, np.dtype(dtype)
        self._header()

    def _header(self) -> None:  # numpy leaves room in it for an axis that grows
        self.file.seek(0)
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.rows,)}
        np.lib.format.write_array_header_2_0(self.file, header)

    def write(self, array: np.ndarray) -> None:
        self.file.write(array.tobytes())
        self.rows += array.size

    def __enter__(self) -> "Growing":
        return self

    def __exit__(self, *_: object) -> None:
        with self.file:
            self._header()
            self.file.flush()
            os.fsync(self.file.fileno())


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _saved(path: Path, array: np.ndarray) -> None:
    with _unfinished(path).open("wb") as file:
        np.save(file, array)
    _unfinished(path).replace(path)


def _whole(path: Path, text: str) -> None:
    _unfinished(path).write_text(text)
    _unfinished(path).replace(path)
