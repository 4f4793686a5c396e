"""A stack of pre-norm transformer blocks.  Shapes: B batch, L length, D model width.

`stack` and `remat` choose how the same function is compiled, not what it computes: one array per layer and unrolled
(fastest for small networks on a CPU), or parameters stacked by layer and scanned (compiles in constant time).
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.activations import ACTIVATIONS, ActivationName, units_before
from models.parts.attention import Attention
from models.parts.axes import constrain
from models.parts.dense import Dropout, dense

Stacking = Literal["unrolled", "scan"]
Remat = Literal["none", "full", "dots"]
REMAT_POLICIES = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims,
}


def residual_init(layers: int):
    """Weights that write into the residual stream start smaller by √(2 layers), so its variance does not grow."""
    return nn.initializers.variance_scaling(0.5 / layers, "fan_in", "truncated_normal")


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (Radford et al. 2019)."""

    heads: int
    layers: int  # of the whole stack, for the initialisation
    ratio: int = 4
    rotary: bool = False
    bias: bool = False
    activation: ActivationName = "gelu"
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x_BLD: Float[Array, "b l d"], cache: Any, length: Any, train: bool):
        drop = lambda x: Dropout(self.dropout)(x, train)
        norm = lambda name: nn.LayerNorm(epsilon=1e-5, use_bias=self.bias, name=name)
        out_init = residual_init(self.layers)
        attention = Attention(self.heads, self.rotary, self.bias, out_init, name="attention")
        mixed, cache = attention(norm("norm1")(x_BLD), cache, length)
        x_BLD = x_BLD + drop(mixed)
        D = x_BLD.shape[-1]
        units = units_before(self.activation, self.ratio * D)
        h = dense(units, ("embed", "mlp"), use_bias=self.bias, name="up")(norm("norm2")(x_BLD))
        h = ACTIVATIONS[self.activation](constrain(h, "batch", None, "mlp"))
        h = dense(D, ("mlp", "embed"), use_bias=self.bias, kernel_init=out_init, name="down")(h)
        return constrain(x_BLD + drop(h), "batch", None, None), cache


class Stack(nn.Module):
    """`layers` blocks; `cache` (None, or keys and values with a leading layer axis) goes in and comes out."""

    layers: int
    block: dict[str, Any]  # keywords of Block
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    @nn.compact
    def __call__(self, x_BLD: Float[Array, "b l d"], cache: Any = None, length: Any = 0, *, train: bool = False):
        policy = REMAT_POLICIES[self.remat]
        block = Block if self.remat == "none" else nn.remat(Block, policy=policy, static_argnums=(4,))
        keywords = {**self.block, "layers": self.layers}
        if self.stack == "scan":
            scanned = nn.scan(
                block,
                variable_axes={"params": 0},
                split_rngs={"params": True, "dropout": True},
                metadata_params={nn.PARTITION_NAME: "layers"},
                in_axes=(0, nn.broadcast, nn.broadcast),
                length=self.layers,
            )
            return scanned(**keywords, name="blocks")(x_BLD, cache, length, train)
        caches = []
        for i in range(self.layers):
            layer_cache = jax.tree.map(lambda c, i=i: c[i], cache)
            x_BLD, layer_cache = block(**keywords, name=f"block_{i}")(x_BLD, layer_cache, length, train)
            caches.append(layer_cache)
        return x_BLD, None if cache is None else jax.tree.map(lambda *c: jnp.stack(c), *caches)
