"""GPT-NeoX (Black et al. 2022): attention and the MLP of a layer read the same input, side by side.

Shapes: B batch, L length, D width, V vocabulary.
"""

import functools
from collections.abc import Mapping
from typing import Any, Literal

from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from models.parts.activations import ActivationName
from models.parts.attention import ALONE, Attention, Context
from models.parts.axes import constrain
from models.parts.dense import Dropout, Embed, Factors, Unembed, at_least_one, logits
from models.parts.positions import rotary
from models.parts.transformer import Mixer, Mlp, Norm, Remat, Stack, Stacking, dense_mlp, empty_cache, layer_norm

SMALLEST = {"vocab": 256, "layers": 1, "heads": 2, "width": 16, "inner": 16, "context": 16}  # at which pages are tested


class Parallel(nn.Module):
    """attention(norm1(x)) + mlp(norm2(x)): a mixer for a block that has no norm and no MLP of its own."""

    mixer: Mixer
    mlp: Mlp
    norm: Norm

    @nn.compact
    def __call__(self, x_BLD: Float[Array, "b l d"], cache: Any = None, context: Context = ALONE) -> Any:
        mixed, cache = self.mixer()(self.norm("norm1")(x_BLD), cache, context)
        return mixed + self.mlp(self.norm("norm2")(x_BLD)), cache


class NeoX(nn.Module):
    """44 layers × 64 heads × 6,144, inner 24,576, vocabulary 50,432 is GPT-NeoX-20B.

    Rotary positions turn the first `turned` of a head's numbers.  One after the other, the two parts of a layer are
    GPT-2's.  `scaling` stretches positions beyond the `context`, as config.json of a public checkpoint says.
    """

    vocab: int
    layers: int
    heads: int
    width: int
    inner: int
    context: int
    parts: Literal["side by side", "one after the other"] = "side by side"
    turned: float = 0.25
    base: float = 10_000.0
    scaling: Mapping[str, Any] | None = None
    head: Literal["tied", "untied"] = "untied"
    bias: bool = True  # of attention
    activation: ActivationName = "gelu"
    epsilon: float = 1e-5
    dropout: float = 0.0
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    def check(self) -> None:
        at_least_one(self, "vocab", "layers", "heads", "width", "inner", "context")
        if self.width % self.heads:
            raise ValueError(f"width={self.width} is not divisible by heads={self.heads}; change one")
        if int(self.turned * (self.width // self.heads)) % 2:
            said = f"turned={self.turned} of a head of {self.width // self.heads} is an odd number"
            raise ValueError(f"{said}; rotary positions turn pairs: change turned, width or heads")

    def block(self) -> dict[str, Any]:
        norm, head = layer_norm(self.epsilon), self.width // self.heads
        turn = rotary(head, self.base, {**(self.scaling or {}), "partial_rotary_factor": self.turned}, self.context)
        attention = functools.partial(Attention, self.heads, turn=turn, bias=self.bias, name="attention")
        mlp = dense_mlp(self.inner, self.activation, bias=True)
        if self.parts == "one after the other":
            return {"mixer": attention, "mlp": mlp, "norm": norm, "dropout": self.dropout}
        both = functools.partial(Parallel, attention, mlp, norm, name="parallel")
        return {"mixer": both, "mlp": None, "norm": lambda name: lambda x: x, "dropout": self.dropout}

    @nn.compact
    def __call__(
        self,
        tokens_BL: Int[Array, "b l"],
        mask_BL: Bool[Array, "b l"] | Int[Array, "b l"] | None = None,
        cache: Any = None,
        *,
        train: bool = False,
        factors: bool = False,
    ) -> Float[Array, "b l v"] | Factors | tuple[Float[Array, "b l v"], Any]:
        """Logits of the next token at every position; with a cache, also the cache after these tokens."""
        self.check()
        length = 0 if cache is None else cache["length"]
        embed = Embed(self.vocab, self.width, nn.initializers.normal(0.02), ("vocab", "embed"), name="token_embed")
        x_BLD = Dropout(self.dropout)(constrain(embed(tokens_BL), "batch", "length", None), train)
        context = Context(length, None if mask_BL is None else mask_BL != 0)
        stack = Stack((self.block(),) * self.layers, self.stack, self.remat, name="stack")
        x_BLD, layers = stack(x_BLD, None if cache is None else cache["layers"], context, train=train)
        x_BLD = layer_norm(self.epsilon)("norm")(x_BLD)
        w_DV = embed.matrix() if self.head == "tied" else Unembed(self.vocab, name="unembed")(self.width)
        logits_BLV = logits(x_BLD, w_DV, factors)
        if cache is None:
            return logits_BLV
        return logits_BLV, {"layers": layers, "length": length + tokens_BL.shape[1]}

    def factors(self, *inputs: Any, train: bool = False) -> Factors:
        """What the logits are the product of."""
        return self(*inputs, train=train, factors=True)

    def step(self, cache: Any, tokens_BL: Int[Array, "b l"], *, train: bool = False) -> tuple[Any, Any]:
        """The logits of these tokens, and the cache after them: what models/decode.py decodes with."""
        return self(tokens_BL, None, cache, train=train)

    def empty_cache(self, batch: int, length: int | None = None) -> dict[str, Any]:
        """A cache for `length` tokens, or `context` of them: the shorter, the faster a token comes."""
        return empty_cache(self.layers, batch, length or self.context, self.heads, self.width // self.heads, self.stack)
