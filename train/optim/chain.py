"""Optimizers by name, with the parts that belong to no optimizer: rate, clipping, penalties, decay mask, averaging."""

import functools
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from train.build import build, resolve
from train.errors import UserError, suggest
from train.optim import groups
from train.schema import EVERY_OPTIMIZER, check_choice

NEEDS = "one optimizer for all parameters (config.optim.name), or groups of them with one each (train/optim/groups.py)"
SOURCES = ("train.optim.optimizers", "optax", "optax.contrib")  # where names are looked up, in this order
OWN = {"clip": None, "decay": "matrices", "l1": 0.0, "l2": 0.0}  # what every optimizer may be given beside its own
LEFT_OUT = {
    "lbfgs": "it searches along a line, for which it needs the loss as a function",
    "momo": "it needs the value of the loss",
    "momo_adam": "it needs the value of the loss",
    "dpsgd": "it needs the gradient of each example",
    "noisy_sgd": "it needs a random key",
    "schedule_free": "use schedule_free_sgd or schedule_free_adamw",
    "optimistic_adam": "use optimistic_adam_v2",
}


def optimizer(spec: Mapping[str, Any], ema: float = 0.0) -> optax.GradientTransformationExtraArgs:
    """`spec` is one optimizer ({"name": "adamw", "learning_rate": …}), or one for each group of parameters.

    Names are those of train/optim/optimizers.py, optax and optax.contrib, or module:symbol, of a function that takes
    `learning_rate` (train/code.py).  Beside the arguments of its function a spec
    may hold `l1` and `l2` (penalties, whose gradients are added first), `clip` (global norm) and `decay` ("matrices" or
    "all": what penalties and the weight decay of the function act on).
    `ema` > 0 also keeps an average of the parameters, which evaluation uses; its updates take `step` too.
    """
    if "name" in spec:
        tx = one(spec, "optim")
    elif groups.is_groups(spec):
        tx = partitioned(spec)
    else:
        raise UserError(f"config.optim needs {NEEDS}; it has {sorted(spec)}")
    if not 0 <= ema < 1:
        raise UserError(f"config.ema={ema} is a decay; use 0 (off) or a number just under 1, such as 0.999")
    return averaged(tx, ema) if ema else tx


def one(spec: Mapping[str, Any], key: str) -> optax.GradientTransformationExtraArgs:
    kwargs = {k: v for k, v in spec.items() if v is not None}
    own = {name: kwargs.pop(name, default) for name, default in OWN.items()}
    name = kwargs.get("name", "")
    if "learning_rate" not in kwargs:
        raise UserError(f"config.{key} has no learning_rate; set config.{key}.learning_rate")
    if name in LEFT_OUT:
        raise UserError(f"config.{key}.name={name!r} does not go with the one train step: {LEFT_OUT[name]}")
    if name not in optimizers() and ":" not in name:
        raise UserError(f"config.{key}.name={name!r} is no optimizer{suggest(name, optimizers())}")
    rates = {k: v for k, v in kwargs.items() if k.endswith("learning_rate")}
    mask = check(own, rates, key)
    package = optimizers().get(name, "train.optim.optimizers")
    given = masks(resolve(package, name, key), mask)
    if kwargs.get("weight_decay") and mask and not given:
        raise UserError(f"config.{key}.weight_decay: {name} decays all parameters alike; set config.{key}.decay=all")
    make = lambda rates: build(package, {**kwargs, **rates}, key, **given)
    base = make(rates)  # also checks the arguments, before anything is compiled

    def update(grads, state, params=None, *, rate=1.0, **extra):
        del extra
        # optax builds an optimizer from numbers; a traced number makes the schedule an input of the compiled step.
        return make({k: peak * rate for k, peak in rates.items()}).update(grads, state, params)

    parts = [optax.GradientTransformationExtraArgs(base.init, update)]
    if own["clip"]:
        parts.insert(0, optax.clip_by_global_norm(own["clip"]))
    if own["l1"] or own["l2"]:
        parts.insert(0, penalty(own["l1"], own["l2"], mask))
    return optax.chain(*parts) if len(parts) > 1 else parts[0]


def check(own: Mapping[str, Any], rates: Mapping[str, Any], key: str) -> Callable | None:
    """Refuses what cannot be; the mask that `decay` names."""
    check_choice(f"config.{key}.decay", own["decay"], EVERY_OPTIMIZER["decay"])
    is_number = lambda value: isinstance(value, int | float) and 0 <= value < math.inf
    if own["clip"] is not None and not (isinstance(own["clip"], int | float) and own["clip"] > 0):
        raise UserError(f"config.{key}.clip={own['clip']} is a norm; use a number above 0, or leave it unset")
    for name in ("l1", "l2"):
        if not is_number(own[name]):
            raise UserError(f"config.{key}.{name}={own[name]} weighs a penalty; use a finite number, 0 (off) or more")
    for name, peak in rates.items():
        if not is_number(peak):
            raise UserError(f"config.{key}.{name}={peak} is a step's length; use a finite number, 0 or more")
    return decay_matrices if own["decay"] == "matrices" else None


@functools.cache
def optimizers() -> dict[str, str]:
    """What a config may name, and the package that has it: functions that take a learning rate."""
    found = {}
    for package in reversed(SOURCES):
        for name, f in vars(importlib.import_module(package)).items():
            is_function = inspect.isfunction(f) or isinstance(f, functools.partial)
            if is_function and not name.startswith(("_", "scale_by")) and name not in LEFT_OUT:
                found |= {name: package} if "learning_rate" in inspect.signature(f).parameters else {}
    return found


def masks(function: Callable, decays: Callable | None) -> dict[str, Any]:
    """The arguments by which `function` hears what decays (some do so unasked), and what Muon orthogonalises."""
    takes = inspect.signature(function).parameters
    given = {argument: decays for argument in ("mask", "weight_decay_mask") if decays and argument in takes}
    shapes = "muon_weight_dimension_numbers"
    return given | ({shapes: hidden_matrices} if shapes in takes else {})


def hidden_matrices(params: Any) -> Any:
    """What Muon orthogonalises: matrices that are no embedding (Jordan et al. 2024); AdamW does the rest."""
    flat, tree = jax.tree_util.tree_flatten_with_path(params)
    is_hidden = lambda path, leaf: leaf.ndim == 2 and path[-1].key not in ("scale", "bias", "embedding")
    dimensions = optax.contrib.MuonDimensionNumbers()
    return jax.tree.unflatten(tree, [dimensions if is_hidden(path, leaf) else None for path, leaf in flat])


def penalty(l1: float, l2: float, mask: Callable | None) -> optax.GradientTransformation:
    """Adds the gradient of l1 Σ|w| + ½ l2 Σw² (Tibshirani 1996, Hoerl & Kennard 1970), which the loss does not show."""
    add = lambda grads, params: jax.tree.map(lambda g, w: g + l1 * jnp.sign(w) + l2 * w, grads, params)
    return optax.masked(optax.stateless(add), mask) if mask else optax.stateless(add)


def decay_matrices(params: Any) -> Any:
    """True for weights; False for biases and the scales of norms, stacked by layer or not."""
    flat, tree = jax.tree_util.tree_flatten_with_path(params)
    is_weight = lambda path, leaf: leaf.ndim > 1 and path[-1].key not in ("scale", "bias")
    return jax.tree.unflatten(tree, [is_weight(path, leaf) for path, leaf in flat])


def partitioned(spec: groups.Groups) -> optax.GradientTransformationExtraArgs:
    """One optimizer for each group; `clip` and penalties are of the group alone."""

    def of(label: str, part: Mapping[str, Any]) -> optax.GradientTransformation:
        kwargs = {name: value for name, value in part.items() if name != "match" and value is not None}
        if kwargs.get("name") != groups.FROZEN:
            return one(kwargs, f"optim.{label}")
        if len(kwargs) > 1:
            more = ", ".join(sorted(set(kwargs) - {"name"}))
            raise UserError(f"config.optim.{label} is frozen, which takes no {more}; leave that out")
        return optax.set_to_zero()

    parts = {label: of(label, part) for label, part in spec.items()}
    return optax.with_extra_args_support(optax.partition(parts, groups.labelled(spec)))


class Averaged(NamedTuple):
    """State of `averaged`: the optimizer's own, and the running average of the parameters."""

    inner: optax.OptState
    ema: Any


def averaged(tx: optax.GradientTransformationExtraArgs, decay: float) -> optax.GradientTransformationExtraArgs:
    """Exponential moving average of the parameters after each update (Polyak & Juditsky 1992).

    Update number t (from 0) decays by min(`decay`, (1 + t) / (10 + t)), as TensorFlow's `num_updates` does: the
    parameters that a run began with would else weigh `decay`^steps at its end, 0.94 after 600 steps of 0.9999.
    """

    def init(params):
        inner = tx.init(params)
        if schedule_free_states(inner):
            raise UserError(f"config.ema={decay}: schedule_free keeps an average of its own; set config.ema=0")
        return Averaged(inner, jax.tree.map(jnp.copy, params))

    def update(grads, state, params=None, *, step, **extra):
        updates, inner = tx.update(grads, state.inner, params, **extra)
        new = optax.apply_updates(params, updates)
        weight = jnp.maximum(1 - decay, 9.0 / (10.0 + step))
        return updates, Averaged(inner, optax.incremental_update(new, state.ema, weight))

    return optax.GradientTransformationExtraArgs(init, update)


def evaluation_params(params: Any, opt_state: optax.OptState) -> Any:
    """What a run is judged by: the average where one is kept, else the parameters themselves."""
    if isinstance(opt_state, Averaged):
        return groups.merged(opt_state.ema, params)
    is_not_its_own = lambda z: isinstance(z, optax.MaskedNode)
    for state in schedule_free_states(opt_state):
        average = lambda z, y, b1=state.b1: y if is_not_its_own(z) else (y - (1 - b1) * z) / b1
        params = jax.tree.map(average, state.z, params, is_leaf=is_not_its_own)
    return params


def schedule_free_states(opt_state: optax.OptState) -> list[optax.contrib.ScheduleFreeState]:
    """Of one optimizer, or of several groups."""
    is_one = lambda state: isinstance(state, optax.contrib.ScheduleFreeState)
    return [state for state in jax.tree.leaves(opt_state, is_leaf=is_one) if is_one(state)]


def learning_rates(optim: Mapping[str, Any]) -> dict[str, float]:
    """Every learning rate of the config by its key below `optim`; what is frozen has none."""
    if "name" in optim:
        return {"learning_rate": optim["learning_rate"]}
    rates = {label: part["learning_rate"] for label, part in optim.items() if part.get("name") != groups.FROZEN}
    return {f"{label}.learning_rate": rate for label, rate in rates.items()}


def peak_rate(optim: Mapping[str, Any]) -> float:
    """The learning rate to log; of several groups, the largest."""
    return max(learning_rates(optim).values())
