"""Checkpoints: asynchronous and atomic (Orbax), strict about what they hold, tolerant of what a crash left behind."""

import logging
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as keep

from train.errors import UserError


class Checkpoints:
    """The last `keep_last` states of a run, and with `best` the one that scored lowest, in `folder`."""

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        keep_last: int,
        best: bool,
        say: Callable[[str], None],
        read_only: bool = False,  # touches nothing, so that it is safe beside a run that writes
    ):
        logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax tells of every phase of every save
        policies: list = [keep.LatestN(keep_last)]
        if best:
            score = lambda metrics: metrics["loss"]
            policies.append(keep.BestN(get_metric_fn=score, reverse=True, n=1, keep_checkpoints_without_metrics=False))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
        )
        self.folder, self.say, self.best, self.read_only = folder, say, best, read_only
        self.manager = ocp.CheckpointManager(
            folder.absolute(), options=options, item_handlers=ocp.StandardCheckpointHandler()
        )

    def save(self, step: int, state: Any, loss: float | None = None) -> None:
        """Starts to write `state` and returns; training goes on.  A step that is already there stays as it is."""
        if step in self.manager.all_steps():
            return
        # The next step reuses the memory of the state it is given, so what is written must be a copy.
        copy = jax.tree.map(jnp.copy, state)
        metrics = {"loss": loss} if self.best and loss is not None else None
        self.manager.save(step, args=ocp.args.StandardSave(copy), metrics=metrics)

    def restore(self, like: Any) -> Any | None:
        """The latest state that can be read, placed as `like` is, or None.  A damaged one is set aside, and said."""
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                self.compare(step, like)
                return self.manager.restore(step, args=ocp.args.StandardRestore(like))
            except UserError:
                raise
            except Exception as error:
                self.set_aside(step, error)
        return None

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

    def set_aside(self, step: int, error: Exception) -> None:
        reason = str(error).strip().split("\n")[0][:120]
        if self.read_only:
            self.say(f"checkpoint {step} cannot be read ({reason}); going back to the one before")
            return
        place = self.folder.parent / f"damaged_checkpoint_{step}"
        shutil.rmtree(place, ignore_errors=True)
        shutil.move(self.folder / str(step), place)
        self.manager.reload()
        self.say(f"checkpoint {step} cannot be read ({reason}); it is now {place}; going back to the one before")

    def latest(self) -> int:
        """The last step that is wholly on disk; 0 where none is."""
        return self.manager.latest_step() or 0

    def wait(self) -> None:
        self.manager.wait_until_finished()

    def close(self) -> None:
        self.manager.close()


def leaves(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {path_name(path): (tuple(leaf.shape), str(leaf.dtype)) for path, leaf in flat}


def path_name(path: tuple) -> str:
    """`.params['a'][0]` as params/a/0, so that a named field and a key of a stored dict read alike."""
    return "/".join(str(getattr(p, "key", getattr(p, "name", getattr(p, "idx", p)))) for p in path)


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
