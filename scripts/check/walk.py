"""The way of a fit, or of a batch, through the code: which files a reader enters who follows it, and how often again.

    python -m scripts.check.walk fit RUNS.csv [--law NAME …]               arguments of `python -m scaling fit`
    python -m scripts.check.walk batch PAGE [key=value …] [--root CLONE]   the page is a file of that clone

Every function counts where it is first called; lambdas and properties are read where they are used.  A return is a
file that is entered again after it was left.

A batch's way is that of `train.loop.train` over ten steps.  On it are those functions of train/ and data/ that are
given, or give back, what the batch is at that point: the config, the data, the batch, its metrics, the values of a log,
the record.  Then every function of the two folders counts that the run calls.  CLONE is another version of the code.
"""

import argparse
import ast
import collections
import functools
import importlib
import itertools
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
SHORT = ["steps=10", "log_every=5", "eval.every=5", "checkpoint.every=5", "writers=('csv',)"]


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
            show(root, "a fit", walk(lambda: fit(["fit", *rest, "--out", folder]), [root / "scaling"]))
            return
        page, *changes = rest
        configs, loop = (importlib.import_module(f"train.{name}") for name in ("configs", "loop"))
        config = configs.config_of(configs.load(page), [*SHORT, *changes])
        for title, counts in (("the way of a batch", carries), ("every call", lambda values: True)):
            run = functools.partial(loop.train, config, pathlib.Path(folder) / title)
            show(root, title, walk(run, [root / "train", root / "data"], counts))


def walk(
    run: Callable[[], Any], folders: list[pathlib.Path], counts: Callable[[list[Any]], bool] = lambda values: True
) -> list[str]:
    """Files of `folders` in the order of first calls, without repetitions of one file in a row.

    Of calls only those whose arguments `counts`, or whose result does.
    """
    known, began, clock = {}, {}, itertools.count()
    inside = tuple(f"{folder}/" for folder in folders)

    def traced(frame: Any, event: str, result: Any) -> None:
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(inside) or code in known:
            return
        if event == "call":
            began[id(frame)] = next(clock)
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if counts([frame.f_locals.get(name) for name in names] if event == "call" else [result]):
            known[code] = began[id(frame)]

    sys.setprofile(traced)
    try:
        run()
    finally:
        sys.setprofile(None)
    way: list[str] = []
    for code in sorted(known, key=lambda code: known[code]):
        if code.co_firstlineno in functions(code.co_filename) and way[-1:] != [code.co_filename]:
            way.append(code.co_filename)
    return way


@functools.cache
def functions(file: str) -> set[int]:
    """First lines of the functions of a file that are no properties."""
    nodes = [node for node in ast.walk(ast.parse(pathlib.Path(file).read_text())) if isinstance(node, ast.FunctionDef)]
    plain = [n for n in nodes if not any(isinstance(d, ast.Name) and d.id == "property" for d in n.decorator_list)]
    return {line for n in plain for line in (n.lineno, *(d.lineno for d in n.decorator_list))}


def carries(values: list[Any]) -> bool:
    """Whether one of them is what a batch is on its way from config to record, or holds it."""
    return any(is_it(value) or (isinstance(value, tuple | list) and carries(list(value))) for value in values)


def is_it(value: Any) -> bool:
    if isinstance(value, dict):  # a batch, metrics, values of a log or a record; their x and loss
        return hasattr(value.get("x"), "dtype") or "loss" in value
    return type(value).__name__ in ("ConfigDict", "Dataset") or (hasattr(value, "gather") and hasattr(value, "__len__"))


def show(root: pathlib.Path, title: str, way: list[str]) -> None:
    counted = collections.Counter(way)
    print(f"{title}: {len(counted)} files entered, {len(way) - len(counted)} returns")
    for name, count in counted.most_common():
        print(f"  {name.removeprefix(f'{root}/'):<40}{count}")


if __name__ == "__main__":
    main(sys.argv[1:])
