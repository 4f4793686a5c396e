"""Weights in: `config.init` replaces what was drawn by those of a run or of a public checkpoint, before step 0.

    config.init = {"from": "runs/base"}  # a run of this project, or a public checkpoint: config.json + safetensors
    config.init = {"from": "folder", "match": "^stack/", "missing": "leave"}
    config.init = {"one": {"from": "runs/a", "match": "^hidden_0/"}, "two": {"from": "runs/b", "match": "^hidden_1/"}}

What `match` (a regular expression, looked for anywhere in a parameter's path) picks is taken; the rest stays as drawn.
Running averages of norms ("…/batch_stats/…") count as parameters here.  `init.json` keeps what was done.  A run that
goes on from a checkpoint of its own reads nothing again.
"""

import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from train import paths
from train.checkpoint import checksum
from train.devices import hosts, mesh
from train.errors import UserError, suggest
from train.experiment import Experiment
from train.files import read_json, write_json
from train.schema import INIT, check_choice
from train.weights import Arrays, Source, parameters, source_of

FILE = "init.json"
What = Literal["taken", "reshaped", "left"]
NEEDS = {"sources": list, "parameters": list, "checksum": str}
AGAIN = "use another --workdir, or remove the file"


class Row(NamedTuple):
    """What becomes of one parameter."""

    name: str
    shape: tuple[int, ...]
    what: What
    source: str = ""  # the section of the config that speaks of it
    theirs: str = ""  # its name there
    why: str = ""


class Plan(NamedTuple):
    """What will be taken from where; every check is made, and no number is read."""

    sources: dict[str, Source]  # by the section of the config
    rows: list[Row]
    unused: dict[str, list[str]]  # what a source has beside


def sections(config: ConfigDict) -> dict[str, dict[str, Any]]:
    """{"init": options}, or one for each section in it; {} where nothing is asked for."""
    asked = config.init.to_dict()
    parts = {k: v for k, v in asked.items() if isinstance(v, Mapping)}
    if parts and len(parts) < len(asked):
        raise UserError(
            f"config.init has {', '.join(sorted(set(asked) - set(parts)))} beside the sections {', '.join(parts)}; "
            "write one source (config.init.from), or only sections with a source each"
        )
    found = {f"init.{name}": part for name, part in parts.items()} if parts else {"init": asked}
    found = {key: {k: v for k, v in part.items() if v is not None} for key, part in found.items()}
    for key, part in found.items():
        check(key, part)
    return {key: part for key, part in found.items() if part}


def check(key: str, part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if name not in INIT:
            raise UserError(f"config.{key}.{name}: there is no such option{suggest(name, INIT)}")
        check_choice(f"config.{key}.{name}", value, INIT[name])
        if name in ("from", "match") and not isinstance(value, str):
            raise UserError(f"config.{key}.{name}={value!r} is no text; write a path, or a regular expression")
    if part and "from" not in part:
        raise UserError(f"config.{key} has no source; set config.{key}.from to a run's folder or a public checkpoint")
    step = part.get("step", "last")
    if step not in ("last", "best") and type(step) is not int:
        raise UserError(f"config.{key}.step={step!r}; it takes last, best, or the number of a step")
    pairs = part.get("rename", ())
    is_pair = lambda pair: isinstance(pair, list | tuple) and [type(x) for x in pair] == [str, str]
    if not isinstance(pairs, list | tuple) or not all(map(is_pair, pairs)):
        raise UserError(
            f"config.{key}.rename={pairs!r}; it takes pairs of a pattern and what replaces it, such as "
            "(('^body/', 'stack/'),): names here become names there"
        )


def plan(experiment: Experiment, workdir: pathlib.Path) -> Plan | None:
    """What `config.init` asks for; None where it asks for nothing.  Every mistake is a sentence."""
    asked = sections(experiment.config)
    if not asked:
        return None
    here = parameters(experiment)
    sources = {key: source_of(key, part, experiment, workdir) for key, part in asked.items()}
    rows: dict[str, Row] = {}
    unused = {}
    for key, part in asked.items():
        picked = matched(key, part, here)
        both = [name for name in picked if name in rows]
        if both:
            raise UserError(
                f"config.{rows[both[0]].source} and config.{key} both give {paths.listed(both)}; change match of one"
            )
        rows |= {row.name: row for row in decided(key, part, sources[key], {name: here[name] for name in picked})}
        taken = [row.theirs for row in rows.values() if row.source == key and row.what != "left"]
        used = {name for theirs in taken for name in sources[key].origins[theirs].names}
        unused[key] = [name for name in sources[key].shapes if name not in used]
    left = "no match picks it"
    return Plan(sources, [rows.get(name, Row(name, shape, "left", why=left)) for name, shape in here.items()], unused)


def matched(key: str, part: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    text = part.get("match", "")
    wanted = paths.pattern(f"config.{key}.match", text)
    picked = [name for name in here if wanted.search(name)]
    if not picked:
        raise UserError(f"config.{key}.match={text!r} matches no parameter; they are {paths.listed(here, 30)}")
    return picked


def decided(key: str, part: Mapping[str, Any], source: Source, picked: Mapping[str, tuple[int, ...]]) -> Iterator[Row]:
    """A row for every parameter that is picked; refuses what is missing or misshapen without permission."""
    missing, misshapen = {}, {}
    for name, shape in picked.items():
        theirs = renamed(key, part, name)
        origin = source.origins.get(theirs)
        there = origin and origin.shape
        if origin is None or there is None:
            missing[name] = theirs
            yield Row(name, shape, "left", key, theirs, "the source has none")
        elif there == shape:
            yield Row(name, shape, "taken", key, theirs, origin.why)
        elif part.get("misshapen") == "reshape" and np.prod(there) == np.prod(shape):
            yield Row(name, shape, "reshaped", key, theirs, f"from {list(there)}")
        else:
            misshapen[name] = f"{name} is {list(there)} there and {list(shape)} here"
            yield Row(name, shape, "left", key, theirs, f"there it is {list(there)}")
    if missing and part.get("missing") != "leave":
        unused = [name for name in source.shapes if name not in {renamed(key, part, n) for n in picked}]
        has = f"; it has {paths.listed(unused)} beside what is taken" if unused else ""
        raise UserError(
            f"config.{key}: {source.said} has no {paths.listed(missing.values())}{has}. Leave them as drawn with "
            f"--config.{key}.missing=leave, pick others with --config.{key}.match=REGEX, or set config.{key}.rename"
        )
    if misshapen and part.get("misshapen") != "leave":
        raise UserError(
            f"config.{key}: of {source.said} {', '.join(list(misshapen.values())[:4])}"
            + (f" and {len(misshapen) - 4} more differ" if len(misshapen) > 4 else "")
            + f". Leave them as drawn with --config.{key}.misshapen=leave, give as many numbers another shape with "
            f"--config.{key}.misshapen=reshape, or change the sizes of config.model"
        )


def renamed(key: str, part: Mapping[str, Any], name: str) -> str:
    """The name there of a parameter here."""
    for pattern, replacement in part.get("rename", ()):
        try:
            name = re.sub(pattern, replacement, name)
        except (re.error, IndexError) as error:
            raise UserError(f"config.{key}.rename: {pattern!r} to {replacement!r} cannot be done ({error})") from None
    return name


def given(planned: Plan, experiment: Experiment, devices: Mesh, workdir: pathlib.Path) -> tuple[Arrays, str]:
    """The arrays that replace drawn ones, by name, and the table of what was taken and left; keeps both on record.

    A run that was killed before its first checkpoint reads the source again, which must hold the same numbers.
    """
    spread = mesh.shardings(devices, experiment.state, experiment.axes)
    where = {**paths.leaves(spread.model_state), **paths.leaves(spread.params)}
    arrays: Arrays = {}
    said = {}
    for key, source in planned.sources.items():
        rows = [row for row in planned.rows if row.source == key and row.what != "left"]
        wanted = {row.name: (source.origins[row.theirs], row.shape) for row in rows}
        read, at = source.read(wanted, where, devices)
        arrays |= read
        said[key] = f"{source.said}{f', {at}' if at else ''}"
    keep(planned, said, checksum(dict(sorted(arrays.items()))), workdir)
    return arrays, table(planned, said)


def keep(planned: Plan, said: Mapping[str, str], digest: str, workdir: pathlib.Path) -> None:
    path = workdir / FILE
    wrong = ""
    if hosts.first():
        try:
            if read_json(path, NEEDS, AGAIN)["checksum"] != digest:
                wrong = f"{', '.join(said.values())} changed since {workdir} began with it; use another --workdir"
        except FileNotFoundError:
            sources = [{"section": key, "from": text, "unused": planned.unused[key]} for key, text in said.items()]
            write_json(
                path, {"sources": sources, "parameters": [row._asdict() for row in planned.rows], "checksum": digest}
            )
    if wrong := hosts.all_told(wrong):
        raise UserError(wrong)


def table(planned: Plan, said: Mapping[str, str]) -> str:
    """For the terminal.  Parameters that differ in a number of their path, and share their fate, share a row."""
    lines = []
    for key, text in said.items():
        rows = [row for row in planned.rows if row.source == key and row.what != "left"]
        numbers = sum(int(np.prod(row.shape)) for row in rows)
        beside = f"; it also has {paths.listed(planned.unused[key])}" if planned.unused[key] else ""
        lines.append(f"  {key:<9} {text}: {len(rows)} arrays of {numbers:,} numbers{beside}")
    fates: dict[tuple[Any, ...], list[str]] = {}
    for row in planned.rows:
        fates.setdefault((row.shape, row.what, row.source, row.why), []).append(row.name)
    cells = [("parameter", "", "shape", "")]
    for (shape, what, source, why), names in fates.items():
        of = f" ({source})" if len(said) > 1 and source else ""
        for name, some in paths.alike(names).items():
            count = f"{len(some)} ×" if len(some) > 1 else ""
            cells.append((name, count, str(list(shape)), f"{what}{of}{f': {why}' if why else ''}"))
    order = {name: i for i, name in enumerate(paths.alike(row.name for row in planned.rows))}
    cells[1:] = sorted(cells[1:], key=lambda cell: order.get(cell[0], 0))
    widths = [max(len(cell[i]) for cell in cells) for i in range(3)]
    lines += [f"  {a:<{widths[0]}}  {b:>{widths[1]}} {c:<{widths[2]}}  {d}".rstrip() for a, b, c, d in cells]
    return "\n".join(lines)
