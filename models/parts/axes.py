"""What a network says about the axes of its arrays, so that they can be spread over devices.

Names are logical ("embed", "heads", "batch"); train/devices/mesh.py says which axis of the device mesh each stands for.
Without `spread` around them all of this does nothing.

parameters    named(init, "embed", "mlp")                    what is not named is spread by its size
activations   constrain(x_BLD, "batch", "length", None)
random draws  draw(jax.random.normal, key, (B, D))           over a batch: the same numbers on any number of devices
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from flax import linen as nn
from flax import struct
from flax.core import meta

SUM = "sum"
LANES = "lanes"  # of a model state: its arrays begin with the axis of the batch, and are split as it is


class Sum(NamedTuple):
    """Of a result of `per_device`: the names of its axes, and of the one whose parts are added up."""

    names: tuple[str | None, ...]
    over: str


Place = Callable[[jax.Array, tuple[str | None, ...]], jax.Array]  # (array, names of its axes) -> the array, spread


class Spread(NamedTuple):
    """How arrays lie on several devices."""

    place: Place
    # (fn, names of the axes of each argument, of each result, and those left to XLA) -> fn on every device's own part
    per_device: Callable[[Callable, tuple, tuple, tuple[str, ...]], Callable]
    parts: Callable[[str], int]  # into how many an axis of that name is split


_spread: contextvars.ContextVar[Spread | None] = contextvars.ContextVar("spread", default=None)
_batch_axis: contextvars.ContextVar[str | None] = contextvars.ContextVar("batch_axis", default=None)


class Named(struct.PyTreeNode, meta.AxisMetadata):
    """A parameter and the names of its axes, which Linen carries along and opens where the network reads it."""

    value: Any
    names: tuple[str | None, ...] = struct.field(pytree_node=False)

    def unbox(self) -> Any:
        return self.value

    def replace_boxed(self, val: Any) -> "Named":
        return self.replace(value=val)

    def add_axis(self, index: int, params: dict) -> "Named":
        """Of parameters stacked by layer (`nn.scan`)."""
        return self.replace(names=(*self.names[:index], params[nn.PARTITION_NAME], *self.names[index:]))

    def remove_axis(self, index: int, params: dict) -> "Named":
        return self.replace(names=(*self.names[:index], *self.names[index + 1 :]))


def named(init: Callable, *axes: str | None) -> Callable:
    """An initialiser whose parameter has these axes, in order; None is an axis that is never split."""
    return lambda *args, **keywords: Named(init(*args, **keywords), axes)


def names(tree: Any) -> Any:
    """The tree with each parameter's axis names, a tuple, in its place; () where it was not `named`."""
    is_named = lambda x: isinstance(x, Named)
    return jax.tree.map(lambda x: x.names if is_named(x) else (), tree, is_leaf=is_named)


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """`x`, spread over devices as its axes say; an axis None is whole on each."""
    spread = _spread.get()
    return x if spread is None else spread.place(x, axes)


def per_device(fn: Callable, inputs: tuple, outputs: tuple, leave: tuple[str, ...] = ()) -> Callable:
    """`fn` on every device's own part of its arguments: for what XLA cannot split by itself.

    `inputs` are the names of each argument's axes, `outputs` those of each result of the tuple that `fn` gives; of a
    result that stands for a sum over batch and length (`SUM`), or over another axis (`Sum`), the devices' parts are
    added up.  How arrays are split along axes in `leave` is left to XLA.
    """
    spread = _spread.get()
    return fn if spread is None else spread.per_device(fn, inputs, outputs, leave)


def parts(name: str) -> int:
    """Into how many parts devices split the axes of that name, where it is divisible."""
    spread = _spread.get()
    return 1 if spread is None else spread.parts(name)


def is_spread() -> bool:
    """Whether `constrain` does anything: several devices share each array."""
    return _spread.get() is not None


def gathered(w: jax.Array, *axes: str | None) -> jax.Array:
    """A parameter where it is used: whole along "embed", which is split only where parameters are kept.

    Without it the compiler may move the activations of the whole batch instead of one layer's weights.  The gradient
    is split as the parameter is kept: devices add up their parts (reduce-scatter), and none holds the whole.
    """
    whole = tuple(None if name == "embed" else name for name in axes)
    return gather_with(lambda x: constrain(x, *whole), lambda g: constrain(g, *axes), w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def gather_with(gather: Callable, scatter: Callable, w: Any) -> Any:
    """`gather(w)`, whose gradient is `scatter`ed."""
    return gather(w)


gather_with.defvjp(lambda gather, scatter, w: (gather(w), None), lambda gather, scatter, _, g: (scatter(g),))


@contextlib.contextmanager
def _within(variable: contextvars.ContextVar, value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def spread(how: Spread) -> contextlib.AbstractContextManager[None]:
    """Within it `constrain` and `per_device` work as `how` says."""
    return _within(_spread, how)


def split_batch(axis: str) -> contextlib.AbstractContextManager[None]:
    """Within it every device runs the network on its own part of the batch, and `axis` names them all (`jax.pmap`)."""
    return _within(_batch_axis, axis)


def batch_axis() -> str | None:
    """The axis to average batch statistics over, or None where the network sees the whole batch."""
    return _batch_axis.get()


def draw(sample: Callable, key: jax.Array, shape: tuple[int, ...], **keywords: Any) -> jax.Array:
    """`sample(key, shape=shape)`, whose first axis is the batch's.

    Where a device holds a part of the batch it draws for all and takes its part: no number depends on the devices.
    """
    return part(sample(key, shape=(shape[0] * shares(), *shape[1:]), **keywords))


def shares() -> int:
    """Into how many parts the batch is split where each device sees its own."""
    axis = batch_axis()
    return 1 if axis is None else jax.lax.axis_size(axis)


def whole(x: jax.Array) -> jax.Array:
    """The whole batch, of which this device may hold a part."""
    axis = batch_axis()
    return x if axis is None else jax.lax.all_gather(x, axis, tiled=True)


def part(x: jax.Array) -> jax.Array:
    """This device's part of a whole batch."""
    axis = batch_axis()
    if axis is None:
        return x
    rows = len(x) // shares()
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(axis) * rows, rows)
