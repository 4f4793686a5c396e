"""The way of a fit, or of a batch, through the code: which files a reader enters who follows it, and how often again.

    python -m scripts.check.walk fit [RUNS.csv] [--law NAME …] [--root CLONE]   arguments of `python -m scaling fit`
    python -m scripts.check.walk batch PAGE [key=value …] [--root CLONE]        the page is a file of that clone

Every function counts where it is first called; lambdas and properties are read where they are used.  A return is a
file that is entered again after it was left.

A batch's way is that of `train.loop.train` over ten steps, through train/ and data/, to the written record.  Three are
told: of the functions that give back what the batch is at that point (the config's data, a batch, its metrics, the
values of a log, the record); of those that are given it too, to check, show or write it; and of every function called.
Of a fit two: of the functions that give back what the rows are at that point (a table, runs, a problem, a fit, draws,
an analysis, figures), and of every function called.

CLONE is another version of the code.  Without RUNS.csv a fit is of 25 runs of Chinchilla's law, five budgets of five
sizes.
"""

import argparse
import ast
import contextlib
import functools
import importlib
import io
import itertools
import math
import os
import pathlib
import random
import sys
import tempfile
import types
from collections.abc import Callable
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
TOOL = sys.monitoring.PROFILER_ID
SHORT = ["steps=10", "log_every=5", "eval.every=5", "checkpoint.every=5", "schedule.warmup=2", "writers=()"]


Counts = Callable[[str, list[Any]], bool]  # of a call: "call" and arguments, or "return" and the result


class Visit(NamedTuple):
    file: str
    functions: list[str]  # that are first called there, in this order


def main(argv: list[str]) -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("what", choices=("fit", "batch"))
    flags.add_argument("--root", type=pathlib.Path, default=ROOT, metavar="CLONE")
    options, rest = flags.parse_known_args(argv)
    root = options.root.absolute()
    sys.path.insert(0, str(root))
    os.chdir(root)
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "fit":
            fit = importlib.import_module("scaling.__main__").main
            given = rest if rest and not rest[0].startswith("-") else [drawn(pathlib.Path(folder)), *rest]
            for title, way in walk(lambda: fit(["fit", *given, "--out", folder]), [root / "scaling"], OF_A_FIT).items():
                show(root, title, way)
            return
        page, *changes = rest
        configs, loop, display = (importlib.import_module(f"train.{name}") for name in ("configs", "loop", "display"))
        config, workdir = configs.config_of(configs.load(page), [*SHORT, *changes]), pathlib.Path(folder)
        # Quiet: run.html is drawn every 30 s, which a slow machine would reach before the record.
        run = functools.partial(loop.train, config, workdir, display.Display(quiet=True))
        ended = (workdir / "record.json").exists
        for title, way in walk(run, [root / "train", root / "data"], OF_A_BATCH, ended).items():
            show(root, title, way)


def drawn(folder: pathlib.Path) -> str:
    """A table of 25 runs whose log losses scatter by .003: 1e17 to 1e19 FLOPs, sizes from a quarter to four times."""
    share = [-2.0, -1.0, 0.0, 1.0, 2.0]
    runs = [(c, 2.0**s * (c / 6.0 / 20.0) ** 0.5) for c in (1e17, 3e17, 1e18, 3e18, 1e19) for s in share]
    noise = random.Random(0)
    loss = lambda n, d: 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28
    rows = [(n, c / 6.0 / n, loss(n, c / 6.0 / n) * math.exp(noise.gauss(0.0, 0.003))) for c, n in runs]
    path = folder / "runs.csv"
    path.write_text("\n".join(["n,d,loss", *(",".join(map(str, row)) for row in rows)]))
    return str(path)


def walk(
    run: Callable[[], Any], folders: list[pathlib.Path], ways: dict[str, Counts], ended: Callable[[], bool] = bool
) -> dict[str, list[Visit]]:
    """Of each of the `ways` the files of `folders` in the order of first calls, until it has `ended`."""
    known: dict[str, dict[types.CodeType, int]] = {title: {} for title in ways}
    began: dict[int, int] = {}
    clock, is_over, inside = itertools.count(), False, tuple(f"{folder}/" for folder in folders)

    def is_done(code: types.CodeType) -> bool:  # what is called from then on costs nothing
        return not code.co_filename.startswith(inside) or all(code in found for found in known.values())

    def entered(code: types.CodeType, _: int) -> Any:
        if is_done(code):
            return sys.monitoring.DISABLE
        frame = sys._getframe(1)
        began[id(frame)] = next(clock)
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        seen("call", code, began[id(frame)], [frame.f_locals.get(name) for name in names])
        return None

    def left(code: types.CodeType, _: int, result: Any) -> Any:
        nonlocal is_over
        if code.co_filename.startswith(inside) and code.co_filename.endswith("train/record.py"):
            is_over = is_over or ended()  # from here on it is closed, drawn and told
        elif is_done(code):
            return sys.monitoring.DISABLE
        seen("return", code, began.get(id(sys._getframe(1)), next(clock)), [result])
        return None

    def seen(event: str, code: types.CodeType, at: int, values: list[Any]) -> None:
        for title, counts in ways.items():
            if not is_over and code not in known[title] and counts(event, values):
                known[title][code] = at

    events = sys.monitoring.events
    sys.monitoring.use_tool_id(TOOL, "walk")
    sys.monitoring.register_callback(TOOL, events.PY_START, entered)
    sys.monitoring.register_callback(TOOL, events.PY_RETURN, left)
    sys.monitoring.set_events(TOOL, events.PY_START | events.PY_RETURN)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            run()
    finally:
        sys.monitoring.set_events(TOOL, 0)
        sys.monitoring.free_tool_id(TOOL)
    return {title: visits(found) for title, found in known.items()}


def visits(known: dict[types.CodeType, int]) -> list[Visit]:
    """Files in the order of the numbers of their functions."""
    way: list[Visit] = []
    for code in sorted(known, key=lambda code: known[code]):
        if code.co_firstlineno in functions(code.co_filename):
            if not way or way[-1].file != code.co_filename:
                way.append(Visit(code.co_filename, []))
            way[-1].functions.append(code.co_name)
    return way


@functools.cache
def functions(file: str) -> set[int]:
    """First lines of the functions of a file that are no properties; none of a template."""
    if not file.endswith(".py"):
        return set()
    nodes = [node for node in ast.walk(ast.parse(pathlib.Path(file).read_text())) if isinstance(node, ast.FunctionDef)]
    plain = [n for n in nodes if not any(isinstance(d, ast.Name) and d.id == "property" for d in n.decorator_list)]
    return {line for n in plain for line in (n.lineno, *(d.lineno for d in n.decorator_list))}


def carries(values: list[Any]) -> bool:
    """Whether one of them is what a batch is on its way from config to record, or holds it."""
    return any(is_it(value) or (isinstance(value, tuple | list) and carries(list(value))) for value in values)


def is_it(value: Any) -> bool:
    if isinstance(value, dict):  # a batch; metrics, which are pairs; values of a log or a record
        loss = value.get("loss")
        is_pair = isinstance(loss, tuple) and not any(isinstance(part, type) for part in loss)
        return hasattr(value.get("x"), "dtype") or is_pair or isinstance(loss, int | float)
    return type(value).__name__ in ("ConfigDict", "Dataset") or (hasattr(value, "gather") and hasattr(value, "__len__"))


def is_of_a_fit(value: Any) -> bool:
    """Whether it is what rows are on their way from a table to a report: a value of a class of scaling/, or several."""
    if type(value) in (list, tuple, dict):
        return any(is_of_a_fit(part) for part in (value.values() if isinstance(value, dict) else value))
    return type(value).__module__.startswith("scaling.") and type(value).__name__ not in ASKED


ASKED = ("Law", "Param", "Power", "Question", "Choice", "Module")  # by the reader, whatever the rows
OF_A_FIT: dict[str, Counts] = {
    "what rows become": lambda event, values: event == "return" and is_of_a_fit(values[0]),
    "every call": lambda event, values: True,
}
OF_A_BATCH: dict[str, Counts] = {
    "what a batch becomes": lambda event, values: event == "return" and carries(values),
    "who sees it": lambda event, values: carries(values),
    "every call": lambda event, values: True,
}


def show(root: pathlib.Path, title: str, way: list[Visit]) -> None:
    files = len({visit.file for visit in way})
    print(f"{title}: {files} files entered, {len(way) - files} returns")
    for visit in way:
        print(f"  {visit.file.removeprefix(f'{root}/'):<30}{' '.join(visit.functions)}")


if __name__ == "__main__":
    main(sys.argv[1:])
