"""Low-rank adapters on the dense layers of any network: LoRA (Hu et al. 2021, arXiv:2106.09685).

h = W x + (alpha / r) B A x (section 4.1), where A is random and B zero at first, so that the network begins as it was.
Shapes: I inputs, O outputs (all axes of them), R rank.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from models.api import Model, Params
from models.parts.cpu import flat_dot_general

ALPHA = 16.0
DOWN, UP = "lora_a", "lora_b"  # A [I, R] and B [R, O], beside the layer's "kernel"


def adapted(model: Model, rank: int = 8, alpha: float = ALPHA, match: str = "") -> Model:
    """`model`, whose dense layers with a path that `match` finds ("stack/block_0/up") have adapters of `rank`.

    Every parameter keeps its place and is drawn as without them.  A layer that makes several at once (query, key and
    value) has one adapter for all.  What trains the adapters alone is `config.optim` (train/optim/groups.py).
    """
    pattern = re.compile(match)
    seen: list[str] = []

    def adapt(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        layer, y = context.module, call(*args, **kwargs)
        if not isinstance(layer, nn.Dense | nn.DenseGeneral) or context.method_name != "__call__":
            return y
        name = "/".join(layer.path)
        seen.append(name)
        if not pattern.search(name):
            return y
        if getattr(layer, "axis", -1) not in (-1, (-1,)):
            raise ValueError(
                f"{name} has inputs along several axes, which adapters cannot follow; leave it out of match"
            )
        x = args[0]
        features = layer.features if isinstance(layer.features, tuple) else (layer.features,)
        a_IR = layer.param(DOWN, nn.initializers.normal(x.shape[-1] ** -0.5), (x.shape[-1], rank))
        b_RO = layer.param(UP, nn.initializers.zeros, (rank, *features))
        return y + alpha / rank * product(product(x, a_IR), b_RO)

    def init(key: jax.Array, *inputs: Any) -> Any:
        if rank < 1:
            raise ValueError(f"lora.rank={rank}; use 1 or more")
        plain, _ = model.init(jax.random.clone(key), *inputs)
        seen.clear()
        with nn.intercept_methods(adapt):
            params, state = model.init(key, *inputs)
        if not any(pattern.search(name) for name in seen):
            layers = ", ".join(dict.fromkeys(re.sub(r"(?<=_)\d+", "*", name) for name in seen)) or "none"
            raise ValueError(f"lora.match={match!r} finds no dense layer; they are {layers}")
        return beside(plain, params), state

    def apply(*args: Any, **kwargs: Any) -> Any:
        with nn.intercept_methods(adapt):
            return model.apply(*args, **kwargs)

    return model._replace(init=init, apply=apply)


def beside(plain: Params, params: Params) -> Params:
    """`plain`, with the adapters of `params`: in a scan over layers their draws change those of the kernels."""
    inner = lambda name: beside(plain[name], params[name]) if isinstance(params[name], dict) else plain[name]
    return {name: params[name] if name in (DOWN, UP) else inner(name) for name in params}


def product(x: jax.Array, w: jax.Array) -> jax.Array:
    """x · w over the last axis of x and the first of w."""
    return flat_dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())))


def merged(params: Params, alpha: float = ALPHA) -> Params:
    """The parameters of the network without adapters that computes the same: W + (alpha / r) A B."""
    inner = lambda part: merged(part, alpha) if isinstance(part, dict) else part
    rest = {name: inner(part) for name, part in params.items() if name not in (DOWN, UP)}
    if DOWN not in params:
        return rest
    a, b, kernel = params[DOWN], params[UP], params["kernel"]  # all with a leading axis of layers, where scanned
    flat = jnp.matmul(a, b.reshape(*b.shape[: a.ndim - 1], -1), precision="highest")
    return {**rest, "kernel": kernel + alpha / a.shape[-1] * flat.reshape(kernel.shape)}
