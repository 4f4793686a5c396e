"""Hugging Face's Trainer: trainer_state.json, all_results.json, and the folders of its checkpoints."""

import json
import re
from collections.abc import Iterator
from typing import Any

from scaling.logs.formats import Below, File, Folder, Format, Tree, contents
from scaling.logs.table import Log, Refusal, Unreadable, pack_rows

RESULTS = ("all_results.json", "eval_results.json", "train_results.json")  # the first holds what the others hold


def fits(file: File) -> bool:
    return file.head.lstrip().startswith(b"{") and b'"log_history"' in file.head and b'"global_step"' in file.head


def read(file: File) -> Iterator[Log | Refusal]:
    """A row an entry; `loss` is the training loss there, `eval_loss` the other."""
    try:
        state = json.loads(contents(file))
        rows = [named(row) for row in state["log_history"] if isinstance(row, dict)]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise Unreadable(f"half-written or not JSON ({error})") from None
    if rows:
        path = str(file.path)
        yield Log(pack_rows(rows), [f"{path}#{i}" for i in range(1, len(rows) + 1)], path, run=path)


def named(row: dict[str, Any]) -> dict[str, Any]:
    plain = {name: v for name, v in row.items() if not isinstance(v, list | dict)}
    return {{"loss": "train/loss", "train_loss": "train_loss_mean"}.get(name, name): v for name, v in plain.items()}


def checkpoints(folder: Folder) -> list[str]:
    found = [f for f in folder.folders if re.fullmatch(r"checkpoint-\d+", f)]
    return [f for f in found if (folder.path / f / "trainer_state.json").is_file()]


def read_folder(folder: Folder) -> Iterator[Log | Refusal | Below]:
    """One run: the last checkpoint's history holds those of the others, and the results are its last row."""
    history = [folder.path / f / "trainer_state.json" for f in checkpoints(folder)]
    own = folder.path / "trainer_state.json"
    history = [own] if own.is_file() else history[-1:]
    results = [folder.path / name for name in RESULTS if name in folder.files][:1]
    for path in history or results:
        yield Below(path, run=str(folder.path))
    read_already = {*checkpoints(folder), "trainer_state.json", "config.json", "runs", *RESULTS}
    for name in (*folder.folders, *folder.files):
        if name not in read_already and not (name in folder.files and name.endswith(".json")):
            yield Below(folder.path / name)


FORMAT = Format("Hugging Face's trainer_state.json", fits, read)
TREE = Tree(
    "", lambda f: bool(checkpoints(f)) or any(n in f.files for n in ("trainer_state.json", *RESULTS[:1])),
    read_folder,
)  # fmt: skip
