"""What a law is asked for: the best split of compute, the compute for a loss, the size that would reach a loss.

Everything is in logs, for theta [..., P] of one fit or of many resamples, so that exponents which ran off overflow
nowhere; what a law does not have (an optimum inside the range) is nan.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scaling.laws.api import Law
from scaling.laws.hoffmann import LOG6
from scaling.laws.lazy import Array, jax, jit, jnp
from train.errors import UserError

STEPS = 100  # of a bisection: the range of float64's exponents to its rounding


def optimum(law: Law, theta: Any, c: Any, others: Mapping[str, float] | None = None) -> dict[str, Any]:
    """n, d and loss of the best run of C = 6 N D FLOPs, natural units; `others` are the law's further inputs.

    In closed form where the law has one, otherwise the root of dL/d ln N along C by bisection: a law whose terms fall
    in N and in D crosses zero once.
    """
    law = law.in_logs
    if not law.trades:
        raise UserError(f"{law.name} has no compute-optimal run: {law.equation} does not trade n against d")
    theta, log_c = np.asarray(theta, np.float64), np.asarray(np.log(np.asarray(c, np.float64)))
    found = law.optimum(theta, log_c) if law.optimum else _search(law, theta, log_c, others or {})
    with np.errstate(over="ignore"):
        return {name: np.exp(v) for name, v in found.items()}


def _search(law: Law, theta: np.ndarray, log_c: np.ndarray, others: Mapping[str, float]) -> dict[str, np.ndarray]:
    missing = set(law.inputs) - {"n", "d"} - set(others)
    if missing:
        raise UserError(f"{law.name} also reads {sorted(missing)}; give a value for it")
    given = {name: np.log(np.float64(others[name])) for name in law.inputs if name not in ("n", "d")}
    shape = np.broadcast_shapes(theta.shape[:-1], log_c.shape)
    theta = np.moveaxis(np.broadcast_to(theta, (*shape, theta.shape[-1])), -1, 0)
    with jax.enable_x64(True):
        found = _split(law.predict, law.inputs, theta, np.broadcast_to(log_c, shape), given)
        return {name: np.asarray(v) for name, v in found.items()}


@functools.partial(jit, static_argnums=(0, 1))
def _split(predict, inputs, theta, log_c, given):
    """Logs of the best n and d for C = 6 N D, and of their loss; nan where no n inside is best."""

    def loss(n):
        at = {"n": n, "d": log_c - LOG6 - n, **{name: jnp.full_like(n, v) for name, v in given.items()}}
        return predict(theta, *(at[name] for name in inputs))

    slope = lambda n: jax.jvp(loss, (n,), (jnp.ones_like(n),))[1]
    low, high = jnp.zeros_like(log_c), log_c - LOG6
    inside = (slope(low) < 0) & (slope(high) > 0)
    n = jnp.where(inside, _bisect(slope, low, high), jnp.nan)
    return {"n": n, "d": log_c - LOG6 - n, "loss": loss(n)}


def _bisect(rising: Callable[[Any], Any], low: Array, high: Array) -> Array:
    """Where a rising function crosses zero, everywhere at once."""

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        up = rising(middle) > 0
        return jnp.where(up, low, middle), jnp.where(up, middle, high)

    low, high = jax.lax.fori_loop(0, STEPS, halve, (low, high))
    return 0.5 * (low + high)


def compute_for_loss(law: Law, theta: Any, loss: float, others: Mapping[str, float] | None = None) -> Any:
    """The least C FLOPs whose best run reaches `loss`; inf where no amount does."""
    theta = np.asarray(theta, np.float64)
    low, high = np.full(theta.shape[:-1], 5.0), np.full(theta.shape[:-1], 300.0)
    out_of_reach = optimum(law, theta, np.exp(high), others)["loss"] > loss
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = optimum(law, theta, np.exp(middle), others)["loss"] > loss
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(out_of_reach, np.inf, np.exp(0.5 * (low + high)))


def input_for_loss(law: Law, theta: Any, name: str, loss: Any, **others: Any) -> np.ndarray:
    """The amount of the input `name` at which the law reaches `loss`, the other inputs given; inf where none does.

    Loss must fall as the input grows.
    """
    law = law.in_logs
    missing = set(law.inputs) - {name} - set(others)
    if name not in law.inputs or missing:
        raise UserError(f"{law.name} reads {law.inputs}: name one of them and give a value to each other")
    theta, loss, *given = (np.asarray(v, np.float64) for v in (theta, loss, *others.values()))
    shape = np.broadcast_shapes(theta.shape[:-1], loss.shape, *(v.shape for v in given))
    with jax.enable_x64(True):
        theta = jnp.asarray(np.moveaxis(np.broadcast_to(theta, (*shape, theta.shape[-1])), -1, 0))
        goal, *given = (jnp.log(jnp.asarray(np.broadcast_to(v, shape))) for v in (loss, *given))
        logs = dict(zip(others, given, strict=True))
        excess = lambda x: goal - law.predict(theta, *(x if key == name else logs[key] for key in law.inputs))
        high = jnp.full(shape, 250.0)
        found = _bisect(excess, jnp.full(shape, -50.0), high)
        return np.asarray(jnp.where(excess(high) > 0, jnp.exp(found), jnp.inf))


def effective_parameters(law: Law, theta: Any, loss: Any, d: Any) -> np.ndarray:
    """N at which a reference family would reach `loss` from the same D: N_eff of the densing law."""
    return input_for_loss(law, theta, "n", loss, d=d)
