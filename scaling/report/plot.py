"""The figures of a fit.  Object-oriented Matplotlib, no global state; ink takes the page's text colour when inlined."""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from scaling.counting import c_6nd
from scaling.fit.backtest import HORIZONS, Heldout, Window
from scaling.fit.estimate import Columns, Fit, predict
from scaling.fit.intervals import LEVEL, Draws, interval, predict_runs, scatter
from scaling.laws.optimum import optimum as optimum_of

# Okabe & Ito's palette, told apart by every common kind of colour blindness, and readable on white and on near-black.
LAW, SECOND, HELDOUT = "#0072B2", "#009E73", "#D55E00"
INK = "#1b1f24"  # of axes and text: `svg` hands it over to the page
BUDGETS = ("#4A7FB5", "#3FA7A0", "#7DB347", "#C9A227", "#B07AA1", "#8C8C8C")  # smaller to larger, held-out apart
MANY = 2_000  # points beyond which they are an image in the SVG
STYLE = {
    "svg.fonttype": "none",  # text stays text: selectable, and in the page's font
    "svg.hashsalt": "isoflop",  # the same figure gives the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.18,
    "legend.frameon": False,
    "legend.fontsize": 9,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}


def figures(
    columns: Columns,
    fit: Fit,
    draws: Draws,
    heldout: Heldout | None,
    level: float = LEVEL,
    windows: Sequence[Window] = (),
    minima: Sequence[tuple[float, float, float]] = (),
) -> dict[str, Figure]:
    """Name -> figure.  `minima` are (C, N, D) of the budgets' profiles; laws without an optimum get a curve instead."""
    with rc_context(STYLE):
        made = {}
        if fit.law.splits:
            if np.unique(columns["budget"]).size <= 12:
                made["isoflop"] = isoflop(columns, fit, heldout)
            made["compute"] = compute(columns, draws, heldout, level)
            made["optimum"] = optimum(columns, draws, heldout, level, minima)
        elif len(fit.law.inputs) == 1:
            made["curve"] = curve(columns, draws, heldout, level)
        if windows:
            made["forecasts"] = forecasts(windows)
        made["residuals"] = residuals(columns, fit, heldout)
    return made


def curve(columns: Columns, draws: Draws, heldout: Heldout | None, level: float = LEVEL) -> Figure:
    """The output against the law's one input, with the band in which one more run should fall."""
    draws = heldout.draws if heldout else draws
    law, name = draws.fit.law, draws.fit.law.inputs[0]
    figure, axes = _canvas(name.upper(), law.output)
    grid = np.geomspace(columns[name].min() / 1.3, columns[name].max() * 2, 80)
    low, high = np.transpose([interval(v, level) for v in predict_runs(draws, {name: grid}).T])
    axes.fill_between(grid, _smooth(low), _smooth(high), color=LAW, alpha=0.16, lw=0, label=f"{level:.0%} for one run")
    line = predict(law, draws.fit.theta, {name: grid})
    label = "law of the smaller runs" if heldout else "law"
    axes.plot(grid, law.natural(line), color=LAW, lw=1.8, label=label)
    held = np.isin(np.arange(columns[name].size), [run.row for run in heldout.runs] if heldout else [])
    left = columns[name][~held]
    axes.plot(left, columns[law.output][~held], "o", ms=4, rasterized=left.size > MANY, color=INK, alpha=0.5)
    if held.any():
        axes.plot(columns[name][held], columns[law.output][held], "D", ms=6, color=HELDOUT, label="held out")
    _legend(figure)
    return figure


def forecasts(windows: Sequence[Window]) -> Figure:
    """Signed error of every forecast of the expanding window against how far ahead it was made."""
    figure, axes = _canvas("reach: compute of the run over the largest fitted", "forecast above measured (%)")
    for i, window in enumerate(windows):
        colour = to_hex(BUDGETS[i * len(BUDGETS) // max(len(windows), len(BUDGETS))])
        for mask, fill in ((window.inside, colour), (~window.inside, "none")):
            axes.plot(window.reach[mask], 100 * window.error[mask], "o", ms=5, color=colour, mfc=fill)
        axes.plot([], [], "o", color=colour, label=f"fitted up to {si(window.cutoff)}")
    for horizon in HORIZONS.values():
        axes.axvline(horizon, color=INK, lw=0.6, ls=":")
    axes.axhline(0, color=INK, lw=1)
    _legend(figure)
    return figure


def isoflop(columns: Columns, fit: Fit, heldout: Heldout | None) -> Figure:
    """Loss against N, one curve per budget (Hoffmann et al. 2022, figure 3): forecast, not fit, where held out."""
    figure, axes = _canvas("parameters N", "loss (nats per token)")
    fit = heldout.fit if heldout else fit
    for budget, colour, held in _budgets(columns, heldout):
        rows = columns["budget"] == budget
        n, loss = columns["n"][rows], columns["loss"][rows]
        c = np.exp(np.log(c_6nd(n, columns["d"][rows])).mean())
        grid = np.geomspace(n.min() / 1.4, n.max() * 1.4, 100)
        axes.plot(grid, fit.law(fit.params, grid, c / (6 * grid)), color=colour, ls="--" if held else "-", lw=1.6)
        axes.plot(
            n,
            loss,
            "o",
            ms=5,
            rasterized=n.size > MANY,
            color=colour,
            label=f"{si(c)} FLOPs" + (", held out" if held else ""),
        )
        best = loss.argmin()
        axes.plot(n[best], loss[best], "o", ms=11, mfc="none", mec=colour, mew=1.5)
    _legend(figure)
    return figure


def compute(columns: Columns, draws: Draws, heldout: Heldout | None, level: float = LEVEL) -> Figure:
    """The loss that compute buys: L_opt(C), with the band in which one more run at the optimum should fall."""
    figure, axes = _canvas("compute C = 6 N D (FLOPs)", "loss (nats per token)")
    draws = heldout.draws if heldout else draws
    law, c = draws.fit.law, c_6nd(columns["n"], columns["d"])
    grid = np.geomspace(c.min() / 1.5, c.max() * 4, 80)
    losses = optimum_of(law, draws.theta[:, None], grid)["loss"]
    losses = law.response(losses)
    losses = law.natural(losses + scatter(draws.fit, np.random.default_rng(1), draws.scale, losses))
    low, high = np.transpose([interval(column, level) for column in losses.T])
    axes.fill_between(grid, _smooth(low), _smooth(high), color=LAW, alpha=0.16, lw=0, label=f"{level:.0%} for one run")
    label = "law of the smaller budgets" if heldout else "law"
    axes.plot(grid, optimum_of(law, draws.fit.theta, grid)["loss"], color=LAW, lw=1.8, label=label)
    axes.plot(c, columns["loss"], ".", ms=5, rasterized=c.size > MANY, color=INK, alpha=0.35)
    for budget, _, held in _budgets(columns, heldout):
        rows = np.flatnonzero(columns["budget"] == budget)
        best = rows[columns["loss"][rows].argmin()]
        label = "best run, held out" if held else "best run of a budget" if budget == columns["budget"].min() else None
        axes.plot(c[best], columns["loss"][best], "D", ms=7, color=HELDOUT if held else LAW, label=label)
    _legend(figure)
    return figure


def optimum(
    columns: Columns, draws: Draws, heldout: Heldout | None, level: float = LEVEL, minima: Sequence[Any] = ()
) -> Figure:
    """N_opt and D_opt against compute, all runs fitted; points are minima of the budgets' profiles, or best runs."""
    figure, axes = _canvas("compute C = 6 N D (FLOPs)", "parameters N, tokens D")
    law, c = draws.fit.law, c_6nd(columns["n"], columns["d"])
    grid = np.geomspace(c.min() / 1.5, c.max() * 4, 40)
    drawn, line = optimum_of(law, draws.theta[:, None], grid), optimum_of(law, draws.fit.theta, grid)
    for name, colour, label in (("n", LAW, "parameters N"), ("d", SECOND, "tokens D")):
        low, high = np.transpose([interval(column, level) for column in drawn[name].T])
        axes.fill_between(grid, low, high, color=colour, alpha=0.16, lw=0)
        axes.plot(grid, line[name], color=colour, lw=1.8, label=label)
        for at, n, d in minima:
            axes.plot(at, n if name == "n" else d, "s", ms=5, color=colour)
        for budget, _, held in _budgets(columns, heldout) if not minima else ():
            rows = np.flatnonzero(columns["budget"] == budget)
            best = rows[columns["loss"][rows].argmin()]
            axes.plot(c[best], columns[name][best], "D", ms=6, color=colour, mfc="none" if held else colour)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: si(v)))
    _legend(figure)
    return figure


def residuals(columns: Columns, fit: Fit, heldout: Heldout | None) -> Figure:
    """100 log(measured / fitted) against what was fitted: a law that fits leaves no shape here."""
    figure, axes = _canvas(f"{fit.law.output} fitted to all runs", "measured above fitted (%)", log=False)
    fitted = fit.law.natural(predict(fit.law, fit.theta, columns))
    for budget, colour, _ in _budgets(columns, heldout):
        rows = columns["budget"] == budget
        axes.plot(
            fitted[rows],
            100 * fit.relative[rows],
            "o",
            ms=5,
            rasterized=rows.sum() > MANY,
            color=colour,
            label=si(budget),
        )
    axes.axhline(0, color=INK, lw=1)
    if np.unique(columns["budget"]).size <= 8:
        _legend(figure)
    return figure


def svg(figure: Figure, name: str) -> str:
    """SVG to inline: ids unique in the page by `name`, ink in the page's text colour, as wide as its column."""
    text = io.StringIO()
    figure.set_facecolor("none")  # the page shows through, light or dark
    with rc_context(STYLE):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    body = text.getvalue()
    body = body[body.index("<svg") :].replace(INK, "currentColor")
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*" height="[^"]*"|<svg height="[^"]*" width="[^"]*"', r"<svg \1", body, count=1
    )


def png(figure: Figure, path: Any) -> None:
    figure.set_facecolor("white")
    with rc_context(STYLE):
        FigureCanvasAgg(figure).print_png(str(path))


def _canvas(x: str, y: str, log: bool = True) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.8, 3.9), dpi=200, layout="constrained")  # text stays readable at a phone's width
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: si(v)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    return figure, axes


def _legend(figure: Figure) -> None:
    """Below the axes, where it hides no run."""
    figure.legend(loc="outside lower center", ncols=2, columnspacing=1.2, handlelength=1.6)


def _budgets(columns: Columns, heldout: Heldout | None) -> list[tuple[float, str, bool]]:
    """(budget, colour, held out?) from the smallest."""
    known = np.unique(columns["budget"])
    fitted = np.unique(heldout.fit.columns["budget"]) if heldout else known
    colours = [to_hex(BUDGETS[i * len(BUDGETS) // max(known.size, len(BUDGETS))]) for i in range(known.size)]
    return [(b, c if b in fitted else HELDOUT, b not in fitted) for b, c in zip(known, colours, strict=True)]


def _smooth(edge: np.ndarray) -> np.ndarray:
    """A band's edge is one quantile per point, each with its own Monte-Carlo error: a cubic in log C takes it out."""
    x = np.linspace(-1, 1, edge.size)
    return np.polyval(np.polyfit(x, edge, 3), x)


def si(value: float) -> str:
    """1.2e10 as 12B and 1e18 as 1e18: counts in words, FLOPs as powers."""
    if value >= 1e13:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
