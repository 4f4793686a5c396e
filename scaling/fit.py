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
    if not delta > 0:
        raise ValueError(
            f"delta is {delta:g}; it is a log loss, and positive: 1e-3 as published, inf for least squares"
        )
    columns = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    check(law, columns)
    x, y, units = centre(law, columns)
    starts = np.asarray(law.starts)
    found = solve(law, x, np.tile(y, (len(starts), 1)), np.ones((len(starts), y.size)), starts, delta)
    best = int(np.nanargmin(found.objective))
    made = Fit(
        law=law,
        columns=columns,
        delta=delta,
        params={name: float(value) for name, value in law.natural(found.theta[best], *units).items()},
        theta=found.theta[best],
        units=units,
        objective=float(found.objective[best]),
        gradient_norm=float(found.gradient_norm[best]),
        starts=len(starts),
        starts_at_optimum=float(np.mean(found.objective <= found.objective[best] * 1.01 + 1e-24)),
        hessian_condition=float(np.linalg.cond(found.hessian[best])),
        warnings=[],
    )
    return made._replace(warnings=flags(made))


def centre(law: Law, columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs [I, R] and loss [R] as logs of ratios to their geometric means, and the logs of those means [1 + I]."""
    logs = np.log(np.stack([columns["loss"], *(columns[name] for name in law.inputs)]))
    units = logs.mean(1)
    logs = logs - units[:, None]
    return logs[1:], logs[0], units


class Solution(NamedTuple):
    """One entry per problem."""

    theta: Float[np.ndarray, "B P"]
    objective: Float[np.ndarray, " B"]
    gradient_norm: Float[np.ndarray, " B"]
    hessian: Float[np.ndarray, "B P P"]


def solve(
    law: Law,
    x: Float[np.ndarray, "I R"],
    y: Float[np.ndarray, "B R"],
    weights: Float[np.ndarray, "B R"],
    theta: Float[np.ndarray, "B P"],
    delta: float,
) -> Solution:
    """Solves B problems on the same inputs, each from its own `theta`.

    Float64 and a CPU here only: whatever trains in this process keeps its own precision and devices.  Runs are padded
    with weight zero, and problems go in chunks of one size, so that one compiled program serves sweeps of every size.
    """
    rows = max(32, 1 << (y.shape[1] - 1).bit_length()) - y.shape[1]
    x = np.pad(x, ((0, 0), (0, rows)))
    problems = -len(y) % CHUNK
    y, weights = (np.pad(v, ((0, problems), (0, rows)), mode="constant") for v in (y, weights))
    theta = np.pad(theta, ((0, problems), (0, 0)), mode="edge")
    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        parts = [
            _solve_chunk(law, x, y[i : i + CHUNK], weights[i : i + CHUNK], theta[i : i + CHUNK], min(delta, 1e3))
            for i in range(0, len(y), CHUNK)
        ]
        return Solution(*(np.concatenate(v)[: len(y) - problems] for v in zip(*jax.device_get(parts), strict=True)))


CHUNK = 16  # problems solved together: their temporaries stay in cache, and few wait for the slowest


@functools.partial(jax.jit, static_argnames="law")
def _solve_chunk(law, x, y, weights, theta, delta):
    return jax.vmap(lambda *problem: _solve_one(law, x, *problem, delta))(y, weights, theta)


def _solve_one(law, x, y, weights, theta, delta):
    """Levenberg-Marquardt on reweighted squares finds the basin, Newton on the Huber loss itself the optimum."""
    residual = lambda theta: law.log_loss(theta, *x) - y
    objective = lambda theta: jnp.sum(weights * huber(residual(theta), delta))

    def derivatives(theta):
        r, j_RP, h_RPP = residual(theta), jax.jacfwd(residual)(theta), jax.jacfwd(jax.jacfwd(residual))(theta)
        slope = weights * jnp.clip(r, -delta, delta)
        inside = weights * (jnp.abs(r) <= delta)
        reweighted = weights * jnp.minimum(1.0, delta / jnp.maximum(jnp.abs(r), 1e-300))
        square = lambda weight: j_RP.T @ (weight[:, None] * j_RP)
        return j_RP, slope @ j_RP, square(inside) + jnp.tensordot(slope, h_RPP, 1), square(reweighted)

    def step(state):
        theta, value, damping, exact, _, count = state
        j_RP, gradient, hessian, reweighted = derivatives(theta)
        scale = jnp.diag(weights @ j_RP**2 + 1e-300)
        change = jnp.linalg.solve(jnp.where(exact, hessian, reweighted) + damping * scale, -gradient)
        moved = jnp.max(jnp.abs(j_RP @ change))  # of any predicted log loss: no unit, no parametrisation
        new = objective(theta + change)
        better = new < value
        last = (jnp.abs(new - value) <= 1e-14 * value) & (moved < 1e-8)  # rounding hides what this step gains
        moved = jnp.where(last, 0.0, moved)
        theta, value = jnp.where(better | last, theta + change, theta), jnp.where(better, new, value)
        damping = jnp.where(better, jnp.maximum(damping * 0.2, 1e-14), damping * 5)
        settled = ~exact & ((moved < 1e-4) | (count >= 40))
        damping, moved = jnp.where(settled, 1e-2, damping), jnp.where(settled, jnp.inf, moved)
        return theta, value, damping, exact | settled, moved, count + 1

    unfinished = lambda state: (state[4] > 1e-13) & (state[5] < 340)
    start = theta, objective(theta), jnp.asarray(1e-2), jnp.asarray(False), jnp.asarray(jnp.inf), 0
    theta, value, *_ = jax.lax.while_loop(unfinished, step, start)
    _, gradient, hessian, _ = derivatives(theta)
    return theta, value, jnp.linalg.norm(gradient), hessian


def huber(r: jax.Array, delta: jax.Array) -> jax.Array:
    """r^2 / 2 up to delta, linear beyond (Huber 1964)."""
    size = jnp.abs(r)
    return jnp.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))


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
