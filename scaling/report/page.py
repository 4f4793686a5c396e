"""Writes an analysis down: report.html for people, fit.json for programs, rows.jsonl for whoever fits it again."""

import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from scaling import advice, influence, predict
from scaling import rates as learning_rates
from scaling.analyse import Analysis
from scaling.counting import c_6nd
from scaling.fit.backtest import axis
from scaling.laws import PUBLISHED
from scaling.logs import seeds
from scaling.logs.names import names
from scaling.logs.training import Curve
from scaling.report import plot, sweeps, verdict
from scaling.report.checklist import checklist
from scaling.report.fitfile import as_json, disagreement_of, of, versions
from scaling.report.words import (
    GREEK,
    certificate,
    constants,
    formula,
    gap_sentence,
    meanings,
    substitution,
    unit,
)  # fmt: skip
from train import charts, numbers, pages
from train.files import as_part, write_whole

ROWS = 10_000  # that are Python objects at a time


def write(out: str | pathlib.Path, analysis: Analysis, curves: Sequence[Curve] = ()) -> None:
    """report.html (one self-contained file), fit.json, rows.jsonl (what was fitted) and plots/*.{svg,png} in `out`.

    `curves` are the training curves of the runs, if they are known.

    Not runs.jsonl: `out` may be the sweep's own folder, whose table also holds rows that could not be fitted.  All is
    made before the first file is written, and each file appears whole.
    """
    out = pathlib.Path(out)
    marks = [one.marks for one in analysis.estimates.values() if one.marks]
    drawn = plot.figures(
        analysis.columns, analysis.fit, analysis.draws, analysis.heldout, analysis.level, analysis.windows, marks
    )
    drawn |= sweeps.figures(curves, learning_rates.best(analysis.runs.tried))
    inline = {name: charts.svg(one.figure, name) for name, one in drawn.items()}
    files: dict[str, str | bytes] = {
        "fit.json": json.dumps(as_json(analysis), indent=1, allow_nan=False) + "\n",
        "report.html": html(analysis, {name: (inline[name], one.caption) for name, one in drawn.items()}),
        **{f"plots/{name}.svg": text.replace("currentColor", charts.INK) for name, text in inline.items()},
        **{f"plots/{name}.png": charts.png(one.figure) for name, one in drawn.items()},
    }
    (out / "plots").mkdir(parents=True, exist_ok=True)
    for name in (plot.NAMES | sweeps.NAMES) - drawn.keys():  # of an earlier fit
        for kind in ("svg", "png"):
            (out / "plots" / f"{name}.{kind}").unlink(missing_ok=True)
    with as_part(out / "rows.jsonl") as part, open(part, "wb") as file:
        file.writelines(lines(analysis))
    for name, content in files.items():
        write_whole(out / name, content)


def rows(analysis: Analysis, which: np.ndarray | None = None) -> list[dict[str, Any]]:
    """What was fitted: every original column of the rows kept, or of `which` of them."""
    which = np.arange(len(analysis.runs.where)) if which is None else which
    columns = {name: [*map(plain, values[which].tolist())] for name, values in analysis.runs.table.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def lines(analysis: Analysis) -> Iterator[bytes]:
    """`rows` as JSON lines, some at a time: of a million runs they would be most of the memory."""
    table, size = analysis.runs.table, len(analysis.runs.where)
    row = "{" + ", ".join(json.dumps(name).replace("%", "%%") + ": %s" for name in table) + "}\n"
    for at in range(0, size, ROWS):
        cells = [texts(values[at : at + ROWS]) for values in table.values()]
        yield "".join(map(row.__mod__, zip(*cells, strict=True))).encode()


def texts(values: np.ndarray) -> list[str]:
    """Cells as JSON; null where a number is not finite."""
    if values.dtype == np.float64:
        finite = np.isfinite(values)
        found = [*map(repr, values.tolist())]
        return found if finite.all() else [text if good else "null" for text, good in zip(found, finite, strict=True)]
    return [json.dumps(plain(v)) for v in values.tolist()]


def plain(value: Any) -> Any:
    """A cell as JSON can hold it."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def html(analysis: Analysis, figures: dict[str, tuple[str, str]]) -> str:
    """The page, of `figures` name -> (inlined SVG, caption); nothing is loaded from anywhere."""
    environment = pages.environment(pathlib.Path(__file__).parent)
    minus = lambda text: text.replace("-", "−")
    environment.filters |= {
        "sig": lambda x, count=4: minus(numbers.digits(x if isinstance(x, int | float) else None, count)),
        "formula": formula,
        "percent": lambda x, places=2: minus(numbers.percent(x, places)),
        "interval": lambda ends, count=3: minus(numbers.interval(*ends, count)),
    }
    measured = analysis.columns[analysis.fit.law.output]
    rates = learning_rates.best(analysis.runs.tried)
    judged = verdict.headline(analysis.heldout, measured) if analysis.heldout else None
    return environment.get_template("report.html.jinja").render(
        a=analysis,
        ahead=predict.ahead(of(analysis)),
        advice=advice.once([sentence for one in analysis.estimates.values() for sentence in one.advice]),
        constants=constants(analysis),
        disagreement=disagreement_of(analysis),
        substitution=substitution(analysis),
        figures=figures,
        gap=gap_sentence(analysis),
        certificate=certificate(analysis.fit),
        checklist=checklist(analysis),
        greek=GREEK,
        judged=judged,
        judge=lambda run: verdict.judge(run, measured),
        meaning=meanings(analysis.fit),
        published=PUBLISHED,
        quantity=influence.quantity(analysis.fit.law),
        rates=rates,
        rates_said=learning_rates.sentences(rates),
        run_table=run_table(analysis),
        executed=executed(analysis),
        span=axis(analysis.fit.law, analysis.columns),
        unit=unit(analysis.fit.law),
        versions=versions(),
        width=verdict.shown(judged.width) if judged else "",
    )


def run_table(analysis: Analysis, most: int = 500) -> list[dict[str, Any]]:
    """One entry per row, cheapest first: its record, its columns, and what the law leaves of it; at most `most`."""
    columns, residuals, held = analysis.columns, analysis.fit.relative, analysis.heldout
    left_out = {run.row for run in held.runs} if held else set()
    order = np.argsort(axis(analysis.fit.law, columns), kind="stable")[:most]
    called = names(analysis.runs.table, analysis.runs.where, order)
    return [
        {
            "record": record,
            "where": label,
            **{name: float(v[i]) for name, v in columns.items()},
            "measured": float(columns[analysis.fit.law.output][i]),
            "residual": float(np.expm1(residuals[i]) if analysis.fit.law.space == "log" else residuals[i]),
            "held": int(i) in left_out,
            "seeds": seeds.said_of(record, analysis.fit.law.output),
        }
        for i, label, record in zip(order, called, rows(analysis, order), strict=True)
    ]


def executed(analysis: Analysis) -> tuple[float, float] | None:
    """Least and most FLOPs executed (attention and head included) per FLOP that 6 N D counts."""
    flops = analysis.runs.table.get("flops_train")
    if flops is None or flops.dtype != np.float64 or not analysis.fit.law.trades or not np.isfinite(flops).all():
        return None
    ratio = flops / c_6nd(analysis.columns["n"], analysis.columns["d"])
    return float(ratio.min()), float(ratio.max())
