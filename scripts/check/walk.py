"""The way of a fit through the code: which files a reader enters who follows it, and how often he comes back.

    python -m scripts.check.walk RUNS.csv [--law NAME …]        arguments of `python -m scaling fit`

Every function counts where it is first called; lambdas and properties are read where they are used.  A return is a
file that is entered again after it was left.
"""

import ast
import collections
import functools
import pathlib
import sys
import tempfile

from scaling.__main__ import main

ROOT = pathlib.Path(__file__).parents[2]


@functools.cache
def functions(file: str) -> set[int]:
    """First lines of the functions of a file that are no properties."""
    nodes = [node for node in ast.walk(ast.parse(pathlib.Path(file).read_text())) if isinstance(node, ast.FunctionDef)]
    plain = [n for n in nodes if not any(isinstance(d, ast.Name) and d.id == "property" for d in n.decorator_list)]
    return {line for n in plain for line in (n.lineno, *(d.lineno for d in n.decorator_list))}


def walk(arguments: list[str]) -> list[str]:
    """Files of scaling/ in the order of first calls, without repetitions of one file in a row."""
    seen, way = set(), []

    def called(frame, event, _):
        code = frame.f_code
        file = code.co_filename
        if event != "call" or code in seen or not (file.startswith(f"{ROOT}/scaling/") and file.endswith(".py")):
            return
        seen.add(code)
        if code.co_firstlineno in functions(file) and (not way or way[-1] != file):
            way.append(file)

    with tempfile.TemporaryDirectory() as folder:
        sys.setprofile(called)
        try:
            main(["fit", *arguments, "--out", folder])
        finally:
            sys.setprofile(None)
    return way


if __name__ == "__main__":
    found = walk(sys.argv[1:])
    counts = collections.Counter(found)
    print(f"{len(counts)} files entered, {len(found) - len(counts)} returns")
    for name, count in counts.most_common():
        print(f"  {name.removeprefix(str(ROOT)):<40}{count}")
