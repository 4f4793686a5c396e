"""The zoo as one table: what each config page says of itself at the end of its docstring.

    System      LeNet-5, 1998
    Parameters  61,706
    Data        MNIST-5k
    Published   99.05 % of MNIST's test images, trained on 60,000 (LeCun et al. 1998)
    Measured    accuracy 0.982, 40 s (51f229b)

Measured is METRIC VALUE, SECONDS s (COMMIT): a column of the held-out row, and the time of the run on two CPU cores;
or "METRIC not measured yet", or "never trained here" of what is too large for that.

A page beside which nothing was published names what it was held against here, if anything, in Published's place:

    Baseline    0.9493 by logistic regression

A page whose data come with no clone says after Data how to get them: "Get  COMMAND".

    python -m train zoo                        prints the table
    python -m train zoo --workdir runs/zoo     trains them all, and writes what they reached into pages and docs/zoo.md
    python -m train zoo --workdir runs/zoo --at-most 300     only those that were measured in at most 300 seconds

The pages are read, not run, except by `refresh`, which trains each and writes what it measured into page and table.
"""

import ast
import math
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from train import configs
from train.cli import folder, parser
from train.errors import UserError
from train.files import read_json, write_whole
from train.record import AGAIN, ROW

FIELDS = ("System", "Parameters", "Data", "Published", "Measured")
UNTRAINED = "never trained here"
PAGE = pathlib.Path("docs/zoo.md")
MARKS = ("<!-- zoo: python -m train zoo --workdir DIR writes this table -->", "<!-- end of the zoo -->")


def main(argv: list[str]) -> None:
    flags = parser("python -m train zoo", __doc__ or "")
    flags.add_argument("--workdir", metavar="DIR", help="train every page in a folder below this one")
    flags.add_argument(
        "--at-most", type=float, default=math.inf, metavar="SECONDS", help="leave out pages whose last run took longer"
    )
    options = flags.parse(argv)
    if options.overrides:
        raise UserError(f"--config.{options.overrides[0]}: the zoo is of the pages as they are")
    if options.workdir is None and options.at_most < math.inf:
        raise UserError(f"--at-most {options.at_most:g} chooses what is trained; add --workdir DIR")
    if options.workdir is not None:
        say = lambda line: print(line, flush=True)
        failed = refresh(configs.FOLDER, folder("--workdir", options.workdir), options.at_most, say)
        write_page(entries(configs.FOLDER))
        if failed:
            raise UserError(f"not trained: {', '.join(failed)}; the same command goes on with them alone")
    found = entries(configs.FOLDER)
    print(f"{table(found)}\n\n* data that come with no clone:\n{to_get(found)}")


class Entry(NamedTuple):
    """One page.  All strings, as they stand there."""

    page: pathlib.Path
    system: str
    year: str
    parameters: str
    data: str
    published: str  # or "baseline: …"
    measured: str
    get: str = ""  # how to get data that come with no clone

    @property
    def result(self) -> str:
        return self.measured.split(", ")[0]

    @property
    def seconds(self) -> str:
        found = re.search(r", ([\d,]+) s ", self.measured)
        return found[1] if found else ""

    @property
    def commit(self) -> str:
        found = re.search(r"\((\w+\+?)\)$", self.measured)
        return found[1] if found else ""


def entries(folder: pathlib.Path) -> list[Entry]:
    """Every page that names a system, in the order of their years."""
    found = [entry(page) for page in configs.pages(folder)]
    return sorted((e for e in found if e is not None), key=lambda e: (e.year, e.page.stem))


def entry(page: pathlib.Path) -> Entry | None:
    """What the page says, or None where it names no system; `ValueError` where a line of the five is missing."""
    doc = ast.get_docstring(ast.parse(page.read_bytes())) or ""
    line = lambda name: re.search(rf"^{name} +(.*)$", doc, re.MULTILINE)
    found = {name: line(name) for name in FIELDS}
    baseline = line("Baseline")
    found["Published"] = found["Published"] or baseline
    if not found["System"]:
        return None
    missing = [name for name in FIELDS if not found[name]]
    if missing:
        raise ValueError(f"the docstring of {page} has no line {missing[0]!r}; it needs {', '.join(FIELDS)}")
    said = {name: match[1].strip() for name, match in found.items() if match}
    if baseline:
        said["Published"] = f"baseline: {said['Published']}"
    system, _, year = said["System"].rpartition(", ")
    return Entry(page, system, year, *(said[name] for name in FIELDS[1:]), configs.origin_of(page))


def table(rows: Iterable[Entry]) -> str:
    """For the terminal: one line a page, wrapped by nobody."""
    head = ("page", "system", "year", "parameters", "measured", "seconds", "commit", "data", "beside it")
    body = [
        (
            e.page.stem,
            e.system,
            e.year,
            e.parameters,
            e.result,
            e.seconds,
            e.commit,
            f"{e.data}{' *' if e.get else ''}",
            e.published,
        )
        for e in rows
    ]
    right = {"parameters", "seconds"}
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    align = lambda text, i: f"{text:>{widths[i]}}" if head[i] in right else f"{text:<{widths[i]}}"
    return "\n".join("  ".join(align(text, i) for i, text in enumerate(line)).rstrip() for line in [head, *body])


def markdown(rows: Iterable[Entry]) -> str:
    """For docs/zoo.md; data that come with no clone have a star."""
    lines = [
        "| system | year | parameters | data | measured | published, or a baseline run here | s | commit |",
        "|---|---|--:|---|---|---|--:|---|",
    ]
    for e in rows:
        data = f"{e.data} *" if e.get else e.data
        cells = (f"[{e.system}](../{e.page})", e.year, e.parameters, data, e.result, e.published, e.seconds, e.commit)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def to_get(rows: Iterable[Entry]) -> str:
    """How to get what has a star, for docs/zoo.md."""
    ways: dict[tuple[str, str], list[str]] = {}
    for e in rows:
        if e.get:
            ways.setdefault((e.data, e.get), []).append(e.page.stem)
    return "\n".join(f"* {data} ({', '.join(pages)}): {get}" for (data, get), pages in ways.items())


def refresh(folder: pathlib.Path, workdir: pathlib.Path, at_most: float, say: Callable[[str], None]) -> list[str]:
    """Trains every page that can be trained here, one by one, and writes the results into the pages; those that failed.

    What was trained in `workdir` before is not trained again; what was interrupted goes on.  Pages whose last run took
    more than `at_most` seconds are left out.
    """
    rows = [each for each in entries(folder) if not each.measured.startswith(UNTRAINED)]
    rows = [each for each in rows if float(each.seconds.replace(",", "") or 0) <= at_most]
    failed, start = [], time.monotonic()
    for each in sorted(rows, key=lambda each: bool(begins_with(each))):
        command = [
            sys.executable,
            "-m",
            "train",
            "--config",
            str(each.page),
            "--workdir",
            str(workdir / each.page.stem),
        ]
        if before := begins_with(each):
            command.append(f"--config.init.from={workdir / before}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            failed.append(each.page.stem)
        lines = (done.stderr if done.returncode else done.stdout).strip().split("\n")
        say(f"{each.page.stem:<24} {lines[-1]}")
    say(f"{len(rows) - len(failed)} of {len(rows)} pages in {(time.monotonic() - start) / 60:.1f} minutes\n")
    # Only now: a page that changes would make the next run one of uncommitted code.
    for each in rows:
        if each.page.stem not in failed:
            rewrite(each, read_json(workdir / each.page.stem / "record.json", ROW, AGAIN))
    return failed


def begins_with(each: Entry) -> str:
    """The page whose run the page takes weights from, as "runs/PAGE"; nothing of most."""
    folder, _, page = configs.load(str(each.page)).get_config().init.get("from", "").rpartition("/")
    return page if folder == "runs" else ""


def measured(old: Entry, record: dict) -> str:
    """The line of a finished run, in the metric that the page names."""
    metric = old.measured.split()[0]
    if metric not in record["metrics"]:
        raise ValueError(f"{old.page} measures {metric!r}, and the run has {', '.join(record['metrics'])}")
    commit = record["git_commit"][:7] + "+" * record["git_commit"].endswith("+")
    return f"{metric} {record['metrics'][metric]:.4g}, {record['wall_seconds']:,.0f} s ({commit})"


def rewrite(old: Entry, record: dict) -> None:
    """Puts what was measured and counted into the page's docstring."""
    text = old.page.read_text(encoding="utf-8")
    for name, value in (("Parameters", f"{record['params_total']:,}"), ("Measured", measured(old, record))):
        text = re.sub(rf"^{name} +.*$", f"{name:<11} {value}", text, count=1, flags=re.MULTILINE)
    write_whole(old.page, text)


def written(rows: list[Entry]) -> str:
    """What stands between the marks of docs/zoo.md."""
    return f"{markdown(rows)}\n\nData with a star come with no clone:\n\n{to_get(rows)}"


def write_page(rows: list[Entry]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    start, end = (text.index(mark) for mark in MARKS)
    write_whole(PAGE, f"{text[:start]}{MARKS[0]}\n{written(rows)}\n{text[end:]}")
