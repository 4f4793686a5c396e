"""Public checkpoints in and out: folders of config.json and safetensors, as Hugging Face writes them.

model, params, state = load("path/to/folder")
logits, _ = model.apply(params, state, tokens_BL)          # or (tokens_BL, mask_BL)
save("another/folder", model, params, state)
"""

import functools
import importlib
import json
import pathlib
import pkgutil
import re
import shutil
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import models.weights
from models.api import Model, ModelState, Params, from_linen
from models.weights import tensors
from models.weights.rows import Row
from models.weights.tensors import CheckpointError, Entry, Saved, listed

Put = Callable[[str, np.ndarray], jax.Array]  # (name, numbers) -> the parameter, where it is to be
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


def families() -> dict[str, types.ModuleType]:
    """The module of models/weights for each architecture."""
    names = [module.name for module in pkgutil.iter_modules(models.weights.__path__)]
    modules = [importlib.import_module(f"models.weights.{name}") for name in names]
    return {one: module for module in modules for one in getattr(module, "ARCHITECTURES", ())}


class Examined(NamedTuple):
    """A folder of weights that can be read: every check is made, and no number is read."""

    model: Model
    shapes: dict[str, tuple[int, ...]]  # of every parameter ("params/…") and of the state, as the network names them
    found: list[tuple[Row, list[str]]]  # and the names of its tensors in this folder
    there: dict[str, Entry]


def examine(path: str | pathlib.Path) -> Examined:
    folder = pathlib.Path(path)
    config, there = tensors.json_of(folder / "config.json"), tensors.entries(folder)
    network, family = network_of(folder, config, there)
    model = from_linen(network)._replace(config=config)
    try:
        key = jax.eval_shape(lambda: jax.random.key(0))
        params, state = jax.eval_shape(model.init, key, *family.example(network))
    except WRONG as error:
        raise CheckpointError(f"{folder / 'config.json'}: {sentence(error)}") from error
    shapes = flat({"params": params, **state})
    return Examined(model, shapes, matched(folder, there, family, network, shapes), there)


def numbers(examined: Examined, dtype: str = "float32") -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Each name of `shapes` that the folder has, with what reads its numbers: one tensor at a time."""

    def reading(row: Row, names: list[str]) -> np.ndarray:
        array = row.into(*(tensors.read(examined.there[name]) for name in names))
        return np.asarray(array, dtype, order="C")

    for row, names in examined.found:
        yield row.ours, functools.partial(reading, row, names)


def load(
    path: str | pathlib.Path, put: Put | None = None, *, dtype: str = "float32"
) -> tuple[Model, Params, ModelState]:
    """The network of a folder, its parameters and its untrained state.

    Every check is made before the first number is read.  Then each tensor is read, cast to `dtype` and handed to `put`
    with its name, before the next one is read; models know no devices, so `put` says where it goes.
    """
    examined = examine(path)
    put = put or (lambda name, array: jnp.asarray(array))
    loaded = {name: put(name.partition("/")[2], read()) for name, read in numbers(examined, dtype)}
    rest = {name: jnp.zeros(shape) for name, shape in examined.shapes.items() if name not in loaded}
    tree = nested({**rest, **loaded})
    return examined.model, tree.pop("params"), tree


def network_of(
    folder: pathlib.Path, config: Mapping[str, Any], there: Mapping[str, Entry]
) -> tuple[Any, types.ModuleType]:
    """The network that a config describes, and its family."""
    known, given = families(), config.get("architectures") or [None]
    if given[0] not in known:
        raise CheckpointError(
            f"{folder / 'config.json'}: architectures={config.get('architectures')} is not known here; "
            f"known are {', '.join(sorted(known))}"
        )
    family = known[given[0]]
    try:
        network = family.network(config, given[0], own_head(config, there, family))
        check_numbers(network)
        return network, family
    except WRONG as error:
        raise CheckpointError(f"{folder / 'config.json'}: {sentence(error)}") from error


WRONG = (ValueError, TypeError, KeyError, IndexError, AttributeError, ZeroDivisionError)  # what a bad config raises


def sentence(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}; get the file again, or write the field into it"
    if isinstance(error, ValueError):
        return str(error)
    return f"a field has a value of the wrong kind ({error}); correct it, or get the file again"


def check_numbers(network: Any) -> None:
    """Refuses text, lists and fractions where the network takes a number."""
    for name, kind in typing.get_type_hints(type(network)).items():
        kinds = typing.get_args(kind) or (kind,)
        value = getattr(network, name, None)
        if not set(kinds) <= {int, float, types.NoneType} or (value is None and types.NoneType in kinds):
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float) if float in kinds else int):
            wanted = "number" if float in kinds else "whole number"
            raise ValueError(f"it gives {type(network).__name__} {name}={value!r}, which is no {wanted}; correct it")


def own_head(config: Mapping[str, Any], there: Mapping[str, Entry], family: types.ModuleType) -> bool:
    """Whether logits have a matrix that is not the embedding: it is read, then, though config.json may call it tied."""
    names = [spelt(name, there, family) for name in getattr(family, "HEAD", ())]
    if not names or None in names:
        return False
    head, embedding = (there[name] for name in names if name is not None)
    if config.get("tie_word_embeddings") is False:
        return True
    return head.shape != embedding.shape or not np.array_equal(tensors.read(head), tensors.read(embedding))


def spelt(name: str, there: Mapping[str, Entry], family: types.ModuleType) -> str | None:
    return next((known for known in spellings(name, family.PREFIX) if known in there), None)


def matched(
    folder: pathlib.Path,
    there: Mapping[str, Entry],
    family: types.ModuleType,
    network: Any,
    shapes: Mapping[str, tuple[int, ...]],
) -> list[tuple[Row, list[str]]]:
    """Each row with the names that its tensors have in this folder; says what is missing, misshapen or too much."""
    rows = family.rows(network)
    ours = {name for name in shapes if not name.startswith("penalty/")}  # which every step of training makes anew
    if {row.ours for row in rows} != ours:
        raise AssertionError(f"{family.__name__}: {sorted({row.ours for row in rows} ^ ours)} in one only")
    found, used, missing, wrong = [], set(), [], []
    for row in rows:
        expected = row.out(np.broadcast_to(np.float32(0), shapes[row.ours]))
        names = [spelt(name, there, family) for name in row.theirs]
        missing += [name for name, known in zip(row.theirs, names, strict=True) if known is None]
        for known, array in zip(names, expected, strict=True):
            if known is not None and there[known].shape != array.shape:
                wrong.append(f"{known} is {list(there[known].shape)}, not {list(array.shape)}")
        used |= {name for name in names if name is not None}
        found.append((row, [name for name in names if name is not None]))
    extra = sorted(n for n in set(there) - used if not any(re.search(known, n) for known in family.unused(network)))
    if missing:
        raise CheckpointError(
            f"{folder} lacks {listed(missing)}, which its config.json asks for"
            + (f" (it has {listed(extra)} instead)" if extra else "")
            + "; correct config.json, or get the whole checkpoint"
        )
    if wrong:
        raise CheckpointError(f"{folder}: by its config.json {listed(wrong)}; correct it, or get the matching weights")
    if extra:
        raise CheckpointError(
            f"{folder} holds {listed(extra)}, which its config.json has no place for; correct config.json "
            "(layers, heads, tie_word_embeddings, architectures), or get the matching weights"
        )
    return found


def spellings(name: str, prefix: str) -> list[str]:
    """How a tensor may be called: with the inner model's name before it or without, and as in TensorFlow's days."""
    base = [name, name.removeprefix(prefix) if name.startswith(prefix) else prefix + name]
    old = [re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", n) for n in base]
    return base + [re.sub(r"LayerNorm\.bias$", "LayerNorm.beta", n) for n in old]


def save(
    path: str | pathlib.Path,
    model: Model,
    params: Params,
    state: ModelState | None = None,
    *,
    dtype: str = "float32",
    tokenizer: str | pathlib.Path | None = None,
    shard_bytes: int = 5_000_000_000,
) -> None:
    """Writes a folder that `load` and the public class read: of a model that was loaded, or `from_linen` made.

    `tokenizer` is a folder whose tokenizer.json goes with it.
    """
    folder = pathlib.Path(path)
    network = model.network
    if tokenizer is not None and not (pathlib.Path(tokenizer) / TOKENIZER[0]).is_file():
        raise ValueError(f"{tokenizer} has no {TOKENIZER[0]}; name the folder that has it, or save without a tokenizer")
    kin = {module for module in families().values() if isinstance(network, module.NETWORK)}
    if not kin:
        raise ValueError(f"{type(network).__name__} is written as no public class; written are {written()}")
    loaded = dict(model.config or {})
    family = next((m for m in kin if loaded.get("architectures", [None])[0] in m.ARCHITECTURES), next(iter(kin)))
    network, params = unrolled(network, params)
    network, params = filled(network, params, family)
    config = {**family.config(network), "dtype": dtype}
    for name in ("architectures", "model_type", *getattr(family, "KEPT", ())):
        config[name] = loaded.get(name, config[name])
    loaded.pop("torch_dtype", None)
    values = flat({"params": params, **(state or {})}, of=lambda x: x)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**loaded, **config}, indent=2, sort_keys=True) + "\n")
    listing = [one for row in family.rows(network) for one in saved(row, values, np.dtype(jnp.dtype(dtype)))]
    for name in family.counters(network) if hasattr(family, "counters") else ():
        listing.append(Saved(name, np.dtype(np.int64), (), lambda: np.zeros((), np.int64)))
    tensors.write(folder, listing, shard_bytes)
    for name in TOKENIZER if tokenizer is not None else ():
        if (pathlib.Path(tokenizer) / name).is_file():
            shutil.copyfile(pathlib.Path(tokenizer) / name, folder / name)


def unrolled(network: Any, params: Params) -> tuple[Any, Params]:
    """The same network with a module for each layer, where `params` hold them stacked (`stack="scan"`)."""
    if getattr(network, "stack", "unrolled") == "unrolled":
        return network, params

    def apart(tree: Params) -> Params:
        parts: Params = {}
        for name, part in tree.items():
            if name != "blocks":
                parts[name] = apart(part) if isinstance(part, dict) else part
                continue
            for i in range(len(jax.tree.leaves(part)[0])):
                parts[f"block_{i}"] = jax.tree.map(lambda x, i=i: x[i], part)
        return parts

    return network.clone(stack="unrolled"), apart(params)


def filled(network: Any, params: Params, family: types.ModuleType) -> tuple[Any, Params]:
    """The same function as the public class has it: with zeros for the parameters that this network does without."""
    more = {name: value for name, value in getattr(family, "ZEROS", {}).items() if getattr(network, name) != value}
    if not more:
        return network, params
    wide, key = network.clone(**more), jax.eval_shape(lambda: jax.random.key(0))
    try:
        family.config(wide)
        shapes, _ = jax.eval_shape(from_linen(wide).init, key, *family.example(wide))
    except ValueError:
        return network, params  # `family.config` says of the network itself what is wrong
    zeros = flat({"params": shapes}, of=lambda x: jnp.zeros(x.shape, x.dtype))
    return wide, nested({**zeros, **flat({"params": params}, of=lambda x: x)})["params"]


def written() -> str:
    return ", ".join(sorted({module.NETWORK.__name__ for module in families().values()}))


def saved(row: Row, values: Mapping[str, Any], dtype: np.dtype) -> list[Saved]:
    """The tensors of a row; the numbers are fetched when they are written."""
    if row.ours not in values:
        raise ValueError(f"the parameters have no {row.ours}; they are not this model's")
    value = values[row.ours]
    shapes = row.out(np.broadcast_to(np.float32(0), value.shape))
    make = lambda i: lambda: row.out(np.asarray(value))[i]
    return [Saved(name, dtype, shapes[i].shape, make(i)) for i, name in enumerate(row.theirs)]


def flat(tree: Any, of: Callable[[Any], Any] = lambda x: tuple(x.shape)) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(part.key) for part in path): of(leaf) for path, leaf in leaves}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {"params": {}}
    for name, value in values.items():
        *folders, last = name.split("/")
        place = tree
        for part in folders:
            place = place.setdefault(part, {})
        place[last] = value
    return tree
