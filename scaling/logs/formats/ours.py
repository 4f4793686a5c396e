"""Folders of this project's own runs and sweeps.  A run's folder is its record: its logs are how that came about."""

import json
from collections.abc import Iterator

from scaling.logs.formats import Below, Folder, Tree, contents, open_file
from scaling.logs.formats.jsons import json_values, of_rows
from scaling.logs.table import Log, Refusal

UNFINISHED = "no record.json: the run has not finished"
WRITTEN_BY_A_FIT = {"fit.json", "rows.jsonl"}


def read(folder: Folder) -> Iterator[Log | Refusal | Below]:
    path = folder.path
    if folder.has("record.json"):
        file = open_file(path / "record.json")
        yield from of_rows(((str(path), row) for _, row in json_values(str(path), contents(file))), str(path))
    elif folder.has("config.json", "environment.json") or ({*folder.files} == {"config.json"} and not folder.folders):
        yield Refusal(str(path), UNFINISHED)
    else:
        skipped = {"plan.json", "environment.json"} | (WRITTEN_BY_A_FIT if folder.has(*WRITTEN_BY_A_FIT) else set())
        for name in (*folder.files, *folder.folders):
            if name not in skipped:
                yield Below(path / name)
        yield from unplanned(folder)


def unplanned(folder: Folder) -> Iterator[Refusal]:
    """Runs of a sweep's folder that its plan no longer names."""
    if not folder.has("plan.json", "runs"):
        return
    try:
        plan = json.loads((folder.path / "plan.json").read_bytes())
        named = {job["name"] for job in plan["jobs"]}
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return
    runs = sorted(p.name for p in (folder.path / "runs").iterdir() if (p / "record.json").is_file())
    if named and (others := [name for name in runs if name not in named]):
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        yield Refusal("", f"{len(others)} of the {len(runs)} runs of this sweep are not in its plan.json: {shown}")


def fits(folder: Folder) -> bool:
    return (
        folder.has("record.json")
        or folder.has("config.json", "environment.json")
        or ({*folder.files} == {"config.json"} and not folder.folders)
        or folder.has("plan.json", "runs")
        or folder.has(*WRITTEN_BY_A_FIT)
    )


TREE = Tree("folders of runs and sweeps (record.json, runs.jsonl)", fits, read)
