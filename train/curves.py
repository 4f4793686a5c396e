"""The page of one run: run.html, self-contained, and its figures alone as curves.svg."""

import base64
import pathlib
import time
from typing import Any

from train import charts, detail_charts, history, pages, record
from train.charts import HELDOUT, LAW, SECOND, Line
from train.files import write_whole
from train.history import History

WORST = 30  # classes in the table of a page, from the worst on
PNG = b"\x89PNG\r\n\x1a\n"  # how the file begins
MOST = 12  # figures of metrics; a task with one for each of a thousand classes gets no more
SPLITS = (("train", "train", LAW), ("valid", "held out", HELDOUT), ("train_split", "train split", SECOND))


def write(folder: pathlib.Path, running: bool = False) -> None:
    """Draws what the run has written so far.  A page of a run that goes on loads itself again now and then."""
    run = history.read(folder)
    drawn = figures(run)
    write_whole(folder / "curves.svg", charts.stacked(drawn))
    write_whole(folder / "run.html", html(run, drawn, running))


def figures(run: History) -> list[str]:
    """SVGs to inline: loss, learning rate, gradient norm, speed, then what else the task measures."""
    one = lambda name: [Line(*history.series(run, "train", name), LAW)]
    speed = Line(*history.laps(run, "units_per_second"), LAW)
    made = [
        charts.curves("step", "loss", by_split(run, "loss"), log=True),
        charts.curves("step", "learning rate", one("lr")),
        charts.curves("step", "gradient norm", one("grad_norm"), log=True),
        charts.curves("step", f"{run.unit or 'unit'}s per second", [speed]),
        *(charts.curves("step", name, by_split(run, name)) for name in run.metrics[:MOST]),
    ]
    return [charts.svg(figure, f"curve{i}") for i, figure in enumerate(made)]


def by_split(run: History, name: str) -> list[Line]:
    found = [(*history.series(run, split, name), colour, label) for split, label, colour in SPLITS]
    return [Line(*line, dots=line[3] != "train") for line in found if line[0].size]


def html(run: History, drawn: list[str], running: bool) -> str:
    report = history.details(run.folder)
    return pages.render(
        "run.html.jinja",
        run=run,
        step=run.step,
        figures=drawn,
        running=running,
        now=time.strftime("%Y-%m-%d %H:%M:%S"),
        scores=history.scores(run),
        config=shown(run.config),
        record=shown(run.record or {}),
        report=report,
        report_figures=detail_charts.figures(report),
        classes=worst(report),
        pictures=inlined(run.folder / "pictures.png") if report else "",
    )


def worst(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Classes that the split has, the worst first."""
    seen = [each for each in report.get("classes", ()) if each["count"]]
    key = "accuracy" if seen and "accuracy" in seen[0] else "average_precision"
    return sorted(seen, key=lambda each: each[key] or 0)[:WORST]


def inlined(path: pathlib.Path) -> str:
    """A PNG as an address that holds it; empty where there is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content.startswith(PNG) else ""


def shown(tree: dict[str, Any]) -> dict[str, str]:
    return {key: history.plain(value) for key, value in record.flatten(tree).items()}
