"""The Transformer of 2017 (Vaswani et al.): an encoder and a decoder, with sinusoidal positions.

Shapes: B batch, S length of the source, L length of the target, D width, V vocabulary.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from models.parts.activations import ActivationName
from models.parts.attention import Attention, Context
from models.parts.axes import constrain, named
from models.parts.dense import Dropout, Embed, at_least_one, dense
from models.parts.kernels import Sees, causal
from models.parts.positions import sinusoidal
from models.parts.transformer import Remat, Stack, Stacking, dense_mlp, empty_cache, layer_norm

Mask = Bool[Array, "b s"] | Int[Array, "b s"]


SMALLEST = {"vocab": 256, "layers": 1, "heads": 2, "width": 16, "inner": 16, "context": 16}  # at which pages are tested


class Transformer(nn.Module):
    """The norm stands after each sum; the logits are by the embedding of the target, plus a bias of each word.

    The paper's base has 6 layers, 8 heads, width 512, inner 2048 and embeddings times √D.  Where the decoder differs
    from the encoder it says so.  `target_vocab` gives the target an embedding of its own.  `context` is that of
    a cache whose length nobody says.
    """

    vocab: int
    layers: int
    heads: int
    width: int
    inner: int
    target_vocab: int | None = None
    decoder_layers: int | None = None
    decoder_heads: int | None = None
    decoder_inner: int | None = None
    context: int = 512
    head: Literal["tied", "untied"] = "tied"
    multiply: Literal["width", "nothing"] = "width"  # embeddings, by √D
    activation: ActivationName = "relu"
    dropout: float = 0.0
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    def check(self) -> None:
        at_least_one(self, "vocab", "layers", "heads", "width", "inner")
        for name, heads in (("heads", self.heads), ("decoder_heads", self.decoder_heads or self.heads)):
            if self.width % heads:
                raise ValueError(f"width={self.width} is not divisible by {name}={heads}; change one")

    def blocks(self, count: int, heads: int, inner: int, sees: Sees | None, cross: bool) -> tuple[dict[str, Any], ...]:
        attention = functools.partial(Attention, heads, bias=True)
        block = {
            "mixer": functools.partial(attention, sees=sees, name="attention"),
            "mlp": dense_mlp(inner, self.activation, bias=True),
            "norm": layer_norm(),
            "cross": functools.partial(attention, cross=True, name="cross") if cross else None,
            "order": "post",
            "dropout": self.dropout,
        }
        return (block,) * count

    @nn.compact
    def run(self, source_BS: Any, mask_BS: Any, target_BL: Any, carry: Any, train: bool) -> Any:
        """Reads the source, where there is one, then writes the target; without a source the carry has read it."""
        self.check()
        init, vocab = nn.initializers.normal(self.width**-0.5), self.target_vocab or self.vocab
        embed = Embed(self.vocab, self.width, init, ("vocab", "embed"), name="token_embed")
        target_embed = embed
        if self.target_vocab is not None:
            target_embed = Embed(vocab, self.width, init, ("vocab", "embed"), name="target_embed")
        mask_BS = None if mask_BS is None else mask_BS != 0

        def placed(table: Embed, tokens: jax.Array, length: Any) -> jax.Array:
            x = table(tokens) * (self.width**0.5 if self.multiply == "width" else 1.0)
            places = sinusoidal(length + jnp.arange(tokens.shape[1]), self.width).astype(x.dtype)
            return Dropout(self.dropout)(constrain(x + places[None], "batch", "length", None), train)

        if source_BS is not None:
            blocks = self.blocks(self.layers, self.heads, self.inner, None, False)
            stack = Stack(blocks, self.stack, self.remat, name="encoder")
            memory_BSD, _ = stack(placed(embed, source_BS, 0), None, Context(mask_BT=mask_BS), train=train)
        else:
            memory_BSD = None
        length, heads = 0 if carry is None else carry["length"], self.decoder_heads or self.heads
        context = Context(length, memory_BTD=memory_BSD, memory_mask_BT=mask_BS)
        blocks = self.blocks(self.decoder_layers or self.layers, heads, self.decoder_inner or self.inner, causal, True)
        stack = Stack(blocks, self.stack, self.remat, name="decoder")
        layers = None if carry is None else carry["layers"]
        x_BLD, layers = stack(placed(target_embed, target_BL, length), layers, context, train=train)
        bias_V = self.param("words_bias", named(nn.initializers.zeros, "vocab"), (vocab,))
        unembed = dense(vocab, ("embed", "vocab"), use_bias=False, name="unembed")
        logits_BLV = unembed(x_BLD) if self.head == "untied" else target_embed.attend(x_BLD)
        logits_BLV = constrain(logits_BLV + bias_V.astype(logits_BLV.dtype)[None, None], "batch", "length", "vocab")
        return (
            logits_BLV if carry is None else (logits_BLV, carry | {"layers": layers, "length": length + x_BLD.shape[1]})
        )

    def __call__(
        self,
        source_BS: Int[Array, "b s"],
        mask_or_target: jax.Array,
        target_BL: Int[Array, "b l"] | None = None,
        *,
        train: bool = False,
    ) -> Float[Array, "b l v"]:
        """(source, target) or (source, mask of the source, target) → logits of the next token of the target."""
        if target_BL is None:
            return self.run(source_BS, None, mask_or_target, None, train)
        return self.run(source_BS, mask_or_target, target_BL, None, train)

    def empty_cache(self, batch: int, length: int | None = None, source: int = 1) -> dict[str, Any]:
        """The carry of a `source` of so many tokens that were not read: for a target of `length`, or `context`."""
        heads = self.decoder_heads or self.heads
        count = self.decoder_layers or self.layers
        cache = empty_cache(count, batch, length or self.context, heads, self.width // heads, self.stack, source)
        return {**cache, "mask": jnp.ones((batch, source), bool)}

    def start(
        self,
        source_BS: Int[Array, "b s"],
        mask_BS: Mask | None = None,
        length: int | None = None,
        *,
        train: bool = False,
    ) -> Any:
        """The carry before the first of `length` tokens of the target: keys and values of what each layer read."""
        carry = self.empty_cache(source_BS.shape[0], length, source_BS.shape[1])
        mask_BS = carry["mask"] if mask_BS is None else mask_BS != 0
        _, carry = self.run(source_BS, mask_BS, jnp.zeros((len(source_BS), 0), jnp.int32), carry, train)
        return {**carry, "mask": mask_BS}

    def step(self, carry: Any, target_BL: Int[Array, "b l"], *, train: bool = False) -> Any:
        """The logits of these tokens, and the carry after them: what models/decode.py decodes with."""
        return self.run(None, carry["mask"], target_BL, carry, train)
