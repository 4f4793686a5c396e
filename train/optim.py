"""Optimizers by their optax name, with the parts that belong to no optimizer: rate, clipping, decay mask, averaging."""

import functools
import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from train.build import build, resolve
from train.errors import UserError, suggest

PLAYERS_NEED = "one optimizer for all parameters (config.optim.name), or one for each of the top-level groups"


def optimizer(spec: Mapping[str, Any], ema: float = 0.0) -> optax.GradientTransformationExtraArgs:
    """`spec` is one optimizer ({"name": "adamw", "learning_rate": …}), or one for each top-level group of parameters.

    Beside the optax function's own arguments it may hold `clip` (global norm) and `decay` ("matrices" or "all": what
    the function's weight decay acts on).  `ema` > 0 also keeps an average of the parameters, which evaluation uses.
    """
    if "name" in spec:
        tx = one(spec, "optim")
    elif spec and all(isinstance(part, Mapping) for part in spec.values()):
        tx = partitioned({label: one(part, f"optim.{label}") for label, part in spec.items()})
    else:
        raise UserError(f"config.optim needs {PLAYERS_NEED}; it has {sorted(spec)}")
    if not 0 <= ema < 1:
        raise UserError(f"config.ema={ema} is a decay; use 0 (off) or a number just under 1, such as 0.999")
    return averaged(tx, ema) if ema else tx


def one(spec: Mapping[str, Any], key: str) -> optax.GradientTransformationExtraArgs:
    kwargs = {k: v for k, v in spec.items() if v is not None}
    clip, decay = kwargs.pop("clip", None), kwargs.pop("decay", "matrices")
    if "learning_rate" not in kwargs:
        raise UserError(f"config.{key} has no learning_rate; set config.{key}.learning_rate")
    name = kwargs.get("name", "")
    if name not in optimizers():
        raise UserError(f"config.{key}.name={name!r} is no optimizer of optax{suggest(name, optimizers())}")
    choices = {"matrices": decay_matrices, "all": None}
    if decay not in choices:
        raise UserError(f"config.{key}.decay={decay!r}{suggest(decay, choices)}")
    if clip is not None and not clip > 0:
        raise UserError(f"config.{key}.clip={clip} is a norm; use a number above 0, or leave it unset")
    peak = kwargs["learning_rate"]
    if not (isinstance(peak, int | float) and 0 <= peak < math.inf):
        raise UserError(f"config.{key}.learning_rate={peak} is a step's length; use a finite number, 0 or more")
    given = decay_mask(name, choices[decay])
    make = lambda learning_rate: build("optax", {**kwargs, "learning_rate": learning_rate}, key, **given)
    base = make(peak)  # also checks the arguments, before anything is compiled

    def update(grads, state, params=None, *, rate=1.0, **extra):
        del extra
        # optax builds an optimizer from numbers; a traced number makes the schedule an input of the compiled step.
        return make(peak * rate).update(grads, state, params)

    tx = optax.GradientTransformationExtraArgs(base.init, update)
    return optax.chain(optax.clip_by_global_norm(clip), tx) if clip else tx


@functools.cache
def optimizers() -> list[str]:
    """What a config may name: the functions of optax that take a learning rate."""
    functions = {n: f for n, f in vars(optax).items() if inspect.isfunction(f) and not n.startswith(("_", "scale_by"))}
    return [name for name, f in functions.items() if "learning_rate" in inspect.signature(f).parameters]


def decay_mask(name: str, mask: Any) -> dict[str, Any]:
    """The argument by which optax's `name` hears what decays: some decay without being asked to."""
    takes = inspect.signature(resolve("optax", name)).parameters
    return {argument: mask for argument in ("mask", "weight_decay_mask") if mask and argument in takes}


def decay_matrices(params: Any) -> Any:
    """True for weights; False for biases and the scales of norms, stacked by layer or not."""
    flat, tree = jax.tree_util.tree_flatten_with_path(params)
    is_weight = lambda path, leaf: leaf.ndim > 1 and path[-1].key not in ("scale", "bias")
    return jax.tree.unflatten(tree, [is_weight(path, leaf) for path, leaf in flat])


def partitioned(parts: dict[str, optax.GradientTransformationExtraArgs]) -> optax.GradientTransformationExtraArgs:
    """One optimizer for each top-level group of the parameters: the players of a game."""

    def labels(params):
        if set(params) != set(parts):
            raise UserError(f"config.optim has {sorted(parts)}, the parameters have {sorted(params)}: {PLAYERS_NEED}")
        return {group: group for group in params}

    return optax.with_extra_args_support(optax.partition(parts, labels))


class Averaged(NamedTuple):
    """State of `averaged`: the optimizer's own, and the running average of the parameters."""

    inner: optax.OptState
    ema: Any


def averaged(tx: optax.GradientTransformationExtraArgs, decay: float) -> optax.GradientTransformationExtraArgs:
    """Exponential moving average of the parameters after each update (Polyak & Juditsky 1992)."""

    def init(params):
        return Averaged(tx.init(params), jax.tree.map(jnp.copy, params))

    def update(grads, state, params=None, **extra):
        updates, inner = tx.update(grads, state.inner, params, **extra)
        new = optax.apply_updates(params, updates)
        return updates, Averaged(inner, optax.incremental_update(new, state.ema, 1 - decay))

    return optax.GradientTransformationExtraArgs(init, update)


def evaluation_params(params: Any, opt_state: optax.OptState) -> Any:
    """What a run is judged by: the average where one is kept, else the parameters themselves."""
    return opt_state.ema if isinstance(opt_state, Averaged) else params


def learning_rates(optim: Mapping[str, Any]) -> dict[str, float]:
    """Every learning rate of the config by its key below `optim`."""
    if "name" in optim:
        return {"learning_rate": optim["learning_rate"]}
    return {f"{player}.learning_rate": part["learning_rate"] for player, part in optim.items()}


def peak_rate(optim: Mapping[str, Any]) -> float:
    """The learning rate to log; of several players, the largest."""
    return max(learning_rates(optim).values())
