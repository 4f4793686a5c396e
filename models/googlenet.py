"""GoogLeNet (Szegedy et al. 2014, "Going deeper with convolutions"), without its auxiliary classifiers."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.convolution import conv, local_response_norm, max_pool
from models.parts.dense import Dropout
from models.parts.norms import NormName, norm

Images = Float[Array, "batch h w c"]

he = nn.initializers.he_normal()

# Maps of every module (table 1): 1 × 1; 1 × 1, 3 × 3; 1 × 1, 5 × 5; 1 × 1 after the pool.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLED = ("4a", "5a")  # what a max-pool of stride 2 stands before
SMALLEST = {"width": 16, "modules": ("4a",)}  # at which pages are tested


def layers(kind: NormName, train: bool) -> Callable:
    """What makes a layer of the network: a convolution, the norm `kind`, ReLU."""

    def layer(features: int, kernel: int, stride: int = 1, *, name: str) -> Callable[[Images], Images]:
        convolution = conv(features, kernel, stride, kernel_init=he, name=name)
        return lambda x: nn.relu(norm(kind, train, f"{name}_norm")(convolution(x)))

    return layer


class Inception(nn.Module):
    """Four branches side by side, with so many maps each."""

    maps: tuple[int, ...]
    norm: NormName = "none"

    @nn.compact
    def __call__(self, x: Images, train: bool) -> Float[Array, "batch h w maps"]:
        layer = layers(self.norm, train)
        one, before_three, three, before_five, five, pooled = self.maps
        branches = (
            layer(one, 1, name="one")(x),
            layer(three, 3, name="three")(layer(before_three, 1, name="before_three")(x)),
            layer(five, 5, name="five")(layer(before_five, 1, name="before_five")(x)),
            layer(pooled, 1, name="pooled")(max_pool(x, 3, 1, "SAME")),
        )
        return jnp.concatenate(branches, axis=-1)


class GoogLeNet(nn.Module):
    """6,998,552 parameters on images of any size from 32 × 32 in 1,000 classes.

    Maps are in proportion to `width`, those of the first layer.  `stem` is what comes before the first module: "large",
    7 × 7 of stride 2 and two max-pools of stride 2, or "small", 3 × 3 and one such pool, for images of 32 × 32.  The
    paper has no `norm` (parts/norms.py) after the convolutions; "batch" came a year later (Ioffe & Szegedy 2015).
    `modules` are those of table 1 that there are.
    """

    classes: int = 1000
    width: int = 64
    dropout: float = 0.4
    stem: Literal["large", "small"] = "large"
    norm: NormName = "none"
    modules: tuple[str, ...] = tuple(INCEPTIONS)

    @nn.compact
    def __call__(self, x: Images, *, train: bool = False) -> Float[Array, "batch classes"]:
        kernel, stride = {"large": (7, 2), "small": (3, 1)}[self.stem]
        layer, of_width = layers(self.norm, train), lambda maps: -(-maps * self.width // 64)
        x = layer(of_width(64), kernel, stride, name="conv1")(x)
        x = local_response_norm(max_pool(x, 3, stride, "SAME"))
        x = layer(of_width(64), 1, name="before_conv2")(x)
        x = local_response_norm(layer(of_width(192), 3, name="conv2")(x))
        x = max_pool(x, 3, 2, "SAME")
        for name in self.modules:
            x = max_pool(x, 3, 2, "SAME") if name in POOLED else x
            x = Inception(tuple(map(of_width, INCEPTIONS[name])), self.norm, name=f"inception{name}")(x, train)
        x = Dropout(self.dropout)(x.mean(axis=(1, 2)), train)
        return nn.Dense(self.classes, name="logits")(x)
