"""Writes an analysis down: report.html for people, fit.json for programs, rows.jsonl for whoever fits it again."""

import json
import math
import os
import pathlib
import re
from typing import Any

import jinja2
import markupsafe
import numpy as np

from scaling import influence
from scaling.analyse import Analysis
from scaling.counting import c_6nd
from scaling.fit.backtest import axis
from scaling.fit.estimate import Fit
from scaling.laws import PUBLISHED
from scaling.report import plot
from scaling.report.checklist import checklist
from scaling.report.fitfile import approaches, as_json, gaps

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "eta": "η", "epsilon": "ε", "alpha_N": "α_N", "alpha_D": "α_D",
    "alpha_C": "α_C", "alpha_S": "α_S", "alpha_B": "α_B", "e_inf": "ε_∞", "L_inf": "L_∞",
}  # fmt: skip
DERIVED = {"a": "best N grows as C^a", "b": "best D grows as C^b", "G": "best N = G (C/6)^a"}
SHOWN = 5  # dropped rows that the terminal lists
CAPTIONS = {
    "isoflop": "Loss against parameters at equal compute. Lines are the law{forecast}; rings mark the best runs.",
    "compute": "The loss that compute buys, law{forecast}. The band is where one more run at the optimum should fall.",
    "optimum": "The best N and D for a budget, all runs fitted. Squares are minima of the budgets' profiles, diamonds "
    "the best runs, open where held out.",
    "curve": "Measured runs and the law{forecast}. The band is where one more run should fall.",
    "forecasts": "How far off the law was on runs it had not seen, fitted to the smaller ones at each cutoff. Open: "
    "outside its interval.",
    "residuals": "What the law of all runs leaves. A pattern, or one budget on one side, means the law is wrong here.",
}


def write(out: str | pathlib.Path, analysis: Analysis) -> None:
    """report.html (one self-contained file), fit.json, rows.jsonl (what was fitted) and plots/*.{svg,png} in `out`.

    Not runs.jsonl: `out` may be the sweep's own folder, whose table also holds rows that could not be fitted.  All is
    made before the first file is written, and each file appears whole.
    """
    out = pathlib.Path(out)
    minima = [(m.c, m.n, m.d) for m in analysis.profiles.minima if m.status == "ok"] if analysis.profiles else []
    made = plot.figures(
        analysis.columns, analysis.fit, analysis.draws, analysis.heldout, analysis.level, analysis.windows, minima
    )
    inline = {name: plot.svg(figure, name) for name, figure in made.items()}
    texts = {
        "rows.jsonl": "".join(json.dumps(row) + "\n" for row in rows(analysis)),
        "fit.json": json.dumps(as_json(analysis), indent=1, allow_nan=False) + "\n",
        "report.html": html(analysis, inline),
        **{f"plots/{name}.svg": text.replace("currentColor", plot.INK) for name, text in inline.items()},
    }
    (out / "plots").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        beside = out / f"{name}.part"
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, out / name)
    for name, figure in made.items():
        plot.png(figure, out / "plots" / f"{name}.png")


def rows(analysis: Analysis, which: Any = None) -> list[dict[str, Any]]:
    """What was fitted: every original column of the rows kept, or of `which` of them."""
    table = analysis.runs.table
    plain = lambda v: None if isinstance(v, float) and not math.isfinite(v) else v
    return [
        {name: plain(v[i].item() if isinstance(v[i], np.generic) else v[i]) for name, v in table.items()}
        for i in (range(len(analysis.runs.where)) if which is None else which)
    ]


def summary(analysis: Analysis, out: str | pathlib.Path | None = None) -> str:
    """What the terminal shows."""
    return "\n".join([*_heading(analysis), "", *_forecast(analysis), "", *_table(analysis), "", *_notes(analysis, out)])


def _heading(analysis: Analysis) -> list[str]:
    fit, runs = analysis.fit, analysis.runs
    c = axis(fit.law, analysis.columns)
    unit = "FLOPs (C = 6 N D)" if fit.law.trades else f"{fit.law.inputs[0].upper()}"
    held = "".join(f"; {text} held" for text in fit.question.held)
    wrong = [] if fit.certificate.converged else [f"NOT CONVERGED: {fit.certificate.reason}"]
    text = [
        *wrong,
        f"{fit.law.equation}{held}",
        f"{fit.residuals.size} rows of {np.unique(runs.run).size} runs, {plot.si(c.min())} to {plot.si(c.max())} "
        f"{unit}; "
        + ", ".join(
            f"{role} = {name}" for role, name in runs.mapping.items() if role in (*fit.law.inputs, fit.law.output)
        ),
    ]
    return text + [f"  {sentence}" for sentence in runs.said]


def _forecast(analysis: Analysis) -> list[str]:
    held = analysis.heldout
    if held is None:
        return ["no budget was held out: nothing here says how well this law predicts"]
    best, many = held.best, len(held.runs)
    low, high = best.interval
    lines = [
        f"held out   {plot.si(held.budget)}, {many} run{'s' * (many > 1)}; forecast from the {held.fit.residuals.size} "
        f"below, {held.reach:.2g} times beyond them",
    ]
    if held.isoflop:
        lines += [
            f"predicted  {best.predicted:.4f}  best {held.fit.law.output} there, {held.level:.0%} interval {low:.4f} "
            f"to {high:.4f}",
            f"measured   {best.measured:.4f}  {'inside' if best.inside else 'OUTSIDE'} the interval",
            f"error      {held.relative_error:+.2%}",
        ]
    else:
        lines.append(f"error      {held.relative_error:+.2%}  mean of the held-out runs")
    lines.append(
        f"           root mean square {held.rms_error:.2%} over the {many}, {held.coverage:.0%} inside {held.level:.0%}"
    )
    for row in analysis.horizons:
        lines.append(
            f"  {row['horizon']:<9} {row['mean_error']:+.2%} mean, {row['rms_error']:.2%} rms, {row['coverage']:.0%} "
            f"inside, {row['forecasts']} forecasts from {row['windows']} cutoff{'s' * (row['windows'] > 1)}"
        )
    return lines


def _table(analysis: Analysis) -> list[str]:
    lines = [f"all {analysis.fit.residuals.size} rows   fitted   {analysis.level:.0%} interval"]
    for name, value in constants(analysis).items():
        ends = analysis.intervals.get(name)
        known = ends is not None and not any(map(math.isnan, ends))
        text = f"{ends[0]:>9.4g} to {ends[1]:<9.4g}" if known else f"{'no interval' if ends else 'held':>11}{'':11}"
        line = f"  {GREEK.get(name, name):<5}{value:>11.4g}   {text}  {meanings(analysis.fit).get(name, '')}"
        lines.append(line.rstrip())
    return lines


def _notes(analysis: Analysis, out: str | pathlib.Path | None) -> list[str]:
    lines = [certificate(analysis.fit)]
    for name, lines_of in approaches(analysis).items():
        low, high = lines_of["a"]["interval"]
        ends = "no interval" if math.isnan(low) or math.isnan(high) else f"[{low:.4g}, {high:.4g}]"
        lines.append(f"{name}: a {lines_of['a']['value']:.4g}, {ends}")
    if "train_loss" in analysis.runs.table or "name" in analysis.runs.table:
        lines.append(gap_sentence(analysis))
    dropped = analysis.runs.dropped
    if dropped:
        lines.append(f"left out {len(dropped)}:")
        lines += [f"  {entry['row']}: {entry['reason']}" for entry in dropped[:SHOWN]]
        if len(dropped) > SHOWN:
            lines.append(f"  and {len(dropped) - SHOWN} more, listed in the report")
    lines += [f"! {sentence}" for sentence in analysis.warnings]
    if out is not None:
        lines.append(f"report: {pathlib.Path(out) / 'report.html'}; all digits: fit.json; figures: plots/")
    return lines


def certificate(fit: Fit) -> str:
    """How far the optimum itself can be trusted, which is another question than the data's noise."""
    found = fit.certificate
    other = found.other_minima
    text = f"; next minimum {other[0]['above']:.0%} above" if other else ""
    wrong = "" if found.converged else f"not converged: {found.reason}; "
    return (
        f"{wrong}optimum: {found.starts_at_optimum:.0%} of {found.starts} starts end in it{text}; "
        f"gradient {found.gradient_norm:.0e}, Hessian condition {found.hessian_condition:.0e}"
    )


def gap_sentence(analysis: Analysis) -> str:
    gap = gaps(analysis)
    if gap is None:
        return "valid − train loss: not recorded; runs with config.eval.train_records > 0 record it"
    return f"valid − train loss: {gap['mean']:+.4f} on average, {gap['worst']:+.4f} at most ({gap['runs']} runs)"


def constants(analysis: Analysis) -> dict[str, float]:
    """The law's parameters and what follows from them."""
    return {**analysis.fit.params, **analysis.fit.derived}


def meanings(fit: Fit) -> dict[str, str]:
    return {**{p.name: p.meaning for p in fit.law.params}, **DERIVED}


def html(analysis: Analysis, figures: dict[str, str]) -> str:
    """The page.  Figures are inlined SVG; nothing is loaded from anywhere."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "sig": sig,
        "formula": formula,
        "si": plot.si,
        "percent": lambda x, digits=2: f"{x:+.{digits}%}".replace("-", "−"),
    }
    forecast = " fitted without the held-out budget" if analysis.heldout else ""
    return environment.get_template("report.html.jinja").render(
        a=analysis,
        approaches=approaches(analysis),
        constants=constants(analysis),
        figures={name: (figure, CAPTIONS[name].format(forecast=forecast)) for name, figure in figures.items()},
        gap=gap_sentence(analysis),
        certificate=certificate(analysis.fit),
        checklist=checklist(analysis),
        greek=GREEK,
        meaning=meanings(analysis.fit),
        published=PUBLISHED,
        quantity=influence.quantity(analysis.fit.law),
        run_table=run_table(analysis),
        executed=executed(analysis),
        span=axis(analysis.fit.law, analysis.columns),
        versions=as_json(analysis)["versions"],
    )


def run_table(analysis: Analysis, most: int = 500) -> list[dict[str, Any]]:
    """One entry per row, cheapest first: its record, its columns, and what the law leaves of it; at most `most`."""
    columns, residuals, held = analysis.columns, analysis.fit.residuals, analysis.heldout
    left_out = {run.row for run in held.runs} if held else set()
    order = np.argsort(axis(analysis.fit.law, columns), kind="stable")[:most]
    return [
        {
            "record": record,
            "where": record.get("name") or analysis.runs.where[i],
            **{name: float(v[i]) for name, v in columns.items()},
            "measured": float(columns[analysis.fit.law.output][i]),
            "residual": float(np.expm1(residuals[i]) if analysis.fit.law.space == "log" else residuals[i]),
            "held": int(i) in left_out,
        }
        for i, record in zip(order, rows(analysis, order), strict=True)
    ]


def executed(analysis: Analysis) -> tuple[float, float] | None:
    """Least and most FLOPs executed (attention and head included) per FLOP that 6 N D counts."""
    flops = analysis.runs.table.get("flops_train")
    if flops is None or flops.dtype != np.float64 or not analysis.fit.law.trades or not np.isfinite(flops).all():
        return None
    ratio = flops / c_6nd(analysis.columns["n"], analysis.columns["d"])
    return float(ratio.min()), float(ratio.max())


def sig(value: float | None, digits: int = 4) -> str:
    """`digits` significant figures; plain where a reader would write it plain."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "∞" if value == math.inf else "–"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        places = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
        return f"{value:,.{places}f}".replace("-", "−")
    return f"{value:.{digits - 1}e}".replace("-", "−").replace("+", "")


def formula(text: str) -> markupsafe.Markup:
    """x^α, x^(-α) and x_N as HTML."""
    text = re.sub(r"_([\w∞])", r"<sub>\1</sub>", str(markupsafe.escape(text)))
    text = re.sub(r"\^\(([^()]*)\)", r"<sup>\1</sup>", text)
    return markupsafe.Markup(re.sub(r"\^(\w+)(<sub>\w</sub>)?", r"<sup>\1\2</sup>", text))
