"""VGG (Simonyan & Zisserman 2014, "Very deep convolutional networks for large-scale image recognition")."""

from typing import Literal

from flax import linen as nn
from jaxtyping import Array, Float

from models.layers import Dropout, NormName, conv, max_pool, norm

# Convolutions in each of the five stages by the number of layers: configurations A, B, D, E of table 1.
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

he = nn.initializers.he_normal()  # from which even 19 layers train at once; the paper began with the weights of 11
SMALLEST = {"depth": 11, "width": 16, "hidden": 16}  # at which pages are tested


class VGG(nn.Module):
    """3 × 3 convolutions at widths `width` × (1, 2, 4, 8, 8), a max-pool after each stage, three dense layers.

    138,357,544 parameters at depth 16 on 224 × 224 images in 1,000 classes; images must have 32 × 32 pixels or more.
    `norm` (models/layers.py) follows each convolution.
    """

    classes: int = 1000
    depth: Literal[11, 13, 16, 19] = 16
    width: int = 64
    hidden: int = 4096
    dropout: float = 0.5
    norm: NormName = "none"

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Float[Array, "batch classes"]:
        if min(x.shape[1:3]) < 32:
            raise ValueError(
                f"images of {x.shape[1]} × {x.shape[2]} are too small to be halved five times; use 32 × 32"
            )
        for stage, count in enumerate(DEPTHS[self.depth]):
            for i in range(count):
                features = self.width * min(2**stage, 8)
                x = conv(features, 3, kernel_init=he, name=f"conv{stage}_{i}")(x)
                x = nn.relu(norm(self.norm, train, f"norm{stage}_{i}")(x))
            x = max_pool(x, 2, 2)
        x = x.reshape(len(x), -1)
        for name in ("fc6", "fc7"):
            x = Dropout(self.dropout)(nn.relu(nn.Dense(self.hidden, kernel_init=he, name=name)(x)), train)
        return nn.Dense(self.classes, name="fc8")(x)
