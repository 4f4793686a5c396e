"""Denoisers for diffusion (Ho, Jain & Abbeel 2020): from a noisy record, and how noisy, the noise that is in it.

Both take (x, time [B] in [0, 1], y [B] classes or None) and give an array of the form of `x`.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.convolution import conv
from models.parts.norms import norm

SMALLEST = {"width": 8, "layers": 1, "halvings": 1}  # at which pages are tested
FREQUENCIES = 32


def time_features(time: Float[Array, " batch"]) -> Float[Array, "batch features"]:
    """Sines and cosines of geometric frequencies from 1 to 1,000 (after Vaswani et al. 2017, section 3.5)."""
    angle = time[:, None] * jnp.geomspace(1.0, 1000.0, FREQUENCIES)[None]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class Condition(nn.Module):
    """What a denoiser is told beside the record: the time, and the class where there are `classes`."""

    width: int
    classes: int = 0

    @nn.compact
    def __call__(self, time: Float[Array, " batch"], y: Int[Array, " batch"] | None) -> Float[Array, "batch width"]:
        told = nn.Dense(self.width, name="time")(time_features(time))
        if self.classes:
            told += nn.Embed(self.classes, self.width, embedding_init=nn.initializers.normal(1.0), name="class")(y)
        return nn.swish(nn.Dense(self.width, name="both")(nn.swish(told)))


class MLP(nn.Module):
    """For vectors: `layers` residual layers, each told the time."""

    shape: tuple[int, ...]  # of one record
    width: int = 128
    layers: int = 3
    classes: int = 0  # of which it is told one; 0: it is not

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch numbers"],
        time: Float[Array, " batch"],
        y: Int[Array, " batch"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "batch numbers"]:
        told = Condition(self.width, self.classes, name="condition")(time, y)
        h = nn.Dense(self.width, name="input")(x)
        for i in range(self.layers):
            shift = nn.Dense(self.width, name=f"told_{i}")(told)
            h += nn.Dense(self.width, name=f"out_{i}")(nn.swish(nn.Dense(self.width, name=f"in_{i}")(h) + shift))
        return nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name="output")(nn.swish(h))


class Residual(nn.Module):
    """norm, swish, convolution, twice; the time moves and scales the maps between them (Dhariwal & Nichol 2021)."""

    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], told: Float[Array, "batch width"]
    ) -> Float[Array, "batch h w c2"]:
        h = conv(self.features, 3, name="conv_1")(nn.swish(norm("group", False, "norm_1")(x)))
        scale, shift = jnp.split(nn.Dense(2 * self.features, name="told")(told)[:, None, None], 2, axis=-1)
        h = norm("group", False, "norm_2")(h) * (1 + scale) + shift
        h = conv(self.features, 3, kernel_init=nn.initializers.zeros, name="conv_2")(nn.swish(h))
        return h + (x if x.shape[-1] == self.features else conv(self.features, 1, name="project")(x))


class UNet(nn.Module):
    """For pictures: a U-Net of residual blocks (Ho et al. 2020, appendix B), `width` maps, doubled at each halving."""

    shape: tuple[int, ...]  # of one record, [H, W, C]
    width: int = 32
    halvings: int = 2
    blocks: int = 1  # at each size, on the way down and on the way up
    classes: int = 0  # of which it is told one; 0: it is not

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch h w c"],
        time: Float[Array, " batch"],
        y: Int[Array, " batch"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "batch h w c"]:
        told = Condition(4 * self.width, self.classes, name="condition")(time, y)
        channels = x.shape[-1]
        x = conv(self.width, 3, name="input")(x)
        kept = []
        for i in range(self.halvings):
            for b in range(self.blocks):
                x = Residual(self.width * 2**i, name=f"down_{i}_{b}")(x, told)
            kept.append(x)
            x = nn.avg_pool(x, (2, 2), (2, 2), "SAME", count_include_pad=False)  # of odd sides one pixel more than half
        x = Residual(self.width * 2**self.halvings, name="bottom")(x, told)
        for i in reversed(range(self.halvings)):
            x = jnp.concatenate([doubled(x)[:, : kept[i].shape[1], : kept[i].shape[2]], kept[i]], axis=-1)
            for b in range(self.blocks):
                x = Residual(self.width * 2**i, name=f"up_{i}_{b}")(x, told)
        x = nn.swish(norm("group", False, "output_norm")(x))
        return conv(channels, 3, kernel_init=nn.initializers.zeros, name="output")(x)


def doubled(x: jax.Array) -> jax.Array:
    """Every pixel four times."""
    return x.repeat(2, axis=1).repeat(2, axis=2)
