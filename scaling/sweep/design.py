"""Which runs to make.  A config's `sweep()` names one of these designs and its arguments; each returns the jobs."""

import collections
import functools
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from train import sizes
from train.build import build
from train.configs import override
from train.errors import UserError
from train.experiment import build_task, example

SAME = {"steps": 1, "batch_size": 1, "seed": 0}  # and the rate: no parameter depends on them
SHORT = {  # last part of a config's key -> in names of runs
    "learning_rate": "lr", "weight_decay": "wd", "batch_size": "batch", "width": "w", "layers": "l", "heads": "h",
    "seed": "s", "context": "ctx",
}  # fmt: skip


class Job(NamedTuple):
    """One run of a sweep: a folder's name, what differs from the config, and how much compute it was planned for."""

    name: str
    overrides: dict[str, Any]
    budget: float  # planned FLOPs, 6 N D with N all parameters; 0 where the design plans none
    flops: float  # 6 N D that it will really do


def jobs(module: Any, config: ConfigDict) -> list[Job]:
    """The jobs of a config file's `sweep()`: {"name": "isoflop", …} is `scaling.sweep.design.isoflop(config, …)`."""
    if not hasattr(module, "sweep"):
        raise UserError("this config has no sweep(); it returns a design such as {'name': 'grid', 'over': {…}}")
    asked = {**module.sweep()}
    seeds = asked.pop("seeds", None)
    made = build("scaling.sweep.design", asked, "sweep()", config=config)
    return made if seeds is None else over_seeds(made, seeds)


def over_seeds(made: Sequence[Job], seeds: Any) -> list[Job]:
    """Every job once for each seed, "w8_s0" beside "w8_s1": a fit takes the mean of those that differ in it alone."""
    if not isinstance(seeds, list | tuple | range) or not seeds or any(type(seed) is not int for seed in seeds):
        raise UserError(f"sweep() has seeds {seeds!r}; they are whole numbers, such as (0, 1, 2)")
    if own := next((job for job in made if "seed" in job.overrides), None):
        raise UserError(f"sweep() has seeds, and its run {own.name!r} sets the seed itself; leave one of the two out")
    return [
        job._replace(name=f"{job.name}_s{seed}", overrides={**job.overrides, "seed": seed})
        for job in made
        for seed in dict.fromkeys(seeds)
    ]


def grid(config: ConfigDict, over: Mapping[str, Sequence[Any]]) -> list[Job]:
    """Every combination of the values in `over`, a mapping from config keys to lists."""
    short, made = shortened(list(over)), []
    for values in itertools.product(*over.values()):
        changes = dict(zip(over, values, strict=True))
        label = "_".join(f"{short[key]}{written(value)}" for key, value in changes.items())
        made.append(job(config, label, changes))
    return made


def shortened(keys: Sequence[str]) -> dict[str, str]:
    """key -> what it is called in the names of runs: its last part, or the word that the field has for it."""
    short = {key: SHORT.get(key.split(".")[-1], key.split(".")[-1]) for key in keys}
    times = collections.Counter(short.values())
    return {key: name if times[name] == 1 else key.replace(".", "-") for key, name in short.items()}


def written(value: Any) -> str:
    """A value in the name of a run, which is a folder's: letters, digits, points, signs."""
    if isinstance(value, list | tuple):
        return "-".join(map(written, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w.+=-]+", "-", text)


def listed(config: ConfigDict, runs: Mapping[str, Mapping[str, Any]]) -> list[Job]:
    """Exactly these runs: their names and what each changes."""
    return [job(config, name, changes) for name, changes in runs.items()]


def isoflop(
    config: ConfigDict,
    budgets: Sequence[float],
    shapes: Mapping[str, Mapping[str, Any]],
    points: int = 5,
    tokens_per_param: float = 20.0,
) -> list[Job]:
    """For each budget C, the `points` shapes nearest to the expected optimum, each trained for D = C / 6N tokens.

    Hoffmann et al. 2022, approach 2.  `shapes` are named overrides on real integers; N is counted on the network they
    build.  The expected optimum is where D/N = `tokens_per_param`: N = √(C / (6 tokens_per_param)).
    """
    sizes = {name: parameters(config, changes) for name, changes in shapes.items()}
    made = []
    for budget in budgets:
        expected = math.sqrt(budget / (6 * tokens_per_param))
        nearest = sorted(sizes, key=lambda name, e=expected: abs(math.log(sizes[name] / e)))[:points]
        for name in sorted(nearest, key=sizes.__getitem__):
            steps = round(budget / (6 * sizes[name]) / units(config, shapes[name]))
            if steps < 1:
                raise UserError(f"budget {budget:.1e} is less than one step of {name}; raise it or lower the batch")
            flops = 6.0 * sizes[name] * steps * units(config, shapes[name])
            made.append(Job(f"{name}_{power(budget)}", {**shapes[name], "steps": steps}, budget, flops))
    return made


def power(budget: float) -> str:
    """Three digits: 2e10, 4.5e10."""
    digits, exponent = f"{budget:.2e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def job(config: ConfigDict, name: str, changes: Mapping[str, Any]) -> Job:
    """A run that was planned for no particular budget."""
    steps = with_overrides(config, changes).steps
    return Job(name, dict(changes), 0.0, 6.0 * parameters(config, changes) * units(config, changes) * steps)


def with_overrides(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    changed = ConfigDict(config.to_dict())
    for key, value in changes.items():
        override(changed, key, value)
    return changed


def units(config: ConfigDict, changes: Mapping[str, Any]) -> int:
    """Tokens (or examples) of one step."""
    changed = with_overrides(config, changes)
    return changed.batch_size * dataset_of(changed).per_record


def parameters(config: ConfigDict, changes: Mapping[str, Any]) -> int:
    """All parameters of the network, counted by tracing its initialisation: once for runs that differ in SAME alone."""
    changed = with_overrides(config, changes)
    changed.update(SAME)
    if "learning_rate" in changed.optim:
        changed.optim.learning_rate = 1.0
    return _parameters(changed.to_json())


@functools.cache
def _parameters(spec: str) -> int:
    config = ConfigDict(json.loads(spec))
    dataset = dataset_of(config)
    record = dataset.train.gather(np.zeros(1, np.int64))
    config = sizes.filled(config, dataset, record)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, _ = jax.eval_shape(build_task(config, dataset.classes).init, key, example(1, record))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def dataset_of(config: ConfigDict) -> Any:
    return _dataset(config.data.to_json())


@functools.cache
def _dataset(spec: str) -> Any:
    return build("data", json.loads(spec), "data")
