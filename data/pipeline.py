"""Batches as a pure function of (seed, step), so a resumed run, or one on more hosts, sees what the first would have.

A checkpoint therefore holds no iterator: to resume is to start at `first_step`.
"""

import atexit
import dataclasses
import itertools
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np

from data.permute import shuffled
from data.source import Batch, Source

Transform = Callable[[Batch, np.random.Generator], Batch]


def batch_at(
    source: Source, step: int, *, batch_size: int, seed: int, host: int = 0, hosts: int = 1, shuffle: bool = True
) -> Batch:
    """This host's contiguous share of batch number `step`.

    Batches run on across the ends of epochs: every record is seen once an epoch and none is dropped.
    `batch_size` counts the records of all hosts together.
    """
    local = share(batch_size, hosts)
    start = step * batch_size + host * local
    n = len(source)
    return source.gather(shuffled(start, start + local, n, seed) if shuffle else np.arange(start, start + local) % n)


def train_batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    host: int = 0,
    hosts: int = 1,
    transform: Transform | None = None,
    workers: int = 0,
    prefetch: int = 0,
) -> Generator[Batch]:
    """Endless batches from `first_step` on.

    `transform(batch, rng)` sees a generator that depends on seed, step and host alone.  Sources in memory take tens of
    microseconds a batch, so the default makes batches where they are asked for; `prefetch` makes that many ahead on a
    thread, `workers` in that many processes, both by Grain; `close()` ends them.  Neither changes a batch.
    """
    share(batch_size, hosts)
    if batch_size > len(source):
        raise ValueError(
            f"batch_size {batch_size} is larger than the {len(source)} records of the training split: "
            f"use at most {len(source)}, or more data"
        )
    make = _Make(source, batch_size, seed, host, hosts, transform)
    if workers or prefetch:
        return _by_grain(make, first_step, workers, prefetch)
    return (make(step) for step in itertools.count(first_step))


def eval_batches(source: Source, *, batch_size: int, host: int = 0, hosts: int = 1) -> Iterator[Batch]:
    """Every record once, in order, in batches of one shape: the last is filled up with records of mask 0.

    `mask` is float32 [B], or like y where the source has a mask of its own.
    """
    local, n = share(batch_size, hosts), len(source)
    for first in range(host * local, -(-n // batch_size) * batch_size, batch_size):
        ids = np.arange(first, first + local)
        batch = source.gather(np.minimum(ids, n - 1))
        real = (ids < n).astype(np.float32)
        mask = batch.get("mask", np.ones(local, np.float32))
        yield {**batch, "mask": mask * real.reshape(-1, *[1] * (mask.ndim - 1))}


def share(batch_size: int, hosts: int) -> int:
    """Records of one host."""
    if batch_size < 1 or batch_size % hosts:
        below = batch_size // hosts * hosts
        choices = f"{below} or {below + hosts}" if below > 0 else f"{hosts}"
        raise ValueError(f"batch_size {batch_size} does not divide among {hosts} hosts: use {choices}")
    return batch_size // hosts


@dataclasses.dataclass(frozen=True)
class _Make:
    """A class and not a closure, since Grain's workers are spawned and must unpickle it."""

    source: Source
    batch_size: int
    seed: int
    host: int
    hosts: int
    transform: Transform | None

    def __call__(self, step: int) -> Batch:
        batch = batch_at(
            self.source, step, batch_size=self.batch_size, seed=self.seed, host=self.host, hosts=self.hosts
        )
        if self.transform is None:
            return batch
        return self.transform(batch, np.random.default_rng((self.seed % 2**64, step, self.host)))


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
