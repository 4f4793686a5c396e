"""What a reader must be told to judge a fitted law, filled in from the fit: after (Mis)Fitting, arXiv:2502.18969."""

import math
from typing import TYPE_CHECKING

import numpy as np

from scaling.logs import seeds
from scaling.logs.vocabulary import rank

if TYPE_CHECKING:
    from scaling.analyse import Analysis

UNKNOWN = "not in these rows"


def of_seeds(analysis: "Analysis") -> str:
    """How many a setting was run with, and how far apart their losses are."""
    table, output = analysis.runs.table, analysis.fit.law.output
    if not np.isfinite(sd := seeds.noise(table, output)):
        return "one a setting" if any(rank(name, "seed") for name in table) else UNKNOWN
    count = table[seeds.COUNT]
    many = f"{count.min():.0f}" + (f" to {count.max():.0f}" if np.ptp(count) else "")
    return f"{many} a setting, averaged; sd of one run's {output} over seeds {sd:.2g}"


def checklist(analysis: "Analysis") -> dict[str, list[tuple[str, str]]]:
    """Group -> (question, answer)."""
    fitted, runs, columns = analysis.fit, analysis.runs, analysis.columns
    law, table = fitted.law, runs.table
    span = lambda name: (
        f"{np.unique(columns[name]).size} values, {columns[name].min():.3g} to {columns[name].max():.3g}"
    )
    several = lambda name: ", ".join(sorted({str(v) for v in table[name]})[:6]) if name in table else UNKNOWN
    rows, distinct = fitted.residuals.size, np.unique(runs.run).size
    asked = fitted.question
    unique = table.get("tokens_unique")
    repeats = UNKNOWN
    if unique is not None and unique.dtype == np.float64 and "d" in columns:
        passes = columns["d"] / unique
        repeats = f"{np.nanmin(passes):.2g} to {np.nanmax(passes):.2g} passes over the data"
    best = analysis.heldout
    return {
        "Form": [
            ("Equation", law.equation),
            ("Variables", ", ".join(f"{role}: {name}" for role, name in runs.mapping.items() if role != "run")),
            ("Parameters fitted", ", ".join(n for n in law.names if n not in asked.pin and n not in asked.tie)),
            ("Parameters held", ", ".join(asked.held) or "none"),
            ("Derivation", law.source),
        ],
        "Training": [
            *[(name.upper(), span(name)) for name in law.inputs],
            ("Runs", f"{distinct} runs, {rows} rows"),
            ("Seeds", of_seeds(analysis)),
            ("Data repeated", repeats),
            ("How C is counted", "6 N D, with the N above" if law.trades else runs.mapping.get("c", UNKNOWN)),
            ("Learning rate", several("lr")),
            ("Schedule", several("schedule")),
            ("Batch", several("batch_tokens")),
        ],
        "Data": [
            ("Checkpoints used", "one a run" if distinct == rows else f"{rows / distinct:.3g} a run on average"),
            ("Metric", f"{runs.mapping.get(law.output, law.output)}, as recorded"),
            ("Smoothing, interpolation", "none"),
            ("Rows left out", f"{len(runs.dropped)}; each is listed below with its reason"),
        ],
        "Fitting": [
            ("Objective", f"{'squares' if math.isinf(asked.delta) else f'Huber loss, δ = {asked.delta:g},'} of "
                          f"{'log ' if law.space == 'log' else ''}{law.output}, summed"),
            ("Algorithm", "Levenberg–Marquardt on reweighted squares, then Newton, float64, to a step of 1e-13"),
            ("Initialisation", f"{fitted.certificate.starts} starts"
                               + (", amplitudes by variable projection" if law.linear else "")),
            ("Reached by", f"{fitted.certificate.starts_at_optimum:.0%} of the starts"),
            ("Validation by extrapolation", f"{best.reach:.2g} times beyond the runs fitted: "
                                            f"{best.best.relative_error:+.2%}" if best else "none"),
            ("Intervals", f"{analysis.draws.size} resamples, {analysis.draws.how}, at "
                          f"{analysis.level:.0%}"),
            ("Goodness of fit", f"root mean square residual {np.sqrt(np.mean(fitted.relative**2)):.3%}"),
        ],
    }  # fmt: skip
