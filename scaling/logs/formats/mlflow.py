"""MLflow's own folder, mlruns/EXPERIMENT/RUN: a file a parameter and a file a metric."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaling.logs.formats import Below, Folder, Tree, settings
from scaling.logs.table import Log, Refusal, number, pack_rows

STATUS = {1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}


def read(folder: Folder) -> Iterator[Log | Refusal | Below]:
    said = settings(folder.path / "meta.yaml", "")
    if said.get("lifecycle_stage") == "deleted":
        yield Refusal(str(folder.path), "a run that MLflow has deleted")
        return
    params = {f"params.{name}": text(file) for name, file in below(folder.path / "params")}
    tags = {name: text(file) for name, file in below(folder.path / "tags")}
    name = tags.get("mlflow.runName") or str(said.get("run_name") or folder.path.name)
    rows: dict[float, dict[str, Any]] = {}
    for metric, file in below(folder.path / "metrics"):
        own: dict[float, float] = {}
        for line, entry in enumerate(text(file).splitlines(), 1):
            parts = entry.split()
            values = [number(part) for part in parts]
            if len(parts) < 2 or None in values:
                yield Refusal(f"{file}:{line}", "not a time, a value and a step")
                continue
            step = values[2] if len(values) > 2 and values[2] is not None else 0.0
            if own and step < next(reversed(own)):  # goes on from there: what came after it was taken back
                own = {s: v for s, v in own.items() if s < step}
            own[step] = float(values[1] or 0.0)
        for step, value in own.items():
            rows.setdefault(step, {"step": step})[f"metrics.{metric}"] = value
    status = said.get("status")
    constants = {**params, "run_id": folder.path.name, "run_name": name, "status": STATUS.get(status, status)}  # type: ignore
    ordered = [rows[step] for step in sorted(rows)]
    if ordered:
        place = str(folder.path)
        yield Log(pack_rows(ordered), [place] * len(ordered), place, place, constants)
    else:
        yield Refusal(str(folder.path), "a run without metrics")


def below(path: Path) -> Iterator[tuple[str, Path]]:
    """Name and file; a name with slashes is a path."""
    for file in sorted(path.rglob("*")) if path.is_dir() else []:
        if file.is_file() and file.stat().st_size < 2**28:
            yield file.relative_to(path).as_posix(), file


def text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace").strip()


TREE = Tree("MLflow's mlruns", lambda folder: folder.has("meta.yaml", "metrics"), read)
