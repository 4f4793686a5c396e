"""Learning curves: loss against one amount x (parameters, tokens, compute, steps: `--x COL` says which)."""

import math
from typing import Any

import numpy as np

from scaling.laws.api import Law, grid, log_sum, positive, real
from scaling.laws.lazy import Array, jax, jnp

ALABDULMOHSIN = "Alabdulmohsin et al. 2022, arXiv:2209.06640, "
SLOPES = (-1.2, -0.6, -0.3, -0.1)

m1 = Law(
    name="m1",
    equation="L(x) = b x^c",
    source=ALABDULMOHSIN + "M1",
    inputs=("x",),
    params=(positive("b", loss=1, x="-c"), real("c")),
    predict=lambda theta, x: theta[0] + theta[1] * x,
    starts=grid((0.0,), (-0.1, -0.5)),
    levels={"x": 2},
)

m2 = Law(
    name="m2",
    equation="L(x) = ε_∞ + b x^c",
    source=ALABDULMOHSIN + "M2",
    inputs=("x",),
    params=(positive("e_inf", "loss as x grows", loss=1), positive("b", loss=1, x="-c"), real("c")),
    predict=lambda theta, x: log_sum(theta[0], theta[1] + theta[2] * x),
    starts=grid((0.0,), (0.0,), (-2.0, *SLOPES, -0.03)),
    linear=("e_inf", "b"),
    floor="e_inf",
)

m3 = Law(
    name="m3",
    equation="L(x) = b (1/x + γ)^(-c)",
    source=ALABDULMOHSIN + "M3",
    inputs=("x",),
    params=(positive("b", loss=1, x="-c"), positive("gamma", x=-1), real("c")),
    predict=lambda theta, x: theta[0] - theta[2] * log_sum(-x, theta[1]),
    starts=grid((0.0,), (-6.0, -3.0, 0.0, 2.0), SLOPES),
)


def _m4(theta: Any, x: Array) -> Array:
    """The equation fixes the loss between its two ends: e = e_inf + (e_0 - e_inf) sigmoid(z), and z has one root.

    Its slope in z stays between 1 and alpha, so Newton's method from anywhere converges; two further steps outside the
    loop carry the first and second derivatives.
    """
    e_inf, e_0, b, c, alpha = theta[0], theta[1], theta[2], theta[3], jnp.exp(theta[4])
    width = e_0 + jnp.log(-jnp.expm1(e_inf - e_0))
    target = b + c * x - (1.0 - alpha) * width

    def newton(z, alpha, target):
        value = jax.nn.log_sigmoid(z) - alpha * jax.nn.log_sigmoid(-z)
        return z - (value - target) / (jax.nn.sigmoid(-z) + alpha * jax.nn.sigmoid(z))

    still = jax.lax.stop_gradient((alpha, target))
    start = jnp.where(still[1] < 0, still[1], still[1] / still[0])  # exact far out on either side
    z = start
    for _ in range(8):  # unrolled: every derivative shares the root, where each would repeat a loop
        z = newton(z, *still)
    z = newton(newton(jax.lax.stop_gradient(z), alpha, target), alpha, target)
    return log_sum(e_inf, width + jax.nn.log_sigmoid(z))


m4 = Law(
    name="m4",
    equation="(L - ε_∞) / (ε_0 - L)^α = b x^c",
    source=ALABDULMOHSIN + "M4",
    inputs=("x",),
    params=(
        positive("e_inf", "loss as x grows", loss=1),
        positive("e_0", "loss at x = 0", loss=1),
        positive("b", loss="1 - alpha", x="-c"),
        real("c"),
        positive("alpha"),
    ),
    ceiling="e_0",
    predict=_m4,
    starts=grid((-2.0, -0.5, -0.1), (0.5, 1.5), (-2.0, -1.0, 0.0), (-0.8, -0.3, -0.1), (-2.0, 0.0)),
)


def broken(breaks: int) -> Law:
    """A power law that changes its slope smoothly at `breaks` places: at d_i by c_i, over f_i in log x."""

    def predict(theta, x):
        floor, b, c0, *rest = theta
        bends = (rest[i : i + 3] for i in range(0, 3 * breaks, 3))
        tail = sum(c * jnp.exp(f) * jax.nn.softplus((x - d) / jnp.exp(f)) for c, d, f in bends)
        return log_sum(floor, b - c0 * x - tail)

    each = [(real(f"c{i}"), positive(f"d{i}", x=1), positive(f"f{i}")) for i in range(1, breaks + 1)]
    count = "1 break" if breaks == 1 else f"{breaks} breaks"
    # Breaks may bend either way, as in double descent, so each has a slope of its own; they start in order of x.
    places = grid((-2.0, 0.0, 2.0)) if breaks == 1 else ((-3.0, 0.0), (-2.0, 2.0), (-1.0, 1.0), (0.0, 3.0))
    slopes = grid((-0.3, 0.3, 1.5, 4.0)) if breaks == 1 else grid(*[(-0.3, 0.5, 1.5)] * breaks)
    floors, first = ((-3.0, -0.7), (0.0, 0.2)) if breaks == 1 else ((-1.5,), (0.1,))
    return Law(
        name="bnsl" if breaks == 1 else f"bnsl{breaks}",
        equation="L(x) = a + b x^(-c_0) ∏_i (1 + (x / d_i)^(1 / f_i))^(-c_i f_i), " + count,
        source="Caballero et al. 2022, arXiv:2210.14891, equation 1",
        inputs=("x",),
        params=(
            positive("a", "loss as x grows", loss=1), positive("b", loss=1, x="c0"), real("c0"),
            *(param for three in each for param in three),
        ),
        predict=predict,
        starts=tuple(
            (floor, 0.0, c0, *(v for place, c in zip(at, bends, strict=True) for v in (c, place, f)))
            for floor in floors
            for c0 in first
            for at in places
            for bends in slopes
            for f in (-3.0, -1.0)
        ),
    )  # fmt: skip


bnsl, bnsl2 = broken(1), broken(2)

compute = Law(
    name="compute",
    equation="L(C) = L_∞ + A C^(-α)",
    source="compute-optimal runs against compute; with --pin L_inf=X as marin-community/marin#8096 fits it",
    inputs=("c",),
    params=(positive("L_inf", "loss that no compute removes", loss=1), positive("A", loss=1, c="alpha"), real("alpha")),
    predict=lambda theta, c: log_sum(theta[0], theta[1] - theta[2] * c),
    starts=grid((0.0,), (0.0,), (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)),
    linear=("L_inf", "A"),
    floor="L_inf",
)


def speed_up(loss: float, baseline: float, l_inf: float, alpha: float) -> float:
    """How many times the compute the baseline's recipe would need to reach `loss`, from equal compute.

    ((L_b - L_inf) / (L_w - L_inf))^(1/alpha): above 1 where `loss` is the lower.
    """
    return math.exp((math.log(baseline - l_inf) - math.log(loss - l_inf)) / alpha)


def extrapolation_error(predicted: Any, measured: Any) -> float:
    """Root mean square of the difference of logs on held-out points (Alabdulmohsin et al. 2022; RMSLE)."""
    return float(np.sqrt(np.mean(np.square(np.log(predicted) - np.log(measured)))))
