"""The seam: to everyone outside models/, a network is two pure functions over plain dicts of arrays.

Only this file knows which library builds the networks.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import meta

from models.parts.dense import Factors

Params = dict[str, Any]
ModelState = dict[str, Any]  # running statistics and the like; {} for most networks
Precision = Literal["float32", "bfloat16", "float64"]
INSIDE = "intermediates"  # Linen's collection of what submodules give


class Model(NamedTuple):
    """A network.  `apply` takes `method` for networks that do more than one thing (decode, sample).

    With `capture=True` the outputs are a pair: the outputs, and what every submodule gave, by its path ("stage0/conv").
    """

    init: Callable[..., tuple[Params, ModelState]]  # (key, *inputs) -> params, state
    # (params, state, *inputs, key, train, method, capture) -> outputs, state
    apply: Callable[..., tuple[Any, ModelState]]
    network: Any = None  # what built it, for its options and its empty cache
    config: Any = None  # config.json, where it came from a public checkpoint (models/pretrained.py)


def cast_floats(tree: Any, dtype: str) -> Any:
    """Casts the floating-point leaves of `tree` to `dtype`; integers and keys pass through."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x, tree)


def sown(module: nn.Module, params: Params, state: ModelState, streams: dict, inputs: tuple) -> list[str]:
    """The collections that a call makes longer (`self.sow` appends to them): notes of the network, and no state."""
    if not state:
        return []

    def call(streams):
        variables = {"params": params, **state}
        return module.apply(variables, *inputs, train=False, rngs=streams, mutable=list(state))[1]

    after = jax.eval_shape(call, streams)
    shapes = lambda tree: jax.tree.map(jnp.shape, meta.unbox(tree))
    return [name for name, value in state.items() if shapes(value) != shapes(after[name])]


def captured(tree: Any, path: str = "") -> dict[str, Any]:
    """Linen's tree of what submodules gave → what each gave at its first call, by its path; "" is the network."""
    found = {path: tree["__call__"][0]} if "__call__" in tree else {}
    for name, part in tree.items():
        if name != "__call__":
            found |= captured(part, f"{path}/{name}" if path else name)
    return found


def from_linen(module: nn.Module, precision: Precision = "float32", labelled: bool = False) -> Model:
    """Splits a Linen module into trained parameters and untrained state.

    `precision` is what the network computes in; parameters, state and outputs stay float32 (Micikevicius et al. 2018),
    but for the `Factors` of logits.
    The parameters of a `labelled` model keep the names of their axes, for `models.parts.axes.names` to read.
    """

    def init(key, *inputs):
        streams = dict(zip(("params", "dropout", "noise"), jax.random.split(key, 3), strict=True))
        variables = dict(module.init(streams, *inputs, train=False))
        params = variables.pop("params")
        for name in sown(module, params, variables, streams, inputs):
            del variables[name]
        return params if labelled else meta.unbox(params), variables

    def apply(params, state, *inputs, key=None, train=False, method=None, capture=False):
        streams = {} if key is None else dict(zip(("dropout", "noise"), jax.random.split(key), strict=True))
        if precision != "float32":
            params, inputs = cast_floats((params, inputs), precision)
        mutable = (list(state) if train else []) + [INSIDE] * capture
        outputs, changed = module.apply(
            {"params": params, **state},
            *inputs,
            train=train,
            rngs=streams,
            mutable=mutable,
            method=method,
            capture_intermediates=capture,
        )
        changed = cast_floats(dict(changed), "float32")
        outputs = outputs if isinstance(outputs, Factors) else cast_floats(outputs, "float32")
        if capture:
            outputs = outputs, captured(changed.pop(INSIDE))
        return outputs, {**state, **changed}

    return Model(init, apply, module)
