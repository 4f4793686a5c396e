"""Small parts that several networks share: activations and norms by name."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from models.axes import batch_axis, draw, gathered, named


def gelu(x: jax.Array) -> jax.Array:
    """x times the normal CDF (Hendrycks & Gimpel 2016), by erf.

    With `jax.nn.gelu`, which takes erfc, a GPT step on a CPU is 5 to 8 % longer.
    """
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


ACTIVATIONS: dict[str, Callable] = {
    "relu": jax.nn.relu,
    "gelu": gelu,
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "silu": jax.nn.silu,
    "tanh": jax.nn.tanh,
    "sigmoid": jax.nn.sigmoid,
}


def activation(name: str) -> Callable:
    return choose("activation", name, ACTIVATIONS)


def choose(what: str, name: str, choices: dict):
    """`choices[name]`, or a sentence that says what there is."""
    if name not in choices:
        raise ValueError(f"{what}={name!r} is unknown; choose one of {', '.join(sorted(choices))}")
    return choices[name]


def flat_dot_general(x, w, dimensions, precision=None, preferred_element_type=None):
    """`lax.dot_general` for dense layers, with the leading axes of `x` flattened into one.

    The weight gradient is then a product of two matrices.  With more axes XLA's CPU backend first copies both operands
    into another layout, recomputing what made them: a GPT step takes 1.4 times as long (scripts/bench_step.py).
    """
    (contracted, _), _ = dimensions
    if contracted != (x.ndim - 1,):
        return jax.lax.dot_general(x, w, dimensions, precision, preferred_element_type)
    flat = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]), w, (((1,), dimensions[0][1]), ((), ())), precision, preferred_element_type
    )
    return flat.reshape(*x.shape[:-1], *flat.shape[1:])


def dense(
    features: int | tuple[int, ...],
    axes: tuple[str | None, ...] | None = None,
    *,
    use_bias: bool = True,
    kernel_init: Callable = nn.linear.default_kernel_init,
    name: str | None = None,
) -> nn.DenseGeneral:
    """A dense layer from the last axis to `features`; `axes` are the names of the kernel's axes (models/axes.py)."""
    bias_init, product = nn.initializers.zeros, flat_dot_general
    if axes is not None:
        product = lambda x, w, *how, **more: flat_dot_general(x, gathered(w, *axes), *how, **more)
        kernel_init, bias_init = named(kernel_init, *axes), named(bias_init, *axes[1:])
    return nn.DenseGeneral(
        features, use_bias=use_bias, kernel_init=kernel_init, bias_init=bias_init, dot_general=product, name=name
    )


class Embed(nn.Module):
    """A table of `count` vectors: looked up by number, or multiplied by (`attend`)."""

    count: int
    width: int
    initializer: Callable
    axes: tuple[str | None, str | None]

    def setup(self):
        self.embedding = self.param("embedding", named(self.initializer, *self.axes), (self.count, self.width))

    def __call__(self, index: jax.Array) -> jax.Array:
        return gathered(self.embedding, *self.axes)[index]

    def attend(self, x: jax.Array) -> jax.Array:
        """x · table: [..., width] → [..., count]."""
        return flat_dot_general(x, gathered(self.embedding, *self.axes).T, (((x.ndim - 1,), (0,)), ((), ())))


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """Ioffe & Szegedy 2015, with the running average of the reference ResNet (momentum 0.9, epsilon 1e-5)."""
    return nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=1e-5, axis_name=batch_axis() if train else None, name=name
    )


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


def conv(
    features: int,
    kernel: int | tuple[int, ...],
    strides: int | tuple[int, ...] = 1,
    *,
    padding: int | str | None = None,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
    use_bias: bool = True,
    kernel_init: Callable = nn.linear.default_kernel_init,
    name: str | None = None,
) -> nn.Conv:
    """The convolution of all networks; an int stands for both axes of an image, a tuple has one number an axis.

    `padding` is zeros on each side, kernel // 2 unless told: the outputs of an odd kernel then have the size of the
    inputs, divided by the stride and rounded up.  "SAME", "VALID" and "CAUSAL" are Flax's.
    """
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    if padding is None:
        spread = (dilation,) * len(kernel) if isinstance(dilation, int) else dilation
        padding = [(d * (k - 1) // 2,) * 2 for k, d in zip(kernel, spread, strict=True)]
    return nn.Conv(
        features, kernel, strides, padding, kernel_dilation=dilation, feature_group_count=groups, use_bias=use_bias,
        kernel_init=kernel_init, name=name,
    )  # fmt: skip


def max_pool(x: jax.Array, size: int, stride: int, padding: int | str = 0) -> jax.Array:
    """The largest of every `size` × `size` window, [B, H, W, C]; `padding` pixels around, or "SAME": rounded up.

    Along one axis, then along the other, as the maximum of strided slices: the gradient of `nn.max_pool` takes 3 to 10
    times as long on a CPU (scripts/bench_zoo.py).  Numbers that are equally large share it.
    """
    for axis in (1, 2):
        pixels = x.shape[axis]
        low = high = padding
        if isinstance(padding, str):
            outputs = -(-pixels // stride)
            missing = max((outputs - 1) * stride + size - pixels, 0)
            low, high = missing // 2, missing - missing // 2
        widths = [(low, high, 0) if i == axis else (0, 0, 0) for i in range(4)]
        x = jax.lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), widths)
        last = (x.shape[axis] - size) // stride * stride
        windows = [jax.lax.slice_in_dim(x, i, i + last + 1, stride, axis) for i in range(size)]
        x = functools.reduce(jnp.maximum, windows)
    return x


def local_response_norm(x: jax.Array) -> jax.Array:
    """Divides by (2 + 1e-4 Σ x²)^0.75, the sum over the maps at most two away (Krizhevsky et al. 2012, section 3.3)."""
    maps = x.shape[-1]
    squares = jnp.pad(x**2, [(0, 0)] * (x.ndim - 1) + [(2, 2)])
    return x * (2 + 1e-4 * sum(squares[..., i : i + maps] for i in range(5))) ** -0.75
