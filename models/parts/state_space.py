"""Selective state spaces (Gu & Dao 2023): a linear recurrence whose rates the input chooses.

Shapes: B batch, L length, D model width, E inner width, N numbers a channel remembers, K kernel, R rank of the rates.
"""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.activations import ACTIVATIONS, ActivationName
from models.parts.attention import ALONE, Context
from models.parts.axes import constrain, named
from models.parts.dense import dense

Scan = Literal["parallel", "recurrent"]
Choice = Literal["each token", "nothing"]


def selective_scan(
    x_BLE: Float[Array, "b l e"],
    rate_BLE: Float[Array, "b l e"],
    a_EN: Float[Array, "e n"],
    b_BLN: Float[Array, "b l n"] | Float[Array, "b l e n"],
    c_BLN: Float[Array, "b l n"],
    state_BEN: Float[Array, "b e n"],
    scan: Scan = "parallel",
) -> tuple[Float[Array, "b l e"], Float[Array, "b e n"]]:
    """s' = exp(rate a) s + rate b x and y = c · s', and the last state: what comes out is the same by either scan.

    "parallel" combines steps in pairs, then pairs of pairs (Blelloch 1990): log L rounds, L E N numbers at once.
    "recurrent" goes step by step and keeps E N.  b may differ from channel to channel.
    """
    keep = lambda rate: jnp.exp(rate[..., None] * a_EN.reshape((1,) * (rate.ndim - 1) + a_EN.shape))
    add = lambda rate, b, x: (rate * x)[..., None] * (b if b.ndim > rate.ndim else b[..., None, :])
    if scan == "recurrent" or x_BLE.shape[1] == 1:

        def one(state: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
            x, rate, b, c = inputs
            state = keep(rate) * state + add(rate, b, x)
            return state, (state * c[:, None]).sum(-1)

        steps = tuple(v.swapaxes(0, 1) for v in (x_BLE, rate_BLE, b_BLN, c_BLN))
        last, y_LBE = jax.lax.scan(one, state_BEN, steps)
        return y_LBE.swapaxes(0, 1), last
    kept, added = keep(rate_BLE), add(rate_BLE, b_BLN, x_BLE)
    added = added.at[:, 0].add(kept[:, 0] * state_BEN)
    join = lambda before, after: (before[0] * after[0], after[0] * before[1] + after[1])
    _, states = jax.lax.associative_scan(join, (kept, added), axis=1)
    return jnp.einsum("blen,bln->ble", states, c_BLN), states[:, -1]


def rate_bias(low: float = 0.001, high: float = 0.1, least: float = 1e-4) -> nn.initializers.Initializer:
    """softplus of it is between `low` and `high`, its logarithm evenly (Gu & Dao 2023, section 3.6)."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        rate = jnp.exp(jax.random.uniform(key, shape, dtype, math.log(low), math.log(high)))
        rate = jnp.maximum(rate, least)
        return rate + jnp.log(-jnp.expm1(-rate))

    return init


class StateSpace(nn.Module):
    """Gate, short convolution, selective scan: what Mamba has in attention's place.

    A cache holds the last K - 1 inputs of the convolution and the state.  Tokens whose mask is False count nothing.
    Rates, b and c are chosen by "each token"; or by "nothing": learned numbers of each channel, the same for all tokens
    (Gu et al. 2022, S4D-Real), of which b and c are one, since only their product counts.
    """

    inner: int
    state: int = 16
    kernel: int = 4
    rank: int = 1
    bias: bool = False
    conv_bias: bool = True
    activation: ActivationName = "silu"
    scan: Scan = "parallel"
    chosen_by: Choice = "each token"
    out_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(
        self, x_BLD: Float[Array, "b l d"], cache: dict[str, jax.Array] | None = None, context: Context = ALONE
    ) -> tuple[Float[Array, "b l d"], dict[str, jax.Array] | None]:
        B, L, D = x_BLD.shape
        E, N, K = self.inner, self.state, self.kernel
        masked = lambda x: x if context.mask_BT is None else jnp.where(context.mask_BT[..., None], x, 0)
        both = dense((2, E), ("embed", None, "mlp"), use_bias=self.bias, name="in")(masked(x_BLD))
        x_BLE, gate_BLE = (constrain(both[..., i, :], "batch", None, "mlp") for i in range(2))
        before = jnp.zeros((B, K - 1, E), x_BLE.dtype) if cache is None else cache["inputs"].astype(x_BLE.dtype)
        padded = jnp.concatenate([before, x_BLE], axis=1)
        w_KE = self.param("kernel", named(nn.initializers.lecun_normal(), None, "mlp"), (K, E)).astype(x_BLE.dtype)
        x_BLE = sum(padded[:, i : i + L] * w_KE[i][None, None] for i in range(K))
        if self.conv_bias:
            bias_E = self.param("kernel_bias", named(nn.initializers.zeros, "mlp"), (E,)).astype(x_BLE.dtype)
            x_BLE = x_BLE + bias_E[None, None]
        x_BLE = masked(ACTIVATIONS[self.activation](x_BLE))
        rate_BLE, b, c_BLN = self.choose(x_BLE)
        every = lambda key, shape, dtype=jnp.float32: jnp.log(jnp.broadcast_to(jnp.arange(1.0, N + 1)[None], shape))
        a_EN = -jnp.exp(self.param("log_decay", named(every, "mlp", None), (E, N)).astype(jnp.float32))
        start = jnp.zeros((B, E, N)) if cache is None else cache["state"]
        x, rate, b, c = (v.astype(jnp.float32) for v in (x_BLE, rate_BLE, b, c_BLN))
        y_BLE, last = selective_scan(x, rate, a_EN, b, c, start, self.scan)
        skip_E = self.param("skip", named(nn.initializers.ones, "mlp"), (E,)).astype(jnp.float32)
        y_BLE = (y_BLE + skip_E[None, None] * x).astype(x_BLD.dtype) * jax.nn.silu(gate_BLE)
        out = dense(D, ("mlp", "embed"), use_bias=self.bias, kernel_init=self.out_init, name="out")
        after = None if cache is None else {"inputs": padded[:, L:].astype(cache["inputs"].dtype), "state": last}
        return out(y_BLE), after

    def choose(self, x_BLE: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The rates [B, L, E] in float32, b and c of each token."""
        B, L, E = x_BLE.shape
        N, R = self.state, self.rank
        make_bias = lambda: self.param("rate_bias", named(rate_bias(), "mlp"), (E,))[None, None]
        if self.chosen_by == "nothing":
            weight_EN = self.param("weight", named(nn.initializers.normal(1.0), "mlp", None), (E, N))
            rate_BLE = jnp.broadcast_to(jax.nn.softplus(make_bias()), (B, L, E))
            return rate_BLE, jnp.broadcast_to(weight_EN[None, None], (B, L, E, N)), jnp.ones((B, L, N))
        chosen = dense(R + 2 * N, ("mlp", None), use_bias=False, name="choose")(x_BLE)
        rate_BLR, b_BLN, c_BLN = jnp.split(chosen, (R, R + N), axis=-1)
        uniform = lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -(R**-0.5), R**-0.5)
        w_RE = self.param("rate", named(uniform, None, "mlp"), (R, E)).astype(x_BLE.dtype)
        return jax.nn.softplus((rate_BLR @ w_RE).astype(jnp.float32) + make_bias()), b_BLN, c_BLN
