"""Convolutions, pooling and the norm of neighbouring maps, channels last."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from models.parts.cpu import stored


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


class Doubling(nn.Module):
    """A transposed convolution, 4 × 4 with stride 2: [B, H, W, C] -> [B, 2 H, 2 W, features].

    What `nn.ConvTranspose` computes from the same kernel with padding "SAME", as one product of matrices: every output
    is a sum over 2 × 2 inputs, by one of four kernels for its place among the four (Shi et al. 2016).  On a CPU the
    gradient of a convolution over an input with zeros in between takes ten times as long (scripts/bench/layers.py).
    """

    features: int
    use_bias: bool = True
    kernel_init: Callable = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        B, H, W, C = x.shape
        kernel = self.param("kernel", self.kernel_init, (4, 4, C, self.features))
        # Axes of the kernel: offset and place of a row, offset and place of a column; C; features.
        w = kernel.reshape(2, 2, 2, 2, C, self.features).transpose(0, 2, 4, 1, 3, 5)
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        near = jnp.concatenate([x[:, i : i + H + 1, j : j + W + 1] for i in (0, 1) for j in (0, 1)], axis=-1)
        y = near.reshape(-1, 4 * C) @ w.reshape(4 * C, 4 * self.features).astype(x.dtype)
        y = y.reshape(B, H + 1, W + 1, 2, 2, self.features)
        rows = [jnp.stack([y[:, i : i + H, j : j + W, i, j] for j in (0, 1)], axis=3) for i in (0, 1)]
        y = jnp.stack(rows, axis=2).reshape(B, 2 * H, 2 * W, self.features)
        return y + self.param("bias", nn.initializers.zeros, (self.features,))[None, None, None] if self.use_bias else y
