"""Kaplan et al. 2020, arXiv:2001.08361, and Henighan et al. 2020, arXiv:2010.14701.

N leaves embeddings out, L is in nats per token (WebText2), C in whatever unit the data have (they: petaflop/s-days).
None of Kaplan's laws has a floor; Henighan's add one.  Equation numbers are Kaplan's.
"""

import math
from typing import Any

import numpy as np

from scaling.laws.api import Law, best_split, grid, log_sum, positive, real

SOURCE = "Kaplan et al. 2020, arXiv:2001.08361, equation "


def _line(theta: Any, x: Any) -> Any:  # laws that share a function share a compiled program
    return theta[1] * (theta[0] - x)


def _line_above_floor(theta: Any, x: Any) -> Any:
    return log_sum(theta[0], theta[2] * (theta[1] - x))


def power_law(name: str, symbol: str, column: str, equation: str, constant: str | None = None) -> Law:
    """L = (constant / x)^alpha: a straight line in logs."""
    constant = constant or f"{symbol}_c"
    exponent = f"alpha_{symbol}"
    return Law(
        name=name,
        equation=f"L({symbol}) = ({constant} / {symbol})^α_{symbol}",
        source=SOURCE + equation,
        inputs=(column,),
        params=(positive(constant, **{column: 1, "loss": f"1/{exponent}"}), real(exponent)),
        predict=_line,
        starts=grid((0.0,), (0.05, 0.3)),
        levels={column: 2},
    )


def with_floor(name: str, symbol: str, column: str) -> Law:
    """L = L_inf + (x_0 / x)^alpha (Henighan et al. 2020, equation 1.1)."""
    constant, exponent = f"{symbol}_0", f"alpha_{symbol}"
    return Law(
        name=name,
        equation=f"L({symbol}) = L_∞ + ({constant} / {symbol})^α_{symbol}",
        source="Henighan et al. 2020, arXiv:2010.14701, equation 1.1",
        inputs=(column,),
        params=(
            positive("L_inf", "loss that no amount removes", loss=1),
            positive(constant, **{column: 1, "loss": f"1/{exponent}"}),
            real(exponent),
        ),
        predict=_line_above_floor,
        starts=tuple(
            (math.log(floor), math.log(1 - floor) / alpha, alpha)
            for floor in (0.1, 0.4, 0.7, 0.9)
            for alpha in (0.05, 0.15, 0.4, 0.8)
        ),
        floor="L_inf",
    )


kaplan_n = power_law("kaplan_n", "N", "n", "1.1")
kaplan_d = power_law("kaplan_d", "D", "d", "1.2")
kaplan_c = power_law("kaplan_c", "C", "c", "1.3 at a fixed batch")
kaplan_c_min = power_law("kaplan_c_min", "Cmin", "c_min", "1.3", "C_c")
henighan_n, henighan_d, henighan_c = (
    with_floor(f"henighan_{column}", symbol, column) for symbol, column in (("N", "n"), ("D", "d"), ("C", "c"))
)


def _nd(theta, n, d):
    n_c, d_c, alpha_n, alpha_d = theta
    return alpha_d * log_sum(alpha_n / alpha_d * (n_c - n), d_c - d)


kaplan_nd = Law(
    name="kaplan_nd",
    equation="L(N, D) = [(N_c / N)^(α_N / α_D) + D_c / D]^α_D",
    source=SOURCE + "1.5",
    inputs=("n", "d"),
    params=(
        positive("N_c", n=1, loss="1/alpha_N"), positive("D_c", d=1, loss="1/alpha_D"), real("alpha_N"), real("alpha_D")
    ),
    predict=_nd,
    starts=tuple(
        (math.log(share) * alpha_d / alpha_n, math.log(1 - share), alpha_n, alpha_d)
        for share in (0.1, 0.5, 0.9)
        for alpha_n in (0.04, 0.1, 0.25, 0.6)
        for alpha_d in (0.04, 0.1, 0.25, 0.6)
    ),
    typical={"alpha_N": (0.01, 2.0), "alpha_D": (0.01, 2.0)},
    exponents=("alpha_N", "alpha_D"),  # the bracket falls as N^-(alpha_N / alpha_D) and D^-1
    derived=best_split("alpha_N", "alpha_D"),
)  # fmt: skip

kaplan_ns = Law(
    name="kaplan_ns",
    equation="L(N, S_min) = (N_c / N)^α_N + (S_c / S_min)^α_S",
    source=SOURCE + "1.6",
    inputs=("n", "s_min"),
    params=(
        positive("N_c", n=1, loss="1/alpha_N"), positive("S_c", s_min=1, loss="1/alpha_S"), real("alpha_N"),
        real("alpha_S"),
    ),
    predict=lambda theta, n, s: log_sum(theta[2] * (theta[0] - n), theta[3] * (theta[1] - s)),
    starts=tuple(
        (math.log(share) / alpha_n, math.log(1 - share) / alpha_s, alpha_n, alpha_s)
        for share in (0.3, 0.7, 0.9)
        for alpha_n in (0.04, 0.1, 0.3)
        for alpha_s in (0.2, 0.5, 0.9)
    ),
    typical={"alpha_N": (0.01, 2.0), "alpha_S": (0.02, 3.0)},
)  # fmt: skip

b_crit = Law(
    name="b_crit",
    equation="B_crit(L) = B_* / L^(1 / α_B)",
    source=SOURCE + "1.4",
    inputs=("loss",),
    output="batch",
    params=(positive("B_star", "tokens", batch=1, loss="1/alpha_B"), real("alpha_B")),
    predict=lambda theta, loss: theta[0] - loss / theta[1],
    starts=grid((0.0,), (0.1, 0.2, 0.5)),
    levels={"loss": 2},
)

PUBLISHED = {
    "kaplan_n": {"N_c": 8.8e13, "alpha_N": 0.076},
    "kaplan_d": {"D_c": 5.4e13, "alpha_D": 0.095},
    "kaplan_c": {"C_c": 1.6e7, "alpha_C": 0.057},  # petaflop/s-days
    "kaplan_c_min": {"C_c": 3.1e8, "alpha_Cmin": 0.050},  # petaflop/s-days
    "kaplan_nd": {"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103},  # table 2, not 1.1 and 1.2
    "kaplan_ns": {"N_c": 6.5e13, "S_c": 2.1e3, "alpha_N": 0.077, "alpha_S": 0.76},
    "b_crit": {"B_star": 2e8, "alpha_B": 0.21},
}


def s_min(steps: Any, batch: Any, critical: Any) -> Any:
    """Steps that a batch far above the critical one would have needed (equation 5.4)."""
    return np.asarray(steps, np.float64) / (1.0 + np.asarray(critical, np.float64) / batch)


def c_min(c: Any, batch: Any, critical: Any) -> Any:
    """Compute that a batch far below the critical one would have needed, C = 6 N B S (equation 5.5)."""
    return np.asarray(c, np.float64) / (1.0 + np.asarray(batch, np.float64) / critical)


def stop_step(loss: Any, converged: Any, s_c: float, alpha_s: float) -> Any:
    """Steps below which a model cannot overfit: S_c / [L(N, D) - L(N, inf)]^(1/alpha_S) (equation 5.7)."""
    return s_c / np.power(np.subtract(loss, converged), 1.0 / alpha_s)


def compute_optimal(alpha_n: float, alpha_s: float, alpha_b: float) -> dict[str, float]:
    """Exponents of C_min along the compute-optimal line (equations 1.7, 1.8 and 6.4): of L, N, batch, steps, tokens.

    1/alpha_C = 1/alpha_S + 1/alpha_B + 1/alpha_N; N ~ C^(alpha_C/alpha_N), and so on; D = batch x steps.
    """
    alpha_c = 1.0 / (1.0 / alpha_s + 1.0 / alpha_b + 1.0 / alpha_n)
    n, batch, steps = alpha_c / alpha_n, alpha_c / alpha_b, alpha_c / alpha_s
    return {"loss": alpha_c, "n": n, "batch": batch, "steps": steps, "d": batch + steps}
