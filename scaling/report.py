"""Writes an analysis down: report.html for people, fit.json for programs, rows.jsonl for whoever fits it again."""

import importlib.metadata
import json
import math
import pathlib
import platform
import re
from typing import Any

import jinja2
import markupsafe
import numpy as np

from scaling import plot
from scaling.analyse import Analysis
from scaling.fit import Fit
from scaling.flops import c_6nd
from scaling.laws import PUBLISHED
from scaling.records import COUNTS

GREEK = {"alpha": "α", "beta": "β", "alpha_N": "α_N", "alpha_D": "α_D"}
MEANING = {
    "E": "loss that neither more parameters nor more tokens remove",
    "A": "loss that more parameters remove: A / N^α",
    "B": "loss that more tokens remove: B / D^β",
    "a": "best N grows as C^a",
    "b": "best D grows as C^b",
    "G": "best N = G (C/6)^a",
}
SHOWN = 5  # dropped rows that the terminal lists
CAPTIONS = {
    "isoflop": "Loss against parameters at equal compute. Lines are the law{forecast}; rings mark the best runs.",
    "compute": "The loss that compute buys, law{forecast}. The band is where one more run at the optimum should fall.",
    "optimum": "The best N and D for a budget, all runs fitted. Diamonds are the best runs, open where held out.",
    "residuals": "What the law of all runs leaves. A pattern, or one budget on one side, means the law is wrong here.",
}


def write(out: str | pathlib.Path, analysis: Analysis) -> None:
    """report.html (one self-contained file), fit.json, rows.jsonl (what was fitted) and plots/*.{svg,png} in `out`.

    Not runs.jsonl: `out` may be the sweep's own folder, whose table also holds rows that could not be fitted.
    """
    out = pathlib.Path(out)
    (out / "plots").mkdir(parents=True, exist_ok=True)
    with (out / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in analysis.rows)
    (out / "fit.json").write_text(json.dumps(as_json(analysis), indent=1, allow_nan=False) + "\n")
    figures = plot.figures(analysis.columns, analysis.fit, analysis.draws, analysis.heldout, analysis.level)
    inline = {}
    for name, figure in figures.items():
        inline[name] = plot.svg(figure, name)
        (out / "plots" / f"{name}.svg").write_text(inline[name].replace("currentColor", plot.INK))
        plot.png(figure, out / "plots" / f"{name}.png")
    (out / "report.html").write_text(html(analysis, inline), encoding="utf-8")


def summary(analysis: Analysis, out: str | pathlib.Path | None = None) -> str:
    """What the terminal shows."""
    return "\n".join([*_heading(analysis), "", *_forecast(analysis), "", *_table(analysis), "", *_notes(analysis, out)])


def _heading(analysis: Analysis) -> list[str]:
    budgets, runs = np.unique(analysis.columns["budget"]), analysis.fit.residuals.size
    return [
        analysis.fit.law.equation,
        f"{runs} runs at {budgets.size} budgets, {plot.si(budgets[0])} to {plot.si(budgets[-1])} FLOPs (C = 6 N D); "
        f"N = {analysis.count}; loss in nats per token",
    ]


def _forecast(analysis: Analysis) -> list[str]:
    held = analysis.heldout
    if held is None:
        return ["no budget was held out: nothing here says how well this law predicts"]
    low, high = held.interval
    return [
        f"held out   {plot.si(held.budget)} FLOPs, {len(held.runs)} runs; forecast from the "
        f"{held.fit.residuals.size} runs of smaller budgets, {reach(analysis):.2g} times below",
        f"predicted  {held.predicted:.4f}  best loss there, {held.level:.0%} interval {low:.4f} to {high:.4f}",
        f"measured   {held.measured:.4f}  {'inside' if held.inside else 'OUTSIDE'} the interval",
        f"error      {held.relative_error:+.2%}",
    ]


def _table(analysis: Analysis) -> list[str]:
    lines = [f"all {analysis.fit.residuals.size} runs   fitted   {analysis.level:.0%} interval"]
    for name, value in constants(analysis).items():
        low, high = analysis.intervals[name]
        line = f"  {GREEK.get(name, name):<4}{value:>12.4g}   {low:>9.4g} to {high:<9.4g}  {MEANING.get(name, '')}"
        lines.append(line.rstrip())
    return lines


def _notes(analysis: Analysis, out: str | pathlib.Path | None) -> list[str]:
    lines = [certificate(analysis.fit), gap_sentence(analysis)]
    if analysis.dropped:
        lines.append(f"left out {len(analysis.dropped)}:")
        lines += [f"  {entry['row']}: {entry['reason']}" for entry in analysis.dropped[:SHOWN]]
        if len(analysis.dropped) > SHOWN:
            lines.append(f"  and {len(analysis.dropped) - SHOWN} more, listed in the report")
    lines += [f"! {sentence}" for sentence in analysis.warnings]
    if out is not None:
        lines.append(f"report: {pathlib.Path(out) / 'report.html'}; all digits: fit.json; figures: plots/")
    return lines


def certificate(fit: Fit) -> str:
    """How far the optimum itself can be trusted, which is another question than the data's noise."""
    return (
        f"optimum: {fit.starts_at_optimum:.0%} of {fit.starts} starts end in it; "
        f"gradient norm {fit.gradient_norm:.1e}, Hessian condition {fit.hessian_condition:.1e}"
    )


def gap_sentence(analysis: Analysis) -> str:
    gap = gaps(analysis)
    if gap is None:
        return "valid − train loss: not recorded; runs with config.eval.train_records > 0 record it"
    return f"valid − train loss: {gap['mean']:+.4f} on average, {gap['worst']:+.4f} at most ({gap['runs']} runs)"


def constants(analysis: Analysis) -> dict[str, float]:
    """The law's parameters and what follows from them."""
    params = analysis.fit.params
    return {**params, **{name: float(of(params)) for name, of in analysis.fit.law.derived.items()}}


def as_json(analysis: Analysis) -> dict[str, Any]:
    """fit.json: every number at full precision; null where a number is not finite."""
    fit, held = analysis.fit, analysis.heldout
    derived = {name: value for name, value in constants(analysis).items() if name not in fit.params}
    plain = {
        "law": fit.law.name,
        "equation": fit.law.equation,
        "source": fit.law.source,
        "counting": {"n": analysis.count, "d": "tokens_seen", "c": "6 n d", "loss": "nats per token"},
        "space": "log loss",
        "delta": fit.delta,
        "objective": fit.objective,
        "n_rows": fit.residuals.size,
        "dropped": analysis.dropped,
        "params": fit.params,
        "derived": derived,
        "interval": {
            "level": analysis.level, "method": analysis.draws.method, "draws": len(analysis.draws), **analysis.intervals
        },
        "certificate": {
            "gradient_norm": fit.gradient_norm, "starts": fit.starts, "starts_at_optimum": fit.starts_at_optimum,
            "hessian_condition": fit.hessian_condition,
        },
        "residual_rms": float(np.sqrt(np.mean(fit.residuals**2))),
        "heldout": held and {
            "budget": held.budget, "reach": reach(analysis), "n_rows_fitted": held.fit.residuals.size,
            "predicted": held.predicted, "interval": held.interval, "measured": held.measured,
            "relative_error": held.relative_error, "inside": held.inside,
            "past_errors": held.past, "params": held.fit.params,
            "optimum": held.optimum, "runs": held.runs,
        },
        "backtest": analysis.backtest,
        "kaplan": {
            name: {"equation": one.law.equation, "params": one.params, "n_rows": one.residuals.size}
            for name, one in analysis.kaplan.items()
        },
        "gap": gaps(analysis),
        "warnings": analysis.warnings,
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("jax", "numpy")},
    }  # fmt: skip
    return _finite(plain)


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
        constants=constants(analysis),
        counts=COUNTS,
        figures={name: (figure, CAPTIONS[name].format(forecast=forecast)) for name, figure in figures.items()},
        gap=gap_sentence(analysis),
        certificate=certificate(analysis.fit),
        greek=GREEK,
        meaning=MEANING,
        published=PUBLISHED,
        reach=reach(analysis),
        run_table=run_table(analysis),
        executed=executed(analysis),
        versions=as_json(analysis)["versions"],
    )


def run_table(analysis: Analysis) -> list[dict[str, Any]]:
    """One entry per run, cheapest first: its record, its columns, and what the law leaves of it."""
    columns, residuals = analysis.columns, analysis.fit.residuals
    held = set() if analysis.heldout is None else {run["n"] * run["d"] for run in analysis.heldout.runs}
    order = np.lexsort((columns["n"], columns["budget"]))
    return [
        {
            "record": analysis.rows[i],
            **{name: float(v[i]) for name, v in columns.items()},
            "residual": float(np.expm1(residuals[i])),
            "held": columns["n"][i] * columns["d"][i] in held,
        }
        for i in order
    ]


def gaps(analysis: Analysis) -> dict[str, float] | None:
    """Held-out minus training loss, nats per token, over the runs that recorded both."""
    both = [r["loss"] - r["train_loss"] for r in analysis.rows if isinstance(r.get("train_loss"), int | float)]
    return {"mean": float(np.mean(both)), "worst": max(both), "runs": len(both)} if both else None


def executed(analysis: Analysis) -> tuple[float, float] | None:
    """Least and most FLOPs executed (attention and head included) per FLOP that 6 N D counts."""
    both = [row.get("flops_train") for row in analysis.rows]
    if not all(both):
        return None
    ratio = np.array(both, np.float64) / c_6nd(analysis.columns["n"], analysis.columns["d"])
    return float(ratio.min()), float(ratio.max())


def reach(analysis: Analysis) -> float | None:
    """How far the forecast went: the held-out budget over the largest one fitted."""
    held = analysis.heldout
    return held and float(held.budget / c_6nd(held.fit.columns["n"], held.fit.columns["d"]).max())


def sig(value: float | None, digits: int = 4) -> str:
    """`digits` significant figures; plain where a reader would write it plain."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        places = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
        return f"{value:,.{places}f}".replace("-", "−")
    return f"{value:.{digits - 1}e}".replace("-", "−").replace("+", "")


def formula(text: str) -> markupsafe.Markup:
    """x^α and x_N as HTML."""
    text = re.sub(r"_(\w)", r"<sub>\1</sub>", str(markupsafe.escape(text)))
    return markupsafe.Markup(re.sub(r"\^(\w+)(<sub>\w</sub>)?", r"<sup>\1\2</sup>", text))


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _finite(v) for name, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(v) for v in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
