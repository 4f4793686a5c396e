"""GPT: a decoder-only transformer language model (Radford et al. 2018, 2019).

Shapes: B batch, L length, T cache length, D width, V vocabulary, N heads, H head width.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.activations import ActivationName
from models.axes import constrain
from models.layers import Dropout, Embed, dense
from models.transformer import Remat, Stack, Stacking

SMALLEST = {"vocab": 256, "layers": 1, "heads": 2, "width": 16, "context": 16}  # at which pages are tested


class GPT(nn.Module):
    """12 layers × 12 heads × 768 at vocabulary 50,257, context 1,024, with biases, is GPT-2 small: 124,439,808.

    A "tied" `head` is the token embedding.
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

    def check(self, length: int) -> None:
        for name in ("vocab", "heads", "width", "ratio"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; use 1 or more")
        if self.width % self.heads:
            near = max(self.heads, round(self.width / self.heads) * self.heads)
            raise ValueError(f"width={self.width} is not divisible by heads={self.heads}; width={near} is")
        if self.positions == "rotary" and (self.width // self.heads) % 2:
            raise ValueError(f"rotary positions need an even head width; width/heads is {self.width // self.heads}")
        if length > self.context:
            raise ValueError(
                f"{length} tokens exceed the model's context={self.context}; raise context or cut the text"
            )

    @nn.compact
    def __call__(
        self, tokens_BL: Int[Array, "b l"], cache: Any = None, *, train: bool = False
    ) -> Float[Array, "b l v"] | tuple[Float[Array, "b l v"], Any]:
        """Logits of the next token at every position; with a cache, also the cache after these tokens."""
        L = tokens_BL.shape[1]
        self.check(L)
        length = 0 if cache is None else cache["length"]
        init = nn.initializers.normal(self.width**-0.5)  # unit logits from a normalised, tied stream at any width
        embed = Embed(self.vocab, self.width, init, ("vocab", "embed"), name="token_embed")
        x_BLD = embed(tokens_BL)
        if self.positions == "learned":
            table = Embed(self.context, self.width, init, (None, "embed"), name="position_embed")
            x_BLD = x_BLD + table(length + jnp.arange(L))[None]
        x_BLD = Dropout(self.dropout)(constrain(x_BLD, "batch", None, None), train)
        block = {
            "heads": self.heads,
            "ratio": self.ratio,
            "rotary": self.positions == "rotary",
            "bias": self.bias,
            "activation": self.activation,
            "dropout": self.dropout,
        }
        stack = Stack(self.layers, block, self.stack, self.remat, name="stack")
        x_BLD, layers = stack(x_BLD, None if cache is None else cache["layers"], length, train=train)
        x_BLD = nn.LayerNorm(epsilon=1e-5, use_bias=self.bias, name="norm")(x_BLD)
        unembed = dense(self.vocab, ("embed", "vocab"), use_bias=False, name="unembed")
        logits_BLV = constrain(embed.attend(x_BLD) if self.head == "tied" else unembed(x_BLD), "batch", None, "vocab")
        return logits_BLV if cache is None else (logits_BLV, {"layers": layers, "length": length + L})

    def empty_cache(self, batch: int) -> dict[str, Any]:
        """A cache for `context` tokens: float32 keys and values of every layer, and how many of them are filled."""
        shape = (self.layers, batch, self.context, self.heads, self.width // self.heads)
        keys_and_values = {"keys": jnp.zeros(shape), "values": jnp.zeros(shape)}
        return {"layers": keys_and_values, "length": jnp.zeros((), jnp.int32)}


def generate(
    model: Any,
    params: Any,
    cache: Any,
    prompt_BL: jax.Array,
    key: jax.Array,
    *,
    tokens: int,
    temperature: float,
    known: int | None = None,
):
    """`tokens` more tokens after the prompt, int32 [batch, tokens], one pass over each.  Temperature 0 is argmax.

    Drawn are the first `known` ids, or all: a vocabulary may be rounded up beyond what the tokenizer can decode.
    """

    def pick(logits_BV, key):
        logits_BV = logits_BV[:, :known]
        if temperature < jnp.finfo(jnp.float32).tiny:  # 0, or a number that is 0 on the device
            return logits_BV.argmax(-1)
        if temperature < 1e-3:  # the quotients would overflow; their differences count
            logits_BV = logits_BV - logits_BV.max(-1, keepdims=True)
        return jax.random.categorical(key, logits_BV / temperature)

    def one(carry, key):
        token_B, cache = carry
        (logits, cache), _ = model.apply(params, {}, token_B[:, None], cache)
        token_B = pick(logits[:, -1], key)
        return (token_B, cache), token_B

    first_key, *keys = jax.random.split(key, tokens)
    (logits, cache), _ = model.apply(params, {}, prompt_BL, cache)
    token_B = pick(logits[:, -1], first_key)
    if tokens == 1:
        return token_B[:, None]
    _, rest = jax.lax.scan(one, (token_B, cache), jnp.stack(keys))
    return jnp.concatenate([token_B[:, None], rest.T], axis=1)
