"""Laws of runs that repeat their data, or train far past the compute-optimal point, or at low precision."""

import math
from typing import Any

from scaling.laws.api import Law, grid, log_sum, logarithm, positive, real
from scaling.laws.hoffmann import LOG6
from scaling.laws.lazy import Array, jnp

EXPONENTS = ((0.15, 0.35, 0.6, 1.0),) * 2


def _saturating(unique: Array, amount: Array, limit: Array) -> Array:
    """Log of the worth of `amount` of which `unique` is new: each further pass is worth less, `limit` passes in all.

    U + U R* (1 - exp(-R / R*)), R = amount / U - 1 the repetitions (Muennighoff et al. 2023, equation 5).
    """
    repeats = jnp.maximum(jnp.expm1(amount - unique), 0.0)
    return jnp.minimum(unique, amount) + jnp.log1p(-jnp.exp(limit) * jnp.expm1(-repeats * jnp.exp(-limit)))


def _repeated(theta: Any, n: Array, d: Array, u: Array) -> Array:
    e, a, b, alpha, beta, passes, excess = theta
    log_g = (jnp.log(alpha) + a - jnp.log(beta) - b) / (alpha + beta)
    enough = jnp.minimum(n, log_g + beta / alpha * (u + log_g))  # the parameters that U tokens can use
    return log_sum(e, a - alpha * _saturating(enough, n, excess), b - beta * _saturating(u, d, passes))


constrained = Law(
    name="constrained",
    equation="L(N, D, U) = E + A / N'^α + B / D'^β, N' and D' saturating beyond U unique tokens",
    source="Muennighoff et al. 2023, arXiv:2305.16264, equations 5 to 7",
    inputs=("n", "d", "u"),
    params=(
        positive("E", loss=1), positive("A", loss=1, n="alpha"), positive("B", loss=1, d="beta"), real("alpha"),
        real("beta"), positive("R_D", "repetitions by which repeated tokens are worth 1 - 1/e of what they can be"),
        positive("R_N", "the same for parameters beyond what U tokens can use"),
    ),
    predict=_repeated,
    starts=grid((0.0,), (0.0,), (0.0,), *EXPONENTS, *[tuple(map(math.log, (2.0, 15.0)))] * 2),
    linear=("E", "A", "B"),
    units={"u": "d"},
    levels={"u": 1},
    floor="E",
    typical={"alpha": (0.02, 2.0), "beta": (0.02, 2.0), "R_D": (0.5, 60.0), "R_N": (0.5, 60.0)},
)  # fmt: skip

# From the authors' repository; with alpha = beta (pass tie={"beta": "alpha"} to fit it so).
PUBLISHED = {
    "E": math.exp(0.6254804), "A": math.exp(6.255414), "B": math.exp(7.3049974), "alpha": 0.3526596,
    "beta": 0.3526596, "R_D": 15.387756, "R_N": 5.309743,
}  # fmt: skip


def _overtrained(theta: Any, n: Array, d: Array) -> Array:
    e, a, b, eta = theta
    c, m = LOG6 + n + d, d - n
    return log_sum(e, a - eta * (c - m), b - eta * (c + m))


overtrained = Law(
    name="overtrained",
    equation="L(C, M) = E + (a M^η + b M^(-η)) C^(-η), M = D / N",
    source="Gadre et al. 2024, arXiv:2403.08540, equation 4",
    inputs=("n", "d"),
    params=(positive("E", loss=1), positive("a", loss=1, n="2 eta"), positive("b", loss=1, d="2 eta"), real("eta")),
    predict=_overtrained,
    starts=grid((0.0,), (0.0,), (0.0,), (0.03, 0.08, 0.15, 0.25, 0.4, 0.7)),
    linear=("E", "a", "b"),
    floor="E",
    same_as="chinchilla, beta = alpha",  # alpha = 2 eta, and 6^eta in the amplitudes
    typical={"eta": (0.01, 1.0)},
)


def _precision(theta: Any, n: Array, d: Array, p: Array) -> Array:
    e, a, b, alpha, beta, gamma = theta
    kept = jnp.log(-jnp.expm1(-jnp.exp(p - gamma)))
    return log_sum(e, a - alpha * (n + kept), b - beta * d)


precision = Law(
    name="precision",
    equation="L(N, D, P) = E + A / (N (1 - e^(-P / γ)))^α + B / D^β",
    source="Kumar et al. 2024, arXiv:2411.04330, equation 3: training of weights at P bits",
    inputs=("n", "d", "p"),
    params=(
        positive("E", loss=1), positive("A", loss=1, n="alpha"), positive("B", loss=1, d="beta"), real("alpha"),
        real("beta"), positive("gamma", "bits by which a parameter is worth 1 - 1/e of one of full precision", p=1),
    ),
    predict=_precision,
    starts=grid((0.0,), (0.0,), (0.0,), *EXPONENTS, (-2.0, -0.7, 0.3)),
    linear=("E", "A", "B"),
    floor="E",
    typical={"alpha": (0.02, 2.0), "beta": (0.02, 2.0)},
)  # fmt: skip

quantised = Law(
    name="quantised",
    equation="δ(N, D, P) = C_T D^γ_D / N^γ_N e^(-P / γ_P)",
    source="Kumar et al. 2024, arXiv:2411.04330, equation 2: loss added by quantising to P bits after training",
    inputs=("n", "d", "p"),
    output="added_loss",
    params=(
        positive("C_T", added_loss=1, n="gamma_N", d="-gamma_D"), real("gamma_D"), real("gamma_N"),
        positive("gamma_P", p=1),
    ),
    predict=lambda theta, n, d, p: theta[0] + theta[1] * d - theta[2] * n - jnp.exp(p - theta[3]),
    starts=grid((0.0,), (0.2, 0.6), (0.2, 0.6), (-2.0, -0.7, 0.3)),
    levels={"n": 2, "d": 2},
)  # fmt: skip


def _farseer(theta: Any, n: Array, d: Array) -> Array:
    s, q, floor, B, b, scale, A, a, slope = theta
    return log_sum(
        s * jnp.exp(q * n) + floor,
        B * jnp.exp(b * n) + scale - d * jnp.exp(A * jnp.exp(a * n) + slope),
    )


# The exponent of D depends on N, so a change of D's unit leads out of the family: D is not centred.
farseer = Law(
    name="farseer",
    equation="L(N, D) = e^(s N^q + S) + e^(B N^b + Q) D^(-e^(A N^a + E))",
    source="Farseer, Li et al. 2025, arXiv:2506.10972",
    inputs=("n", "d"),
    params=(
        real("s", n="-q"), real("q"), logarithm("S", loss=1), real("B", n="-b"), real("b"), logarithm("Q", loss=1),
        real("A", n="-a"), real("a"), real("E"),
    ),
    predict=_farseer,
    # (s, q, S) the loss without end of data; (B, b, Q) what data remove; (A, a, E) how fast: D^(-0.25) to D^(-0.5)
    starts=tuple(
        (s, q, floor - s, B, b, math.log(0.3) - B + 22.0 * rate, A, a, math.log(rate) - A)
        for s, q in ((0.3, -0.3), (-0.5, 0.1))
        for floor in (-0.3, -0.6)
        for B, b in ((0.5, 0.2), (-1.0, 0.1))
        for rate in (0.25, 0.5)
        for A, a in ((0.1, 0.1), (-0.3, 0.1))
    ),
    units={"d": None},
)  # fmt: skip

lr_step = Law(
    name="step_lr",
    equation="η(N, D) = c N^a D^b",
    source="Step Law, Li et al. 2025, arXiv:2503.04715: best peak learning rate",
    inputs=("n", "d"),
    output="lr",
    params=(positive("c", lr=1, n="-a", d="-b"), real("a"), real("b")),
    predict=lambda theta, n, d: theta[0] + theta[1] * n + theta[2] * d,
    starts=grid((0.0,), (-0.5, 0.0), (0.0, 0.5)),
    levels={"n": 2, "d": 2},
    delta=math.inf,  # as its authors fit it: the best of a few rates scatters by tens of per cent
)

batch_step = Law(
    name="step_batch",
    equation="B(D) = c D^a",
    source="Step Law, Li et al. 2025, arXiv:2503.04715: best batch size, tokens",
    inputs=("d",),
    output="batch",
    params=(positive("c", batch=1, d="-a"), real("a")),
    predict=lambda theta, d: theta[0] + theta[1] * d,
    starts=grid((0.0,), (0.2, 0.6)),
    levels={"d": 2},
    delta=math.inf,
)

STEP_LAW = {"step_lr": {"c": 1.79, "a": -0.713, "b": 0.307}, "step_batch": {"c": 0.58, "a": 0.571}}
