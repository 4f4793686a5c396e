"""Figures of a sweep's runs beside those of the law: training curves, and the loss of each learning rate."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.collections import LineCollection

from scaling.logs.training import Curve
from scaling.rates import Best
from scaling.report.plot import LISTED, Drawn
from train.charts import FITTED, INK, LAW, MANY, STYLE, canvas, colour_bar, finish, ramp
from train.numbers import si

NAMES = {"training", "rates"}


def figures(curves: Sequence[Curve], rates: Sequence[Best]) -> dict[str, Drawn]:
    """Name -> figure, of what there is."""
    with rc_context(STYLE):
        drawn = {"training": training(curves)} if curves else {}
        return drawn | ({"rates": learning_rates(rates)} if rates else {})


def training(curves: Sequence[Curve]) -> Drawn:
    """Loss of every run against the compute it had spent, coloured by N."""
    figure, axes = canvas("compute C = 6 N D (FLOPs)", "loss while training")
    n = np.array([curve.n for curve in curves])
    many = sum(curve.c.size for curve in curves) > MANY
    lines = [np.stack([curve.c, curve.loss], 1) for curve in curves]
    if np.unique(n).size > 1:
        colours = {"array": n, "cmap": FITTED, "norm": colour_bar(figure, axes, n, "parameters N")}
    else:
        colours = {"colors": LAW}
    axes.add_collection(LineCollection(lines, linewidths=1.0, alpha=0.8, rasterized=many, **colours))
    ends = np.array([(curve.c[-1], curve.loss[-1]) for curve in curves if curve.c.size])
    axes.plot(ends[:, 0], ends[:, 1], "o", ms=2.5, color=INK, alpha=0.5, mew=0)
    axes.autoscale_view()
    axes.set_yscale("log")
    finish(figure)
    caption = f"Training curves of {len(curves)} runs, a dot where each ends."
    return Drawn(figure, caption + " Colour is the number of parameters." * (np.unique(n).size > 1))


def learning_rates(found: Sequence[Best]) -> Drawn:
    """Loss against the rate, one line for each N and D; the best of each is ringed."""
    figure, axes = canvas("learning rate", "loss")
    known = sorted(found, key=lambda one: (one.n, one.d))
    sizes = np.unique([one.n for one in known])
    colours = dict(zip(sizes.tolist(), ramp(sizes.size), strict=True))
    several = sizes.size < len(known)
    for i, one in enumerate(known):
        label = si(one.n) if i == 0 or known[i - 1].n != one.n else "_"
        axes.plot(one.rates, one.losses, "o-", ms=3.5, lw=1.3, color=colours[one.n], label=label)
        axes.plot([one.lr], [one.losses.min()], "o", ms=10, mfc="none", mec=colours[one.n], mew=1.4)
    if sizes.size > LISTED:
        colour_bar(figure, axes, sizes, "parameters N")
        for line in axes.get_lines():
            line.set_label("_")
    finish(figure, "parameters N")
    each = "each N and D" if several else "each N"
    return Drawn(figure, f"Loss against learning rate, one line for {each}. Rings mark the best rate that was tried.")
