"""Llama (Touvron et al. 2023), and what differs from it by a part: Mistral (a window), Qwen3 (normalised heads),
Mixtral (experts).

Shapes: B batch, L length, D width, V vocabulary.
"""

import functools
from collections.abc import Mapping
from typing import Any, Literal

from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from models.parts.activations import ActivationName
from models.parts.attention import Attention, Context
from models.parts.axes import constrain
from models.parts.dense import Dropout, Embed, Factors, Unembed, at_least_one, logits
from models.parts.kernels import Window, causal
from models.parts.positions import rotary
from models.parts.transformer import (
    Remat,
    Stack,
    Stacking,
    empty_cache,
    experts_mlp,
    gated_mlp,
    residual_init,
    rms_norm,
)

SMALLEST = {
    "vocab": 256,
    "layers": 1,
    "heads": 2,
    "kv_heads": 1,
    "width": 16,
    "inner": 16,
    "context": 16,
    "experts": 2,
    "experts_per_token": 1,
}  # at which pages are tested


class Llama(nn.Module):
    """Rotary positions, RMS norm before each part, a gated MLP of `inner` units, and few heads of keys.

    `context` is the longest text it is trained on; `scaling` says how positions beyond are told apart, as config.json
    of a public checkpoint does.  Layers see the last `window` tokens, but those of `unwindowed` see all.  Where there
    are `experts`, a layer has so many MLPs, and a token goes to `experts_per_token` of them; an expert takes `capacity`
    times its equal share of the tokens, or all that come.
    """

    vocab: int
    layers: int
    heads: int
    width: int
    inner: int
    context: int
    kv_heads: int | None = None  # None: as many as heads
    head_width: int | None = None  # None: width / heads
    base: float = 10_000.0  # of the rotary frequencies
    scaling: Mapping[str, Any] | None = None
    window: int | None = None
    unwindowed: tuple[int, ...] = ()
    head_norm: Literal["none", "rms"] = "none"
    head: Literal["tied", "untied"] = "untied"
    bias: bool = False  # of attention
    mlp_bias: bool = False
    experts: int = 0
    experts_per_token: int = 2
    capacity: float | None = None
    activation: ActivationName = "silu"
    epsilon: float = 1e-6
    dropout: float = 0.0
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    def check(self) -> None:
        at_least_one(self, "vocab", "layers", "heads", "width", "inner", "context")
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"width={self.width} is not divisible by heads={self.heads}; set head_width or change one")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"heads={self.heads} is not divisible by kv_heads={self.kv_heads}; change one")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window={self.window}; use 1 token or more, or None: all that came before")
        if self.h % 2:
            raise ValueError(f"rotary positions need heads of an even width; theirs is {self.h}")

    @property
    def h(self) -> int:
        """The width of a head."""
        return self.head_width or self.width // self.heads

    def blocks(self) -> tuple[dict[str, Any], ...]:
        out_init, norm = residual_init(self.layers), rms_norm(self.epsilon)
        attention = functools.partial(
            Attention,
            self.heads,
            self.kv_heads,
            self.h,
            turn=rotary(self.h, self.base, self.scaling, self.context),
            head_norm=norm if self.head_norm == "rms" else None,
            bias=self.bias,
            out_init=out_init,
            name="attention",
        )
        mlp = gated_mlp(self.inner, self.activation, self.mlp_bias, out_init)
        if self.experts:
            out_init, top = residual_init(self.layers, (0,)), self.experts_per_token
            mlp = experts_mlp(self.experts, top, self.inner, self.activation, self.capacity, out_init)
        block = lambda sees: {
            "mixer": functools.partial(attention, sees=sees), "mlp": mlp, "norm": norm, "dropout": self.dropout
        }  # fmt: skip
        whole, near = block(causal), block(causal if self.window is None else Window(self.window))
        return tuple(whole if i in self.unwindowed else near for i in range(self.layers))

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

        Tokens whose mask is 0 are seen by no other (padding), and tokens see those of their own segment only; both
        without a cache only.
        """
        self.check()
        length = 0 if cache is None else cache["length"]
        init = nn.initializers.normal(self.width**-0.5)
        embed = Embed(self.vocab, self.width, init, ("vocab", "embed"), name="token_embed")
        x_BLD = Dropout(self.dropout)(constrain(embed(tokens_BL), "batch", "length", None), train)
        context = Context(length, None if mask_BL is None else mask_BL != 0, segments_BT=segments_BL)
        stack = Stack(self.blocks(), self.stack, self.remat, name="stack")
        x_BLD, layers = stack(x_BLD, None if cache is None else cache["layers"], context, train=train)
        x_BLD = rms_norm(self.epsilon)("norm")(x_BLD)
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
        return empty_cache(self.layers, batch, length or self.context, self.kv_heads or self.heads, self.h, self.stack)
