"""Optimizers compared by one law: each makes N parameters worth rho_N N, and D tokens worth rho_D D.

Fits of one optimizer each are ill-conditioned, and their constants cannot be compared; sharing E, A, B, alpha and beta
leaves two numbers for each further optimizer (Volkova et al. 2026, arXiv:2602.07712).  The group need not be an
optimizer: architectures, data sets or schedules are compared in the same way.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from scaling.laws.api import Law, positive
from scaling.laws.hoffmann import chinchilla
from scaling.laws.lazy import jnp
from train.errors import UserError, suggest


@functools.cache
def efficiency_of(groups: tuple[str, ...]) -> Law:
    """The law of runs in `groups`, the first of which is the reference: its rho_N and rho_D are 1.

    The law reads the number of a run's group, from 1, in the order of `groups`.
    """
    if len(groups) < 2:
        raise UserError(
            f"efficiency compares two groups or more, and the runs are of {len(groups)}: {', '.join(groups)}"
        )
    others = groups[1:]

    def predict(theta: Any, n: Any, d: Any, group: Any) -> Any:
        worth_n, worth_d = theta[5 : 5 + len(others)], theta[5 + len(others) :]
        for number, (of_n, of_d) in enumerate(zip(worth_n, worth_d, strict=True), 2):
            here = jnp.abs(group - jnp.log(float(number))) < 1e-6
            n, d = n + jnp.where(here, of_n, 0.0), d + jnp.where(here, of_d, 0.0)
        return chinchilla.predict(theta[:5], n, d)

    worth = [
        positive(f"rho_{symbol}[{name}]", f"a {what} under {name} is worth this many under {groups[0]}")
        for symbol, what in (("N", "parameter"), ("D", "token"))
        for name in others
    ]
    return dataclasses.replace(
        chinchilla,
        name="efficiency",
        equation="L(N, D, g) = E + A / (ρ_N N)^α + B / (ρ_D D)^β, ρ_N and ρ_D of the group g, 1 of the first",
        source="Volkova et al. 2026, arXiv:2602.07712",
        inputs=("n", "d", "group"),
        params=(*chinchilla.params, *worth),
        predict=predict,
        starts=tuple((*start, *[0.0] * len(worth)) for start in chinchilla.starts),
        units={"group": None},
        levels={"group": len(groups)},
        groups=groups,
        of_groups=efficiency_of,
        optimum=None,
        typical=chinchilla.typical | {param.name: (0.05, 20.0) for param in worth},
    )


def alone(law: Law, theta: Any, group: str) -> np.ndarray:
    """theta [..., 5] of Chinchilla's law, of the runs of one group of `law` with theta [..., P]."""
    if group not in law.groups:
        raise UserError(f"no run fitted is of group {group!r}{suggest(group, law.groups)}")
    theta = np.asarray(theta, np.float64)
    shared = theta[..., :5].copy()
    if group != law.groups[0]:
        shared[..., 1] -= shared[..., 3] * theta[..., law.index(f"rho_N[{group}]")]  # A / (rho_N N)^alpha
        shared[..., 2] -= shared[..., 4] * theta[..., law.index(f"rho_D[{group}]")]
    return shared


efficiency = efficiency_of(("first", "second"))
