"""T5 (Raffel et al. 2020): an encoder and a decoder, with relative positions.

Shapes: B batch, S length of the source, L length of the target, T cache length, D width, V vocabulary.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from models.parts.activations import ActivationName
from models.parts.attention import Attention, Context
from models.parts.axes import constrain
from models.parts.dense import Dropout, Embed, at_least_one, dense
from models.parts.kernels import Sees, causal
from models.parts.positions import RelativeBias
from models.parts.transformer import Remat, Stack, Stacking, dense_mlp, empty_cache, gated_mlp, places, rms_norm

Mask = Bool[Array, "b s"] | Int[Array, "b s"]


SMALLEST = {
    "vocab": 256,
    "layers": 1,
    "heads": 2,
    "head_width": 8,
    "width": 16,
    "inner": 16,
    "context": 16,
}  # at which pages are tested


class T5(nn.Module):
    """`layers` blocks that read the source, `decoder_layers` that write the target; scores are not divided by √H.

    The logits are by the embedding ("tied") or by a matrix of their own, of the last layer divided by √D (as the first
    T5 had it) or not.
    """

    vocab: int
    layers: int
    heads: int
    width: int
    inner: int
    head_width: int
    decoder_layers: int | None = None  # None: as many
    mlp: Literal["dense", "gated"] = "dense"
    activation: ActivationName = "relu"
    buckets: int = 32
    furthest: int = 128
    head: Literal["tied", "untied"] = "tied"
    divide: Literal["width", "nothing"] = "width"
    context: int = 512  # of a cache whose length nobody says
    epsilon: float = 1e-6
    dropout: float = 0.0
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    def check(self) -> None:
        at_least_one(self, "vocab", "layers", "heads", "width", "inner", "head_width", "buckets")
        if self.decoder_layers == 0:
            raise ValueError("decoder_layers=0; use 1 or more, or None: as many as layers")

    def blocks(self, count: int, sees: Sees | None, cross: bool) -> tuple[dict[str, Any], ...]:
        attention = functools.partial(Attention, self.heads, head_width=self.head_width, scale=1.0)
        mlp = gated_mlp if self.mlp == "gated" else dense_mlp
        block = {
            "mixer": functools.partial(attention, sees=sees, name="attention"),
            "mlp": mlp(self.inner, self.activation),
            "norm": rms_norm(self.epsilon),
            "dropout": self.dropout,
            "cross": functools.partial(attention, cross=True, name="cross") if cross else None,
        }
        return (block,) * count

    @nn.compact
    def run(self, source_BS: Any, mask_BS: Any, target_BL: Any, carry: Any, train: bool) -> Any:
        """Reads the source, where there is one, then writes the target; without a source the carry has read it."""
        self.check()
        embed = Embed(self.vocab, self.width, nn.initializers.normal(1.0), ("vocab", "embed"), name="token_embed")
        drop = lambda x: Dropout(self.dropout)(x, train)
        bias = functools.partial(RelativeBias, self.heads, self.buckets, self.furthest)
        norm, mask_BS = rms_norm(self.epsilon), None if mask_BS is None else mask_BS != 0
        if source_BS is not None:
            S = jnp.arange(source_BS.shape[1])
            context = Context(mask_BT=mask_BS, bias=bias(name="encoder_bias")(S, S))
            stack = Stack(self.blocks(self.layers, None, False), self.stack, self.remat, name="encoder")
            x_BSD, _ = stack(drop(constrain(embed(source_BS), "batch", "length", None)), None, context, train=train)
            memory_BSD = drop(norm("encoder_norm")(x_BSD))
        else:
            memory_BSD = None
        length, L = 0 if carry is None else carry["length"], target_BL.shape[1]
        keys = jnp.arange(L if carry is None else places(carry))
        relative = bias(both=False, name="decoder_bias")(length + jnp.arange(L), keys)
        context = Context(length, None, relative, memory_BSD, mask_BS)
        count = self.layers if self.decoder_layers is None else self.decoder_layers
        stack = Stack(self.blocks(count, causal, True), self.stack, self.remat, name="decoder")
        x_BLD = drop(constrain(embed(target_BL), "batch", "length", None))
        x_BLD, layers = stack(x_BLD, None if carry is None else carry["layers"], context, train=train)
        x_BLD = drop(norm("decoder_norm")(x_BLD))
        unembed = dense(self.vocab, ("embed", "vocab"), use_bias=False, name="unembed")
        x_BLD = x_BLD * self.width**-0.5 if self.divide == "width" else x_BLD
        logits_BLV = constrain(
            unembed(x_BLD) if self.head == "untied" else embed.attend(x_BLD), "batch", "length", "vocab"
        )
        return logits_BLV if carry is None else (logits_BLV, {**carry, "layers": layers, "length": length + L})

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
        count = self.layers if self.decoder_layers is None else self.decoder_layers
        cache = empty_cache(count, batch, length or self.context, self.heads, self.head_width, self.stack, source)
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
