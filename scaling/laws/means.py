"""Chinchilla's law with another way of adding its two terms: a power mean, whose exponent q is fitted.

q = 1 adds them (Hoffmann et al. 2022); as q grows the larger of the two decides alone, so that neither parameters nor
tokens can make up for a lack of the other.
"""

from typing import Any

import numpy as np

from scaling.laws.api import Law, Params, best_split, grid, log_sum, positive, real
from scaling.laws.hoffmann import LOG6
from scaling.laws.lazy import Array, jnp


def predict(theta: Array, n: Array, d: Array) -> Array:
    """Log of the loss."""
    e, a, b, alpha, beta, log_q = theta
    q = jnp.exp(log_q)
    return log_sum(e, log_sum(q * (a - alpha * n), q * (b - beta * d)) / q)


def optimum(theta: Any, log_c: Any) -> dict[str, Any]:
    """Logs of N_opt, D_opt and L_opt at C = 6 N D, in closed form; nan where an exponent is not positive.

    Along C the slopes of the two terms are equal: alpha (A N^-alpha)^q = beta (B D^-beta)^q, so that
    N_opt = G (C/6)^(beta / (alpha + beta)) with the G below: q moves the constant and not the exponent.
    """
    _, log_a, log_b, alpha, beta, log_q = np.moveaxis(np.asarray(theta, np.float64), -1, 0)
    with np.errstate(all="ignore"):
        log_g = ((np.log(alpha) - np.log(beta)) * np.exp(-log_q) + log_a - log_b) / (alpha + beta)
    n = log_g + beta / (alpha + beta) * (log_c - LOG6)
    d = log_c - LOG6 - n
    return {"n": n, "d": d, "loss": power_mean.at(theta, n, d)}


def G(p: Params) -> Any:
    """The constant of N_opt: ((alpha / beta)^(1/q) A / B)^(1 / (alpha + beta))."""
    with np.errstate(all="ignore"):
        ratio = (np.log(p["alpha"]) - np.log(p["beta"])) / p["q"] + np.log(p["A"]) - np.log(p["B"])
        return np.exp(ratio / (p["alpha"] + p["beta"]))


power_mean = Law(
    name="power_mean",
    equation="L(N, D) = E + [(A / N^α)^q + (B / D^β)^q]^(1 / q)",
    source="Chinchilla's law (arXiv:2203.15556) is q = 1; the constant-elasticity form of Arrow et al. 1961",
    inputs=("n", "d"),
    params=(
        positive("E", "loss that neither more parameters nor more tokens remove", loss=1),
        positive("A", "loss of N parameters and endless tokens: A / N^α", loss=1, n="alpha"),
        positive("B", "loss of D tokens and endless parameters: B / D^β", loss=1, d="beta"),
        real("alpha"),
        real("beta"),
        positive("q", "1 where the two terms add; large where the larger one decides"),
    ),
    predict=predict,
    starts=grid((0.0,), (0.0,), (0.0,), *[(0.12, 0.3, 0.6, 1.1)] * 2, tuple(np.log((0.5, 1.0, 2.0, 5.0)))),
    linear=("E", "A", "B"),  # the amplitudes that are best where the terms add start the search for every q
    floor="E",
    derived={**best_split("alpha", "beta"), "G": G},
    exponents=("alpha", "beta"),
    optimum=optimum,
    typical={"alpha": (0.02, 2.0), "beta": (0.02, 2.0), "q": (0.2, 20.0)},
)
