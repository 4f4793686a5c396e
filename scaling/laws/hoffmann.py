"""Hoffmann et al. 2022, arXiv:2203.15556 ("Chinchilla"): L(N, D) = E + A / N^alpha + B / D^beta.

N counts all parameters, C = 6 N D.  Published constants are those of the paper's TeX source: its text rounds them,
which quadruples the objective that they are said to minimise (Besiroglu et al. 2024, arXiv:2404.10102).
"""

from typing import Any

import numpy as np

from scaling.laws.api import Law, Params, best_split, grid, log_sum, positive, real
from scaling.laws.lazy import Array

LOG6 = float(np.log(6.0))


def predict(theta: Array, n: Array, d: Array) -> Array:
    """Log of the sum of three terms (their equation 3)."""
    e, a, b, alpha, beta = theta
    return log_sum(e, a - alpha * n, b - beta * d)


SPLIT = best_split("alpha", "beta")
a = SPLIT["a"]  # exponent of N_opt = G (C/6)^a (their equation 4)
b = SPLIT["b"]  # exponent of D_opt = (C/6)^b / G


def G(p: Params) -> Any:
    """The constant of N_opt: where alpha A / N^alpha = beta B / D^beta."""
    with np.errstate(all="ignore"):
        ratio = np.log(p["alpha"]) + np.log(p["A"]) - np.log(p["beta"]) - np.log(p["B"])
        return np.exp(ratio / (p["alpha"] + p["beta"]))


def optimum(theta: Any, log_c: Any) -> dict[str, Any]:
    """Logs of N_opt, D_opt and L_opt at C = 6 N D, in closed form; nan where an exponent is not positive."""
    _, log_a, log_b, alpha, beta = np.moveaxis(np.asarray(theta, np.float64), -1, 0)
    with np.errstate(all="ignore"):
        log_g = (np.log(alpha) + log_a - np.log(beta) - log_b) / (alpha + beta)
    n = log_g + beta / (alpha + beta) * (log_c - LOG6)
    d = log_c - LOG6 - n
    return {"n": n, "d": d, "loss": chinchilla.at(theta, n, d)}


def compute_for_loss(p: Params, loss: Any) -> Any:
    """The least C = 6 N D that reaches `loss`: `l_opt` inverted.  Infinite at or below the floor E."""
    with np.errstate(all="ignore"):
        scale = p["A"] * np.power(G(p), -p["alpha"]) + p["B"] * np.power(G(p), p["beta"])
        reducible = np.maximum(np.subtract(loss, p["E"]), 0.0)
        return 6.0 * np.power(reducible / scale, -(p["alpha"] + p["beta"]) / (p["alpha"] * p["beta"]))


def n_opt(p: Params, c: Any) -> Any:
    """The parameter count that reaches the least loss with C = 6 N D FLOPs."""
    return np.exp(optimum(chinchilla.free(p), np.log(c))["n"])


def d_opt(p: Params, c: Any) -> Any:
    """The tokens to train `n_opt` on."""
    return np.exp(optimum(chinchilla.free(p), np.log(c))["d"])


def l_opt(p: Params, c: Any) -> Any:
    """The least loss that C FLOPs buy, nats per token."""
    return np.exp(optimum(chinchilla.free(p), np.log(c))["loss"])


chinchilla = Law(
    name="chinchilla",
    equation="L(N, D) = E + A / N^α + B / D^β",
    source="Hoffmann et al. 2022, arXiv:2203.15556, approach 3, equation 2",
    inputs=("n", "d"),
    params=(
        positive("E", "loss that neither more parameters nor more tokens remove", loss=1),
        positive("A", "loss that more parameters remove: A / N^α", loss=1, n="alpha"),
        positive("B", "loss that more tokens remove: B / D^β", loss=1, d="beta"),
        real("alpha"),
        real("beta"),
    ),
    predict=predict,
    starts=grid((0.0,), (0.0,), (0.0,), *[(0.05, 0.12, 0.22, 0.35, 0.5, 0.75, 1.1, 1.7)] * 2),
    linear=("E", "A", "B"),
    floor="E",
    derived={**SPLIT, "G": G},
    exponents=("alpha", "beta"),
    optimum=optimum,
    typical={"alpha": (0.02, 2.0), "beta": (0.02, 2.0)},
)

# The digits of the TeX source: ln A, ln B and ln E are given there, and alpha and beta to seven places.
PUBLISHED = {
    "E": float(np.exp(0.5267228)), "A": float(np.exp(6.0073404)), "B": float(np.exp(6.0179186)),
    "alpha": 0.33917084, "beta": 0.2849083,
}  # fmt: skip
ROUNDED = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
