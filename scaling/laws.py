"""Scaling laws as values: a new law is one more `Law` here, and every fit, interval and report takes it.

N parameters, D tokens, C = 6 N D FLOPs, L loss in nats per token.  Which parameters N counts is the caller's choice
and changes the exponents (Porian et al. 2024, Pearce & Song 2024), so every report states it.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

Params = Mapping[str, Any]  # published name -> float, or an array with one entry per bootstrap draw

# A resample may send an exponent off; what that leaves undefined is inf or nan, and whoever reads it counts those.
_undefined = np.errstate(all="ignore")


@dataclasses.dataclass(frozen=True, eq=False)  # eq=False: hashed by identity, so a law can be a static argument of jit
class Law:
    """A law in two forms: `loss` as published, `log_loss` as fitted.

    The fit sees every column as the log of its ratio to its geometric mean.  That takes the Hessian's condition number
    from 1e11 to 1e3 for Chinchilla's law, and lets one grid of `starts` serve data of any size and unit.
    """

    name: str
    equation: str
    source: str
    inputs: tuple[str, ...]  # columns the law reads, in the order its functions take them
    params: tuple[str, ...]  # names in the published form
    loss: Callable[..., Any]  # (params, *inputs) -> L, in NumPy; broadcasts over draws
    log_loss: Callable[..., jax.Array]  # (theta, *centred log inputs) -> centred log L, in JAX
    natural: Callable[..., dict[str, Any]]  # (theta [..., p], log unit of L, *log units of inputs) -> params
    starts: tuple[tuple[float, ...], ...]  # values of theta to start from
    levels: int  # distinct values every input needs before its exponent is identified
    derived: Mapping[str, Callable[[Params], Any]] = dataclasses.field(default_factory=dict)
    optimum: Callable[[Params, Any], dict[str, Any]] | None = None  # (params, C) -> n, d and loss of the best run


@_undefined
def chinchilla_loss(p: Params, n: Any, d: Any) -> Any:
    """L(N, D) = E + A / N^alpha + B / D^beta   (Hoffmann et al. 2022, equation 2)."""
    return p["E"] + p["A"] * np.power(n, -p["alpha"]) + p["B"] * np.power(d, -p["beta"])


def chinchilla_log_loss(theta: jax.Array, n: jax.Array, d: jax.Array) -> jax.Array:
    """Log-sum-exp of the three terms, each given by its log at the centre of the data (their equation 3)."""
    e, a, b, alpha, beta = theta
    return logsumexp(jnp.stack([jnp.broadcast_to(e, n.shape), a - alpha * n, b - beta * d]), axis=0)


@_undefined
def chinchilla_natural(theta: Any, loss_unit: float, n_unit: float, d_unit: float) -> dict[str, Any]:
    e, a, b, alpha, beta = np.moveaxis(np.asarray(theta), -1, 0)
    A, B = np.exp(a + loss_unit + alpha * n_unit), np.exp(b + loss_unit + beta * d_unit)
    return {"E": np.exp(e + loss_unit), "A": A, "B": B, "alpha": alpha, "beta": beta}


def a(p: Params) -> Any:
    """Exponent of N_opt = G (C/6)^a."""
    return p["beta"] / (p["alpha"] + p["beta"])


def b(p: Params) -> Any:
    """Exponent of D_opt = (C/6)^b / G."""
    return p["alpha"] / (p["alpha"] + p["beta"])


@_undefined
def G(p: Params) -> Any:
    """The constant of N_opt: where alpha A / N^alpha = beta B / D^beta (Hoffmann et al. 2022, equation 4)."""
    return np.exp(np.log(p["alpha"] * p["A"] / (p["beta"] * p["B"])) / (p["alpha"] + p["beta"]))


@_undefined
def n_opt(p: Params, c: Any) -> Any:
    """The parameter count that reaches the least loss with C = 6 N D FLOPs."""
    return G(p) * np.power(np.divide(c, 6.0), a(p))


@_undefined
def d_opt(p: Params, c: Any) -> Any:
    """The tokens to train `n_opt` on."""
    return np.power(np.divide(c, 6.0), b(p)) / G(p)


def l_opt(p: Params, c: Any) -> Any:
    """The least loss that C FLOPs buy, nats per token."""
    return chinchilla_loss(p, n_opt(p, c), d_opt(p, c))


def chinchilla_optimum(p: Params, c: Any) -> dict[str, Any]:
    return {"n": n_opt(p, c), "d": d_opt(p, c), "loss": l_opt(p, c)}


@_undefined
def compute_for_loss(p: Params, loss: Any) -> Any:
    """The least C = 6 N D that reaches `loss`: `l_opt` inverted.  Infinite at or below the floor E."""
    scale = p["A"] * np.power(G(p), -p["alpha"]) + p["B"] * np.power(G(p), p["beta"])
    power = -(p["alpha"] + p["beta"]) / (p["alpha"] * p["beta"])
    reducible = np.maximum(np.subtract(loss, p["E"]), 0.0)
    return 6.0 * np.power(reducible / scale, power)


def _chinchilla_starts() -> tuple[tuple[float, ...], ...]:
    # At the centre of the data the three terms sum to one unit of loss: shares of it, times the two exponents.
    shares, exponents = ((0.1, 0.2), (0.3, 0.2), (0.3, 0.5), (0.6, 0.1), (0.6, 0.2), (0.6, 0.3)), (0.1, 0.25, 0.5, 0.9)
    return tuple(
        (math.log(e), math.log(a), math.log(1 - e - a), alpha, beta)
        for (e, a), alpha, beta in itertools.product(shares, exponents, exponents)
    )


chinchilla = Law(
    name="chinchilla",
    equation="L(N, D) = E + A / N^α + B / D^β",
    source="Hoffmann et al. 2022, arXiv:2203.15556, approach 3",
    inputs=("n", "d"),
    params=("E", "A", "B", "alpha", "beta"),
    loss=chinchilla_loss,
    log_loss=chinchilla_log_loss,
    natural=chinchilla_natural,
    starts=_chinchilla_starts(),
    levels=3,
    derived={"a": a, "b": b, "G": G},
    optimum=chinchilla_optimum,
)


def _kaplan(name: str, symbol: str, equation: str) -> Law:
    """L = (constant / input)^exponent: one power law without a floor, a straight line in logs."""
    constant, exponent = f"{symbol}_c", f"alpha_{symbol}"

    @_undefined  # a flat line has no constant
    def natural(theta, loss_unit, unit):
        level, alpha = np.moveaxis(np.asarray(theta), -1, 0)
        return {constant: np.exp(unit + (level + loss_unit) / alpha), exponent: alpha}

    return Law(
        name=name,
        equation=f"L({symbol}) = ({symbol}_c / {symbol})^α_{symbol}",
        source=f"Kaplan et al. 2020, arXiv:2001.08361, equation {equation}",
        inputs=(symbol.lower(),),
        params=(constant, exponent),
        loss=lambda p, x: np.power(p[constant] / x, p[exponent]),
        log_loss=lambda theta, x: theta[0] - theta[1] * x,
        natural=natural,
        starts=((0.0, 0.05), (0.0, 0.3)),
        levels=2,
    )


# N_c counts non-embedding parameters; the runs are meant to be limited by N alone (1.1) or by D alone (1.2).
kaplan_n = _kaplan("kaplan_n", "N", "1.1")
kaplan_d = _kaplan("kaplan_d", "D", "1.2")

LAWS = {law.name: law for law in (chinchilla, kaplan_n, kaplan_d)}

# N_opt ~ C^a and D_opt ~ C^b as published: Kaplan et al. 2020 (section 6.1), Hoffmann et al. 2022 (approach 1).
PUBLISHED = {"Kaplan et al. 2020": {"a": 0.73, "b": 0.27}, "Hoffmann et al. 2022": {"a": 0.50, "b": 0.50}}
