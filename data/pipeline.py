"""Batches as a pure function of (seed, step), so a resumed run, or one on more hosts, sees what the first would have.

A checkpoint therefore holds no iterator: to resume is to start at `first_step`.
"""

import atexit
import dataclasses
import functools
import itertools
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np

from data.permute import shuffled
from data.source import Batch, Source

Transform = Callable[[Batch, np.random.Generator], Batch]
Rows = np.ndarray | None  # of a batch; None is all of them


def batch_at(
    source: Source, step: int, *, batch_size: int, seed: int, rows: Rows = None, shuffle: bool = True
) -> Batch:
    """Batch number `step`; of it `rows` (numbers from 0 to batch_size - 1) where this host needs no more.

    Batches run on across the ends of epochs: every record is seen once an epoch and none is dropped.
    """
    rows = chosen(rows, batch_size)
    start, n, first = step * batch_size, len(source), int(rows.min())
    if not shuffle:
        return source.gather((start + rows) % n)
    order = getattr(source, "order", None)  # of a source that orders itself, as a mixture does
    ids = (order or functools.partial(shuffled, n=n))(start + first, start + int(rows.max()) + 1, seed=seed)
    return source.gather(ids[rows - first])


def train_batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    rows: Rows = None,
    transform: Transform | None = None,
    workers: int = 0,
    prefetch: int = 0,
) -> Generator[Batch]:
    """Endless batches from `first_step` on.

    `transform(batch, rng)` sees a generator that depends on seed, step and first row alone.  Sources in memory take
    tens of microseconds a batch, so the default makes batches where they are asked for; `prefetch` makes that many
    ahead on a thread, `workers` in that many processes, both by Grain; `close()` ends them.  Neither changes a batch.
    """
    rows = chosen(rows, batch_size)
    if batch_size > len(source):
        raise ValueError(
            f"batch_size {batch_size} is larger than the {len(source)} records of the training split: "
            f"use at most {len(source)}, or more data"
        )
    make = _Make(source, batch_size, seed, rows, transform)
    if workers or prefetch:
        return _by_grain(make, first_step, workers, prefetch)
    return (make(step) for step in itertools.count(first_step))


def eval_batches(source: Source, *, batch_size: int, rows: Rows = None) -> Iterator[Batch]:
    """Every record once, in order, in batches of one shape: the last is filled up with records of mask 0.

    `mask` is float32 [B], or like y where the source has a mask of its own.
    """
    rows, n = chosen(rows, batch_size), len(source)
    for first in range(0, n, batch_size):
        ids = first + rows
        batch = source.gather(np.minimum(ids, n - 1))
        real = (ids < n).astype(np.float32)
        mask = batch.get("mask", np.ones(rows.size, np.float32))
        yield {**batch, "mask": mask * real.reshape(-1, *[1] * (mask.ndim - 1))}


def chosen(rows: Rows, batch_size: int) -> np.ndarray:
    """The rows of a batch that this host reads: all, unless it is told."""
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} holds no record: use 1 or more")
    return np.arange(batch_size) if rows is None else np.asarray(rows)


@dataclasses.dataclass(frozen=True)
class _Make:
    """A class and not a closure, since Grain's workers are spawned and must unpickle it."""

    source: Source
    batch_size: int
    seed: int
    rows: np.ndarray
    transform: Transform | None

    def __call__(self, step: int) -> Batch:
        batch = batch_at(self.source, step, batch_size=self.batch_size, seed=self.seed, rows=self.rows)
        if self.transform is None:
            return batch
        return self.transform(batch, np.random.default_rng((self.seed % 2**64, step, int(self.rows[0]))))


def _by_grain(make: _Make, first_step: int, workers: int, prefetch: int) -> Generator[Batch]:
    """One element is one batch: Grain costs 70-100 us an element."""
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():  # Grain's workers read absl flags, which pytest and notebooks never parse
        flags.FLAGS.mark_as_parsed()
    ahead = max(1, prefetch)
    batches = grain.MapDataset.range(first_step, 2**40).map(make)
    batches = batches.to_iter_dataset(grain.ReadOptions(num_threads=min(prefetch, 1), prefetch_buffer_size=ahead))
    if workers:
        options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead)
        batches = batches.mp_prefetch(options)
    stream = _closing(batches)
    _open_streams.add(stream)
    return stream


def _closing(batches: Any) -> Generator[Batch]:
    iterator = iter(batches)
    try:
        yield from iterator
    finally:
        iterator.close()


_open_streams: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _close_streams() -> None:
    """Left to the end of the interpreter, Grain's own finaliser prints a traceback."""
    for stream in list(_open_streams):
        stream.close()
