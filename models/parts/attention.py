"""Causal self-attention (Vaswani et al. 2017), with rotary positions (Su et al. 2021) and a key-value cache.

Shapes: B batch, L length of the input, T length of the keys, N heads, H head width, D model width.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.axes import constrain
from models.parts.dense import dense

Cache = dict[str, jax.Array]  # keys_BTNH, values_BTNH of one layer


def rotate(x_BLNH: Float[Array, "b l n h"], position_L: Int[Array, " l"]) -> Float[Array, "b l n h"]:
    """Turns each pair (x_i, x_{i+H/2}) by position · 10000^(-2i/H), in float32 whatever the network computes in."""
    half = x_BLNH.shape[-1] // 2
    frequency = 10_000.0 ** (-jnp.arange(half) / half)
    angle_LH = position_L.astype(jnp.float32)[:, None] * frequency[None]
    cos, sin = jnp.cos(angle_LH)[None, :, None], jnp.sin(angle_LH)[None, :, None]
    left, right = jnp.split(x_BLNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1).astype(x_BLNH.dtype)


class Attention(nn.Module):
    """Without a cache, position i attends to 0…i.  With one, the input continues the `length` tokens it holds."""

    heads: int
    rotary: bool = False
    bias: bool = False
    out_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(
        self, x_BLD: Float[Array, "b l d"], cache: Cache | None = None, length: Any = 0
    ) -> tuple[Float[Array, "b l d"], Cache | None]:
        B, L, D = x_BLD.shape
        qkv = dense((3, D), ("embed", None, "heads"), use_bias=self.bias, name="qkv")(x_BLD)
        q_BLNH, k_BLNH, v_BLNH = (
            constrain(qkv[..., i, :].reshape(B, L, self.heads, D // self.heads), "batch", None, "heads", None)
            for i in range(3)
        )
        if self.rotary:
            position_L = length + jnp.arange(L)
            q_BLNH, k_BLNH = rotate(q_BLNH, position_L), rotate(k_BLNH, position_L)
        if cache is None:
            mixed = jax.nn.dot_product_attention(q_BLNH, k_BLNH, v_BLNH, is_causal=True)
        else:
            start = (0, length, 0, 0)
            keys = jax.lax.dynamic_update_slice(cache["keys"], k_BLNH.astype(cache["keys"].dtype), start)
            values = jax.lax.dynamic_update_slice(cache["values"], v_BLNH.astype(cache["values"].dtype), start)
            cache = {"keys": keys, "values": values}
            seen_LT = jnp.arange(keys.shape[1])[None] <= length + jnp.arange(L)[:, None]
            mixed = jax.nn.dot_product_attention(q_BLNH, keys, values, mask=seen_LT[None, None])
        out = dense(D, ("heads", "embed"), use_bias=self.bias, kernel_init=self.out_init, name="out")
        return out(mixed.reshape(B, L, D)), cache
