"""A metric is a (sum, weight) pair: adding two of them merges two batches exactly, masks and ragged ends included."""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Metrics = dict[str, tuple[Any, Any]]  # arrays of the device, or numbers of the host
Sums = dict[str, tuple[float, float]]  # over several steps


def mean(values: Any, weight: Any = None) -> tuple[jax.Array, jax.Array]:
    """The pair whose quotient is the weighted mean of `values`."""
    values = jnp.asarray(values)
    weight = jnp.ones_like(values) if weight is None else jnp.broadcast_to(weight, values.shape).astype(values.dtype)
    return jnp.sum(values * weight), jnp.sum(weight)


def quotient(total: jax.Array, weight: jax.Array) -> jax.Array:
    """The mean of a (sum, weight) pair, whatever the weight; 0 where nothing was counted."""
    return total / jnp.where(weight > 0, weight, 1)


def compute(metrics: Metrics) -> dict[str, float]:
    """Divides; the only place where a metric leaves the device.  NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: float(np.float64(s) / np.float64(w)) for name, (s, w) in jax.device_get(metrics).items()}


def added(total: Sums, part: Metrics, finite_only: bool = False) -> Sums:
    """`part`, of the host, added to `total`, in float64; with `finite_only` what is not finite counts as nothing."""
    made = dict(total)
    for name, (value, weight) in part.items():
        pair = float(value), float(weight)
        counts = not finite_only or all(map(math.isfinite, pair))
        before = total.get(name, (0.0, 0.0))
        made[name] = (before[0] + pair[0], before[1] + pair[1]) if counts else before
    return made


def better(loss: float | None, best: float | None) -> bool:
    """Whether a held-out `loss` is lower than the `best` before it.  NaN, inf and None (null in a log) never are."""
    if loss is None or not math.isfinite(loss):
        return False
    return best is None or not math.isfinite(best) or loss < best


def since_best(losses: Iterable[float | None]) -> int:
    """How many evaluations came after the best one; all of them where none has a number."""
    best, count = None, 0
    for loss in losses:
        best, count = (loss, 0) if better(loss, best) else (best, count + 1)
    return count
