"""A law that is bounded on both sides, and knows how many of the tokens were unique (Bryant & Liu, arXiv:2605.09189).

With no parameters or no tokens the loss is that of an uninformed guess, L0; with plenty of both it is E.  Where h is
small this is Chinchilla's law with A = (L0 - E) a and B = (L0 - E) b.
"""

from typing import Any

from scaling.laws.api import Law, grid, log_sum, positive, real
from scaling.laws.lazy import Array, jax


def predict(theta: Any, n: Array, d: Array, u: Array) -> Array:
    """Log of E / (1 + h) + L0 h / (1 + h), which needs no order of E and L0."""
    e, top, a, b, c, alpha, beta, gamma, delta = theta
    h = log_sum(a - alpha * n, b - beta * d, c + gamma * n - delta * u)
    return log_sum(e + jax.nn.log_sigmoid(-h), top + jax.nn.log_sigmoid(h))


bounded = Law(
    name="bounded",
    equation="L(N, D, U) = E + (L_0 - E) h / (1 + h), h = a / N^α + b / D^β + c N^γ / U^δ, U of the D tokens unique",
    source="Bryant & Liu 2026, arXiv:2605.09189",
    inputs=("n", "d", "u"),
    params=(
        positive("E", "loss that neither parameters nor tokens remove", loss=1),
        positive("L_0", "loss of an uninformed guess: ln of the vocabulary", loss=1),
        positive("a", "a / N^α: too few parameters", n="alpha"),
        positive("b", "b / D^β: too few tokens seen", d="beta"),
        positive("c", "c N^γ / U^δ: more parameters than the unique tokens can fill", n="-gamma", u="delta"),
        real("alpha"), real("beta"), real("gamma"), real("delta"),
    ),
    predict=predict,
    starts=grid((0.0,), (1.0,), (-3.0, -1.5), (-3.0, -1.5), (-4.0,), *[(0.2, 0.5)] * 2, *[(0.3, 0.8)] * 2),
    linear=("E", "L_0"),
    levels={"u": 2},
    floor="E",
    ceiling="L_0",
    typical=dict.fromkeys(("alpha", "beta", "gamma", "delta"), (0.02, 2.0)),
)  # fmt: skip
