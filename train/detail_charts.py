"""Figures of a run's `scores.json`: who was taken for whom, how sure the network was, and residuals.  K classes."""

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from train import charts
from train.charts import FITTED, HELDOUT, INK, LAW, SOFT, STYLE, plain
from train.numbers import si

NAMED = 30  # classes, of more a matrix has no names
WRITTEN = 12  # classes, of more a matrix has no numbers
ON_LIGHT, ON_DARK = "#0c0f12", "#ffffff"  # on a cell's own colour, which no page changes


def figures(report: dict[str, Any]) -> list[str]:
    """SVGs to inline, those that the report has numbers for."""
    made = []
    if report.get("confusion"):
        made.append(confusion(np.array(report["confusion"]), [each["name"] for each in report["classes"]]))
    if report.get("reliability"):
        made.append(reliability(report["reliability"]))
    if report.get("residuals"):
        made += [scatter(report), histogram(report)]
    if report.get("root_mean_square_error_by_output"):
        made.append(by_output(report))
    return [charts.svg(figure, f"detail{i}") for i, figure in enumerate(made)]


@rc_context(STYLE)
def confusion(counts_KK: np.ndarray, names: list[str]) -> Figure:
    """Rows are the targets' classes, in shares of each."""
    K = len(counts_KK)
    figure, axes = charts.canvas("predicted", "target", log=False)
    share = counts_KK / np.maximum(counts_KK.sum(1, keepdims=True), 1)
    axes.grid(False)
    axes.pcolormesh(np.ma.masked_equal(share, 0), cmap=FITTED.reversed(), vmin=0, vmax=1, rasterized=K > NAMED)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    if K <= NAMED:
        short = [plain(name if len(name) < 13 else f"{name[:11]}…") for name in names]
        axes.set_xticks(np.arange(K) + 0.5, short, rotation=90, fontsize=8)
        axes.set_yticks(np.arange(K) + 0.5, short, fontsize=8)
    if K <= WRITTEN:
        for i, j in np.argwhere(counts_KK > 0):
            ink = ON_DARK if share[i, j] > 0.35 else ON_LIGHT
            axes.text(j + 0.5, i + 0.5, si(int(counts_KK[i, j])), ha="center", va="center", fontsize=7, color=ink)
    return figure


@rc_context(STYLE)
def reliability(bins: list[dict[str, Any]]) -> Figure:
    """How often the network is right where it is so sure; on the line it is as often right as it says."""
    figure, axes = charts.canvas("confidence", "accuracy", log=False)
    figure.set_size_inches(4.8, 3.6)
    seen = [each for each in bins if each["count"]]
    most = max(each["count"] for each in seen)
    axes.bar([each["low"] for each in bins], [each["count"] / most for each in bins], 1 / len(bins), align="edge",
             color=SOFT, alpha=0.35, label="how many (of the most)")  # fmt: skip
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls="--")
    axes.plot([each["confidence"] for each in seen], [each["accuracy"] for each in seen], "o-", color=LAW, ms=4,
              lw=1.5, label="accuracy")  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    charts.finish(figure)
    return figure


@rc_context(STYLE)
def scatter(report: dict[str, Any]) -> Figure:
    name = plain(report["of"]) if report["in_own_units"] else "standardised"
    since = " since the last value" if report["level"] == "last" else ""
    figure, axes = charts.canvas(f"target: {name}{since}", "prediction", log=False)
    figure.set_size_inches(4.8, 3.6)
    true, said = np.array(report["points"]).T
    axes.plot(true, said, "o", ms=3, alpha=0.5, color=LAW, mec="none")
    ends = [true.min(), true.max()]
    axes.plot(ends, ends, color=INK, lw=0.8, ls="--")
    return figure


@rc_context(STYLE)
def histogram(report: dict[str, Any]) -> Figure:
    figure, axes = charts.canvas("prediction - target", "how many", log=False)
    figure.set_size_inches(4.8, 3.6)
    edges, counts = np.array(report["residuals"]["edges"]), report["residuals"]["counts"]
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=LAW, alpha=0.7)
    axes.axvline(0, color=INK, lw=0.8, ls="--")
    return figure


def by_output(report: dict[str, Any]) -> Figure:
    values = np.array(report["root_mean_square_error_by_output"], float)
    line = charts.Line(np.arange(1, len(values) + 1), values, HELDOUT, dots=len(values) < 30)
    return charts.curves("output", "root mean square error", [line])
