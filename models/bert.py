"""BERT (Devlin et al. 2018): a text read from both sides at once.

Shapes: B batch, L length, D width, V vocabulary, C classes.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from models.parts.activations import ACTIVATIONS, ActivationName
from models.parts.attention import Attention, Context
from models.parts.axes import constrain, named
from models.parts.dense import Dropout, Embed, at_least_one, dense
from models.parts.kernels import Sees, causal
from models.parts.positions import learned
from models.parts.transformer import Remat, Stack, Stacking, dense_mlp, layer_norm

Head = Literal["pooled", "words", "class", "span"]


SMALLEST = {"vocab": 256, "layers": 1, "heads": 2, "width": 16, "inner": 16, "context": 64}  # at which pages are tested


class Bert(nn.Module):
    """12 layers × 12 heads × 768 at vocabulary 30,522, context 512 and the "pooled" head is BERT base: 109,482,240.

    `head` says what comes out.  "pooled": the last layer [B, L, D], and tanh(dense) of its first token [B, D]; "words":
    logits of each token [B, L, V], by the embedding where it is `tied`; "class": logits of the text from the pooled
    token [B, C]; "span": logits of where an answer starts and ends [B, L, 2].
    Where no mask is given, tokens `padding` are seen by no other.
    """

    vocab: int
    layers: int
    heads: int
    width: int
    inner: int
    context: int
    kinds: int = 2  # of tokens, such as question and answer; all inputs are of the first
    padding: int | None = None
    head: Head = "pooled"
    classes: int = 2
    tied: Literal["tied", "untied"] = "tied"
    reads: Literal["both sides", "before"] = "both sides"
    activation: ActivationName = "gelu"
    epsilon: float = 1e-12
    dropout: float = 0.0
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    def check(self, length: int) -> None:
        at_least_one(self, "vocab", "layers", "heads", "width", "inner", "kinds", "classes")
        if self.width % self.heads:
            raise ValueError(f"width={self.width} is not divisible by heads={self.heads}; change one")
        if length > self.context:
            raise ValueError(f"{length} tokens exceed the model's context={self.context}; cut the text")

    def block(self) -> dict[str, Any]:
        sees: Sees | None = causal if self.reads == "before" else None
        return {
            "mixer": functools.partial(Attention, self.heads, sees=sees, bias=True, name="attention"),
            "mlp": dense_mlp(self.inner, self.activation, bias=True),
            "norm": layer_norm(self.epsilon),
            "order": "post",
            "dropout": self.dropout,
        }

    @nn.compact
    def __call__(
        self,
        tokens_BL: Int[Array, "b l"],
        mask_BL: Bool[Array, "b l"] | Int[Array, "b l"] | None = None,
        *,
        train: bool = False,
    ) -> Any:
        """What `head` says; tokens whose mask is 0 are seen by no other."""
        L = tokens_BL.shape[1]
        self.check(L)
        if mask_BL is None and self.padding is not None:
            mask_BL = tokens_BL != self.padding
        init = nn.initializers.normal(0.02)
        embed = Embed(self.vocab, self.width, init, ("vocab", "embed"), name="token_embed")
        kinds = Embed(self.kinds, self.width, init, (None, "embed"), name="kind_embed")
        places = learned(self.context, self.width, init)
        x_BLD = embed(tokens_BL) + kinds(jnp.zeros_like(tokens_BL)) + places(jnp.arange(L))[None]
        x_BLD = Dropout(self.dropout)(layer_norm(self.epsilon)("norm_embed")(x_BLD), train)
        context = Context(mask_BT=None if mask_BL is None else mask_BL != 0)
        stack = Stack((self.block(),) * self.layers, self.stack, self.remat, name="stack")
        x_BLD, _ = stack(constrain(x_BLD, "batch", "length", None), None, context, train=train)
        if self.head == "words":
            return self.words(x_BLD, embed)
        if self.head == "span":
            return dense(2, ("embed", None), name="span")(x_BLD)
        pooled_BD = jnp.tanh(dense(self.width, ("embed", None), name="pool")(x_BLD[:, 0]))
        if self.head == "class":
            return dense(self.classes, ("embed", None), name="class")(Dropout(self.dropout)(pooled_BD, train))
        return x_BLD, pooled_BD

    def words(self, x_BLD: Float[Array, "b l d"], embed: Embed) -> Float[Array, "b l v"]:
        h = ACTIVATIONS[self.activation](dense(self.width, ("embed", None), name="transform")(x_BLD))
        h = layer_norm(self.epsilon)("transform_norm")(h)
        bias_V = self.param("words_bias", named(nn.initializers.zeros, "vocab"), (self.vocab,))
        unembed = dense(self.vocab, ("embed", "vocab"), use_bias=False, name="unembed")
        logits_BLV = embed.attend(h) if self.tied == "tied" else unembed(h)
        return constrain(logits_BLV + jnp.asarray(bias_V, logits_BLV.dtype)[None, None], "batch", "length", "vocab")


def chosen(logits_BL2: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Start and end of the likeliest span, [B] each: the largest sum with end not before start."""
    start_BL, end_BL = logits_BL2[..., 0], logits_BL2[..., 1]
    L = start_BL.shape[1]
    after_LL = jnp.triu(jnp.ones((L, L), bool))[None]
    sums = jnp.where(after_LL, start_BL[:, :, None] + end_BL[:, None], -jnp.inf).reshape(-1, L * L)
    return sums.argmax(-1) // L, sums.argmax(-1) % L
