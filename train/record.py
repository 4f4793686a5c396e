"""What a run leaves behind: its config and surroundings when it starts, one record when it ends."""

import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from train.errors import UserError
from train.files import write_whole
from train.optim.chain import peak_rate
from train.writer import finite

# What a run may change on its way: its numbers stay the same, but for the order in which devices add.
LAYOUT = ("cpu_devices", "mesh", "parallel", "loader")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy")


def write_json(path: pathlib.Path, value: Any) -> None:
    """All or nothing: a crash leaves the old file or the new one."""
    write_whole(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def resolved(config: ConfigDict) -> dict[str, Any]:
    """The config as plain JSON values; an infinity, which JSON lacks, as the word."""
    return json.loads(config.to_json(), parse_constant=str)


def config_hash(config: ConfigDict) -> str:
    return hashlib.sha256(json.dumps(resolved(config), sort_keys=True).encode()).hexdigest()[:12]


def open_folder(
    workdir: pathlib.Path, config: ConfigDict, say: Callable[[str], None], own: Callable[[], None]
) -> dict[str, Any] | None:
    """Makes the folder and writes the config into it, or refuses a folder that holds another experiment.

    `own` is called before the first write, and raises where another process trains there.
    Returns the record of a run that is finished.
    """
    path = workdir / "config.json"
    make_folder(workdir)
    try:
        if path.exists():
            compare(json.loads(path.read_text()), resolved(config), workdir, say)
        finished = read(workdir)
        if finished:
            return finished
        own()
        if path.exists():  # looked at again: its owner may have changed just now
            compare(json.loads(path.read_text()), resolved(config), workdir, lambda line: None)
        finished = read(workdir)
        if not finished:
            write_json(path, resolved(config))
        return finished
    except json.JSONDecodeError:
        raise UserError(f"{path} is not readable JSON; use another --workdir, or remove the file") from None
    except OSError as error:
        raise UserError(f"cannot write to {workdir} ({error.strerror}); choose another --workdir") from None


def make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}); choose another --workdir") from None


def compare(before: dict[str, Any], now: dict[str, Any], workdir: pathlib.Path, say: Callable[[str], None]) -> None:
    old, new = flatten(before), flatten(now)
    changed = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
    show = lambda keys: ", ".join(f"config.{k} was {old.get(k)!r} and is {new.get(k)!r}" for k in keys)
    layout = [k for k in changed if k.split(".")[0] in LAYOUT]
    changed = [k for k in changed if k not in layout]
    if layout and not changed:
        say(f"{workdir} goes on in another layout: {show(layout)}")
    if changed:
        shown = show(changed[:3])
        more = f" and {len(changed) - 3} more differ" if len(changed) > 3 else ""
        raise UserError(f"{workdir} holds another experiment: {shown}{more}. Use another --workdir for this one")


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        k: v for name, part in tree.items() for k, v in flatten(part, f"{prefix}.{name}" if prefix else name).items()
    }


def environment(hardware: dict[str, Any]) -> dict[str, Any]:
    return {
        "versions": {"python": platform.python_version(), **versions()},
        "git_commit": git_commit(),
        "hardware": hardware,
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],
    }


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """The commit of the code, with "+" where files differ from it; empty outside a checkout."""
    root = pathlib.Path(__file__).parents[1]
    run = lambda *args: subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True).stdout
    try:
        return run("rev-parse", "--short=12", "HEAD").strip() + ("+" if run("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def read(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The record of a finished run, or None."""
    try:
        return json.loads((workdir / "record.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def finished(run: Any, step: int, held_out: dict[str, float], gap: dict[str, float], seconds: float) -> dict[str, Any]:
    """The row that scaling laws are fitted to.  Losses are nats per unit (token or example); N and D have many
    definitions, so each count has its own name."""
    config, dataset, work = run.config, run.experiment.dataset, run.budget
    units = step * work.units_per_step
    surroundings = json.loads((run.workdir / "environment.json").read_text())
    row = {
        "name": run.workdir.name,
        "params_total": work.params_total,
        "params_non_embedding": work.params_non_embedding,
        "params_active": work.params_total,
        "tokens_seen": units,
        "tokens_unique": dataset.unique,
        "bytes_seen": round(units * dataset.train_bytes_per_unit) or None,
        "batch_tokens": work.units_per_step,
        "unit": dataset.unit,
        "steps": step,
        "flops_6nd": 6.0 * work.params_total * units,
        "flops_train": work.flops_per_step * step,
        "loss": held_out["loss"],
        "train_loss": gap.get("loss"),
        "bits_per_byte": held_out.get("bits_per_byte"),
        "metrics": held_out,
        "lr": peak_rate(config.optim.to_dict()),
        "seed": config.seed,
        "schedule": config.schedule.name,
        "wall_seconds": round(seconds, 3),
        "compile_seconds": round(run.step.seconds + run.eval.seconds, 3),
        "device": surroundings["hardware"]["device"],
        "data": dataset.fingerprint,
        "versions": surroundings["versions"],
        "git_commit": surroundings["git_commit"],
        "config_hash": config_hash(config),
    }
    return finite(row)


def one_line(row: dict[str, Any]) -> str:
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in row["metrics"].items() if value is not None)
    return f"{metrics}  ({row['steps']:,} steps, {row['params_total']:,} parameters, {row['wall_seconds']:.0f} s)"
