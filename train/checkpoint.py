"""Checkpoints: asynchronous and atomic (Orbax), strict about what they hold, tolerant of what a crash left behind."""

import contextlib
import functools
import hashlib
import itertools
import json
import logging
import math
import os
import pathlib
import re
import shutil
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as keep

from train import paths
from train.devices import hosts
from train.errors import UserError
from train.metrics import Sums, better
from train.writer import Mark

NOTHING: Mapping[str, Any] = types.MappingProxyType({})


class Damage(ValueError):
    """A checkpoint is not what was saved."""


class Checkpoints:
    """The last `keep_last` states of a run, and with `best` the one that scored lowest, in `folder`."""

    def __init__(
        self,
        folder: Any,  # a pathlib.Path, or of a bucket an epath.Path
        *,
        keep_last: int,
        best: bool,
        say: Callable[[str], None],
        read_only: bool = False,  # touches nothing, so that it is safe beside a run that writes
    ):
        hush()
        policies: list = [keep.LatestN(keep_last)]
        if best:
            score = lambda metrics: metrics["loss"] if better(metrics["loss"], None) else math.inf
            policies.append(keep.BestN(get_metric_fn=score, reverse=True, n=1, keep_checkpoints_without_metrics=False))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
        )
        self.folder, self.say, self.best, self.read_only = folder, say, best, read_only
        self.manager = ocp.CheckpointManager(
            folder.absolute() if isinstance(folder, pathlib.Path) else folder,
            options=options,
            item_handlers=ocp.StandardCheckpointHandler(),
        )

    def save(self, step: int, state: Any, loss: float | None = None, about: Mapping[str, Any] = NOTHING) -> None:
        """Starts to write `state` and returns; training goes on.  A step that is already there stays as it is.

        `about` is kept beside it: what the log held at that step (`log`, a `Mark`), and the metrics' `sums` since the
        last row of it.
        """
        if step in self.manager.all_steps():
            return
        # The next step reuses the memory of the state it is given, so what is written must be a copy.
        copy = jax.tree.map(jnp.copy, state)
        metrics = {"loss": loss} if self.best and better(loss, None) else None
        about = {**json.loads(json.dumps(dict(about))), "checksum": checksum(copy)}
        with os_errors(self.folder):
            self.manager.save(
                step, args=ocp.args.StandardSave(copy), metrics=metrics, custom_metadata={**about, "own": digest(about)}
            )

    def restore(self, like: Any, steps: Sequence[int] | None = None) -> Any | None:
        """The latest state that can be read, placed as `like` is, or None.  A damaged one is set aside, and said.

        `like` may be of arrays or of shapes with shardings; `steps` are those that will do, by default all.
        """
        steps = sorted(self.manager.all_steps() if steps is None else steps, reverse=True)
        for step, before in itertools.pairwise([*steps, None]):
            state, wrong = None, ""
            try:
                self.compare(step, like)
                state = self.manager.restore(step, args=ocp.args.StandardRestore(like))
                self.verify(step, state)
            except UserError:
                raise
            except Exception as error:
                if not isinstance(self.folder, pathlib.Path) and not isinstance(error, Damage):
                    raise out_of_reach(self.folder, error) from error  # which says nothing of the checkpoint
                wrong = str(error).strip().split("\n")[0][:120] or type(error).__name__
            wrong = hosts.all_told(wrong)
            if not wrong:
                return state
            self.set_aside(step, wrong, f"going back to step {before}" if before else "there is none before it")
        return None

    def verify(self, step: int, state: Any) -> None:
        """Refuses numbers that are not those that were saved: the storage format has no checksums of its own."""
        about = self.about(step)
        if "checksum" not in about:  # nor would the sums of the metrics be there
            raise Damage("what it says of itself is missing")
        if about.pop("own", None) not in (None, digest(about)):
            raise Damage("what it says of itself is not what was saved")
        if about["checksum"] != checksum(state):
            raise Damage("its numbers are not those that were saved")

    def about(self, step: int) -> dict[str, Any]:
        return dict(self.manager.metadata(step).custom_metadata or {})

    def mark(self, step: int) -> Mark | None:
        """What the log held at that step, where the checkpoint says so."""
        mark = self.about(step).get("log")
        return Mark(*mark) if mark else None

    def sums(self, step: int) -> Sums:
        return {name: (value, weight) for name, (value, weight) in self.about(step).get("sums", {}).items()}

    def compare(self, step: int, like: Any) -> None:
        """Refuses a checkpoint of another tree of arrays, and says how the two differ."""
        stored = self.manager.item_metadata(step)
        if stored is None:
            raise FileNotFoundError("its description is missing")
        differences = describe_difference(leaves(stored), leaves(like))
        if differences:
            raise UserError(
                f"checkpoint {step} in {self.folder} holds another train state: {differences}. "
                "Use another --workdir, or the code and config that wrote it"
            )

    def set_aside(self, step: int, reason: str, then: str) -> None:
        if self.read_only:
            self.say(f"checkpoint {step} cannot be read ({reason}); {then}")
            return
        place = self.folder.parent / f"damaged_checkpoint_{step}"

        def move() -> None:
            if isinstance(place, pathlib.Path):
                shutil.rmtree(place, ignore_errors=True)
                shutil.move(self.folder / str(step), place)
            else:  # in a bucket
                place.rmtree(missing_ok=True)
                (self.folder / str(step)).rename(place)

        hosts.on_first(move)
        self.manager.reload()
        self.say(f"checkpoint {step} cannot be read ({reason}); it is now {place}; {then}")

    def latest(self) -> int:
        """The last step that is wholly on disk; 0 where none is."""
        return self.manager.latest_step() or 0

    def wait(self) -> None:
        with os_errors(self.folder):
            self.manager.wait_until_finished()

    def close(self) -> None:
        with os_errors(self.folder):
            self.manager.close()


def digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def checksum(tree: Any) -> str:
    """Eight hexadecimal digits that change with any bit, and not with how the arrays are spread over devices."""
    total = 0
    for part in jax.device_get([words_sum(in_a_row(leaf)) for leaf in jax.tree.leaves(tree)]):
        total = (total * 0x01000193 + int(part)) % 2**32
    return f"{total:08x}"


@jax.jit  # of one array: a network has few shapes, and a program over all of its arrays takes long to compile
def words_sum(array: jax.Array) -> jax.Array:
    """The sum modulo 2^32, which needs no order, of each word times an odd number that depends on its place."""
    bits = array.dtype.itemsize * 8
    whole = array.astype(jnp.uint8) if array.dtype == bool else array
    words = jax.lax.bitcast_convert_type(whole, jnp.dtype(f"uint{min(bits, 32)}")).astype(jnp.uint32)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    mixed = (place ^ (place >> 15)) * jnp.uint32(0x2C1B3C6D)  # neighbours far apart (murmur's finaliser)
    return jnp.sum(words * ((mixed ^ (mixed >> 13)) | 1), dtype=jnp.uint32)


def in_a_row(array: jax.Array) -> jax.Array | np.ndarray:
    """A small array of a CPU in one axis, with zeros up to a power of 16: few programs for all shapes of a network."""
    if not array.is_fully_addressable or array.size > 2**20 or any(d.platform != "cpu" for d in array.devices()):
        return array
    numbers = np.asarray(array).ravel()
    bits = max(0, numbers.size - 1).bit_length()
    return np.pad(numbers, (0, 2 ** (-(-bits // 4) * 4) - numbers.size))


def all_finite(tree: Any) -> bool:
    """Whether no array of `tree` holds a NaN or an infinity."""
    return all(map(bool, jax.device_get([finite_array(in_a_row(leaf)) for leaf in jax.tree.leaves(tree)])))


@jax.jit  # of one array, as `words_sum`
def finite_array(array: jax.Array) -> jax.Array:
    return jnp.isfinite(array).all()


def out_of_reach(folder: Any, error: Exception) -> UserError:
    why = str(error).strip().split("\n")[0][:160] or type(error).__name__
    return UserError(
        f"{folder} cannot be used ({why}); where a login is over, gcloud auth application-default login; the same "
        "command goes on from the last whole checkpoint"
    )


@contextlib.contextmanager
def os_errors(folder: Any) -> Iterator[None]:
    """A disk's errors as Python's own: TensorStore hides their number in a ValueError of four lines."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not isinstance(folder, pathlib.Path):  # what Orbax, TensorStore and gcsfs raise of a bucket
            raise out_of_reach(folder, error) from error
        if not isinstance(error, ValueError):
            raise
        number = re.search(r"os_error_code='(\d+)'", str(error))
        if not number:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from error


@functools.cache  # once a process
def hush() -> None:
    """Orbax tells of every phase of every save, and tells again, with tracebacks, of the errors that it raises."""
    for name in ("absl", "asyncio", "fsspec", "gcsfs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    before = sys.unraisablehook

    def unless_orbax(unraisable: Any) -> None:
        source = getattr(getattr(unraisable.object, "cr_code", None), "co_filename", "")
        if "orbax" not in source and str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = unless_orbax


def leaves(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {paths.name(path): (tuple(leaf.shape), str(leaf.dtype)) for path, leaf in flat}


def describe_difference(stored: dict, wanted: dict) -> str:
    """In words: what is missing, what is extra, what has another shape; empty where the trees agree."""
    parts = []
    missing, extra = sorted(set(wanted) - set(stored)), sorted(set(stored) - set(wanted))
    changed = [n for n in wanted if n in stored and stored[n] != wanted[n]]
    show = lambda names: ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if missing:
        parts.append(f"it lacks {show(missing)}")
    if extra:
        parts.append(f"it also has {show(extra)}")
    if changed:
        parts.append("shapes differ: " + show([f"{n} {stored[n][0]} against {wanted[n][0]}" for n in changed]))
    return "; ".join(parts)
