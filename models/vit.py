"""Vision Transformer (Dosovitskiy et al. 2020): patches of an image, read as a text is.

Shapes: B batch, H height, W width, C channels, L patches + 1, D width of the network.
"""

import functools
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.activations import ActivationName
from models.parts.attention import Attention
from models.parts.axes import constrain, named
from models.parts.dense import Dropout, at_least_one, dense
from models.parts.transformer import Remat, Stack, Stacking, dense_mlp, layer_norm, residual_init

SMALLEST = {"layers": 1, "heads": 2, "width": 16, "inner": 16}  # at which pages are tested


class ViT(nn.Module):
    """12 layers × 12 heads × 768, patches of 16 × 16, 1000 classes at 224 × 224 is ViT-B/16: 86,567,656.

    A patch is a product of all its numbers; before all patches stands a learned vector, from whose last layer the class
    is told.  `channels` say where they stand in the input: last, or first as public checkpoints have them.  Images
    of another `size` or number of `colours` are refused, where those are given.
    """

    classes: int
    layers: int
    heads: int
    width: int
    patch: int | tuple[int, int]
    inner: int | None = None  # None: 4 × width
    size: int | tuple[int, int] | None = None
    colours: int | None = None
    bias: bool = True  # of queries, keys and values
    channels: Literal["last", "first"] = "last"
    activation: ActivationName = "gelu"
    epsilon: float = 1e-6
    dropout: float = 0.0
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    def check(self, height: int, width: int, colours: int) -> tuple[int, int]:
        """The patch's height and width."""
        at_least_one(self, "classes", "layers", "heads", "width")
        if self.width % self.heads:
            raise ValueError(f"width={self.width} is not divisible by heads={self.heads}; change one")
        p, q = (self.patch, self.patch) if isinstance(self.patch, int) else self.patch
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        if (size or (height, width), self.colours or colours) != ((height, width), colours):
            raise ValueError(
                f"images of {height} × {width} × {colours}: size={self.size}, colours={self.colours}; resize them"
            )
        if p < 1 or q < 1 or height < p or width < q:
            raise ValueError(f"patch={self.patch} does not fit into an image of {height} × {width}; use a smaller one")
        return p, q

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = False) -> Float[Array, "b classes"]:
        x = x if self.channels == "last" else x.transpose(0, 2, 3, 1)
        B, H, W, C = x.shape
        p, q = self.check(H, W, C)
        rows, columns = H // p, W // q  # what is left over at the lower and right edges is not seen
        patches = x[:, : rows * p, : columns * q].reshape(B, rows, p, columns, q, C).transpose(0, 1, 3, 2, 4, 5)
        x_BLD = dense(self.width, (None, "embed"), name="patch_embed")(patches.reshape(B, rows * columns, p * q * C))
        init = nn.initializers.normal(0.02)
        first_D = self.param("class_token", named(init, "embed"), (self.width,))
        places_LD = self.param("position_embed", named(init, None, "embed"), (rows * columns + 1, self.width))
        first = jnp.broadcast_to(first_D.astype(x_BLD.dtype), (B, 1, self.width))
        x_BLD = jnp.concatenate([first, x_BLD], axis=1) + places_LD.astype(x_BLD.dtype)[None]
        x_BLD = Dropout(self.dropout)(constrain(x_BLD, "batch", "length", None), train)
        stack = Stack((self.block(),) * self.layers, self.stack, self.remat, name="stack")
        x_BLD, _ = stack(x_BLD, train=train)
        return dense(self.classes, ("embed", None), name="class")(layer_norm(self.epsilon)("norm")(x_BLD)[:, 0])

    def block(self) -> dict[str, Any]:
        out_init, units = residual_init(self.layers), 4 * self.width if self.inner is None else self.inner
        return {
            "mixer": functools.partial(
                Attention, self.heads, sees=None, bias=self.bias, out_bias=True, out_init=out_init, name="attention"
            ),
            "mlp": dense_mlp(units, self.activation, bias=True, out_init=out_init),
            "norm": layer_norm(self.epsilon),
            "dropout": self.dropout,
        }
