"""Mixture of experts: many MLPs, of which each token goes to a few (Shazeer et al. 2017; Fedus et al. 2022).

Shapes: B batch, L length, S = B · L tokens, E experts, k experts a token, D width, U units.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.activations import ACTIVATIONS, ActivationName
from models.parts.axes import Sum, batch_axis, constrain, gathered, named, per_device
from models.parts.cpu import ragged_dot


class Route(NamedTuple):
    """Where tokens go: `expert_Sk`, with what weight, and the router's logits that said so."""

    expert_Sk: Int[Array, "s k"]
    weight_Sk: Float[Array, "s k"]
    logits_SE: Float[Array, "s e"]


def top_k(logits_SE: Float[Array, "s e"], k: int) -> Route:
    """The k likeliest experts, weighted by their probabilities, which then sum to 1 (Jiang et al. 2024)."""
    weight_Sk, expert_Sk = jax.lax.top_k(jax.nn.softmax(logits_SE.astype(jnp.float32)), k)
    return Route(expert_Sk, weight_Sk / weight_Sk.sum(-1, keepdims=True), logits_SE)


def balance_loss(route: Route) -> Float[Array, ""]:
    """E Σ_e (assignments to e per token) (mean probability of e): k where all are used alike, more where not.

    The auxiliary loss of Fedus et al. 2022, equation 4, for k experts a token; means are over the whole batch.
    """
    E, axis = route.logits_SE.shape[1], batch_axis()
    mean = lambda x_SE: x_SE.mean(0) if axis is None else jax.lax.pmean(x_SE.mean(0), axis)
    share_E = mean(jax.nn.one_hot(route.expert_Sk, E).sum(1))
    return E * (share_E * mean(jax.nn.softmax(route.logits_SE.astype(jnp.float32)))).sum()


def z_loss(route: Route) -> Float[Array, ""]:
    """The mean of (log Σ_e exp logit)², which keeps the router's logits small (Zoph et al. 2022, equation 5)."""
    return jnp.square(jax.nn.logsumexp(route.logits_SE.astype(jnp.float32), axis=-1)).mean()


def kept(route: Route, capacity: int) -> Route:
    """An expert takes `capacity` tokens at most, the first of the text first; of what is left a weight becomes 0."""
    S, k = route.expert_Sk.shape
    E = route.logits_SE.shape[1]
    chosen_KE = jax.nn.one_hot(route.expert_Sk.T.reshape(-1), E, dtype=jnp.int32)  # first choices before second ones
    place_kS = (jnp.cumsum(chosen_KE, axis=0) * chosen_KE).sum(-1).reshape(k, S)
    return route._replace(weight_Sk=jnp.where(capacity >= place_kS.T, route.weight_Sk, 0))


def dispatched(
    x_SD: Float[Array, "s d"],
    expert_Sk: Int[Array, "s k"],
    weight_Sk: Float[Array, "s k"],
    here_E: Int[Array, " e"],
    apply: Callable[[jax.Array, jax.Array], jax.Array],
) -> Float[Array, "s d"]:
    """Σ_k weight · expert(x): tokens sorted by expert, `apply(x_KD, how many for each expert)`, and back.

    Of the experts `here_E`, numbers in a row; tokens of others stand behind and count nothing.
    """
    k, E = expert_Sk.shape[1], len(here_E)
    place_K = (expert_Sk - here_E[0]).reshape(-1)
    place_K = jnp.where((place_K >= 0) & (place_K < E), place_K, E)
    order_K = jnp.argsort(place_K, stable=True)
    sizes_E = jnp.bincount(place_K, length=E + 1)[:E]
    y_KD = apply(x_SD[order_K // k], sizes_E.astype(jnp.int32))
    y_KD = y_KD * weight_Sk.reshape(-1)[order_K, None].astype(y_KD.dtype)
    y_KD = jnp.where(place_K[order_K, None] < E, y_KD, 0)
    return jnp.zeros_like(x_SD).at[order_K // k].add(y_KD)


class Experts(nn.Module):
    """`count` gated MLPs of `units`, `top` of them for a token: down(up(x) · activation(gate(x))) of each.

    No token is dropped unless `capacity` is given, in shares of S · top / E.  In training the balance and z losses of
    the call, times their weights, stand in the state as "penalty", which train/wrap.py adds to the loss.
    """

    count: int
    top: int
    units: int
    activation: ActivationName = "silu"
    capacity: float | None = None
    balance: float = 0.01  # Fedus et al. 2022, section 2.2
    z: float = 1e-3  # Zoph et al. 2022, section 3.1
    out_init: Any = nn.initializers.lecun_normal(batch_axis=(0,))

    @nn.compact
    def __call__(self, x_BLD: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        B, L, D = x_BLD.shape
        E, U = self.count, self.units
        if not 1 <= self.top <= E:
            raise ValueError(f"a token goes to {self.top} of {E} experts; use 1 to {E}")
        init = nn.initializers.lecun_normal(batch_axis=(0,))
        gate_DE = self.param("router", named(nn.initializers.lecun_normal(), "embed", None), (D, E))
        up = self.param("up", named(init, "expert", "embed", "mlp"), (E, D, 2 * U))
        down = self.param("down", named(self.out_init, "expert", "mlp", "embed"), (E, U, D))
        up, down = gathered(up, "expert", "embed", "mlp"), gathered(down, "expert", "mlp", "embed")
        x_SD = constrain(x_BLD, "tokens", None, None).reshape(B * L, D)
        route = top_k(x_SD @ gathered(gate_DE, "embed", None), self.top)
        self.remember("balance", self.balance * balance_loss(route))
        self.remember("z", self.z * z_loss(route))
        if self.capacity is not None:
            route = kept(route, max(1, round(self.capacity * B * L * self.top / E)))

        def local(x_SD: jax.Array, expert_Sk: jax.Array, weight_Sk: jax.Array, here_E: jax.Array, *w: jax.Array):
            up, down = w

            def mlps(x_KD: jax.Array, sizes_E: jax.Array) -> jax.Array:
                h_K2U = ragged_dot(x_KD, up, sizes_E)
                h_KU = h_K2U[:, :U] * ACTIVATIONS[self.activation](h_K2U[:, U:])
                return ragged_dot(h_KU, down, sizes_E)

            return (dispatched(x_SD, expert_Sk, weight_Sk, here_E, mlps),)

        tokens = ("tokens", None)
        inputs = (tokens, tokens, tokens, ("expert",), ("expert", None, None), ("expert", None, None))
        run = per_device(local, inputs, (Sum(tokens, "expert"),), leave=("mlp",))
        (y_SD,) = run(x_SD, route.expert_Sk, route.weight_Sk, jnp.arange(E), up, down)
        return constrain(constrain(y_SD.reshape(B, L, D), "tokens", None, None), "batch", None, None)

    def remember(self, name: str, value: jax.Array) -> None:
        if self.is_mutable_collection("penalty"):
            note = self.variable("penalty", name, lambda: jnp.zeros(()))
            if not self.is_initializing():  # so that parameters are drawn without a forward pass
                note.value = value.astype(jnp.float32)
