"""What the terminal shows of an analysis."""

import pathlib
from typing import Any

import numpy as np

from scaling import predict, rates
from scaling.analyse import Analysis
from scaling.fit.backtest import axis
from scaling.report import fitfile, verdict
from scaling.report.fitfile import disagreement_of
from scaling.report.words import GREEK, certificate, constants, gap_sentence, meanings, substitution, unit
from train.numbers import digits, interval, percent, si

SHOWN = 5  # rows left out that are listed


def summary(analysis: Analysis, out: str | pathlib.Path | None = None) -> str:
    """The whole text; `out` is the folder that the report was written to."""
    parts = [
        *_heading(analysis), "", *_forecast(analysis), *_ahead(analysis), "", *_table(analysis), "",
        *_notes(analysis, out),
    ]  # fmt: skip
    return "\n".join(parts)


def _heading(analysis: Analysis) -> list[str]:
    fitted, runs = analysis.fit, analysis.runs
    law, c = fitted.law, axis(fitted.law, analysis.columns)
    held = "".join(f"; {text} held" for text in fitted.question.held)
    columns = ", ".join(f"{role} = {name}" for role, name in runs.mapping.items() if role in (*law.inputs, law.output))
    shown = fitted.certificate
    text = [
        *([] if shown.converged else [f"NOT CONVERGED: {shown.reason}"]),
        f"{law.equation}{held}",
        f"{fitted.residuals.size} rows of {np.unique(runs.run).size} runs, {si(c.min())} to {si(c.max())} {unit(law)}"
        f"{' (C = 6 N D)' * law.trades}; {columns}",
    ]
    return text + [f"  {sentence}" for sentence in runs.said]


def _forecast(analysis: Analysis) -> list[str]:
    held = analysis.heldout
    if held is None:
        return ["no budget was held out: nothing here says how well this law predicts"]
    best, many = held.best, len(held.runs)
    judged = verdict.headline(held, analysis.columns[held.fit.law.output])
    lines = [
        f"held out   {si(held.budget)}, {_count(many, 'run')}; forecast from the {held.fit.residuals.size} "
        f"smaller ones, {held.reach:.2g} times beyond the largest of them",
    ]
    if held.isoflop:
        low, high = best.interval
        shown = f"{held.level:.0%} interval {low:.4f} to {high:.4f} ({verdict.shown(judged.width)})"
        if interval(low, high) == "no interval":
            shown = "no interval"
        words = {"inside": "inside the interval", "outside": "OUTSIDE the interval"}.get(judged.kind, judged.words)
        lines += [
            f"predicted  {best.predicted:.4f}  best {held.fit.law.output} there, {shown}",
            f"measured   {best.measured:.4f}  {words}",
            f"error      {percent(held.relative_error)}",
        ]
    else:
        lines.append(f"error      {percent(held.relative_error)}  mean of the held-out runs; {judged.words}")
    lines.append(
        f"           root mean square {_size(held.rms_error)} over the {many}; {held.coverage:.0%} inside their "
        f"{held.level:.0%} intervals"
    )
    if held.below:
        lines += [f"  {_horizon(row)}" for row in held.horizons]
        lines.append("and of every smaller cutoff:")
    for row in analysis.horizons:
        lines.append(f"  {_horizon(row)} from {_count(row['windows'], 'cutoff')}")
    found = analysis.selection
    return lines + ([f"laws       {found.sentence}"] if found and not fitfile.better(analysis) else [])


def _horizon(row: dict[str, Any]) -> str:
    return (
        f"{row['horizon']:<9} {percent(row['mean_error'])} mean, {_size(row['rms_error'])} rms, "
        f"{row['coverage']:.0%} inside, {_count(row['forecasts'], 'forecast')}"
    )


def _ahead(analysis: Analysis) -> list[str]:
    """The best runs of the next budgets."""
    fitted = fitfile.of(analysis)
    found = predict.ahead(fitted)
    return ["", "next       by the law of all rows", *predict.table(found, fitted)] if found else []


def _count(count: int, what: str) -> str:
    """1 run, 2 runs."""
    return f"{count} {what}{'s' * (count != 1)}"


def _size(error: float) -> str:
    """A percentage without its sign."""
    return percent(error).removeprefix("+")


def _table(analysis: Analysis) -> list[str]:
    lines = [f"all {analysis.fit.residuals.size} rows   fitted   {analysis.level:.0%} interval"]
    meaning = meanings(analysis.fit)
    for name, value in constants(analysis).items():
        ends = analysis.intervals.get(name)
        if ends is None:
            text = "held"
        elif interval(*ends) == "no interval":
            text = "no interval"
        else:
            text = f"{digits(ends[0], 4)} to {digits(ends[1], 4)}"
        lines.append(
            f"  {GREEK.get(name, name):<5}{digits(value, 4):>11}   {text:<22}  {meaning.get(name, '')}".rstrip()
        )
    return lines


def _notes(analysis: Analysis, out: str | pathlib.Path | None) -> list[str]:
    lines = [certificate(analysis.fit)]
    for name, one in analysis.estimates.items():
        how = f", {one.how}" if one.how else ""
        lines.append(f"{name}{how}: a {digits(one.n.exponent, 4)} {interval(*one.n.interval, 4)}")
    lines += substitution(analysis)
    if "train_loss" in analysis.runs.table or "name" in analysis.runs.table:
        lines.append(gap_sentence(analysis))
    if found := rates.best(analysis.runs.tried):
        low, high = found[0], found[-1]
        lines.append(
            f"best learning rate: {digits(low.lr)} at N = {si(low.n)} to {digits(high.lr)} at N = {si(high.n)}, "
            f"of {_count(len(found), 'size')}; all in the report"
        )
    dropped = analysis.runs.dropped
    if dropped:
        lines.append(f"left out {len(dropped)}:")
        lines += [f"  {entry['row']}: {entry['reason']}" for entry in dropped[:SHOWN]]
        if len(dropped) > SHOWN:
            lines.append(f"  and {len(dropped) - SHOWN} more, listed in the report")
    first = [fitfile.better(analysis), disagreement_of(analysis)]
    lines += [f"! {sentence}" for sentence in [*first, *analysis.warnings] if sentence]
    if out is not None:
        lines.append(f"report: {str(out).rstrip('/')}/report.html; all digits: fit.json; figures: plots/")
    return lines
