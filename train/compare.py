"""Runs beside each other, the lowest held-out loss first: what they cost, what they reached, how their configs differ.

    python -m train compare runs/*                       a table
    python -m train compare runs/* --out compare.html    and their curves over steps, tokens, FLOPs and seconds
    python -m train compare runs/* --json                the rows, for programs
    python -m train compare runs/sweep                   the runs of a sweep

A run that is not finished is shown as far as it got.
"""

import json
import math
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from train import history, record
from train.cli import folder, parser
from train.errors import UserError
from train.files import Damaged, write_whole
from train.history import History, known, plain, scores
from train.numbers import digits, seconds, si
from train.optim.chain import peak_rate

METRICS = 3  # of the task that are shown beside the loss
MISSING = "–"  # a key that the run's config lacks
Cells = dict[str, str]  # heading → text


class Row(NamedTuple):
    """One run.  None is not known: a run that is not finished has no count of parameters."""

    run: str
    folder: str
    finished: bool
    step: int
    steps: int
    params: int | None
    unit: str
    seen: int | None  # tokens or examples
    lr: float | None  # the peak
    loss: float | None  # held out, the last
    metrics: dict[str, float | None]  # held out, the last
    seconds: float | None
    differs: dict[str, Any]  # key of the config → this run's value


def main(argv: list[str]) -> None:
    flags = parser("python -m train compare", __doc__ or "")
    flags.add_argument("folders", metavar="DIR", nargs="+", help="work folders")
    flags.add_argument("--out", metavar="FILE.html", help="write table and curves as one page")
    flags.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = flags.parse(argv)
    if options.overrides:
        raise UserError(f"--config.{options.overrides[0]}: the configs are those of the runs")
    out = None if options.out is None else folder("--out", options.out)
    if out is not None and (out.suffix != ".html" or out.is_dir()):
        raise UserError(f"--out {out} is no page; name a file that ends in .html")
    runs = read([folder("DIR", each) for each in options.folders], lambda line: print(line, file=sys.stderr))
    found = rows(runs)
    if out is not None:
        write(out, runs, found)
    if options.json:
        print(json.dumps([row._asdict() for row in found], indent=1, allow_nan=False))
    else:
        print(*filter(None, [text(found), note(found), f"curves in {out}" if out else ""]), sep="\n")


def read(folders: Iterable[pathlib.Path], say: Callable[[str], None]) -> list[History]:
    """The runs, the lowest held-out loss first and those without one last; says which folders hold none.

    The folder of a sweep stands for its runs.
    """
    runs, without = [], []
    once: dict[pathlib.Path, pathlib.Path] = {}
    for each in (path for given in folders for path in members(given)):
        once.setdefault(each.resolve(), each)
    for each in once.values():
        try:
            runs.append(history.read(each))
        except (FileNotFoundError, NotADirectoryError):
            without.append(str(each))
        except Damaged as damage:
            say(f"{damage}; {each} is left out")
    told = f"no run is in {', '.join(without)}"
    if not runs:
        raise UserError(f"{told if without else 'nothing is left to compare'}; name work folders, such as runs/*")
    if without:
        say(told)
    ranks = {id(run): math.inf if (loss := scores(run).get("loss")) is None else loss for run in runs}
    return sorted(runs, key=lambda run: ranks[id(run)])


def members(folder: pathlib.Path) -> list[pathlib.Path]:
    sweep = (folder / "runs").is_dir() and not (folder / "config.json").exists()
    return sorted((folder / "runs").iterdir()) if sweep else [folder]


def rows(runs: Sequence[History]) -> list[Row]:
    names, differing = called(runs), differences([record.flatten(run.config) for run in runs])
    return [row(run, name, differs) for run, name, differs in zip(runs, names, differing, strict=True)]


def row(run: History, name: str, differs: dict[str, Any]) -> Row:
    last = run.record or {}
    steps = history.series(run, "train", f"{run.unit}s")
    trained = history.seconds_at(run, steps[0])
    values = scores(run)
    return Row(
        run=name,
        folder=str(run.folder),
        finished=run.record is not None,
        step=run.step,
        steps=run.config["steps"],
        params=last.get("params_total"),
        unit=run.unit,
        seen=last["tokens_seen"] if last else int(steps[1][-1]) if steps[1].size else None,
        lr=known(peak_rate(run.config["optim"])),
        loss=values.pop("loss", None),
        metrics=dict(list(values.items())[:METRICS]),
        seconds=last["wall_seconds"] if last else known(trained[-1]) if trained.size else None,
        differs=differs,
    )


def called(runs: Sequence[History]) -> list[str]:
    """The folders' names, or their whole paths where two have one name."""
    names = [run.name for run in runs]
    return [name if names.count(name) == 1 else str(run.folder) for run, name in zip(runs, names, strict=True)]


def differences(configs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each flat config the keys whose values are not the same in all, in the order of the configs."""
    keys = dict.fromkeys(key for config in configs for key in config)
    value = lambda config, key: config.get(key, MISSING)
    differing = [key for key in keys if any(value(config, key) != value(configs[0], key) for config in configs)]
    return [{key: value(config, key) for key in differing} for config in configs]


def note(found: Sequence[Row]) -> str:
    """A warning where losses may be of different things."""
    keys = [key for key in found[0].differs if key.startswith("data.") or key == "task.name"]
    return f"their data or tasks differ ({', '.join(keys)}), so that their losses may not compare" if keys else ""


def cells(row: Row) -> Cells:
    """What is shown of a run, without its config."""
    whole = lambda value: MISSING if value is None else si(value)
    return {
        "run": row.run + ("" if row.finished else f" (step {row.step:,} of {row.steps:,})"),
        "parameters": whole(row.params),
        "seen": f"{whole(row.seen)} {row.unit}s" if row.seen else MISSING,
        "peak rate": digits(row.lr),
        "loss": digits(row.loss, 4),
        **{name: digits(value, 4) for name, value in row.metrics.items()},
        "time": seconds(row.seconds),
    }


def shown(row: Row) -> Cells:
    return {key: plain(value) for key, value in row.differs.items()}


def table(found: Sequence[Row]) -> list[Cells]:
    """Every row with every heading, the time after all metrics."""
    made = [cells(row) for row in found]
    heads = dict.fromkeys(head for row in made for head in row if head != "time")
    return [{head: row.get(head, MISSING) for head in (*heads, "time")} for row in made]


def text(found: Sequence[Row]) -> str:
    """For the terminal: a column for each key that differs; without room for them, what differs from the first run."""
    lines, differ = table(found), [shown(row) for row in found]
    wide = aligned([line | keys for line, keys in zip(lines, differ, strict=True)])
    if max(map(len, wide)) <= shutil.get_terminal_size((120, 24)).columns:
        return "\n".join(wide)
    first = dict.fromkeys(differ[0], MISSING)
    for line, keys in zip(lines, differ, strict=True):
        apart = [f"{key}={value}" for key, value in keys.items() if value != first[key]]
        line["config (below: what differs from it)"] = " ".join(apart)
        first = differ[0]
    return "\n".join(aligned(lines))


def aligned(lines: Sequence[Cells]) -> list[str]:
    """What stands after the time to the left, as the names; numbers to the right."""
    heads = list(lines[0])
    left = {"run", *heads[heads.index("time") + 1 :]}
    widths = {head: max(len(head), *(len(line[head]) for line in lines)) for head in heads}
    put = lambda text, head: f"{text:<{widths[head]}}" if head in left else f"{text:>{widths[head]}}"
    every = [{head: head for head in heads}, *lines]
    return ["  ".join(put(line[head], head) for head in heads).rstrip() for line in every]


def write(out: pathlib.Path, runs: Sequence[History], found: Sequence[Row]) -> None:
    """One self-contained page: the curves, and the table, whose colours are those of the curves."""
    from train import charts, pages, record

    colours = charts.ramp(len(runs))
    try:
        record.make_folder(out.parent)
        write_whole(out, pages.render(
            "compare.html.jinja",
            title=f"{len(runs)} runs",
            figures=figures(runs, colours),
            rows=list(zip(colours, table(found), [shown(row) for row in found], strict=True)),
            note=note(found),
        ))  # fmt: skip
    except OSError as error:
        raise UserError(f"--out {out} cannot be written ({error.strerror}); choose another") from None


def figures(runs: Sequence[History], colours: Sequence[str]) -> list[str]:
    """SVGs to inline: held-out loss over steps, tokens, FLOPs and seconds, then the training loss over steps.

    Where no run was scored twice, the training loss takes the place of the held-out one.
    """
    from train import charts

    units = {run.unit for run in runs} - {""}
    axes: dict[str, Callable[[History, Any], Any]] = {
        "step": lambda run, steps: steps,
        f"{units.pop() if len(units) == 1 else 'unit'}s": lambda run, steps: steps * history.units_per_step(run),
        "seconds of training": history.seconds_at,
        "FLOPs": lambda run, steps: steps * history.flops_per_step(run),
    }
    scored = any(history.series(run, "valid", "loss")[0].size > 1 for run in runs)
    wanted = [("valid" if scored else "train", name) for name in axes] + [("train", "step")] * scored
    drawn = []
    for split, name in wanted:
        losses = [history.series(run, split, "loss") for run in runs]
        lines = [
            charts.Line(axes[name](run, steps), values, colour, dots=split == "valid")
            for run, (steps, values), colour in zip(runs, losses, colours, strict=True)
        ]
        words = "held-out loss" if split == "valid" else "training loss"
        drawn.append(charts.curves(name, words, lines, log=True, logx=name == "FLOPs"))
    return [charts.svg(figure, f"curve{i}") for i, figure in enumerate(drawn)]
