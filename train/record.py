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
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from data.mixture import Mixture
from data.source import Dataset
from train import extend
from train.errors import UserError
from train.files import NUMBER, Damaged, contents, read_json, write_json, write_whole
from train.optim.chain import peak_rate
from train.writer import finite

if TYPE_CHECKING:
    from train.cost.budget import Budget

# What a run may change on its way: its numbers stay the same, but for the order of their sums.
LAYOUT = ("cpu_devices", "mesh", "parallel", "loader", "attention", "loss_slices")
ROW = {"name": str, "steps": int, "tokens_seen": int, "params_total": int, "loss": NUMBER, "metrics": dict}
ROW |= {"wall_seconds": NUMBER, "git_commit": str, "config_hash": str}
AGAIN = "remove it, and the command of the run makes it again"
TRUSTED = ("config.json", "data.json", "metrics.jsonl", "metrics.csv")  # beside record.json, of a finished run
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy")


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
    path, longer = workdir / "config.json", False
    make_folder(workdir)
    try:
        if path.exists():
            longer = compare(read_config(workdir), config, workdir, say)
        finished = read_whole(workdir, lambda line: None)
        if finished and not longer:
            return finished
        own()
        # Looked at again: its owner may have changed just now.
        if path.exists() and compare(read_config(workdir), config, workdir, lambda line: None):
            for name in ("record.json", "sums.json"):  # of the shorter run
                (workdir / name).unlink(missing_ok=True)
        finished = read_whole(workdir, say)
        if not finished:
            write_json(path, resolved(config))
        return finished
    except OSError as error:
        raise UserError(f"cannot write to {workdir} ({error.strerror}); choose another --workdir") from None


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
    """The config that a work folder holds, as plain JSON values."""
    needs = {"steps": int, "seed": int, "data": dict, "model": dict, "task": dict, "optim": dict}
    remedy = "use another --workdir, or remove the file: the same command writes it again"
    return read_json(workdir / "config.json", needs, remedy)


def make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}); choose another --workdir") from None


def compare(before: dict[str, Any], config: ConfigDict, workdir: pathlib.Path, say: Callable[[str], None]) -> bool:
    """Whether the run becomes longer; refuses every other change of what it computes."""
    old, new = flatten(before), flatten(resolved(config))
    changed = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
    show = lambda keys: ", ".join(f"config.{k} was {old.get(k)!r} and is {new.get(k)!r}" for k in keys)
    layout = [k for k in changed if k.split(".")[0] in LAYOUT]
    changed = [k for k in changed if k not in layout]
    if layout and not changed:
        say(f"{workdir} goes on in another layout: {show(layout)}")
    if changed == ["steps"]:
        if why := extend.refusal(before, config, workdir):
            raise UserError(f"{workdir} holds another experiment: {why}. Use another --workdir for this one")
        say(f"{workdir} was planned for {old['steps']:,} steps and goes on to {new['steps']:,}")
    elif changed:
        shown = show(changed[:3])
        more = f" and {len(changed) - 3} more differ" if len(changed) > 3 else ""
        raise UserError(f"{workdir} holds another experiment: {shown}{more}. Use another --workdir for this one")
    return changed == ["steps"]


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Options by their path.  An empty section within a section says something (augment.flip) and stays."""
    if not isinstance(tree, dict) or (not tree and "." in prefix):
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
    line = ["git", "--no-optional-locks"]  # a process that is killed here leaves no index.lock in the checkout
    run = lambda *args: subprocess.run([*line, *args], cwd=root, capture_output=True, text=True, check=True).stdout
    try:
        return run("rev-parse", "--short=12", "HEAD").strip() + ("+" if run("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def read(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The record of a finished run, or None where there is none, or it is not what the run wrote."""
    try:
        return read_whole(workdir, lambda line: None, names=("record.json",))
    except OSError:
        return None


def read_whole(
    workdir: pathlib.Path, say: Callable[[str], None], names: tuple[str, ...] = ("record.json", *TRUSTED)
) -> dict[str, Any] | None:
    """The record of a finished run, if it and the files `names` are what the run wrote; None where not, which is said.

    The run then ends once more from its last checkpoint.
    """
    try:
        row = read_json(workdir / "record.json", ROW, AGAIN)
        check_sums(workdir, names)
        return row
    except FileNotFoundError:
        return None
    except Damaged as damage:
        say(f"{damage.args[0].removesuffix(f'; {AGAIN}')}; the end of the run is made again from its last checkpoint")
        return None


def write(workdir: pathlib.Path, row: dict[str, Any]) -> None:
    """The record, which says that the run is finished, and before it the checksums of what a reader trusts."""
    text = json.dumps(row, indent=1, allow_nan=False) + "\n"
    sums = {"record.json": hashlib.sha256(text.encode()).hexdigest()}
    sums |= {name: digest for name in TRUSTED if (digest := digest_of(workdir / name))}
    write_json(workdir / "sums.json", {"files": sums, "sha256": digest_of_sums(sums)})
    write_whole(workdir / "record.json", text)


def check_sums(workdir: pathlib.Path, names: tuple[str, ...]) -> None:
    """Compares files of a finished run with `sums.json`; a run of an older version has none."""
    path = workdir / "sums.json"
    try:
        found = read_json(path, {"files": dict, "sha256": str}, AGAIN)
    except FileNotFoundError:
        return
    if found["sha256"] != digest_of_sums(found["files"]):
        raise Damaged(f"{path} is not what the run wrote; {AGAIN}")
    for name in names:
        if name in found["files"] and digest_of(workdir / name) != found["files"][name]:
            raise Damaged(f"{workdir / name} is not what the run wrote; {AGAIN}")


def digest_of(path: pathlib.Path) -> str:
    """SHA-256; empty where there is no such file."""
    try:
        return hashlib.sha256(contents(path, AGAIN)).hexdigest()
    except FileNotFoundError:
        return ""


def digest_of_sums(sums: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def finished(
    name: str,
    config: ConfigDict,
    dataset: Dataset,
    work: "Budget",
    surroundings: dict[str, Any],  # of `environment`
    *,
    step: int,  # the last
    held_out: dict[str, float],  # metrics of the held-out split
    gap: dict[str, float],  # of training records, which it is set beside; {} where none were scored
    scores: dict[str, float],  # of train/score.py, that are no mean over records
    seconds: float,
    compile_seconds: float,
) -> dict[str, Any]:
    """The row that scaling laws are fitted to.  Losses are nats per unit (token or example); N and D have many
    definitions, so each count has its own name."""
    units = dataset.units(step * work.units_per_step)
    row = {
        "name": name,
        "params_total": work.params_total,
        "params_non_embedding": work.params_non_embedding,
        "params_active": work.params_active,
        "tokens_seen": units,
        "tokens_unique": dataset.unique,
        "bytes_seen": round(units * dataset.train_bytes_per_unit) or None,
        "batch_tokens": work.units_per_step,
        "unit": dataset.unit,
        "steps": step,
        "flops_6nd": 6.0 * work.params_active * units,
        "flops_train": work.flops_per_step * step,
        "loss": held_out["loss"],
        "train_loss": gap.get("loss"),
        "bits_per_byte": held_out.get("bits_per_byte"),
        "metrics": held_out,
        "scores": scores,  # what is no mean over records (train/details.py)
        "lr": peak_rate(config.optim.to_dict()),
        "seed": config.seed,
        "schedule": config.schedule.name,
        "wall_seconds": round(seconds, 3),
        "compile_seconds": round(compile_seconds, 3),
        "device": surroundings["hardware"]["device"],
        "data": dataset.fingerprint,
        "versions": surroundings["versions"],
        "git_commit": surroundings["git_commit"],
        "config_hash": config_hash(config),
    }
    if isinstance(dataset.train, Mixture):
        row["epochs"] = dataset.train.epochs(step * config.batch_size, config.seed)  # of each source
    return finite(row)


def one_line(row: dict[str, Any]) -> str:
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in row["metrics"].items() if value is not None)
    return f"{metrics}  ({row['steps']:,} steps, {row['params_total']:,} parameters, {row['wall_seconds']:.0f} s)"
