"""Logs with their settings in a file beside them: Hydra's .hydra/, Lightning's hparams.yaml, Ray Tune's params.json."""

import re
from collections.abc import Iterator

from scaling.logs.formats import Below, Folder, Tree, settings
from scaling.logs.table import Log, Refusal

BESIDE = (
    "hparams.yaml", "params.json", "config.yaml", "config.yml", "hparams.json", "args.json", "args.yaml", "config.json",
    "wandb-metadata.json",
)  # fmt: skip
NO_LOGS = re.compile(
    r"params\.pkl|error\.(txt|pkl)|experiment_state.*|tuner\.pkl|.*\.(md|py|pkl|pt|ckpt|bin|safetensors|log|yaml|yml|png|html)"
)


def read(folder: Folder) -> Iterator[Log | Refusal | Below]:
    """What the settings say holds for all that is below; a folder with one log is one run."""
    path, hydra = folder.path, ".hydra" in folder.folders
    constants: dict[str, object] = {}
    for name in ("config.yaml", "overrides.yaml") if hydra else ():
        constants |= settings(path / ".hydra" / name)
    beside = [name for name in BESIDE if name in folder.files]
    for name in reversed(beside):
        constants |= settings(path / name)
    if "params.json" in beside and "error.txt" in folder.files:
        constants["status"] = "error"  # as Ray Tune marks a trial that failed
    logs = [name for name in folder.files if name not in beside and not NO_LOGS.fullmatch(name)]
    if {"result.json", "progress.csv"} <= {*logs}:  # Ray Tune writes the same rows twice
        logs.remove("progress.csv")
    below = [name for name in folder.folders if name != ".hydra"]
    one = hydra or (len(logs) == 1 and not below)
    others = [name for name in folder.files if name.endswith(".log")] if not logs else []
    for name in (*logs, *others, *below):
        yield Below(path / name, constants, str(path) if one else "")


def fits(folder: Folder) -> bool:
    return ".hydra" in folder.folders or any(name in folder.files for name in BESIDE)


TREE = Tree("Hydra, Lightning, Ray Tune", fits, read)
