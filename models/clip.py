"""CLIP (Radford et al. 2021): texts and images that belong together point the same way.

Shapes: B texts, L length, I images, C channels, H height, W width, P patches + 1, D width of a tower, E of both.
"""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from models.parts.activations import ActivationName
from models.parts.attention import Attention, Context
from models.parts.axes import constrain, named
from models.parts.dense import Embed, at_least_one, dense
from models.parts.kernels import Sees, causal
from models.parts.positions import learned
from models.parts.transformer import Remat, Stack, Stacking, dense_mlp, layer_norm

SMALLEST = {"vocab": 256, "context": 16, "width": 16, "size": 16}  # at which pages are tested
SMALLEST |= {"text_width": 16, "text_layers": 1, "text_heads": 2, "text_inner": 16}
SMALLEST |= {"image_width": 16, "image_layers": 1, "image_heads": 2, "image_inner": 16}


class Clip(nn.Module):
    """A tower of blocks for texts and one for images, and their cosines times a learned number.

    A text is read at its first `end` token, or at its largest token where `end` is None.  `channels` say where they
    stand in the images: last, or first as public checkpoints have them.
    """

    vocab: int
    context: int
    width: int  # of what both towers give
    text_width: int
    text_layers: int
    text_heads: int
    text_inner: int
    image_width: int
    image_layers: int
    image_heads: int
    image_inner: int
    size: int
    patch: int
    colours: int = 3
    end: int | None = None
    channels: Literal["last", "first"] = "last"
    text_activation: ActivationName = "quick_gelu"
    image_activation: ActivationName = "quick_gelu"
    text_epsilon: float = 1e-5
    image_epsilon: float = 1e-5
    scale: float = math.log(1 / 0.07)  # the logarithm of what cosines are multiplied by, at the start
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    def check(self) -> None:
        at_least_one(self, "vocab", "context", "width", "text_layers", "image_layers", "patch")
        for tower in ("text", "image"):
            width, heads = getattr(self, f"{tower}_width"), getattr(self, f"{tower}_heads")
            if heads < 1 or width % heads:
                raise ValueError(f"{tower}_width={width} is not divisible by {tower}_heads={heads}; change one")
        if self.size < self.patch:
            raise ValueError(f"patch={self.patch} does not fit into images of size={self.size}; use a smaller one")

    def blocks(self, tower: str, sees: Sees | None) -> tuple[dict[str, Any], ...]:
        of = lambda name: getattr(self, f"{tower}_{name}")
        block = {
            "mixer": functools.partial(Attention, of("heads"), sees=sees, bias=True, name="attention"),
            "mlp": dense_mlp(of("inner"), of("activation"), bias=True),
            "norm": layer_norm(of("epsilon")),
        }
        return (block,) * of("layers")

    @nn.compact
    def __call__(
        self,
        text_BL: Int[Array, "b l"],
        images: Float[Array, "i h w c"],
        mask_BL: Bool[Array, "b l"] | Int[Array, "b l"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b i"]:
        """Logits of every image for every text: their cosines, times what was learned."""
        self.check()
        text_BE, image_IE = self.text(text_BL, mask_BL, train), self.image(images, train)
        scale = self.param("scale", nn.initializers.constant(self.scale), ())
        return jnp.exp(scale).astype(text_BE.dtype) * (text_BE @ image_IE.T)

    def text(self, text_BL: jax.Array, mask_BL: jax.Array | None, train: bool) -> Float[Array, "b e"]:
        """Each text as a vector of length 1."""
        L, init = text_BL.shape[1], nn.initializers.normal(0.02)
        if self.context < L:
            raise ValueError(f"{L} tokens exceed the model's context={self.context}; cut the text")
        embed = Embed(self.vocab, self.text_width, init, ("vocab", "embed"), name="token_embed")
        x = embed(text_BL) + learned(self.context, self.text_width, init)(jnp.arange(L))[None]
        context = Context(mask_BT=None if mask_BL is None else mask_BL != 0)
        stack = Stack(self.blocks("text", causal), self.stack, self.remat, name="text")
        x, _ = stack(constrain(x, "batch", "length", None), None, context, train=train)
        x = layer_norm(self.text_epsilon)("text_norm")(x)
        where_B = (text_BL if self.end is None else text_BL == self.end).argmax(-1)
        chosen = jnp.take_along_axis(x, where_B[:, None, None], axis=1)[:, 0]
        return unit(dense(self.width, ("embed", None), use_bias=False, name="text_out")(chosen))

    def image(self, x: jax.Array, train: bool) -> Float[Array, "i e"]:
        """Each image as a vector of length 1."""
        x = x if self.channels == "last" else x.transpose(0, 2, 3, 1)
        side, p, D = self.size // self.patch, self.patch, self.image_width
        if x.shape[1:] != (self.size, self.size, self.colours):
            raise ValueError(
                f"images are {list(x.shape[1:])}; resize them to {self.size} × {self.size} × {self.colours}"
            )
        x = x[:, : side * p, : side * p].reshape(len(x), side, p, side, p, self.colours).transpose(0, 1, 3, 2, 4, 5)
        patches = x.reshape(len(x), side * side, p * p * self.colours)
        x = dense(D, (None, "embed"), use_bias=False, name="patch_embed")(patches)
        init = nn.initializers.normal(0.02)
        first_D = self.param("class_token", named(init, "embed"), (D,)).astype(x.dtype)
        places_PD = self.param("patch_places", named(init, None, "embed"), (side * side + 1, D)).astype(x.dtype)
        x = jnp.concatenate([jnp.broadcast_to(first_D, (len(x), 1, D)), x], axis=1) + places_PD[None]
        x = layer_norm(self.image_epsilon)("image_norm_before")(x)
        stack = Stack(self.blocks("image", None), self.stack, self.remat, name="image")
        x, _ = stack(constrain(x, "batch", "length", None), train=train)
        x = layer_norm(self.image_epsilon)("image_norm")(x[:, 0])
        return unit(dense(self.width, ("embed", None), use_bias=False, name="image_out")(x))


def unit(x: jax.Array) -> jax.Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def contrast(logits_BB: Float[Array, "b b"]) -> Float[Array, ""]:
    """The mean of both cross-entropies, of texts among images and of images among texts; log B where nothing is known.

    InfoNCE (van den Oord et al. 2018), for pairs that stand in the same order.
    """
    both = jax.nn.log_softmax(logits_BB, axis=0) + jax.nn.log_softmax(logits_BB, axis=1)
    return -jnp.diagonal(both).mean() / 2
