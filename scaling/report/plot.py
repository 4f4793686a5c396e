"""The figures of a fit, each with its caption, made by the code that draws it: it names only marks that are there."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scaling import budgets
from scaling.approaches import Marks
from scaling.counting import c_6nd
from scaling.fit.backtest import HORIZONS, Heldout, Window, axis
from scaling.fit.estimate import Columns, Fit, predict
from scaling.fit.intervals import LEVEL, Draws, interval, predict_runs, scatter
from scaling.laws.api import Law
from scaling.laws.optimum import optimum as optimum_of
from train.charts import (
    FITTED,
    HELDOUT,
    INK,
    LAW,
    LEFT_OUT,
    MANY,
    SECOND,
    STYLE,
    canvas,
    colour_bar,
    finish,
    ramp,
)  # fmt: skip
from train.numbers import digits, si

AMOUNTS = {"n": "parameters N", "d": "tokens D", "c": "compute C (FLOPs)"}
NAMES = {"isoflop", "runs", "compute", "optimum", "curve", "forecasts", "residuals"}
LISTED = 15  # budgets beyond which a bar of colours takes the place of the legend
SHOWN = 50_000  # runs that a figure draws: more hide each other, and a million take seconds
OUTERMOST = 100  # at each end, that are drawn too
SIGNS = {
    "s": "Squares",
    "^": "Triangles",
    "P": "Crosses",
    "v": "Triangles on their tips",
    "p": "Pentagons",
}  # of the marks of approaches, in their order
SAME = 1.2  # ratio of D/N up to which all runs have one shape, so that their size tells more


class Drawn(NamedTuple):
    figure: Figure
    caption: str


class Budget(NamedTuple):
    """The runs of one budget, and how they are drawn."""

    c: float  # FLOPs: geometric mean of the runs; the budget's own value for laws without compute
    rows: np.ndarray  # indices into the columns
    colour: str
    held: bool  # was it left out of the forecast's fit?
    label: str


def figures(
    columns: Columns,
    fit: Fit,
    draws: Draws,
    heldout: Heldout | None,
    level: float = LEVEL,
    windows: Sequence[Window] = (),
    marks: Sequence[Marks] = (),
) -> dict[str, Drawn]:
    """Name -> figure.  `marks` are of the approaches; laws without an optimum get a curve instead."""
    with rc_context(STYLE):
        drawn = {}
        if fit.law.splits:
            if budgets.is_sweep(columns):
                drawn["isoflop"] = isoflop(columns, fit, heldout)
            else:
                drawn["runs"] = runs(columns, heldout)
            drawn["compute"] = compute(columns, draws, heldout, level)
            c = c_6nd(columns["n"], columns["d"])
            if np.isfinite(
                optimum_of(fit.law, fit.theta, np.array([c.min(), c.max()]))["n"]
            ).any():  # else there is no curve
                drawn["optimum"] = optimum(columns, draws, heldout, level, marks)
        elif len(fit.law.inputs) == 1:
            drawn["curve"] = curve(columns, draws, heldout, level)
        if windows:
            drawn["forecasts"] = forecasts(windows)
        drawn["residuals"] = residuals(columns, fit, heldout)
    return drawn


def curve(columns: Columns, draws: Draws, heldout: Heldout | None, level: float = LEVEL) -> Drawn:
    """The output against the law's one input, with the band in which one more run should fall."""
    draws = heldout.draws if heldout else draws
    law, name = draws.fit.law, draws.fit.law.inputs[0]
    figure, axes = canvas(amount(law), law.output)
    grid = np.geomspace(columns[name].min() / 1.3, columns[name].max() * 2, 80)
    low, high = np.transpose([interval(v, level) for v in predict_runs(draws, {name: grid}).T])
    axes.fill_between(grid, _smooth(low), _smooth(high), color=LAW, alpha=0.16, lw=0, label=f"{level:.0%} for one run")
    line = predict(law, draws.fit.theta, {name: grid})
    axes.plot(grid, law.natural(line), color=LAW, lw=1.8, label="law of the smaller runs" if heldout else "law")
    held, drawn = _left_out(columns, heldout), _drawn(columns[name], columns[law.output])
    dots, left = ~held & drawn, held & drawn
    _dots(axes, columns[name][dots], columns[law.output][dots])
    if held.any():
        axes.plot(columns[name][left], columns[law.output][left], "D", ms=6, color=HELDOUT, label="held out")
    finish(figure)
    caption = f"Measured runs and the law{_forecast(heldout)}. The band is where one more run should fall."
    return Drawn(figure, caption + _sample(drawn))


def forecasts(windows: Sequence[Window]) -> Drawn:
    """Signed error of every forecast of the expanding window against how far ahead it was made."""
    figure, axes = canvas("reach: compute of the run over the largest fitted", "forecast above measured (%)")
    for window, colour in zip(windows, ramp(len(windows)), strict=True):
        for mask, fill in ((window.inside, colour), (~window.inside, "none")):
            axes.plot(window.reach[mask], 100 * window.error[mask], "o", ms=5, color=colour, mfc=fill)
        axes.plot([], [], "o", color=colour, label=si(window.cutoff))
    for horizon in HORIZONS.values():
        axes.axvline(horizon, color=INK, lw=0.6, ls=":")
    axes.axhline(0, color=INK, lw=1)
    finish(figure, "fitted up to")
    caption = (
        f"Errors of forecasts of runs the law had not seen, fitted to the smaller runs at each cutoff. Dotted lines: "
        f"{', '.join(HORIZONS)} ahead."
    )
    if not all(window.inside.all() for window in windows):
        caption += " Open circles lie outside their interval."
    return Drawn(figure, caption)


def isoflop(columns: Columns, fit: Fit, heldout: Heldout | None) -> Drawn:
    """Loss against N, one curve per budget (Hoffmann et al. 2022, figure 3): forecast, not fit, where held out."""
    figure, axes = canvas("parameters N", "loss (nats per token)")
    fit = heldout.fit if heldout else fit
    known, rings, drawn = _budgets(columns, heldout), 0, _drawn(columns["n"], columns["loss"])
    for budget in known:
        n, loss, dots = (v[budget.rows] for v in (columns["n"], columns["loss"], drawn))
        grid = np.geomspace(n.min() / 1.4, n.max() * 1.4, 100)
        line = fit.law(fit.params, grid, budget.c / (6 * grid))
        axes.plot(grid, line, color=budget.colour, ls="--" if budget.held else "-", lw=1.6)
        marker = {"marker": "D", "ms": 5} if budget.held else {"marker": "o", "ms": 5}
        axes.plot(
            n[dots], loss[dots], ls="", color=budget.colour, label=budget.label, rasterized=n.size > MANY, **marker
        )
        if budgets.is_profile(n, columns["d"][budget.rows]):
            best, rings = loss.argmin(), rings + 1
            axes.plot(n[best], loss[best], "o", ms=11, mfc="none", mec=budget.colour, mew=1.5)
    _key(figure, axes, known, "budget (FLOPs)")
    caption = f"Loss against parameters at equal compute, one colour per budget. Lines are the law{_forecast(heldout)}."
    if any(budget.held for budget in known):
        caption += " Dashed lines and diamonds are held out."
    return Drawn(figure, caption + " Rings mark the best run of a budget." * (rings > 0) + _sample(drawn))


def runs(columns: Columns, heldout: Heldout | None) -> Drawn:
    """Loss against compute of runs that were not made budget by budget, coloured by D/N, or by N where D/N is one."""
    figure, axes = canvas("compute C = 6 N D (FLOPs)", "loss (nats per token)")
    c, ratio = c_6nd(columns["n"], columns["d"]), columns["d"] / columns["n"]
    shapes = ratio.max() > SAME * ratio.min()
    shade, label = (ratio, "tokens per parameter D/N") if shapes else (columns["n"], "parameters N")
    _shaded(figure, axes, c, columns["loss"], shade, label, _left_out(columns, heldout))
    what = "how many tokens a parameter was trained on" if shapes else "the number of parameters"
    caption = f"The runs; they were not made budget by budget, so no isoFLOP curves are drawn. Colour is {what}."
    caption += " Orange diamonds are held out." * bool(_left_out(columns, heldout).any())
    return Drawn(figure, caption + _sample(_drawn(c, columns["loss"])))


def compute(columns: Columns, draws: Draws, heldout: Heldout | None, level: float = LEVEL) -> Drawn:
    """The loss that compute buys: L_opt(C), with the band in which one more run at the optimum should fall."""
    figure, axes = canvas("compute C = 6 N D (FLOPs)", "loss (nats per token)")
    draws = heldout.draws if heldout else draws
    law, c = draws.fit.law, c_6nd(columns["n"], columns["d"])
    grid = np.geomspace(c.min() / 1.5, c.max() * 4, 80)
    losses = optimum_of(law, draws.theta[:, None], grid)["loss"]
    losses = law.response(losses)
    losses = law.natural(losses + scatter(draws.fit, np.random.default_rng(1), draws.scale, losses))
    low, high = np.transpose([interval(column, level) for column in losses.T])
    axes.fill_between(grid, _smooth(low), _smooth(high), color=LAW, alpha=0.16, lw=0, label=f"{level:.0%} for one run")
    label = "law of the smaller runs" if heldout else "law"
    axes.plot(grid, optimum_of(law, draws.fit.theta, grid)["loss"], color=LAW, lw=1.8, label=label)
    held = _left_out(columns, heldout)
    sweep = budgets.is_sweep(columns)
    drawn = _drawn(c, columns["loss"])
    dots, left_out = (~held | sweep) & drawn, held & drawn
    _dots(axes, c[dots], columns["loss"][dots])
    if sweep:
        best, left = _best(columns, held)
        axes.plot(c[best], columns["loss"][best], "D", ms=7, color=LAW, label="best run of a budget")
        if left:
            axes.plot(c[left], columns["loss"][left], "D", ms=7, color=HELDOUT, label="best run, held out")
    elif held.any():
        axes.plot(c[left_out], columns["loss"][left_out], "D", ms=5, color=HELDOUT, label="held out")
    finish(figure)
    caption = (
        f"The loss that compute buys at the best split, law{_forecast(heldout)}. The band is where one more run at the "
        f"optimum should fall."
    )
    return Drawn(figure, caption + _sample(drawn))


def optimum(
    columns: Columns, draws: Draws, heldout: Heldout | None, level: float = LEVEL,
    marks: Sequence[Marks] = (),
) -> Drawn:  # fmt: skip
    """N_opt and D_opt against compute, all runs fitted; points are the marks of the approaches, or best runs."""
    figure, axes = canvas("compute C = 6 N D (FLOPs)", "parameters N, tokens D")
    law, c = draws.fit.law, c_6nd(columns["n"], columns["d"])
    grid = np.geomspace(c.min() / 1.5, c.max() * 4, 40)
    drawn, line = optimum_of(law, draws.theta[:, None], grid), optimum_of(law, draws.fit.theta, grid)
    sweep = budgets.is_sweep(columns)
    best, left = _best(columns, _left_out(columns, heldout)) if sweep and not marks else ([], [])
    for name, colour, label in (("n", LAW, "parameters N"), ("d", SECOND, "tokens D")):
        low, high = np.transpose([interval(column, level) for column in drawn[name].T])
        axes.fill_between(grid, low, high, color=colour, alpha=0.16, lw=0)
        axes.plot(grid, line[name], color=colour, lw=1.8, label=label)
        for sign, mark in zip(SIGNS, marks, strict=False):
            c_K, n_K, d_K = np.transpose(mark.points)
            axes.plot(c_K, n_K if name == "n" else d_K, sign, ms=5, color=colour)
        axes.plot(c[best], columns[name][best], "D", ms=6, color=colour)
        axes.plot(c[left], columns[name][left], "D", ms=6, color=colour, mfc="none")
    axes.set_yscale("log")
    finish(figure)
    caption = f"The best N and D for a budget, all runs fitted, with {level:.0%} bands of the law's own curve."
    caption += "".join(f" {sign} are {mark.text}." for sign, mark in zip(SIGNS.values(), marks, strict=False))
    if best or left:
        caption += f" Diamonds are the best runs of the budgets{', open where held out' if left else ''}."
    return Drawn(figure, caption)


def residuals(columns: Columns, fit: Fit, heldout: Heldout | None) -> Drawn:
    """Measured above fitted in percent against what was fitted: a law that fits leaves no shape here."""
    figure, axes = canvas(f"{fit.law.output} fitted to all runs", "measured above fitted (%)", log=False)
    fitted = fit.law.natural(predict(fit.law, fit.theta, columns))
    held = _left_out(columns, heldout)
    sweep = fit.law.trades and budgets.is_sweep(columns)
    relative = fit.relative
    drawn = _drawn(fitted, relative)
    if sweep:
        known = _budgets(columns, heldout)
        for budget in known:
            rows = budget.rows[drawn[budget.rows]]
            axes.plot(
                fitted[rows], 100 * relative[rows], "D" if budget.held else "o", ms=5, color=budget.colour,
                label=budget.label, rasterized=budget.rows.size > MANY,
            )  # fmt: skip
        _key(figure, axes, known, "budget (FLOPs)")
    else:
        label = amount(fit.law)
        _shaded(figure, axes, fitted, 100 * relative, axis(fit.law, columns), label, held)
    axes.axhline(0, color=INK, lw=1)
    pattern = "A pattern, or one budget on one side," if sweep else "A pattern"
    caption = f"What the law of all runs leaves. {pattern} means the law is wrong here."
    return Drawn(figure, caption + " Diamonds are held out of the forecast's fit." * bool(held.any()) + _sample(drawn))


def amount(law: Law) -> str:
    """What runs are ordered by, for an axis."""
    return "compute C = 6 N D (FLOPs)" if law.trades else AMOUNTS.get(law.inputs[0], law.inputs[0].upper())


def _budgets(columns: Columns, heldout: Heldout | None) -> list[Budget]:
    """From the smallest: a colour each, in order; those held out in colours of their own."""
    values, held = np.unique(columns["budget"]), _left_out(columns, heldout)
    rows = [np.flatnonzero(columns["budget"] == value) for value in values]
    left = [bool(held[at].any()) for at in rows]
    fitted, out = iter(ramp(len(left) - sum(left))), iter(ramp(sum(left), LEFT_OUT))
    c = [float(np.exp(np.log(c_6nd(columns["n"][at], columns["d"][at])).mean())) for at in rows]
    labels = [si(value) for value in c]
    if len(set(labels)) < len(labels):
        labels = [digits(value, 4) for value in c]
    return [
        Budget(c[i], rows[i], next(out if left[i] else fitted), left[i], labels[i] + ", held out" * left[i])
        for i in range(len(rows))
    ]


def _left_out(columns: Columns, heldout: Heldout | None) -> np.ndarray:
    """bool [rows]: those of budgets that the forecast was not fitted to."""
    if heldout is None:
        return np.zeros(np.size(columns["budget"]), bool)
    return ~np.isin(columns["budget"], heldout.fit.columns["budget"])


def _best(columns: Columns, held: np.ndarray) -> tuple[list[int], list[int]]:
    """The runs of least loss of the budgets that are profiles: of those fitted, and of those held out."""
    best = [int(rows[columns["loss"][rows].argmin()]) for rows in budgets.profile_rows(columns)]
    return [i for i in best if not held[i]], [i for i in best if held[i]]


def _key(figure: Figure, axes: Axes, known: list[Budget], title: str) -> None:
    """Which colour is which budget: a legend, or a bar of colours where a legend would be too long."""
    if len(known) > LISTED:
        colour_bar(figure, axes, np.array([budget.c for budget in known if not budget.held]), title)
        for handle in axes.get_lines():
            handle.set_label("_")  # of no legend
    finish(figure, title)


def _shaded(
    figure: Figure, axes: Axes, x: np.ndarray, y: np.ndarray, shade: np.ndarray, label: str, held: np.ndarray
) -> None:
    """Runs [rows] coloured by `shade`; those held out are orange diamonds."""
    drawn = _drawn(x, y)
    dots, left = ~held & drawn, held & drawn
    if (shade > 0).all() and shade.max() > shade.min():
        norm = colour_bar(figure, axes, shade, label)
        axes.scatter(
            x[dots], y[dots], c=shade[dots], cmap=FITTED, norm=norm, s=20, linewidths=0, rasterized=x.size > MANY
        )
    else:
        axes.plot(x[dots], y[dots], "o", ms=4.5, color=LAW, rasterized=x.size > MANY)
    if held.any():
        axes.plot(x[left], y[left], "D", ms=5, color=HELDOUT, rasterized=x.size > MANY, label="held out")
    finish(figure)


def _drawn(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool [rows]: the runs that a figure draws; of very many a sample, and those outermost along x and along y."""
    if x.size <= SHOWN:
        return np.ones(x.size, bool)
    drawn = np.zeros(x.size, bool)
    drawn[np.random.default_rng(0).choice(x.size, SHOWN, replace=False)] = True
    for values in (x, y):
        order = np.argpartition(values, (OUTERMOST, x.size - OUTERMOST))
        drawn[order[:OUTERMOST]] = drawn[order[-OUTERMOST:]] = True
    return drawn


def _sample(drawn: np.ndarray) -> str:
    """The sentence of a caption where not all runs are drawn; else ""."""
    if drawn.all():
        return ""
    return f" Of {drawn.size:,} runs {drawn.sum():,} are drawn: a sample, and the outermost."


def _dots(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    axes.plot(x, y, "o", ms=3, color=INK, alpha=0.4, mew=0, rasterized=x.size > MANY)


def _forecast(heldout: Heldout | None) -> str:
    return " fitted without the held-out runs" if heldout else ""


def _smooth(edge: np.ndarray) -> np.ndarray:
    """A band's edge is one quantile per point, each with its own Monte-Carlo error: a cubic in log C takes it out."""
    x = np.linspace(-1, 1, edge.size)
    return np.polyval(np.polyfit(x, edge, 3), x)
