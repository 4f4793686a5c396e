"""A split is evaluated here, in training and after it: the same program, batches and keys give the same numbers."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from data.pipeline import eval_batches
from data.source import Source
from train.devices.mesh import Share
from train.metrics import Metrics, compute
from train.step import Batch, Task


def eval_step(params: Any, batch: Batch, model_state: Any, key: jax.Array, index: jax.Array, *, task: Task) -> Metrics:
    """The metrics of batch number `index` of a split (dropout off, running statistics fixed, samples by `index`)."""
    with task.within():
        _, (_, metrics) = task.loss(params, model_state, batch, jax.random.fold_in(key, index), False)
    return metrics


def means(
    program: Callable[..., Metrics],  # `eval_step`, compiled
    params: Any,
    model_state: Any,
    source: Source,
    batch_size: int,
    share: Share,
    key: jax.Array,
) -> dict[str, float]:
    """The exact mean of every metric over the whole of `source`."""
    parts: list[Metrics] = []
    for index, batch in enumerate(eval_batches(source, batch_size=batch_size, rows=share.rows)):
        part = program(params, share.place(batch), model_state, key, np.int32(index))
        if parts:
            parts[-1] = jax.device_get(parts[-1])  # while the device works on this one
        parts.append(part)
    return merge_on_host(parts)


def merge_on_host(parts: list[Metrics]) -> dict[str, float]:
    """The exact mean over many batches; sums in float64 on the host, in order, so it is the same on every machine."""
    parts = jax.device_get(parts)
    total = {name: np.sum([np.asarray(part[name], np.float64) for part in parts], axis=0) for name in parts[0]}
    return compute({name: (pair[0], pair[1]) for name, pair in total.items()})


class Spread:
    """`count` records of a source, evenly spread over it, or all of them where it has fewer."""

    def __init__(self, source: Source, count: int):
        self.source, self.count = source, min(count, len(source))

    def __len__(self) -> int:
        return self.count

    def gather(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return self.source.gather(ids * len(self.source) // self.count)
