"""Gives each role its column, and keeps the rows that laws are fitted to.  What is left out is listed with why."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from scaling import budgets
from scaling.counting import c_6nd
from scaling.logs import roles, seeds, vocabulary
from scaling.logs.choice import listed, reason, reduced, selected
from scaling.logs.gather import between, checkpoints, gathered, label, like_runs, sizes, take, totals, usable_values
from scaling.logs.roles import check, choose
from scaling.logs.runs import OWN, diverged, same_values, steps
from scaling.logs.table import Columns, Table, missing
from train.errors import UserError, suggest

QUALITIES = ("loss", "added_loss", "error", "bpb", "accuracy")  # what a model is judged by; of accuracy more is better


class Runs(NamedTuple):
    """What laws are fitted to, and where it came from."""

    columns: Columns  # role -> float64 [rows]: the law's inputs and output; c and budget where they are known
    run: np.ndarray  # int64 [rows]: which run, 0 .. runs - 1, a row is a checkpoint of
    table: Columns  # name -> [rows]: all columns of these rows, as they were read
    where: np.ndarray  # [rows] object: as in table.Table
    dropped: list[dict[str, str]]  # {"row": where it was, "reason": why it is not in `columns`}
    mapping: dict[str, str]  # role -> column, or how it was computed
    said: list[str]  # one sentence for each guess
    # Before the best and the last of them were kept:
    tried: Mapping[str, np.ndarray] = MappingProxyType({})  # n, d, lr, loss of all rows; {} where no rate varies
    by_step: Mapping[str, np.ndarray] = MappingProxyType({})  # n, d, loss, run of all rows; {} where runs have one


def assign(
    table: Table,
    *,
    inputs: Sequence[str] = ("n", "d"),
    output: str = "loss",
    given: Mapping[str, str] = MappingProxyType({}),
    count: str | None = None,
    filters: Sequence[str] = (),
    drop_outliers: int = 0,
    last: bool = False,
    best: bool = False,
    keep: Sequence[str] = (),
) -> Runs:
    """Gives each of `inputs`, `output` and the roles in `given` its column, and keeps the rows that have them all.

    `given` maps roles to columns; all else is guessed from names.  `count` restricts n to one of
    `vocabulary.CONVENTIONS`.  `filters` are `COL=VALUE`, `!=`, `<`, `<=`, `>`, `>=`.  `last` keeps the last row of each
    run, `best` the row of least loss among rows of the same inputs (of several learning rates, say): `judge` says by
    what, `drop_outliers` leaves out that many rows of largest output.  c is 6 n d unless `given` names its column;
    where no column is the tokens, d is c / (6 n), and where none is the parameters, n is c / (6 d).

    Rows of a run are brought together first (`curves`).  Copies of rows, and runs that did not end well, are left out,
    and runs that differ in their seed alone are averaged, unless `keep` names them: "copies", "unfinished", "seeds".

    Raises UserError where a role has no column or two that fit equally well, and where no row is left.
    """
    by = judge(inputs, output) if best else output
    asked = list(dict.fromkeys([*inputs, output, by, *given]))
    table = with_factors(table, given)
    check(table.columns, given, count, asked)
    said: list[str] = list(table.said)
    dropped = list(table.dropped)
    before = len(dropped)
    columns, where, run, told = gathered(table, given, filters, keep, said, dropped)
    rows = selected(columns, filters, said)
    columns, where, run = take(columns, rows), where[rows], run[rows]
    try:
        choices, mapping = choose(columns, asked, given, count, said)
    except UserError as error:  # what the readers did not find says more
        raise UserError("; ".join([str(error), *(text for text in table.said if "does not say" in text)])) from None
    values = {role: choice.values for role, choice in choices.items() if role != "run"}
    required = [role for role in asked if role not in ("run", "step")]
    if vocabulary.in_bytes(mapping.get("d", "")):
        tokens(columns, values, mapping, said)
    if mapping.get("n") == "c / (6 d)":
        values["n"] = sizes(values, run)
        del values["c"], mapping["c"]  # 6 n d
        required += ["d", "n"]
    elif mapping.get("d") == "c / (6 n)":
        with np.errstate(all="ignore"):
            values["d"] = values["c"] / (6.0 * values["n"])
        required += ["c", "n"]
    elif "c" in required and "c" not in values:
        required += ["n", "d"]
    step = steps(columns, given)
    good = np.logical_and.reduce([usable_values(role, values[role]) for role in required if role in values])
    if step is not None and "unfinished" not in keep:
        for each in diverged(choices[output].values if output in choices else values[output], run, step).tolist():
            first = int(np.flatnonzero(run == each)[0])
            ended = f"{output} is nan at its end: the run diverged; --keep unfinished keeps it"
            dropped.append({"row": label(columns, where, first), "reason": ended})
            stay = run != each
            columns, values, where, run = take(columns, stay), take(values, stay), where[stay], run[stay]
            choices = {role: c if role == "run" else c._replace(values=c.values[stay]) for role, c in choices.items()}
            good, step = good[stay], step[stay]
    fewer = between(choices, required, good, run, said) if step is not None else np.zeros(good.size, bool)
    bad = np.flatnonzero(~good & ~fewer)
    listed(dropped, where, bad, lambda i: reason(i, required, choices, columns))
    if not good.any():
        said_of = "".join(f"; {text}" for text in table.said if "console log" in text)
        reasons = "; ".join(f"{d['row']}: {d['reason']}" for d in dropped[before:][:3])
        raise UserError(f"none of {len(good)} rows can be fitted ({reasons}); name other columns, see --help{said_of}")
    columns, values, where, run = take(columns, good), take(values, good), where[good], run[good]
    step = None if step is None else step[good]
    if "copies" not in keep:
        stay = ~copied(values, required, run, where, said)
        columns, values, where, run = take(columns, stay), take(values, stay), where[stay], run[stay]
        step = None if step is None else step[stay]
    if "c" in inputs and "c" not in values:
        values["c"], mapping["c"] = c_6nd(values["n"], values["d"]), "6 n d"
    mapping["run"] = told.by
    if not told.told and last:
        raise UserError(
            "--last keeps the last row of each run, and no column tells runs apart; name the one that does with "
            f"--run COL{like_runs(columns)}"
        )
    if told.by == OWN and checkpoints(columns, values):
        said.append("rows look like checkpoints of fewer runs, but each counts as a run; --run COL tells runs apart")
    if (
        not told.told
        and "origin" in columns
        and 1 < (files := len(dict.fromkeys(columns["origin"].tolist()))) < run.size
    ):
        said.append(
            f"each of {run.size} rows counts as a run; where each of the {files} files is one, say --run origin"
        )
    by_step = several_rows(values, run, output)
    ends = totals(columns, values, run, step, inputs, mapping, said)
    columns, values, where, run = take(columns, ends), take(values, ends), where[ends], run[ends]
    if "seeds" not in keep:
        columns, values, where, run = seeds.merged(columns, values, where, run, [*inputs, output], by, said)
    tried = rates(columns, values, output)
    kept, largest = reduced(
        run, values, inputs if best else (), output, by, seeds.settings(columns), drop_outliers, last, said
    )
    what = "losses" if output == "loss" else f"values of {output}"
    listed(dropped, where, largest, lambda i: f"one of the {drop_outliers} largest {what} (--drop-outliers)")
    values = take(values, kept)
    taken = {role: v for role, v in values.items() if role in required or usable_values(role, v).all()}
    compute(taken, given, mapping, said)
    return Runs(
        taken, np.unique(run[kept], return_inverse=True)[1].astype(np.int64), take(columns, kept), where[kept],
        dropped, {role: name for role, name in mapping.items() if role in taken or role == "run"}, said,
        tried, by_step,
    )  # fmt: skip


def several_rows(values: Columns, run: np.ndarray, output: str) -> Columns:
    """n, d, loss and run of rows where runs have several."""
    if output != "loss" or not {"n", "d"} <= values.keys() or np.unique(run).size == run.size:
        return {}
    return {role: values[role] for role in ("n", "d", "loss")} | {"run": run}


def rates(columns: Columns, values: Columns, output: str) -> Columns:
    """n, d, lr and loss of the rows that say them all; {} where they have one rate."""
    known = dict(values)
    if "lr" not in known and (lr := roles.guess(columns, "lr", None, [], wanted=False)) is not None:
        known["lr"] = lr.values
    if output != "loss" or not {"n", "d", "lr"} <= known.keys():
        return {}
    rows = np.logical_and.reduce([usable_values(role, known[role]) for role in ("n", "d", "lr", "loss")])
    found = {role: known[role][rows] for role in ("n", "d", "lr", "loss")}
    if seeds.COUNT in columns:
        found["sd"] = columns[seeds.spread_of(output)][rows]
    return found if np.unique(found["lr"]).size > 1 else {}


def doubts(runs: Runs) -> list[str]:
    """A sentence where N, D or C cannot be what they are taken for: they are in a unit that no header names."""
    if "config_hash" in runs.table and not missing(runs.table["config_hash"]).any():
        return []  # our own runs count themselves
    low = {"n": 1e3, "d": 1.0, "c": 1e6}
    seen = {role: runs.columns[role] for role in low if role in runs.columns and runs.columns[role].size}
    small = [role for role, v in seen.items() if role in runs.mapping and np.median(v) < low[role]]
    if {"n", "d"} <= seen.keys() and np.median(seen["d"] / seen["n"]) < 1e-3:
        small += ["d"]
    if "n" in small and "d" in seen and np.median(seen["d"]) < 1e3:
        small += ["d"]
    small = [role for role in dict.fromkeys(small) if runs.mapping[role] in runs.table]
    if not small:
        return []
    shown = " and ".join(f"{role} {seen[role].min():.4g} to {seen[role].max():.4g}" for role in small)
    what = " and ".join(vocabulary.MEANINGS[role] for role in small)
    units = " ".join(f'{vocabulary.flag(role)} "{runs.mapping[role]}*1e{6 if role == "n" else 9}"' for role in small)
    return [f"{shown} cannot be {what}; where a column is in millions or billions, say so: {units}"]


def with_factors(table: Table, given: Mapping[str, str]) -> Table:
    """With a column for each "COL*1e6" that is given and is none: COL, whose unit its new name says."""
    made: Columns = {}
    for role, name in given.items():
        found = re.fullmatch(r"(.+?)\s*\*\s*\d(?:\.\d*)?e\+?\d+", name, re.IGNORECASE)
        if role in vocabulary.COUNTED and name not in table.columns and found and found[1] in table.columns:
            made[name] = table.columns[found[1]]
    return table._replace(columns=table.columns | made) if made else table


def copied(values: Columns, required: Sequence[str], run: np.ndarray, where: np.ndarray, said: list[str]) -> np.ndarray:
    """bool [rows]: runs of another file with the same numbers, of more than three digits."""
    files = np.array([str(place).rpartition(":")[0] for place in where.tolist()], object)
    read = [values[role] for role in dict.fromkeys(required) if role in values]
    if not read or len(dict.fromkeys(files.tolist())) < 2:
        return np.zeros(run.size, bool)
    again = same_values(np.stack(read), np.unique(run, return_inverse=True)[1].astype(np.int64), files)
    again &= np.any([np.abs(v * 1e3 - np.round(v * 1e3)) > 1e-6 for v in read], axis=0)
    if again.any():
        said.append(
            f"{again.sum()} rows have the same {', '.join(dict.fromkeys(required))} as rows of another file and count "
            f"once ({where[np.flatnonzero(again)[0]]} on); --keep copies keeps them"
        )
    return again


def judge(inputs: Sequence[str], output: str) -> str:
    """The role whose best value `best` keeps: the output where it measures a model, the loss where it is a setting."""
    by = output if output in QUALITIES else "loss"
    if by in inputs:
        raise UserError(f"--best keeps the row of least {by}, and this law reads {by} as an input; leave it out")
    return by


def unread(runs: Runs, given: Mapping[str, str], count: str | None, read: Sequence[str]) -> None:
    """Raises UserError for a column that was named, or a count, where the roles in `read` are all that is read."""
    used = {*read, "c", "budget", "run", "step"}  # FLOPs make budgets, runs and steps tell checkpoints apart
    if {"n", "d"} <= runs.columns.keys():  # so do both together
        used |= {"n", "d"}
    idle = [vocabulary.flag(role) for role in given if role not in used]
    if count is not None and "n" not in used:
        idle.append("--count")
    if idle:
        flags = ", ".join(map(vocabulary.flag, dict.fromkeys(read)))
        raise UserError(f"nothing would read {' or '.join(idle)}: this law takes {flags}; leave it out, or see --law")


def tokens(columns: Columns, values: Columns, mapping: dict[str, str], said: list[str]) -> None:
    """Puts D that counts bytes into the unit of a mean token, where a column counts tokens; c is 6 n tokens.

    Exponents are those of bytes, and 6 n d stays FLOPs: it takes tokens, however many bytes each of them holds.
    """
    known = roles.guess(columns, "d", None, [], wanted=False)
    both = usable_values("d", values["d"]) & usable_values("d", known.values) if known else np.zeros(1, bool)
    if known is None or not both.any():
        said.append(f"d: column {mapping['d']!r} counts bytes and no column tokens, so 6 n d is not FLOPs below")
        return
    each = values["d"][both] / known.values[both]
    mean = float(np.exp(np.log(each).mean()))
    values["d"] = values["d"] / mean
    if "c" not in values and "n" in values:
        values["c"], mapping["c"] = c_6nd(values["n"], known.values), f"6 n {known.name}"
    said.append(
        f"d: column {mapping['d']!r} counts bytes, here in units of {mean:.4g}, the mean token's by column "
        f"{known.name!r} ({each.min():.3g} to {each.max():.3g}), so that 6 n d is FLOPs"
    )


def numbered(runs: Runs, groups: Sequence[str]) -> Runs:
    """The rows with their groups numbered from 1 as `groups` are: a file alone numbers labels as they appear in it."""
    texts = [str(v) for v in runs.table[runs.mapping["group"]].tolist()]
    for text in texts:
        if text not in groups:
            raise UserError(f"group {text!r} is none of those that the law was fitted to{suggest(text, groups)}")
    numbers = np.array([groups.index(text) + 1 for text in texts], np.float64)
    return runs._replace(columns={**runs.columns, "group": numbers})


# Compute.


def compute(columns: Columns, given: Mapping[str, str], mapping: dict[str, str], said: list[str]) -> None:
    """Sets c and budget of `columns` [rows], where something says them."""
    if {"n", "d"} <= columns.keys() and mapping["d"] != "c / (6 n)":
        c = c_6nd(columns["n"], columns["d"])
        if "c" not in given and "c" not in mapping:
            columns["c"], mapping["c"] = c, "6 n d"
        elif np.maximum(ratio := columns["c"] / c, 1 / ratio).max() > 1.2:
            said.append(
                f"c: {mapping['c']!r} is {np.median(ratio):.3g} times 6 n d (median; {ratio.min():.3g} to "
                f"{ratio.max():.3g})"
            )
    if "budget" not in columns and "c" in columns:
        columns["budget"], mapping["budget"] = budgets.group(columns["c"]), "c, neighbours within 20 % sharing one"
