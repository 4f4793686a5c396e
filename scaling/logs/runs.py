"""Which run a row is of, which rows are copies, and which runs have not ended well.

R rows.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scaling.logs.cells import measured
from scaling.logs.roles import fitting, guess
from scaling.logs.table import Columns, absent, missing
from scaling.logs.vocabulary import plain, rank, ranked

OWN = "all rows are runs of their own"
UNFINISHED = frozenset((
    "crashed", "crash", "failed", "failure", "fail", "running", "killed", "diverged", "pending", "preempted",
    "preempting", "error", "errored", "aborted", "cancelled", "canceled", "interrupted", "timeout", "timedout",
    "oom", "outofmemory", "scheduled", "queued", "incomplete", "unfinished",
))  # fmt: skip
# Normalised names of columns that a run measures again at each step.
VARIES = re.compile(
    r"loss|error|acc|perplexity|ppl|bpb|nll|xent|crossentropy|grad|norm$|^ce$|time|seconds|persec|memory"
)
STATES = ("state", "status", "runstate", "runstatus", "trialstatus", "jobstatus")


class Labels(NamedTuple):
    """Rows by their run."""

    run: np.ndarray  # int64 [R], from 0
    by: str  # the column that says so, or OWN
    told: bool  # whether anything tells runs apart: also a column in which every row differs
    said: list[str]


def labels(columns: Columns, given: Mapping[str, str], step: np.ndarray | None) -> Labels:
    """The run of each row: by the column that `given` names, or the best that is named like a run and can be one.

    A run has one size.  A column in which every row differs names rows, each a run.  The file of a row is its run where
    steps go on in it and no column says otherwise.
    """
    if "run" in given:
        return Labels(codes(columns[given["run"]]), given["run"], True, [])
    own = np.arange(len(next(iter(columns.values()), ())))
    # A record of ours is a run, whatever its name.
    foreign = missing(columns["config_hash"]) if "config_hash" in columns else np.ones(own.size, bool)
    if not foreign.any():
        return Labels(own, OWN, True, [])
    size = guess(columns, "n", None, [], wanted=False)
    every_row = False
    for name, values in candidates(columns):
        found = codes(values)
        groups = int(found.max()) + 1 if found.size else 0
        if groups == own.size:
            every_row |= not absent(values).any()
            continue
        if not one_size(found, None if size is None else size.values):
            continue
        if name == "origin" and (every_row or step is None or not goes_on(found, step)):
            continue
        said = [f"run: column {name!r}, {groups} runs of {own.size} rows (guessed; --run COL names another)"]
        if " or " in name and name not in columns:
            said.append(in_both(columns, name.split(" or "), values))
        return Labels(np.where(foreign, found, groups + own), name, True, said)
    return Labels(own, OWN, every_row or not foreign.all(), [])


def candidates(columns: Columns) -> list[tuple[str, np.ndarray]]:
    """Columns named like a run, best first; where logs name it differently, what each of them says comes before."""
    names = ranked(columns, "run")
    found = [(name, columns[name]) for name in names]
    if (folders := of_folders(columns)) is not None:
        found.insert(len(found) - 1, ("origin", folders))
    named = [name for name in names if name != "origin"]
    whole, used = together([columns[name] for name in named])
    if len(used) > 1:
        found.insert(0, (" or ".join(named[i] for i in used), whole))
    return found


def of_folders(columns: Columns) -> np.ndarray | None:
    """The folder of each row [R], where each folder has files of the same names and no two of them measure the same.

    A run that is written to train.csv and eval.csv.
    """
    if "origin" not in columns or columns["origin"].dtype != object or missing(columns["origin"]).any():
        return None
    pairs = [str(origin).rpartition("/")[::2] for origin in columns["origin"].tolist()]
    folders, files = np.array([folder for folder, _ in pairs], object), np.array([file for _, file in pairs], object)
    inside: dict[str, set[str]] = {}
    for folder, file in dict.fromkeys(pairs):
        inside.setdefault(folder, set()).add(file)
    kinds = next(iter(inside.values()), set())
    if len(kinds) < 2 or any(other != kinds for other in inside.values()):
        return None
    for name, values in columns.items():
        there = ~absent(values) if VARIES.search(plain(name.lower())) else np.zeros(len(files), bool)
        if len(dict.fromkeys(files[there].tolist())) > 1:
            return None
    return folders


def in_both(columns: Columns, names: list[str], values: np.ndarray) -> str:
    """How many runs logs of different names for them have in common."""
    seen = [dict.fromkeys(str(v) for v in values[~missing(columns[name])].tolist()) for name in names]
    both = [label for label in seen[0] if any(label in other for other in seen[1:])]
    if both:
        return f"logs are joined by run name: {len(both)} runs are in columns {' and '.join(map(repr, names))}"
    return (
        f"logs are not joined: no run of column {names[0]!r} ({next(iter(seen[0]), '')!r}, …) is named in "
        f"{' or '.join(map(repr, names[1:]))} ({next(iter(seen[1]), '')!r}, …)"
    )


def together(parts: list[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """What columns that are never filled in one row say together, and which of them have a part in it."""
    if not parts:
        return np.empty(0), []
    whole, used = parts[0].astype(object), [0]
    there = ~missing(parts[0])
    for i, values in enumerate(parts[1:], 1):
        more = ~missing(values)
        if more.any() and not (more & there).any():
            whole[more] = values[more]
            used.append(i)
            there |= more
    return whole, used


def steps(columns: Columns, given: Mapping[str, str]) -> np.ndarray | None:
    """float64 [R]: the place of a row in its run, NaN where it says none; None where nothing does."""
    if "step" in given:
        return measured(columns[given["step"]])
    found = guess(columns, "step", None, [], wanted=False)
    if found is not None:
        best = found.values
    else:
        fits = fitting(columns, "step")
        whole, used = together([fit.values for fit in fits])
        if len(used) < max(2, len(fits)):
            return None
        best = whole.astype(np.float64)
    return best if np.isfinite(best).any() else None


def one_size(run: np.ndarray, sizes: np.ndarray | None) -> bool:
    """Whether no run has two sizes; rows that say none are of any."""
    if sizes is None:
        return True
    known = np.isfinite(sizes)
    pairs = np.unique(np.stack([run[known].astype(np.float64), sizes[known]]), axis=1).shape[1]
    return pairs == np.unique(run[known]).size


def goes_on(run: np.ndarray, step: np.ndarray) -> bool:
    """Whether runs of several rows are curves: more than one step in each."""
    known = np.isfinite(step)
    several = np.bincount(run) > 1
    pairs = np.unique(np.stack([run[known].astype(np.float64), step[known]]), axis=1)[0].astype(np.int64)
    distinct = np.bincount(pairs, minlength=several.size)
    return bool((distinct[several] > 1).all() and several.any())


def codes(values: np.ndarray) -> np.ndarray:
    """int64 [R]: equal where the values are; what is missing is equal to nothing."""
    if values.dtype == np.float64:
        first, each = np.unique(values, return_index=True, return_inverse=True, equal_nan=False)[1:]
        order = np.empty(first.size, np.int64)
        order[np.argsort(first)] = np.arange(first.size)  # as they appear
        return order[each]
    seen: dict[Any, int] = {}
    key = lambda i, v: ("", i) if v is None or v != v else v
    return np.array([seen.setdefault(key(i, v), len(seen)) for i, v in enumerate(values.tolist())], np.int64)


# Copies.


def copies(columns: Columns, run: np.ndarray) -> np.ndarray:
    """bool [R]: rows that say again, in every column, what one before said: of the same run, or as a run of one row.

    Runs of several rows are copies as a whole.  The file that a row is in does not count, nor the name of such a run:
    its folder was copied.
    """
    row = fingerprints({name: v for name, v in columns.items() if name != "origin"})
    sizes = np.bincount(run)
    single = sizes[run] == 1
    with np.errstate(over="ignore"):
        row = np.where(single, row, row + (run + 1).astype(np.uint64) * np.uint64(0xD6E8_FEB8_6659_FD93))
    again = repeated(row)
    if not single.all():
        inner = fingerprints({name: v for name, v in columns.items() if not rank(name, "run")})
        whole = np.zeros(sizes.size, np.uint64)
        with np.errstate(over="ignore"):
            np.add.at(whole, run, inner * (inner | np.uint64(1)) + np.uint64(0x9E37_79B9_7F4A_7C15))
        several = np.flatnonzero(sizes > 1)
        same = np.zeros(sizes.size, bool)
        same[several] = repeated(whole[several])
        again |= same[run]
    return again


def same_values(values: np.ndarray, run: np.ndarray, file: np.ndarray) -> np.ndarray:
    """bool [R]: rows of runs that say in every row what runs of another file say, in `values` [roles, R].

    A table and its older copy need not have the same columns.
    """
    row = fingerprints({str(i): v for i, v in enumerate(values)})
    sizes = np.bincount(run)
    whole = np.zeros(sizes.size, np.uint64)
    with np.errstate(over="ignore"):
        np.add.at(whole, run, row * (row | np.uint64(1)))
    first = np.unique(run, return_index=True)[1]
    out = np.zeros(sizes.size, bool)
    order = np.argsort(whole, kind="stable")
    for a, b in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
        out[b] = whole[a] == whole[b] and sizes[a] == sizes[b] and (out[a] or file[first[a]] != file[first[b]])
    return out[run]


def fingerprints(columns: Columns) -> np.ndarray:
    """uint64 [R]: equal where all columns are."""
    size = len(next(iter(columns.values()), ()))
    out = np.zeros(size, np.uint64)
    with np.errstate(over="ignore"):
        for i, name in enumerate(sorted(columns)):
            values = columns[name]
            if values.dtype == np.float64:
                bits = np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)
            else:
                bits = np.array([hash(v) for v in values.tolist()], np.int64).view(np.uint64)
            mixed = (bits ^ (bits >> np.uint64(31))) * np.uint64(0xBF58_476D_1CE4_E5B9 + 2 * i)
            out = (out ^ (out >> np.uint64(29))) * np.uint64(0x94D0_49BB_1331_11EB) + (mixed ^ (mixed >> np.uint64(32)))
    return out


def repeated(keys: np.ndarray) -> np.ndarray:
    """bool [keys]: whether an earlier one is equal."""
    again = np.ones(keys.size, bool)
    again[np.unique(keys, return_index=True)[1]] = False
    return again


# How runs ended.


def unfinished(columns: Columns, run: np.ndarray) -> dict[int, str]:
    """run -> why it is not to be trusted: "State is 'crashed'"."""
    out: dict[int, str] = {}
    for name, values in columns.items():
        if plain(name.lower().rpartition(".")[2]) not in STATES or values.dtype != object:
            continue
        for i, value in enumerate(values.tolist()):
            if isinstance(value, str) and re.sub(r"[\W_]", "", value.lower()) in UNFINISHED:
                out.setdefault(int(run[i]), f"{name} is {value!r}")
    return out


def diverged(values: np.ndarray, run: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Runs whose last values [R] were written down as NaN or infinity, after finite ones.

    A loss that is NaN between finite ones was not measured there.
    """
    said = ~absent(values) & np.isfinite(step)
    good = np.isfinite(values) & np.isfinite(step)
    runs = int(run.max()) + 1 if run.size else 0
    last_good, last_said = np.full(runs, -np.inf), np.full(runs, -np.inf)
    np.maximum.at(last_good, run[good], step[good])
    np.maximum.at(last_said, run[said], step[said])
    between = np.zeros(runs, bool)  # NaN before the last finite one: the log's word for not measured
    early = said & ~good & (step < last_good[run])
    between[run[early]] = True
    return np.flatnonzero((last_said > last_good) & np.isfinite(last_good) & ~between)
