"""Dense layers, embeddings and dropout, which name the axes of their parameters (models/parts/axes.py)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from models.parts.axes import constrain, draw, gathered, named
from models.parts.cpu import flat_dot_general, stored


def at_least_one(network: nn.Module, *names: str) -> None:
    """Refuses sizes of a network that are 0 or less."""
    for name in names:
        if getattr(network, name) < 1:
            raise ValueError(f"{name}={getattr(network, name)}; use 1 or more")


def dense(
    features: int | tuple[int, ...],
    axes: tuple[str | None, ...] | None = None,
    *,
    use_bias: bool = True,
    kernel_init: Callable = nn.linear.default_kernel_init,
    name: str | None = None,
) -> nn.DenseGeneral:
    """A dense layer from the last axis to `features`; `axes` are the names of the kernel's axes (axes.py)."""
    bias_init, product = nn.initializers.zeros, flat_dot_general
    if axes is not None:
        product = lambda x, w, *how, **more: flat_dot_general(x, gathered(w, *axes), *how, **more)
        kernel_init, bias_init = named(kernel_init, *axes), named(bias_init, *axes[1:])
    return nn.DenseGeneral(
        features, use_bias=use_bias, kernel_init=kernel_init, bias_init=bias_init, dot_general=product, name=name
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def look_up(axis: str | None, table: jax.Array, index: jax.Array) -> jax.Array:
    """`table[index]`; the axis of its vectors is called `axis`.

    In its gradient devices that split the table by `axis` trade the vectors' gradients, not those of whole tables.
    """
    del axis
    return table[index]


def _look_up_backward(axis: str | None, residuals: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, None]:
    table, index = residuals
    rows = ("copies", *(None,) * (index.ndim - 1))
    index = constrain(index, *rows)
    return jax.vjp(lambda table: table[index], table)[1](constrain(g, *rows, axis))[0], None


look_up.defvjp(lambda axis, table, index: (table[index], (table, index)), _look_up_backward)


class Embed(nn.Module):
    """A table of `count` vectors: looked up by number, or multiplied by (`attend`)."""

    count: int
    width: int
    initializer: Callable
    axes: tuple[str | None, str | None]

    def setup(self):
        self.embedding = self.param("embedding", named(self.initializer, *self.axes), (self.count, self.width))

    def __call__(self, index: jax.Array) -> jax.Array:
        return look_up(self.axes[1], gathered(self.embedding, *self.axes), index)

    def attend(self, x: jax.Array) -> jax.Array:
        """x · table: [..., width] → [..., count]."""
        return product(x, self.matrix())

    def matrix(self) -> jax.Array:
        """What `attend` multiplies by: [width, count]."""
        return gathered(self.embedding, *self.axes).T


class Factors(NamedTuple):
    """Logits that are not computed yet: x_BLD · w_DV, in the precision of the network."""

    x: jax.Array
    w: jax.Array


class Unembed(nn.Module):
    """The matrix from the width to the logits, where it is not the embedding's."""

    count: int

    @nn.compact
    def __call__(self, width: int) -> jax.Array:
        init = named(nn.linear.default_kernel_init, "embed", "vocab")
        return gathered(self.param("kernel", init, (width, self.count)), "embed", "vocab")


def logits(x_BLD: jax.Array, w_DV: jax.Array, factors: bool = False) -> jax.Array | Factors:
    """The last product of a language model, or its `factors`: what a loss in slices asks for (train/slices.py)."""
    return Factors(x_BLD, w_DV) if factors else constrain(product(x_BLD, w_DV), "batch", "length", "vocab")


def product(x: jax.Array, w: jax.Array) -> jax.Array:
    """x · w over the last axis of x."""
    if x.size == x.shape[-1]:
        # Of one row XLA's CPU backend would make a loop that computes x anew for each column of w.
        return (w.T @ stored(x).ravel()).reshape(*x.shape[:-1], -1)
    return flat_dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())))


class Dropout(nn.Module):
    """Zeroes each number with probability `rate` and scales the others to the same mean (Srivastava et al. 2014).

    The numbers of `nn.Dropout`, on however many devices.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if not train or self.rate == 0:
            return x
        kept = draw(jax.random.bernoulli, self.make_rng("dropout"), x.shape, p=1 - self.rate)
        return jnp.where(kept, x / (1 - self.rate), jnp.zeros_like(x))
