"""Writes an analysis down: report.html for people, fit.json for programs, runs.jsonl for whoever fits it again."""

import importlib.metadata
import json
import math
import pathlib
import platform
from typing import Any

import jinja2
import numpy as np

from scaling import plot
from scaling.analyse import Analysis
from scaling.laws import PUBLISHED
from scaling.records import COUNTS

GREEK = {"alpha": "α", "beta": "β", "alpha_N": "α_N", "alpha_D": "α_D"}
CAPTIONS = {
    "isoflop": "Loss against parameters at equal compute. Lines are the law{forecast}; rings mark the best run of each budget.",
    "compute": "The loss that compute buys{forecast}. The band is where one more run at the optimum should fall.",
    "optimum": "The best N and D for a budget, with all runs fitted. Diamonds are the best runs measured, open where held out.",
    "residuals": "What the law fitted to all runs leaves. A pattern, or one budget on one side, means the law is wrong here.",
}


def write(out: str | pathlib.Path, analysis: Analysis) -> None:
    """report.html (one self-contained file), fit.json, runs.jsonl and plots/*.{svg,png} in `out`."""
    out = pathlib.Path(out)
    (out / "plots").mkdir(parents=True, exist_ok=True)
    with (out / "runs.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in analysis.rows)
    (out / "fit.json").write_text(json.dumps(as_json(analysis), indent=1, allow_nan=False) + "\n")
    figures = plot.figures(analysis.columns, analysis.fit, analysis.draws, analysis.heldout, analysis.level)
    inline = {}
    for name, figure in figures.items():
        inline[name] = plot.svg(figure, name)
        (out / "plots" / f"{name}.svg").write_text(inline[name].replace("currentColor", plot.INK))
        plot.png(figure, out / "plots" / f"{name}.png")
    (out / "report.html").write_text(html(analysis, inline), encoding="utf-8")


def summary(analysis: Analysis, out: pathlib.Path | None = None) -> str:
    """A few lines for the terminal."""
    fit, held = analysis.fit, analysis.heldout
    lines = [f"{fit.law.equation}   {fit.residuals.size} runs, N = {analysis.count}, {analysis.level:.0%} intervals"]
    for name, value in constants(analysis).items():
        low, high = analysis.intervals[name]
        lines.append(f"  {GREEK.get(name, name):<4} {value:<10.4g} [{low:.4g}, {high:.4g}]")
    if held:
        low, high = held.interval
        lines.append(
            f"  held out {held.budget:.3g} FLOPs: predicted {held.predicted:.4f}, measured {held.measured:.4f} "
            f"({held.relative_error:+.2%}, {'inside' if held.inside else 'OUTSIDE'} [{low:.4f}, {high:.4f}])"
        )
    return "\n".join(lines + [f"  ! {sentence}" for sentence in analysis.warnings])


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
            "relative_error": held.relative_error, "inside": held.inside, "params": held.fit.params,
            "optimum": held.optimum, "runs": held.runs,
        },
        "backtest": analysis.backtest,
        "kaplan": {
            name: {"equation": one.law.equation, "params": one.params, "n_rows": one.residuals.size}
            for name, one in analysis.kaplan.items()
        },
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
        "si": plot.si,
        "percent": lambda x, digits=2: f"{x:+.{digits}%}".replace("-", "−"),
    }
    forecast = " fitted without the held-out budget" if analysis.heldout else ""
    return environment.get_template("report.html.jinja").render(
        a=analysis,
        constants=constants(analysis),
        counts=COUNTS,
        figures={name: (figure, CAPTIONS[name].format(forecast=forecast)) for name, figure in figures.items()},
        gap=gaps(analysis.rows),
        greek=GREEK,
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


def gaps(rows: list[dict[str, Any]]) -> dict[str, float] | None:
    """Validation minus training loss, over the runs that recorded both."""
    both = [row["loss"] - row["train_loss"] for row in rows if isinstance(row.get("train_loss"), float)]
    return {"mean": float(np.mean(both)), "worst": max(both), "runs": len(both)} if both else None


def executed(analysis: Analysis) -> tuple[float, float] | None:
    """Least and most FLOPs executed (attention and head included) per FLOP that 6 N D counts."""
    both = [row.get("flops_train") for row in analysis.rows]
    if not all(both):
        return None
    ratio = np.array(both, np.float64) / (6 * analysis.columns["n"] * analysis.columns["d"])
    return float(ratio.min()), float(ratio.max())


def reach(analysis: Analysis) -> float | None:
    """How far the forecast went: the held-out budget over the largest one fitted."""
    held = analysis.heldout
    return held and float(held.budget / (6 * held.fit.columns["n"] * held.fit.columns["d"]).max())


def sig(value: float | None, digits: int = 4) -> str:
    """`digits` significant figures; plain where a reader would write it plain."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        places = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
        return f"{value:,.{places}f}".replace("-", "−")
    return f"{value:.{digits - 1}e}".replace("-", "−").replace("+", "")


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _finite(v) for name, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(v) for v in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
