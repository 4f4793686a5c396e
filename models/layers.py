"""Small parts that several networks share; activations, initialisers and norms by name."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from models.activations import gelu as gelu
from models.axes import batch_axis, constrain, draw, gathered, named

Initializer = Callable[..., jax.Array]  # (key, shape, dtype) -> array

EPSILON = 1e-5  # added to every variance that a norm divides by


# Initialisers of a weight whose every output sums n inputs and every input goes to m outputs; a convolution counts
# its window in both.  The "normal" ones are cut off at two standard deviations, their variance is as given.
InitializerName = Literal[
    "zeros", "normal", "uniform", "orthogonal", "lecun_normal", "lecun_uniform", "xavier_normal", "xavier_uniform",
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "kaiming_normal", "kaiming_uniform",
]  # fmt: skip
INITIALIZERS: dict[str, Initializer] = {
    "zeros": nn.initializers.zeros,
    "normal": nn.initializers.normal(1.0),  # variance 1, not cut off; with gain 0.02 that of Radford et al. 2018
    "uniform": lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -1, 1),  # variance 1/3
    "xavier_normal": nn.initializers.xavier_normal(),  # variance 2 / (n + m); Glorot & Bengio 2010
    "xavier_uniform": nn.initializers.xavier_uniform(),  # the same, within ±√(6 / (n + m))
    "he_normal": nn.initializers.he_normal(),  # variance 2 / n; He et al. 2015
    "he_uniform": nn.initializers.he_uniform(),  # the same, within ±√(6 / n)
    "lecun_normal": nn.initializers.lecun_normal(),  # variance 1 / n; LeCun et al. 1998; Flax's default
    "lecun_uniform": nn.initializers.lecun_uniform(),  # the same, within ±√(3 / n)
    "orthogonal": nn.initializers.orthogonal(),  # QᵀQ = 1, of the kernel as a matrix with m columns; Saxe et al. 2013
}
INITIALIZERS |= {
    f"{also}_{shape}": INITIALIZERS[f"{name}_{shape}"]
    for also, name in (("glorot", "xavier"), ("kaiming", "he"))
    for shape in ("normal", "uniform")
}


def initializer(name: InitializerName, gain: float = 1.0) -> Initializer:
    """The initialiser, whose numbers are multiplied by `gain` (√2 suits ReLU where `orthogonal` or `lecun` do not)."""
    init = INITIALIZERS[name]
    return init if gain == 1 else lambda *args, **keywords: gain * init(*args, **keywords)


def flat_dot_general(x, w, dimensions, precision=None, preferred_element_type=None):
    """`lax.dot_general` for dense layers, with the leading axes of `x` flattened into one.

    The weight gradient is then a product of two matrices.  With more axes XLA's CPU backend first copies both operands
    into another layout, recomputing what made them: a GPT step takes 1.4 times as long (scripts/bench/step.py).
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
        return flat_dot_general(x, gathered(self.embedding, *self.axes).T, (((x.ndim - 1,), (0,)), ((), ())))


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """Ioffe & Szegedy 2015, with the running average of the reference ResNet (momentum 0.9, epsilon 1e-5)."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=EPSILON,
        axis_name=batch_axis() if train else None,
        name=name,
    )


def group_norm(name: str) -> Callable[[jax.Array], jax.Array]:
    """Wu & He 2018: 32 groups of channels, or the next smaller power of two that leaves each two channels or more."""

    def apply(x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        groups = next((g for g in (32, 16, 8, 4, 2) if channels % g == 0 and channels >= 2 * g), 1)
        return nn.GroupNorm(num_groups=groups, epsilon=EPSILON, name=name)(x)

    return apply


# (train, name) -> the layer.  All subtract the mean and divide by the deviation, but "rms", then scale and shift.
NormName = Literal["batch", "layer", "group", "rms", "none"]
NORMS: dict[str, Callable[[bool, str], Callable[[jax.Array], jax.Array]]] = {
    "batch": batch_norm,  # of each channel over the batch; Ioffe & Szegedy 2015
    "layer": lambda train, name: nn.LayerNorm(epsilon=EPSILON, name=name),  # over the channels; Ba et al. 2016
    "group": lambda train, name: group_norm(name),  # over some of the channels and all places of an image
    "rms": lambda train, name: nn.RMSNorm(epsilon=EPSILON, name=name),  # x / √mean(x²) · scale; Zhang & Sennrich 2019
    "none": lambda train, name: lambda x: x,
}


def norm(kind: NormName, train: bool, name: str) -> Callable[[jax.Array], jax.Array]:
    """The normalisation called `kind`, as a submodule `name`, over inputs whose last axis is the channels."""
    return NORMS[kind](train, name)


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


def stored(x: Any) -> Any:
    """`x`; on a CPU put into memory once, where XLA would compute it anew for each who reads it.

    Those may read it across the grain, or slice by slice, and then what made it is not vectorised.
    """
    return jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda x: x)


def convolution(x, w, *where, feature_group_count: int = 1, **how):
    """`lax.conv_general_dilated`, channels last, with a few groups as so many convolutions.

    On a CPU the gradient of a grouped one takes about 7 times as long (scripts/bench/layers.py), and the gradient by
    the weights transposes the inputs: as one operation with all that made them, unless they are stored.
    """
    product = functools.partial(jax.lax.conv_general_dilated, **how)
    x = stored(x)
    if not 1 < feature_group_count <= 8:
        return product(x, w, *where, feature_group_count=feature_group_count)
    parts = (jnp.split(array, feature_group_count, axis=-1) for array in (x, w))
    return jnp.concatenate([product(a, b, *where) for a, b in zip(*parts, strict=True)], axis=-1)


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
        features,
        kernel,
        strides,
        padding,
        kernel_dilation=dilation,
        feature_group_count=groups,
        use_bias=use_bias,
        kernel_init=kernel_init,
        conv_general_dilated=convolution,
        name=name,
    )


def max_pool(x: jax.Array, size: int, stride: int, padding: int | str = 0) -> jax.Array:
    """The largest of every `size` × `size` window, [B, H, W, C]; `padding` pixels around, or "SAME": rounded up.

    Along one axis, then along the other, as the maximum of strided slices: the gradient of `nn.max_pool` takes 6 to 12
    times as long on a CPU (scripts/bench/layers.py).  Numbers that are equally large share it.
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
    root = jax.lax.rsqrt(2 + 1e-4 * sum(squares[..., i : i + maps] for i in range(5)))
    return x * root * jnp.sqrt(root)  # on a CPU three times as fast as a power
