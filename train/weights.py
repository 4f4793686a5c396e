"""Where weights can be taken from: a run of this project, or a public checkpoint (`config.init`, train/init.py)."""

import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from models import pretrained
from models.weights.tensors import CheckpointError
from train import bucket, configs, paths, saved
from train.code import names as code_names
from train.errors import UserError
from train.experiment import Experiment, build_experiment
from train.files import read_json

Arrays = dict[str, jax.Array]


class Origin(NamedTuple):
    """What an array of a source is made of: one of its own, several layers stacked, or one layer of a stack."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    layer: int | None = None

    def of(self, parts: Sequence[Any], stack: Callable[[Sequence[Any]], Any]) -> Any:
        if self.layer is not None:
            return parts[0][self.layer]
        return stack(parts) if len(self.names) > 1 else parts[0]

    @property
    def why(self) -> str:
        return "a layer of a stack" if self.layer is not None else "layers stacked" if len(self.names) > 1 else ""


Wanted = Mapping[str, tuple[Origin, tuple[int, ...]]]  # a parameter here → what it is there, and its shape here


class Source(NamedTuple):
    """Where weights come from; `read` gives those that are wanted, by their names here, spread over the devices."""

    said: str
    shapes: dict[str, tuple[int, ...]]
    origins: dict[str, Origin]  # by name: its own, and what they are to a network that scans its layers, or does not
    read: Callable[[Wanted, Mapping[str, Any], Mesh], tuple[Arrays, str]]  # (…, shardings by name, …), and its step


def source_of(key: str, part: Mapping[str, Any], experiment: Experiment, workdir: pathlib.Path) -> Source:
    folder = found(key, part["from"], workdir)
    if "architectures" in read_json(folder / "config.json", {}, "name another folder"):
        if "step" in part:
            raise UserError(f"config.{key}.step: {folder} is a public checkpoint, which has one step; leave it out")
        return of_folder(folder)
    return of_run(folder, part.get("step", "last"), experiment)


def found(key: str, place: str, workdir: pathlib.Path) -> pathlib.Path:
    """The folder, as it is written, or that of its name beside the work folder: runs of a zoo or of a sweep."""
    tried = [bucket.local(place).expanduser(), workdir.parent / pathlib.Path(place).name]
    for folder in tried:
        if (folder / "config.json").is_file() and folder != workdir:
            return folder
    page = next((each for each in configs.pages(configs.FOLDER) if each.stem == tried[1].name), None)
    first = f": python -m train --config {page.stem} --workdir {place} makes it" if page else ""
    raise UserError(
        f"config.{key}.from={place!r} is neither a run's folder nor a public checkpoint (config.json and safetensors)"
        f"{first or '; name one that is there'}"
    )


def of_folder(folder: pathlib.Path) -> Source:
    """A public checkpoint; each tensor goes to the devices that hold it before the next one is read."""
    try:
        examined = pretrained.examine(folder)
    except CheckpointError as error:
        raise UserError(f"config.init: {error}") from error
    ours = lambda name: name.removeprefix("params/")

    def read(wanted: Wanted, where: Mapping[str, Any], devices: Mesh) -> tuple[Arrays, str]:
        arrays, numbers = {}, {ours(name): reader for name, reader in pretrained.numbers(examined)}
        for here, (origin, shape) in wanted.items():
            array = origin.of([numbers[name]() for name in origin.names], np.stack).reshape(shape)
            part = lambda index, array=array: array[index]
            arrays[here] = jax.make_array_from_callback(shape, where[here], part)
        return arrays, ""

    kind = type(examined.model.network).__name__
    known = {ours(name): shape for name, shape in examined.shapes.items() if not name.startswith("penalty/")}
    return Source(f"{folder} ({kind})", known, origins(known), read)


def of_run(folder: pathlib.Path, step: saved.Step, experiment: Experiment) -> Source:
    """A run's checkpoint, read to the devices of this run; parameters are the averaged ones where it averages."""
    steps = bucket.steps_saved(folder)
    if not steps:
        raise saved.none_yet(folder)
    saved.wanted(folder, steps, step)  # raises where that one is not there
    theirs = build_experiment(
        saved.config_of(folder, [name for _, name in code_names(experiment.config.to_dict())]), saved.data_of(folder)
    )

    def read(wanted: Wanted, where: Mapping[str, Any], devices: Mesh) -> tuple[Arrays, str]:
        params, model_state, at = saved.restored(folder, theirs, step, devices)
        there, arrays = {**paths.leaves(model_state), **paths.leaves(params)}, {}
        for here, (origin, shape) in wanted.items():
            parts = [there[name] for name in origin.names]
            arrays[here] = parts[0]
            if origin.why or (parts[0].shape, parts[0].sharding) != (shape, where[here]):
                make = lambda parts, origin=origin, shape=shape: origin.of(parts, jnp.stack).reshape(shape)
                arrays[here] = jax.jit(make, out_shardings=where[here])(parts)
        return arrays, f"step {at}"

    return Source(f"run {folder}", parameters(theirs), origins(parameters(theirs)), read)


def origins(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Origin]:
    """Every array, and every layer of a stack ("blocks/up" is "block_0/up", "block_1/up", …) or stack of layers."""
    found = {name: Origin((name,), shape) for name, shape in shapes.items()}
    layers: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        if stacked := re.fullmatch(r"(.*/|)blocks/(.+)", name):
            for i in range(shape[0]):
                found.setdefault(f"{stacked[1]}block_{i}/{stacked[2]}", Origin((name,), shape[1:], i))
        elif one := re.fullmatch(r"(.*/|)block_\d+/(.+)", name):
            layers.setdefault(f"{one[1]}blocks/{one[2]}", []).append(name)
    for name, parts in layers.items():
        number = lambda part: int(re.findall(r"block_(\d+)/", part)[-1])
        parts = sorted(parts, key=number)
        alike = len({shapes[part] for part in parts}) == 1 and [*map(number, parts)] == [*range(len(parts))]
        if alike:
            found.setdefault(name, Origin(tuple(parts), (len(parts), *shapes[parts[0]])))
    return found


def parameters(experiment: Experiment) -> dict[str, tuple[int, ...]]:
    """Shapes of all that weights are: parameters, and the running averages in the model state."""
    found = paths.leaves(experiment.state.params)
    found |= {name: x for name, x in paths.leaves(experiment.state.model_state).items() if is_average(name)}
    return {name: tuple(x.shape) for name, x in found.items()}


def is_average(name: str) -> bool:
    return "batch_stats" in name.split("/")
