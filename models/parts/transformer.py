"""A stack of transformer blocks, put together from parts.  Shapes: B batch, L length, D model width.

`stack` and `remat` choose how the same function is compiled, not what it computes: one array per layer and unrolled
(fastest for small networks on a CPU), or parameters stacked by layer and scanned (compiles in constant time).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.activations import ACTIVATIONS, ActivationName, units_before
from models.parts.attention import ALONE, Context
from models.parts.axes import constrain
from models.parts.dense import Dropout, dense
from models.parts.experts import Experts
from models.parts.kernels import KEPT

Stacking = Literal["unrolled", "scan"]
Remat = Literal["none", "full", "dots"]
REMAT_POLICIES = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims,
        jax.checkpoint_policies.save_only_these_names(KEPT),
    ),
}

# Parts of a block.  They make their layers, by name, within the block that calls them.
Mixer = Callable[[], nn.Module]  # () -> a module of (x_BLD, cache, context) -> x_BLD, cache
Mlp = Callable[[jax.Array], jax.Array]  # x_BLD -> x_BLD
Norm = Callable[[str], Callable[[jax.Array], jax.Array]]  # (name) -> the layer


def residual_init(layers: int, batch_axis: tuple[int, ...] = ()):
    """Weights that write into the residual stream start smaller by √(2 layers), so its variance does not grow."""
    return nn.initializers.variance_scaling(0.5 / layers, "fan_in", "truncated_normal", batch_axis=batch_axis)


def layer_norm(epsilon: float = 1e-5, bias: bool = True) -> Norm:
    """Over the width (Ba et al. 2016)."""
    return lambda name: nn.LayerNorm(epsilon=epsilon, use_bias=bias, name=name)


def rms_norm(epsilon: float = 1e-5) -> Norm:
    """x / √(mean(x²) + ε) · scale (Zhang & Sennrich 2019)."""
    return lambda name: nn.RMSNorm(epsilon=epsilon, name=name)


def dense_mlp(
    units: int, activation: ActivationName = "gelu", bias: bool = False, out_init: Callable | None = None
) -> Mlp:
    """down(activation(up(x))); where the activation is a gate, up has twice the units."""

    def apply(x_BLD: jax.Array) -> jax.Array:
        h = dense(units_before(activation, units), ("embed", "mlp"), use_bias=bias, name="up")(x_BLD)
        h = ACTIVATIONS[activation](constrain(h, "batch", "length", "mlp"))
        return down(x_BLD.shape[-1], bias, out_init)(h)

    return apply


def gated_mlp(
    units: int, activation: ActivationName = "silu", bias: bool = False, out_init: Callable | None = None
) -> Mlp:
    """down(up(x) · activation(gate(x))) (Shazeer 2020); up and gate are one product."""

    def apply(x_BLD: jax.Array) -> jax.Array:
        h = dense((2, units), ("embed", None, "mlp"), use_bias=bias, name="up")(x_BLD)
        h = constrain(h, "batch", "length", None, "mlp")
        up, gate = (part.squeeze(-2) for part in jnp.split(h, 2, axis=-2))
        return down(x_BLD.shape[-1], bias, out_init)(up * ACTIVATIONS[activation](gate))

    return apply


def experts_mlp(
    count: int,
    top: int,
    units: int,
    activation: ActivationName = "silu",
    capacity: float | None = None,
    out_init: Callable | None = None,
) -> Mlp:
    """`count` gated MLPs, `top` of them for each token (models/parts/experts.py)."""
    init = nn.initializers.lecun_normal(batch_axis=(0,)) if out_init is None else out_init
    return lambda x_BLD: Experts(count, top, units, activation, capacity, out_init=init, name="experts")(x_BLD)


def down(width: int, bias: bool, out_init: Callable | None) -> nn.Module:
    init = nn.initializers.lecun_normal() if out_init is None else out_init
    return dense(width, ("mlp", "embed"), use_bias=bias, kernel_init=init, name="down")


class Block(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x)) (Radford et al. 2019); or with the norm after each sum.

    Between the two, where it is given, `cross` reads the context's memory, and the cache is one for each: {"own": that
    of `mixer`, "cross": the memory's keys and values}.  A block may have no `mlp` (Mamba).
    """

    mixer: Mixer
    mlp: Mlp | None
    norm: Norm
    cross: Mixer | None = None
    order: Literal["pre", "post"] = "pre"
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x_BLD: Float[Array, "b l d"], cache: Any, context: Context, train: bool):
        def residual(x: jax.Array, part: Callable[[jax.Array], jax.Array], name: str) -> jax.Array:
            norm = self.norm(name)
            y = Dropout(self.dropout)(part(norm(x) if self.order == "pre" else x), train)
            return x + y if self.order == "pre" else norm(x + y)

        after = []

        def mixing(mixer: Mixer, cache: Any) -> Callable[[jax.Array], jax.Array]:
            def mix(x: jax.Array) -> jax.Array:
                mixed, new = mixer()(x, cache, context)
                after.append(new)
                return mixed

            return mix

        if self.cross is None:
            x_BLD = residual(x_BLD, mixing(self.mixer, cache), "norm1")
        else:
            own, memory = (None, None) if cache is None else (cache["own"], cache["cross"])
            x_BLD = residual(x_BLD, mixing(self.mixer, own), "norm1")
            x_BLD = residual(x_BLD, mixing(self.cross, memory), "norm_cross")
        if self.mlp is not None:
            x_BLD = residual(x_BLD, self.mlp, "norm2")
        new = after[0] if self.cross is None else None if cache is None else {"own": after[0], "cross": after[1]}
        return constrain(x_BLD, "batch", "length", None), new


class Stack(nn.Module):
    """One block after the other; `cache` (None, or as `of_layers` makes it) goes in and comes out.

    `blocks` are the keywords of each Block.  Blocks that are scanned are all the same.
    """

    blocks: tuple[Mapping[str, Any], ...]
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    @nn.compact
    def __call__(
        self, x_BLD: Float[Array, "b l d"], cache: Any = None, context: Context = ALONE, *, train: bool = False
    ):
        policy = REMAT_POLICIES[self.remat]
        block = Block if self.remat == "none" else nn.remat(Block, policy=policy, static_argnums=(4,))
        if self.stack == "scan":
            if any(keywords != self.blocks[0] for keywords in self.blocks):
                raise ValueError("stack='scan' needs layers that are all alike, and these are not; use 'unrolled'")
            scanned = nn.scan(
                block,
                variable_axes={"params": 0, "penalty": 0},
                split_rngs={"params": True, "dropout": True},
                metadata_params={nn.PARTITION_NAME: "layers"},
                in_axes=(0, nn.broadcast, nn.broadcast),
                length=len(self.blocks),
            )
            return scanned(**self.blocks[0], name="blocks")(x_BLD, cache, context, train)
        caches = []
        for i, keywords in enumerate(self.blocks):
            layer_cache = None if cache is None else cache[i]
            x_BLD, layer_cache = block(**keywords, name=f"block_{i}")(x_BLD, layer_cache, context, train)
            caches.append(layer_cache)
        return x_BLD, None if cache is None else caches


def empty_cache(
    layers: int, batch: int, length: int, kv_heads: int, head_width: int, stack: Stacking, memory: int | None = None
) -> dict[str, Any]:
    """A cache for `length` tokens: float32 keys and values of every layer, and how many of them are filled.

    Of layers that read a memory of so many places also its keys and values.
    """

    def zeros(length: int) -> dict[str, jax.Array]:
        return {name: jnp.zeros((batch, length, kv_heads, head_width)) for name in ("keys", "values")}

    layer = zeros(length) if memory is None else {"own": zeros(length), "cross": zeros(memory)}
    return {"layers": of_layers(layer, layers, stack), "length": jnp.zeros((), jnp.int32)}


def of_layers(empty: Any, layers: int, stack: Stacking) -> Any:
    """The caches of all layers, of an empty one: arrays with a leading axis of layers where they are scanned.

    Else each layer has its own, since its part of a larger array would be copied at every token.
    """
    if stack == "unrolled":
        return [empty] * layers
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (layers, *x.shape)), empty)


def places(carry: Any) -> int | None:
    """How many tokens a carry has places for: those of its cache; None where it is a state, which has no end."""
    if not (isinstance(carry, dict) and "length" in carry):
        return None
    layers = carry["layers"]
    layer = layers[0] if isinstance(layers, list) else layers
    return layer.get("own", layer)["keys"].shape[-3]
