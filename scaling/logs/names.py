"""What to call a row: the name that its file gives it, or else its place there.  Never a path of this machine."""

import collections
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scaling.logs.table import Columns, missing
from scaling.logs.vocabulary import plain, rank

MODELS = ("model", "modelname", "label", "checkpoint")  # columns that name a row where no column names a run


def names(table: Columns, where: np.ndarray, rows: np.ndarray | slice = slice(None)) -> list[str]:
    """One for each of `rows`: its run, where a column tells runs apart; several rows of one run add their place.

    `where` [all rows] is as in `Table`: "runs.csv:12", or a run's folder.
    """
    column = naming(table)
    if column is None:
        return [str(place) for place in where[rows]]
    said = lambda values: [f"{column} {v:g}" if isinstance(v, float) else str(v) for v in values.tolist()]
    times = collections.Counter(said(table[column]))
    values = table[column][rows]
    return [
        str(place) if lost or not text.strip() else f"{text} ({place})" if times[text] > 1 else text
        for text, lost, place in zip(said(values), missing(values).tolist(), where[rows].tolist(), strict=True)
    ]


def naming(table: Columns) -> str | None:
    """The column that names runs: one named like a run first, then one of texts named like a model."""
    ranked = sorted((r, name) for name in table if name != "origin" and (r := rank(name, "run")))
    models = [name for name in table if plain(name.lower()) in MODELS and table[name].dtype == object]
    candidates = [name for _, name in ranked] + models
    distinct = {name: len(set(map(str, table[name].tolist()))) for name in candidates}
    telling = [name for name in candidates if distinct[name] > 1]
    return max(telling, key=lambda name: distinct[name], default=None)  # of equals the first


def called(paths: Sequence[Path]) -> list[str]:
    """A short name for each of `paths`: its last part, and as many before it as tell it from the others."""
    parts = [path.absolute().parts for path in paths]
    tail = lambda i, length: "/".join(parts[i][-length:])
    lengths = [1] * len(paths)
    for i in range(len(paths)):
        others = [j for j in range(len(paths)) if parts[j] != parts[i]]
        while lengths[i] < len(parts[i]) and any(tail(i, lengths[i]) == tail(j, lengths[i]) for j in others):
            lengths[i] += 1
    return [tail(i, length).lstrip("/") for i, length in enumerate(lengths)]
