"""Normalisations by name, each with its source."""

from collections.abc import Callable
from typing import Literal

import jax
from flax import linen as nn

from models.parts.axes import batch_axis

EPSILON = 1e-5  # added to every variance that a norm divides by


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
