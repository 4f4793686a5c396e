"""How wrong approach 2 is without noise, by its own fault."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scaling.approaches import isoflop
from scaling.laws import hoffmann
from scaling.laws.api import Params
from train.errors import UserError


class Bias(NamedTuple):
    """What approach 2 gets wrong on noise-free losses: the error of the method, not of the data."""

    n: float  # relative error of N* at the target
    d: float  # relative error of D* at the target
    a: float  # error of the exponent of N*
    found: isoflop.Profiles


def bias(
    params: Params,
    span: float,
    *,
    budgets: Sequence[float] | np.ndarray = (1e17, 1e18, 1e19, 1e20, 1e21),
    sizes: int = 15,
    centre: float | Sequence[float] | np.ndarray = 1.0,
    target: float = 1e24,
    method: str = "parabola",
    window: int = 5,
) -> Bias:
    """How wrong approach 2 would be on noise-free runs of Chinchilla's law `params`, by its own fault.

    Each budget has `sizes` sizes, log-spaced from N_opt / `span` to N_opt * `span`, all times `centre` (one factor, or
    one for each budget).  A profile is skewed unless alpha = beta, so the vertex of its parabola lies off the optimum.
    Where the sizes follow the optimum it does so by the same factor on every budget: a is right, and N* and D* are
    wrong by that factor at any target.  Where `centre` drifts a is wrong too.  In ln D the vertex is the same, since
    ln D = ln(C / 6) - ln N.
    """
    budgets, centre = np.asarray(budgets, np.float64), np.asarray(centre, np.float64)
    if not (span > 1 and np.all(centre > 0) and centre.size in (1, budgets.size)):
        raise UserError(
            f"span is {span:g} and centre {centre.tolist()}; span is over 1, centre positive, one or one a budget"
        )
    c = np.repeat(budgets, sizes)
    factors = np.geomspace(1.0 / span, span, sizes) * np.broadcast_to(centre, budgets.shape)[:, None]
    n = hoffmann.n_opt(params, c) * factors.ravel()
    d = c / (6.0 * n)
    columns = {"n": n, "d": d, "loss": hoffmann.chinchilla(params, n, d), "c": c, "budget": c}
    found = isoflop.profiles(columns, method=method, window=window, draws=0)
    return Bias(
        float(found.n(target) / hoffmann.n_opt(params, target) - 1.0),
        float(found.d(target) / hoffmann.d_opt(params, target) - 1.0),
        float(found.a - hoffmann.a(params)),
        found,
    )
