"""AlexNet (Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks")."""

from typing import Literal

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from models.layers import Dropout, conv, local_response_norm, max_pool

he = nn.initializers.he_normal()  # the paper's Gaussians of deviation 0.01 train the full size alone, and slowly
SMALLEST = {"width": 16, "hidden": 16}  # at which pages are tested


class AlexNet(nn.Module):
    """60,965,224 parameters on 224 × 224 images in 1,000 classes; the two groups were two graphics cards.

    Widths are in proportion to `width`, the maps of the first layer.  `stem` is that layer: "large", 11 × 11 of stride
    4, or "small", 5 × 5 of stride 1, for images of 32 × 32.
    """

    classes: int = 1000
    width: int = 96
    hidden: int = 4096
    dropout: float = 0.5
    stem: Literal["large", "small"] = "large"

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Float[Array, "batch classes"]:
        kernel, stride = {"large": (11, 4), "small": (5, 1)}[self.stem]
        second = 8 * self.width // 6 * 2  # an even number, for the groups
        x = jax.nn.relu(conv(self.width, kernel, stride, padding=2, kernel_init=he, name="conv1")(x))
        x = max_pool(local_response_norm(x), 3, 2)
        x = jax.nn.relu(conv(second, 5, groups=2, kernel_init=he, name="conv2")(x))
        x = max_pool(local_response_norm(x), 3, 2)
        x = jax.nn.relu(conv(4 * self.width, 3, kernel_init=he, name="conv3")(x))
        x = jax.nn.relu(conv(4 * self.width, 3, groups=2, kernel_init=he, name="conv4")(x))
        x = jax.nn.relu(conv(second, 3, groups=2, kernel_init=he, name="conv5")(x))
        x = max_pool(x, 3, 2).reshape(len(x), -1)
        for name in ("fc6", "fc7"):
            x = Dropout(self.dropout)(jax.nn.relu(nn.Dense(self.hidden, kernel_init=he, name=name)(x)), train)
        return nn.Dense(self.classes, name="fc8")(x)
