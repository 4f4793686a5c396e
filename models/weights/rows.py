"""Rows of a table of names: a parameter of ours, the tensors of theirs, and how one becomes the other.

Theirs are torch's: a linear layer's weight is [out, in], ours [in, out].
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from models.parts.activations import ActivationName


class Row(NamedTuple):
    ours: str  # "params/stack/block_0/norm1/scale": collection, modules and name
    theirs: tuple[str, ...]
    into: Callable[..., np.ndarray]  # theirs -> ours
    out: Callable[[np.ndarray], tuple[np.ndarray, ...]]  # ours -> theirs


def same(ours: str, theirs: str) -> Row:
    return Row(f"params/{ours}", (theirs,), lambda x: x, lambda x: (x,))


def shaped(ours: str, theirs: str, our_shape: tuple[int, ...], their_shape: tuple[int, ...]) -> Row:
    return Row(f"params/{ours}", (theirs,), lambda x: x.reshape(our_shape), lambda x: (x.reshape(their_shape),))


def moved(ours: str, theirs: str, axes: tuple[int, ...]) -> Row:
    """Ours has their axes in this order."""
    back = tuple(int(i) for i in np.argsort(axes))
    return Row(f"params/{ours}", (theirs,), lambda x: x.transpose(axes), lambda x: (x.transpose(back),))


def linear(ours: str, theirs: str, bias: bool) -> list[Row]:
    rows = [moved(f"{ours}/kernel", f"{theirs}.weight", (1, 0))]
    return [*rows, same(f"{ours}/bias", f"{theirs}.bias")] if bias else rows


def linears(ours: str, theirs: tuple[str, ...], bias: bool) -> list[Row]:
    """Several layers of theirs with one input are one of ours: [in, which, out]."""
    several = lambda suffix: tuple(f"{name}.{suffix}" for name in theirs)
    kernel = Row(
        f"params/{ours}/kernel",
        several("weight"),
        lambda *w: np.stack([x.T for x in w], axis=1),
        lambda x: tuple(x[:, i].T for i in range(len(theirs))),
    )
    if not bias:
        return [kernel]
    biases = lambda x: tuple(x[i] for i in range(len(theirs)))
    return [kernel, Row(f"params/{ours}/bias", several("bias"), lambda *b: np.stack(b), biases)]


def layer_norm(ours: str, theirs: str) -> list[Row]:
    return [same(f"{ours}/scale", f"{theirs}.weight"), same(f"{ours}/bias", f"{theirs}.bias")]


def attention(
    ours: str,
    theirs: tuple[str, ...],
    bias: bool,
    out_bias: bool,
    grouped: bool,
    cross: bool = False,
    key_bias: bool = True,
) -> list[Row]:
    """`theirs` are the names of query, key, value and output; see parts/attention.py for which of ours are one."""
    q, k, v, out = theirs
    rows = linear(f"{ours}/out", out, out_bias)
    if bias and not key_bias:
        rows += [same(f"{ours}/q_bias", f"{q}.bias"), same(f"{ours}/v_bias", f"{v}.bias")]
        bias = False
    if grouped or cross:
        return rows + linear(f"{ours}/q", q, bias) + linears(f"{ours}/kv", (k, v), bias)
    return rows + linears(f"{ours}/qkv", (q, k, v), bias)


# Activations by the names that config.json gives them.
ACTIVATIONS: dict[str, ActivationName] = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_accurate": "gelu_tanh", "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_python_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu", "leaky_relu": "leaky_relu", "linear": "identity", "mish": "mish", "relu": "relu",
    "relu2": "relu_squared", "relu6": "relu6", "sigmoid": "sigmoid", "silu": "silu", "swish": "silu", "tanh": "tanh",
    "hardswish": "hard_swish", "gelu_10": "clipped_gelu", "laplace": "laplace", "sqrtsoftplus": "sqrt_softplus",
}  # fmt: skip
# And back: of several the one that every class knows.
THEIR_ACTIVATIONS = {ours: name for name, ours in reversed(ACTIVATIONS.items())} | {
    "gelu_tanh": "gelu_new", "silu": "silu",
}  # fmt: skip


def activation(config: dict, key: str, default: str) -> ActivationName:
    name = config.get(key, default)
    if name not in ACTIVATIONS:
        raise ValueError(f"{key}={name!r} is not known here; known are {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]


def their_activation(name: ActivationName) -> str:
    if name not in THEIR_ACTIVATIONS:
        raise ValueError(
            f"activation={name!r} has no name in public configs; those with one are {list(THEIR_ACTIVATIONS)}"
        )
    return THEIR_ACTIVATIONS[name]


def refuse(config: dict, **only: object) -> None:
    """Says which fields of a config have a value that is not built here."""
    for key, value in only.items():
        if config.get(key, value) != value:
            raise ValueError(f"{key}={config[key]!r} is not supported; only {value!r} is")
