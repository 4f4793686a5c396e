"""Fits any law to runs: a robust loss on log L, many starts, one compiled float64 program for starts and resamples.

P parameters of the law, R runs, I inputs of the law, B problems solved together.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from scaling.laws import Law

Columns = Mapping[str, Any]  # column name -> float64 [runs]
LOG_MSE = math.inf  # a Huber loss that is quadratic everywhere: pass as `delta` for least squares on log L


class Fit(NamedTuple):
    """An optimum and how far to trust it."""

    law: Law
    columns: dict[str, np.ndarray]  # as given, float64 [runs]
    delta: float  # of the Huber loss on log L
    params: dict[str, float]  # in the published form
    theta: Float[np.ndarray, " P"]  # as the solver sees them: columns in units of their geometric means
    units: Float[np.ndarray, " units"]  # log geometric means of loss and of each input
    objective: float  # Huber loss summed over runs (Hoffmann et al. 2022, equation 3)
    gradient_norm: float  # of `objective` by theta
    starts: int
    starts_at_optimum: float  # share of starts that end within 1 % of `objective`
    hessian_condition: float  # by theta
    warnings: list[str]

    @property
    def residuals(self) -> Float[np.ndarray, " R"]:
        """log measured loss - log fitted loss."""
        inputs = (self.columns[name] for name in self.law.inputs)
        return np.log(self.columns["loss"]) - np.log(self.law.loss(self.params, *inputs))


def fit(law: Law, columns: Columns, *, delta: float = 1e-3) -> Fit:
    """The best of all starts.  `delta` is where the Huber loss on log L turns linear; `LOG_MSE` for least squares.

    Hoffmann et al. 2022 sum the loss over runs.  A mean stops L-BFGS at its starting points; here a step counts as the
    last when it moves no predicted log loss by 1e-13, so the scale of the objective does not matter.
    """
    columns = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    check(law, columns)
    x, y, units = centre(law, columns)
    starts = np.asarray(law.starts)
    theta, objective, gradient = solve(
        law, x, np.tile(y, (len(starts), 1)), np.ones((len(starts), y.size)), starts, delta
    )
    best = int(np.nanargmin(objective))
    share = float(np.mean(objective <= objective[best] * 1.01 + 1e-24))
    params = {name: float(value) for name, value in law.natural(theta[best], *units).items()}
    with jax.enable_x64(True):
        condition = float(np.linalg.cond(_hessian(law, x, y, theta[best], min(delta, 1e3))))
    found = Fit(
        law, columns, delta, params, theta[best], units, float(objective[best]), float(gradient[best]),
        len(starts), share, condition, [],
    )  # fmt: skip
    return found._replace(warnings=flags(found))


def centre(law: Law, columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs [I, R] and loss [R] as logs of ratios to their geometric means, and the logs of those means [1 + I]."""
    logs = np.log(np.stack([columns["loss"], *(columns[name] for name in law.inputs)]))
    units = logs.mean(1)
    logs = logs - units[:, None]
    return logs[1:], logs[0], units


def solve(
    law: Law,
    x: Float[np.ndarray, "I R"],
    y: Float[np.ndarray, "B R"],
    weights: Float[np.ndarray, "B R"],
    theta: Float[np.ndarray, "B P"],
    delta: float,
) -> tuple[Float[np.ndarray, "B P"], Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """Solves B problems on the same inputs: theta, objective and gradient norm of each.

    Float64 here only: whatever trains in this process keeps its own precision.
    """
    with jax.enable_x64(True):
        theta, objective, gradient = jax.device_get(_solve_all(law, x, y, weights, theta, min(delta, 1e3)))
    return theta, objective, gradient


@functools.partial(jax.jit, static_argnames="law")
def _solve_all(law, x, y, weights, theta, delta):
    # Sixteen problems at a time: their temporaries stay in cache, and few wait for the slowest.
    return jax.lax.map(lambda problem: _solve_one(law, x, *problem, delta), (y, weights, theta), batch_size=16)


def _solve_one(law, x, y, weights, theta, delta):
    """Levenberg-Marquardt on reweighted squares finds the basin, Newton on the Huber loss itself the optimum."""
    residual = lambda theta: law.log_loss(theta, *x) - y
    objective = lambda theta: jnp.sum(weights * huber(residual(theta), delta))

    def step(carry, exact):
        theta, damping, value, _, count = carry
        r, jacobian = residual(theta), jax.jacfwd(residual)(theta)
        reweighted = weights * jnp.minimum(1.0, delta / jnp.maximum(jnp.abs(r), 1e-300))
        hessian = jax.hessian(objective)(theta) if exact else (jacobian.T * reweighted) @ jacobian
        scale = jnp.diag(weights @ jacobian**2 + 1e-300)
        change = jnp.linalg.solve(hessian + damping * scale, -jacobian.T @ (reweighted * r))
        moved = jnp.max(jnp.abs(jacobian @ change))  # of any predicted log loss: no unit, no parametrisation
        new = objective(theta + change)
        better = new < value
        damping = jnp.where(better, jnp.maximum(damping * 0.2, 1e-14), damping * 5)
        return jnp.where(better, theta + change, theta), damping, jnp.where(better, new, value), moved, count + 1

    def descend(theta, exact, tolerance, limit):
        unfinished = lambda carry: (carry[3] > tolerance) & (carry[4] < limit)
        carry = theta, jnp.asarray(1e-2), objective(theta), jnp.asarray(jnp.inf), 0
        return jax.lax.while_loop(unfinished, functools.partial(step, exact=exact), carry)[0]

    theta = descend(theta, exact=False, tolerance=1e-4, limit=40)
    theta = descend(theta, exact=True, tolerance=1e-13, limit=300)
    return theta, objective(theta), jnp.linalg.norm(jax.grad(objective)(theta))


def huber(r: jax.Array, delta: jax.Array) -> jax.Array:
    """r^2 / 2 up to delta, linear beyond (Huber 1964)."""
    size = jnp.abs(r)
    return jnp.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))


@functools.partial(jax.jit, static_argnames="law")
def _hessian(law, x, y, theta, delta):
    return jax.hessian(lambda theta: jnp.sum(huber(law.log_loss(theta, *x) - y, delta)))(theta)


def check(law: Law, columns: Columns) -> None:
    """Refuses data from which the law cannot be identified, and says which runs would identify it."""
    for name in (*law.inputs, "loss"):
        bad = np.flatnonzero(~(np.isfinite(columns[name]) & (columns[name] > 0)))
        if bad.size:
            raise ValueError(
                f"{name} of row {bad[0]} is {columns[name][bad[0]]}; every {name} must be finite and positive "
                f"({bad.size} such rows): drop them"
            )
    rows, need = columns["loss"].size, len(law.params) + 1
    if rows < need:
        raise ValueError(f"{rows} rows cannot fit the {need - 1} parameters of {law.name}; it needs at least {need}")
    for name in law.inputs:
        distinct = np.unique(columns[name]).size
        if distinct < law.levels:
            raise ValueError(
                f"{name} takes {distinct} value{'s' * (distinct > 1)}, so {law.name}'s exponent of {name} cannot be "
                f"identified; add runs until {name} takes at least {law.levels}, a factor of two apart or more"
            )
    x, _, _ = centre(law, columns)
    if np.linalg.matrix_rank(x, tol=1e-6 * np.linalg.norm(x)) < len(law.inputs):
        names = " and ".join(law.inputs)
        raise ValueError(
            f"{names} move together in every row (for n and d: the same power law ties tokens to parameters), so their "
            f"exponents cannot be told apart; add runs of one model size at several numbers of tokens"
        )


def flags(fit: Fit) -> list[str]:
    """What a reader must know before using the constants, as sentences."""
    found = []
    params, loss = fit.params, fit.columns["loss"]
    if "E" in params and params["E"] < 1e-2 * loss.min():
        found.append(
            f"E ran to zero ({params['E']:.2g}): the floor is below what these losses can show, and a fit without it "
            f"says the same. Larger runs would identify it."
        )
    for name in ("alpha", "beta"):
        if name in params and not 0.02 < params[name] < 2.0:
            found.append(
                f"{name} is {params[name]:.3g}, at the edge of what any language model has shown (0.02 to 2): its term "
                f"is either constant over these runs or only seen in the smallest."
            )
    if fit.starts_at_optimum < 0.1:
        found.append(
            f"only {fit.starts_at_optimum:.0%} of {fit.starts} starts reached the optimum: other minima are near"
        )
    if not fit.hessian_condition < 1e8:
        found.append(
            f"the Hessian's condition number is {fit.hessian_condition:.1e}: some combination of the parameters is free"
        )
    return found
