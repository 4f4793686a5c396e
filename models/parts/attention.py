"""Attention (Vaswani et al. 2017): to the same text or to another, with fewer heads of keys than of queries
(Ainslie et al. 2023), and with a cache of keys and values.

Shapes: B batch, L length of the input, T length of the keys, N heads, K heads of keys, H head width, D model width.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from models.parts.axes import constrain, named
from models.parts.dense import dense
from models.parts.kernels import Seen, Sees, attend, causal
from models.parts.positions import Turn

Cache = dict[str, jax.Array]  # keys_BTKH, values_BTKH of one layer


class Context(NamedTuple):
    """What all blocks of a stack hear of beside their input.

    The first `length` places of a cache are filled.  A key whose mask is False is seen by no query: padding.
    """

    length: int | Int[Array, ""] = 0
    mask_BT: Bool[Array, "b t"] | None = None
    bias: Float[Array, "1 n l t"] | None = None  # added to the scores (positions.RelativeBias)
    memory_BTD: Float[Array, "b t d"] | None = None  # what cross-attention reads: an encoder's outputs
    memory_mask_BT: Bool[Array, "b t"] | None = None
    segments_BT: Int[Array, "b t"] | None = None  # a query sees keys of its own number only: packed documents


ALONE = Context()


class Attention(nn.Module):
    """softmax(q k / √H) v, by head.  With a cache, the input continues the `length` tokens that it holds; that of
    `cross` holds the memory's keys and values, and is filled where the context has a memory.

    `sees` is the mask: `causal`, `Window(size)`, or None: every position sees every other.  `turn` gives queries and
    keys their positions, `head_norm` normalises both before (Dehghani et al. 2023).  `cross` reads the context's
    memory.  Where there are as many heads of keys as of queries, the three projections are one product.
    """

    heads: int
    kv_heads: int | None = None  # None: as many
    head_width: int | None = None  # None: D / heads
    sees: Sees | None = causal
    turn: Turn | None = None
    head_norm: Callable[[str], Callable] | None = None
    scale: float | None = None  # None: 1 / √H
    bias: bool = False
    key_bias: bool = True  # of keys too, where there are biases; it changes nothing that comes out
    out_bias: bool | None = None  # None: as `bias`
    cross: bool = False
    out_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(
        self, x_BLD: Float[Array, "b l d"], cache: Cache | None = None, context: Context = ALONE
    ) -> tuple[Float[Array, "b l d"], Cache | None]:
        B, L, D = x_BLD.shape
        read = self.cross and cache is not None and context.memory_BTD is None  # the memory was read before
        q, k, v = self.project(x_BLD, None if read else context.memory_BTD if self.cross else x_BLD)
        if self.head_norm is not None:
            q, k = self.head_norm("q_norm")(q), k if read else self.head_norm("k_norm")(k)
        position_L = context.length + jnp.arange(L)
        if self.turn is not None:
            q, k = self.turn(q, position_L), self.turn(k, position_L)
        if cache is not None and not self.cross:
            start = (0, context.length, 0, 0)
            k = jax.lax.dynamic_update_slice(cache["keys"], k.astype(cache["keys"].dtype), start)
            v = jax.lax.dynamic_update_slice(cache["values"], v.astype(cache["values"].dtype), start)
        if cache is not None:
            k, v = (cache["keys"], cache["values"]) if read else (k, v)
            cache = {"keys": k, "values": v}
        mixed = attend(q, k, v, self.seen(cache, context), self.scale)
        out_bias = self.bias if self.out_bias is None else self.out_bias
        out = dense(D, ("heads", "embed"), use_bias=out_bias, kernel_init=self.out_init, name="out")
        return out(mixed.reshape(B, L, mixed.shape[-2] * mixed.shape[-1])), cache

    def project(self, x_BLD: jax.Array, keys_BTD: jax.Array | None) -> tuple[jax.Array, Any, Any]:
        """Queries, keys and values; of no `keys_BTD` queries alone."""
        D = x_BLD.shape[-1]
        N, H = self.heads, self.head_width or D // self.heads
        K = self.kv_heads or N
        by_head = lambda x, heads: x.reshape(x.shape[0], x.shape[1], heads, H)
        queries = lambda x: constrain(by_head(x, N), "batch", "length", "heads", None)
        split = lambda x, heads: constrain(by_head(x, heads), "batch", None, "heads", None)  # whole texts of keys
        stacked = lambda count, heads, name: dense(
            (count, heads * H), ("embed", None, "heads"), use_bias=self.bias and self.key_bias, name=name
        )
        if self.bias and not self.key_bias:
            q_bias, v_bias = (self.add_bias(f"{name}_bias", heads * H) for name, heads in (("q", N), ("v", K)))
        else:
            q_bias = v_bias = lambda x: x
        if K == N and not self.cross:
            qkv = stacked(3, N, "qkv")(x_BLD)
            q, k, v = jnp.split(qkv, 3, axis=-2)
            return queries(q_bias(q)), split(k, N), split(v_bias(v), N)
        q = dense(N * H, ("embed", "heads"), use_bias=self.bias and self.key_bias, name="q")(x_BLD)
        if keys_BTD is None:
            return queries(q_bias(q)), None, None
        kv = stacked(2, K, "kv")(keys_BTD)
        k, v = jnp.split(kv, 2, axis=-2)
        return queries(q_bias(q)), split(k, K), split(v_bias(v), K)

    def add_bias(self, name: str, units: int) -> Callable[[jax.Array], jax.Array]:
        bias = self.param(name, named(nn.initializers.zeros, "heads"), (units,))
        return lambda x: x + bias.astype(x.dtype).reshape(*(1,) * (x.ndim - 1), -1)

    def seen(self, cache: Cache | None, context: Context) -> Seen:
        if self.cross:
            return Seen(None, keys_BT=context.memory_mask_BT)
        cached = cache is not None
        return Seen(self.sees, context.length, context.mask_BT, context.segments_BT, context.bias, cached)
