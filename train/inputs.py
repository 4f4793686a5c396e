"""New inputs for a trained run, from files, rows or arrays: made as its training records were, a batch at a time."""

import itertools
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data import answers, blocks, decode, images, series, sound, speech, tables, text, texts
from data.source import Batch, Dataset, Windows, floats
from train.errors import UserError
from train.predictions import Cells, Row

if TYPE_CHECKING:
    from train.saved import Saved

Inputs = np.ndarray | str | pathlib.Path | Sequence[str | pathlib.Path] | Sequence[Row]


class Part(NamedTuple):
    """At most a batch of inputs."""

    labels: Cells  # what the row of each begins with: file, number of the row
    x: np.ndarray  # [n, ...], as the network takes it
    origin: np.ndarray | None = None  # [n, 1]: what a forecast is counted from, standardised
    frames: np.ndarray | None = None  # [n]: how many frames are of the sound


class Window(NamedTuple):
    """One of the windows of a text or of a sound."""

    file: int  # the number of its text
    windows: int  # of that text
    tokens: int  # of that text that are predicted
    bytes_per_token: float  # NaN of a sound
    batch: Batch  # of this one


def parts(run: "Saved", inputs: Inputs, size: int) -> Iterator[Part]:
    """At most `size` inputs at a time; for those of which a likelihood is told there is `windows`."""
    if isinstance(inputs, np.ndarray):
        return of_array(run, {}, inputs, size)
    if not isinstance(inputs, str | pathlib.Path) and len(inputs) and isinstance(inputs[0], dict):
        return of_rows(run, inputs, size)
    return of_files(run, as_paths(inputs), size)


def as_paths(inputs: Inputs) -> list[pathlib.Path]:
    several: Sequence[Any] = [inputs] if isinstance(inputs, str | pathlib.Path) else inputs
    return [pathlib.Path(file).expanduser() for file in several]


def of_files(run: "Saved", files: list[pathlib.Path], size: int) -> Iterator[Part]:
    """Reads files by what the run's records are."""
    dataset, x = run.experiment.dataset, run.experiment.batch["x"]
    shape = x.shape[1:]
    if all(file.suffix == ".npy" for file in files):
        return itertools.chain.from_iterable(
            of_array(run, {"file": str(file)}, load_array(file), size) for file in files
        )
    if "x" in dataset.columns:
        return of_tables(dataset, files, size) if len(shape) == 1 else of_series(dataset, files, shape[0], size)
    if len(shape) == 3 and shape[-1] in decode.MODES and np.issubdtype(x.dtype, np.floating):
        return of_images(run, files, shape, size)
    if run.config.data.name.startswith("speech:") and len(shape) == 2:
        return of_speech(files, shape[0], shape[1], size)
    if learnt_from_sound(run) and len(shape) == 2:
        return of_sounds(files, shape[0], size)
    if run.config.data.name.startswith(("texts:", "answers:")) and dataset.tokenizer:
        return of_texts(run, files, shape[0], size)
    raise UserError(
        f"{files[0]}: the inputs of this run, {x.dtype}{list(shape)} of {run.config.data.name}, are read from arrays "
        "only; save N of them with numpy.save as FILE.npy"
    )


def learnt_from_sound(run: "Saved") -> bool:
    return run.config.data.name.startswith("audio:")


def are_streams(run: "Saved", given: Inputs) -> bool:
    """Whether the inputs are texts, or sounds in steps, of which a likelihood is told."""
    if run.experiment.dataset.tokenizer is not None:
        return run.experiment.dataset.unit == "token"
    one = [given] if isinstance(given, str | pathlib.Path) else given
    is_sound = all(isinstance(each, str | pathlib.Path) and pathlib.Path(each).suffix in sound.SUFFIXES for each in one)
    return is_sound and learnt_from_sound(run) and np.issubdtype(run.experiment.batch["x"].dtype, np.integer)


def load_array(file: pathlib.Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{file} is no array of numbers that numpy.save has written: {error}") from None


def of_array(run: "Saved", label: dict[str, str], values: np.ndarray, size: int) -> Iterator[Part]:
    """Inputs [N, ...] in the data's own units."""
    shape, name = run.experiment.batch["x"].shape[1:], label.get("file", "the array")
    if values.shape[1:] != shape or not len(values) or values.dtype.kind not in "biuf":
        raise UserError(
            f"{name} is {values.dtype}{list(values.shape)}; the network takes numbers [N, {', '.join(map(str, shape))}]"
        )
    for first in range(0, len(values), size):
        some = np.asarray(values[first : first + size])
        yield standardised(run.experiment.dataset, numbered(first, len(some), **label), some)


def numbered(done: int, count: int, **label: str) -> Cells:
    """`count` rows after those that are `done`, all with one label."""
    return {name: [text] * count for name, text in label.items()} | {"row": range(done + 1, done + count + 1)}


def of_rows(run: "Saved", given: Sequence[Any], size: int) -> Iterator[Part]:
    """Rows of a table as dicts of its columns."""
    dataset = run.experiment.dataset
    columns = dataset.columns.get("x", ())
    if not columns or len(run.experiment.batch["x"].shape) != 2:
        raise UserError(f"rows are for runs that learnt from a table, and this one did from {run.config.data.name}")
    for first in range(0, len(given), size):
        some, made = given[first : first + size], []
        for column in columns:
            lacks = next((i for i, row in enumerate(some, first + 1) if column.name not in row), 0)
            if lacks:
                known = ", ".join(column.name for column in columns)
                raise UserError(f"row {lacks} has no {column.name!r}; the columns are {known}")
            made.append(tables.features(column, tuple(str(row[column.name]).strip() for row in some), first + 1))
        yield standardised(dataset, numbered(first, len(some)), np.concatenate(made, axis=1))


def of_tables(dataset: Dataset, files: list[pathlib.Path], size: int) -> Iterator[Part]:
    for file in files:
        done = 0
        for some in blocks.parts(file, dataset.columns["x"], dataset.columns["y"][0].name, size):
            yield standardised(dataset, numbered(done, len(some), file=str(file)), some)
            done += len(some)
        if not done:
            raise UserError(f"{file} holds no row under its header; give it one or more")


def of_series(dataset: Dataset, files: list[pathlib.Path], lookback: int, size: int) -> Iterator[Part]:
    for some in itertools.batched(files, size):
        windows = [series.last(file, dataset.columns["x"], lookback) for file in some]
        yield standardised(dataset, {"file": list(map(str, some))}, np.stack(windows))


def of_images(run: "Saved", files: list[pathlib.Path], shape: tuple[int, ...], size: int) -> Iterator[Part]:
    side = run.config.data.get("size", 0)  # as data/images.py and data/arrays.py have it, where the page has none
    for some in itertools.batched(itertools.chain.from_iterable(map(image_files, files)), size):
        pixels = np.stack(list(images.read(some, shape, side)))
        yield standardised(run.experiment.dataset, {"file": list(map(str, some))}, pixels)


def of_sounds(files: list[pathlib.Path], frames: int, size: int) -> Iterator[Part]:
    for some in itertools.batched(files, size):
        heard = [sound.spectrum(file, frames) for file in some]
        x, used = np.stack([x for x, _ in heard]), np.array([count for _, count in heard])
        yield Part({"file": list(map(str, some))}, x, frames=used)


def of_speech(files: list[pathlib.Path], bands: int, frames: int, size: int) -> Iterator[Part]:
    for some in itertools.batched(files, size):
        x = np.stack([speech.features(file, bands, frames) for file in some])
        yield Part({"file": list(map(str, some))}, x)


def of_texts(run: "Saved", files: list[pathlib.Path], length: int, size: int) -> Iterator[Part]:
    """Texts as data/texts.py has them, or, where the run answers, each a question and what is to be read for it."""
    tokenizer, keep = run.experiment.dataset.tokenizer, run.config.data.get("keep", "last")  # as data/texts.py has it
    asks = run.config.data.name.startswith("answers:")
    read = lambda raw: answers.read(tokenizer, raw, length) if asks else texts.numbered(tokenizer, raw, length, keep)
    for some in itertools.batched(files, size):
        x = []
        for file in some:
            try:
                x.append(read(text.read(file)))
            except ValueError as error:
                raise UserError(f"{file}: {error}") from None
        yield Part({"file": list(map(str, some))}, np.stack(x))


def image_files(place: pathlib.Path) -> list[pathlib.Path]:
    """An image, or all of a folder."""
    if not place.is_dir():
        return [place]
    found = sorted(file for file in place.rglob("*") if file.suffix.lower() in images.SUFFIXES)
    if not found:
        raise UserError(f"the folder {place} holds no image ({', '.join(sorted(images.SUFFIXES))})")
    return found


def standardised(dataset: Dataset, labels: Cells, values: np.ndarray) -> Part:
    """From the data's own units to the network's, in the same order of operations as the training records."""
    if "x" in dataset.scales:
        scale = dataset.scales["x"]
        values = ((values - np.array(scale.mean)) / np.array(scale.deviation)).astype(np.float32)
    x = floats(values)
    return Part(labels, x - x[:, -1:], x[:, -1, :1]) if dataset.level == "last" else Part(labels, x)


def windows(run: "Saved", files: list[pathlib.Path]) -> Iterator[Window]:
    """Those of every text or sound, cut as the held-out text of a run is."""
    context = run.experiment.dataset.per_record
    for number, file in enumerate(files):
        tokens, bytes_per_token = stream(run, file)
        source = Windows(tokens, context, context, last="pad")
        for i in range(len(source)):
            yield Window(number, len(source), len(tokens) - 1, bytes_per_token, source.gather(np.array([i])))


def stream(run: "Saved", file: pathlib.Path) -> tuple[np.ndarray, float]:
    """The tokens of a text, or the steps of a sound, and how many bytes one stands for (of a sound NaN)."""
    dataset = run.experiment.dataset
    if dataset.tokenizer is None:
        tokens, raw = sound.steps(file, dataset.classes), b""
    else:
        raw = text.read(file)
        try:
            tokens = dataset.tokenizer.encode(raw)
        except ValueError as error:
            raise UserError(f"{file}: {error}; replace it, or train with data.tokenizer=bytes") from None
    if len(tokens) < 2:
        raise UserError(f"{file} has {len(tokens)} tokens, too few to predict one from another; give it more of them")
    return tokens, len(raw) / len(tokens) if raw else math.nan
