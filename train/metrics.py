"""A metric is a (sum, weight) pair: adding two of them merges two batches exactly, masks and ragged ends included."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Metrics = dict[str, tuple[Any, Any]]  # arrays of the device, or numbers of the host


def mean(values: Any, weight: Any = None) -> tuple[jax.Array, jax.Array]:
    """The pair whose quotient is the weighted mean of `values`."""
    values = jnp.asarray(values)
    weight = jnp.ones_like(values) if weight is None else jnp.broadcast_to(weight, values.shape).astype(values.dtype)
    return jnp.sum(values * weight), jnp.sum(weight)


def compute(metrics: Metrics) -> dict[str, float]:
    """Divides; the only place where a metric leaves the device.  NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: float(np.float64(s) / np.float64(w)) for name, (s, w) in jax.device_get(metrics).items()}


def merge_on_host(parts: list[Metrics]) -> dict[str, float]:
    """The exact mean over many batches; sums in float64 on the host, in order, so it is the same on every machine."""
    parts = jax.device_get(parts)
    total = {name: np.sum([np.asarray(part[name], np.float64) for part in parts], axis=0) for name in parts[0]}
    return compute({name: (pair[0], pair[1]) for name, pair in total.items()})
