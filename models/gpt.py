"""GPT: a decoder-only transformer language model (Radford et al. 2018, 2019).

Shapes: B batch, L length, T cache length, D width, V vocabulary, N heads, H head width.
"""

import functools
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from models.parts.activations import ActivationName
from models.parts.attention import Attention, Context
from models.parts.axes import constrain
from models.parts.dense import Dropout, Embed, Factors, Unembed, at_least_one, logits
from models.parts.positions import learned, rotary, within
from models.parts.transformer import Remat, Stack, Stacking, dense_mlp, empty_cache, layer_norm, residual_init

SMALLEST = {"vocab": 256, "layers": 1, "heads": 2, "width": 16, "context": 16}  # at which pages are tested


class GPT(nn.Module):
    """12 layers × 12 heads × 768 at vocabulary 50,257, context 1,024, with biases, is GPT-2 small: 124,439,808.

    A "tied" `head` is the token embedding.  The MLP has `inner` units, or `ratio` times the width.  Scores are divided
    by what `divide` names: √H, the number of the layer, both or nothing.
    """

    vocab: int
    layers: int
    heads: int
    width: int
    context: int
    ratio: int = 4
    positions: Literal["learned", "rotary"] = "learned"
    head: Literal["tied", "untied"] = "tied"
    bias: bool = False
    activation: ActivationName = "gelu"
    dropout: float = 0.0
    stack: Stacking = "unrolled"
    remat: Remat = "none"
    inner: int | None = None
    epsilon: float = 1e-5
    divide: Literal["width", "layer", "both", "nothing"] = "width"

    def check(self, length: int) -> None:
        at_least_one(self, "vocab", "layers", "heads", "width", "ratio")
        if self.width % self.heads:
            near = max(self.heads, round(self.width / self.heads) * self.heads)
            raise ValueError(f"width={self.width} is not divisible by heads={self.heads}; width={near} is")
        if self.positions == "rotary" and (self.width // self.heads) % 2:
            raise ValueError(f"rotary positions need an even head width; width/heads is {self.width // self.heads}")
        if length > self.context:
            raise ValueError(
                f"{length} tokens exceed the model's context={self.context}; raise context or cut the text"
            )

    def scale(self, layer: int) -> float | None:
        """What the scores of a layer are multiplied by; None is 1 / √H."""
        root = (self.width // self.heads) ** -0.5
        return {"width": None, "layer": 1 / (layer + 1), "both": root / (layer + 1), "nothing": 1.0}[self.divide]

    def blocks(self) -> tuple[dict[str, Any], ...]:
        out_init = residual_init(self.layers)
        attention = functools.partial(
            Attention,
            self.heads,
            turn=rotary(self.width // self.heads) if self.positions == "rotary" else None,
            bias=self.bias,
            out_init=out_init,
            name="attention",
        )
        units = self.ratio * self.width if self.inner is None else self.inner
        block = {
            "mixer": attention,
            "mlp": dense_mlp(units, self.activation, self.bias, out_init),
            "norm": layer_norm(self.epsilon, self.bias),
            "dropout": self.dropout,
        }
        if self.divide in ("width", "nothing"):
            return ({**block, "mixer": functools.partial(attention, scale=self.scale(0))},) * self.layers
        return tuple({**block, "mixer": functools.partial(attention, scale=self.scale(i))} for i in range(self.layers))

    @nn.compact
    def __call__(
        self,
        tokens_BL: Int[Array, "b l"],
        mask_BL: Bool[Array, "b l"] | Int[Array, "b l"] | None = None,
        cache: Any = None,
        segments_BL: Int[Array, "b l"] | None = None,
        *,
        train: bool = False,
        factors: bool = False,
    ) -> Float[Array, "b l v"] | Factors | tuple[Float[Array, "b l v"], Any]:
        """Logits of the next token at every position; with a cache, also the cache after these tokens.

        Tokens whose mask is 0 are seen by no other (padding), and tokens see those of their own segment only, in which
        positions are counted anew; both without a cache only.
        """
        L = tokens_BL.shape[1]
        self.check(L)
        length = 0 if cache is None else cache["length"]
        init = nn.initializers.normal(self.width**-0.5)  # unit logits from a normalised, tied stream at any width
        embed = Embed(self.vocab, self.width, init, ("vocab", "embed"), name="token_embed")
        x_BLD = embed(tokens_BL)
        if self.positions == "learned":
            place = length + jnp.arange(L)[None] if segments_BL is None else within(segments_BL)
            x_BLD = x_BLD + learned(self.context, self.width, init)(place)
        x_BLD = Dropout(self.dropout)(constrain(x_BLD, "batch", "length", None), train)
        context = Context(length, None if mask_BL is None else mask_BL != 0, segments_BT=segments_BL)
        stack = Stack(self.blocks(), self.stack, self.remat, name="stack")
        x_BLD, layers = stack(x_BLD, None if cache is None else cache["layers"], context, train=train)
        x_BLD = layer_norm(self.epsilon, self.bias)("norm")(x_BLD)
        w_DV = embed.matrix() if self.head == "tied" else Unembed(self.vocab, name="unembed")(self.width)
        logits_BLV = logits(x_BLD, w_DV, factors)
        return logits_BLV if cache is None else (logits_BLV, {"layers": layers, "length": length + L})

    def factors(self, *inputs: Any, train: bool = False) -> Factors:
        """What the logits are the product of."""
        return self(*inputs, train=train, factors=True)

    def step(self, cache: Any, tokens_BL: Int[Array, "b l"], *, train: bool = False) -> tuple[Any, Any]:
        """The logits of these tokens, and the cache after them: what models/decode.py decodes with."""
        return self(tokens_BL, None, cache, train=train)

    def empty_cache(self, batch: int, length: int | None = None) -> dict[str, Any]:
        """A cache for `length` tokens, or `context` of them: the shorter, the faster a token comes."""
        self.check(length or self.context)
        return empty_cache(self.layers, batch, length or self.context, self.heads, self.width // self.heads, self.stack)
