"""Labelled data to score a run on: its own, or new ones made as its training records were."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from data import blocks, decode, series, tables
from data.source import Batch, Columns, Dataset, Scale, Source, Windows, check_labels
from train import inputs
from train.build import build
from train.errors import UserError, suggest

if TYPE_CHECKING:
    from train.saved import Saved

Data = Mapping[str, np.ndarray] | str | pathlib.Path | Sequence[str | pathlib.Path]


def own(run: "Saved") -> Dataset:
    """The data that the run was trained on, read again from where its config says."""
    try:
        dataset = build("data", run.config.data.to_dict(), "data")
    except (ValueError, OSError) as error:
        raise UserError(f"the run's own data cannot be read ({error}); name new ones to score it on") from error
    if dataset.fingerprint != run.experiment.dataset.fingerprint:
        raise UserError(
            f"config.data now gives other data than the run was trained on (fingerprint {dataset.fingerprint[:12]}…, "
            f"then {run.experiment.dataset.fingerprint[:12]}…); put them back, or name the new ones to score it on them"
        )
    return dataset


def of(run: "Saved", data: Data) -> tuple[Source, float]:
    """The records of new data, and of text the bytes of one token (else 0)."""
    try:
        return source(run, data)
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error


def source(run: "Saved", data: Data) -> tuple[Source, float]:
    dataset, x = run.experiment.dataset, run.experiment.batch["x"]
    if isinstance(data, Mapping):
        return of_arrays(run, data), 0.0
    files = inputs.as_paths(data)
    if not files:
        raise UserError("there are no data to score; name one or more")
    if all(file.suffix == ".npz" for file in files):
        return of_arrays(run, joined([load(file) for file in files])), 0.0
    if inputs.are_streams(run, files):
        return of_texts(run, files)
    if "x" in dataset.columns:
        return (of_table(run, files) if x.ndim == 2 else of_series(run, files)), 0.0
    if x.ndim == 4 and x.shape[-1] in decode.MODES and dataset.classes and run.experiment.batch["y"].ndim == 1:
        return Labelled(run, files), 0.0
    wanted = ", ".join(
        f"{k} {v.dtype}[N{''.join(f', {n}' for n in v.shape[1:])}]" for k, v in run.experiment.batch.items()
    )
    raise UserError(
        f"{files[0]}: labelled data of this run are arrays; save them with numpy.savez as FILE.npz: {wanted}"
    )


def load(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file) as arrays:
            return dict(arrays)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{file} holds no arrays that numpy.savez has written: {error}") from None


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if any(part.keys() != parts[0].keys() for part in parts):
        raise UserError("the files hold different arrays; give each the same names")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def of_arrays(run: "Saved", arrays: Mapping[str, np.ndarray]) -> Columns:
    """Columns by name, [N, ...] each, in the data's own units; classes also by their names."""
    dataset, needs = run.experiment.dataset, run.experiment.batch
    optional = {"naive", "mask", "source"}
    for name in arrays:
        if name not in {*needs, *optional}:
            raise UserError(f"a record of this run has no {name!r}{suggest(name, needs)}")
    missing = [name for name in needs if name not in arrays and name not in optional]
    if missing:
        raise UserError(f"the data lack {missing[0]!r}; the records of this run have {', '.join(needs)}")
    made = {name: np.asarray(value) for name, value in arrays.items()}
    counts = {len(value) for value in made.values()}
    if len(counts) > 1 or not min(counts):
        raise UserError(f"the arrays have {sorted(counts)} records; each needs as many, and one at least")
    for name, value in made.items():
        if name in needs and value.shape[1:] != needs[name].shape[1:]:
            raise UserError(
                f"{name} is {list(value.shape)}; the run takes [N, {', '.join(map(str, needs[name].shape[1:]))}]"
            )
    if made["x"].dtype.kind not in "biuf":
        raise UserError(f"x is {made['x'].dtype}; the network takes numbers")
    if "y" in made and made["y"].dtype.kind in "US":
        made["y"] = numbered(dataset, made["y"].astype(str))
    for name in ("x", "y"):
        if name in made and name in dataset.scales:
            made[name] = standard(made[name], dataset.scales[name])
    if dataset.level == "last":
        origin = made["x"][:, -1]
        made["x"], made["y"] = made["x"] - origin[:, None], made["y"] - origin[:, :1]
    dtype = lambda name, value: needs[name].dtype if name in needs else np.float32
    is_pixels = lambda name, value: name == "x" and value.dtype == np.uint8
    return finished(run, {k: v if is_pixels(k, v) else v.astype(dtype(k, v)) for k, v in made.items()})


def finished(run: "Saved", columns: dict[str, np.ndarray]) -> Columns:
    """A source; a forecast that only the training data give is not known, and what is measured of it is NaN."""
    if "naive" in run.experiment.batch and "naive" not in columns:
        columns["naive"] = np.full(columns["y"].shape, np.nan, np.float32)
    made = Columns(**columns)
    check_labels(made, run.experiment.dataset.classes, "given")
    return made


def standard(values: np.ndarray, scale: Scale) -> np.ndarray:
    return ((values - np.array(scale.mean)) / np.array(scale.deviation)).astype(np.float32)


def numbered(dataset: Dataset, words: np.ndarray) -> np.ndarray:
    """Names of classes → their numbers, int32."""
    place = {name: k for k, name in enumerate(dataset.names)}
    for word in map(str, np.unique(words)):
        if word not in place:
            raise UserError(f"{word!r} is no class of this run{suggest(word, place)}")
    return np.vectorize(place.get, otypes=[np.int32])(words)


def of_table(run: "Saved", files: list[pathlib.Path]) -> Columns:
    """Rows with the target's column."""
    dataset = run.experiment.dataset
    target = dataset.columns["y"][0]
    known = [*dataset.columns["x"], target]
    is_titled = {column.name for column in known} != {str(i + 1) for i in range(len(known))}
    parts = []
    for file in files:
        if is_titled:
            parts += blocks.parts(file, known, target.name, 8192)
        else:
            cells = tables.read(file, "no")
            if len(cells) != len(known):
                raise UserError(f"{file} has {len(cells)} columns and the training table {len(known)}, with the target")
            parts.append(np.concatenate([tables.features(column, cells[column.name]) for column in known], axis=1))
    rows = np.concatenate(parts)
    x, y = rows[:, :-1], rows[:, -1:]
    return finished(run, {"x": standard(x, dataset.scales["x"]), "y": standard(y, dataset.scales["y"])})


def of_series(run: "Saved", files: list[pathlib.Path]) -> Source:
    """Every window of each series."""
    dataset, config = run.experiment.dataset, run.config.data
    columns, (lookback, _) = dataset.columns["x"], run.experiment.batch["x"].shape[1:]
    horizon, season = run.experiment.batch["y"].shape[1], config.get("season", 24)  # as data/series.py has it
    found = []
    for file in files:
        table = tables.read(file)
        missing = [column.name for column in columns if column.name not in table]
        if missing:
            raise UserError(f"{file}: the column {missing[0]!r} is missing; it has {', '.join(table)}")
        numbers = np.stack([tables.numbers(column.name, table[column.name]) for column in columns], axis=1)
        made = series.Forecasts(standard(numbers, dataset.scales["x"]), lookback, horizon, season, dataset.level)
        if len(made) < 1:
            raise UserError(f"{file} has {len(numbers)} rows, and a window takes {made.past + horizon}; give it more")
        found.append(made)
    return Joined(found)


def of_texts(run: "Saved", files: list[pathlib.Path]) -> tuple[Source, float]:
    """Every token of the texts, or step of the sounds, but the first of each."""
    context, known = run.experiment.dataset.per_record, [inputs.stream(run, file) for file in files]
    total = sum(len(tokens) for tokens, _ in known)
    per_token = sum(len(tokens) * each for tokens, each in known) / total
    windows = [Windows(tokens, context, context, last="pad") for tokens, _ in known]
    return Joined(windows), 0.0 if np.isnan(per_token) else per_token


class Joined:
    """The records of several sources, one after the other."""

    def __init__(self, sources: Sequence[Source]):
        self.sources = sources
        self.ends = np.cumsum([len(each) for each in sources])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def gather(self, ids: np.ndarray) -> Batch:
        which = np.searchsorted(self.ends, ids, side="right")
        starts = self.ends - [len(each) for each in self.sources]
        parts = [(at, self.sources[k].gather(ids[at] - starts[k])) for k in np.unique(which) for at in [which == k]]
        made = {name: np.empty((len(ids), *value.shape[1:]), value.dtype) for name, value in parts[0][1].items()}
        for at, part in parts:
            for name, value in part.items():
                made[name][at] = value
        return made


class Labelled:
    """Images in folders of their classes, decoded when they are asked for."""

    def __init__(self, run: "Saved", places: list[pathlib.Path]):
        self.run, self.files = run, list(itertools.chain.from_iterable(map(inputs.image_files, places)))
        self.y = numbered(run.experiment.dataset, np.array([file.absolute().parent.name for file in self.files]))

    def __len__(self) -> int:
        return len(self.files)

    def gather(self, ids: np.ndarray) -> Batch:
        shape = self.run.experiment.batch["x"].shape[1:]
        once, where = np.unique(ids, return_inverse=True)  # the last one fills up a batch
        (part,) = inputs.of_images(self.run, [self.files[i] for i in once], shape, len(once))
        return {"x": part.x[where], "y": self.y[ids]}
