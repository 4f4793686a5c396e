"""What every figure of a page shares: style, axes, legends, colours, and how it becomes SVG and PNG.

Object-oriented Matplotlib without global state.  An inlined SVG takes the page's text colour for its ink.
"""

import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from train.numbers import si

# Okabe & Ito's palette: distinct under every common colour blindness, readable on white and on near-black.
LAW, SECOND, HELDOUT = "#0072B2", "#009E73", "#D55E00"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#7F7F7F")  # and the rest of it
SOFT = "#7f8b97"  # readable on both
INK = "#1b1f24"  # of axes and text: `svg` replaces it by the page's own
MANY = 2_000  # points beyond which they are an image in the SVG
DRAWN = 600  # points of a line beyond which only its lowest and highest are drawn
WIDE = 10  # ratio of the values beyond which their axis is logarithmic
COLUMNS = 8  # entries beyond which a legend has three columns
# Perceptual maps, cut where they would be too dark for a dark page or too light for a white one.
FITTED = ListedColormap(colormaps["viridis"](np.linspace(0.22, 0.8, 256)))
LEFT_OUT = ListedColormap(colormaps["YlOrBr"](np.linspace(0.52, 0.86, 256)))
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


class Line(NamedTuple):
    """One curve.  x, y: float [points]; NaN leaves a gap.  Without a label it is in no legend."""

    x: np.ndarray
    y: np.ndarray
    colour: str
    label: str = ""
    dots: bool = False


def ramp(count: int, colours: ListedColormap = FITTED) -> list[str]:
    """`count` distinct colours in order of lightness."""
    if count == 1:
        return [HELDOUT if colours is LEFT_OUT else to_hex(colours(0.35))]
    return [to_hex(colours(at)) for at in np.linspace(0, 1, count)]


def canvas(x: str, y: str, log: bool = True) -> tuple[Figure, Axes]:
    """Axes of one figure; its text stays readable at a phone's width."""
    figure = Figure(figsize=(4.8, 3.9), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    if log:
        axes.set_xscale("log")
    return figure, axes


@rc_context(STYLE)
def curves(x: str, y: str, lines: Sequence[Line], log: bool = False, logx: bool = False) -> Figure:
    """Lines in one figure, `line-NUMBER` in its SVG; with `log`, y is logarithmic where it spans a decade."""
    figure, axes = canvas(x, plain(y), log=logx)
    figure.set_size_inches(4.8, 3.2)
    for index, line in enumerate(lines):
        seen = np.isfinite(line.x) & ((line.x > 0) | (not logx))
        at, values = thinned(line.x[seen], line.y[seen])
        marker = "o" if line.dots or np.isfinite(values).sum() < 2 else None
        style = {"marker": marker, "ms": 3.5, "lw": 1.5, "color": line.colour}
        axes.plot(at, values, label=line.label, gid=f"line-{index}", **style)
    every = np.concatenate([line.y[np.isfinite(line.y)] for line in lines] or [np.zeros(0)])
    if not every.size:
        axes.text(0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center")
    elif log and every.min() > 0 and every.max() > WIDE * every.min():
        axes.set_yscale("log")
    elif every.max() >= 1000:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: si(v)))
    if not logx:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: si(v)))
    finish(figure)
    return figure


def plain(name: str) -> str:
    """A name is no formula."""
    return name.replace("$", r"\$")


def thinned(x: np.ndarray, y: np.ndarray, most: int = DRAWN) -> tuple[np.ndarray, np.ndarray]:
    """[points] → of about `most` / 2 stretches the lowest, the highest and a gap: no spike is lost."""
    if x.size <= most:
        return x, y
    kept = {0, x.size - 1}
    for part in np.array_split(np.arange(x.size), most // 2):
        seen = np.isfinite(y[part])
        kept |= set(part[~seen][:1].tolist())
        if seen.any():
            kept |= {int(part[np.nanargmin(y[part])]), int(part[np.nanargmax(y[part])])}
    at = sorted(kept)
    return x[at], y[at]


def finish(figure: Figure, title: str | None = None) -> None:
    """Ticks for what was drawn, and a legend where it hides no run: below the axes."""
    axes = figure.axes[0]
    for scale, each, limits in (
        (axes.get_xscale(), axes.xaxis, axes.get_xlim()), (axes.get_yscale(), axes.yaxis, axes.get_ylim())
    ):  # fmt: skip
        if scale == "log":
            mark(each, *limits)
    entries = len(axes.get_legend_handles_labels()[0])
    if entries:
        columns = 3 if entries > COLUMNS else 2
        figure.legend(loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=1.6, title=title)


def mark(axis: Axis, low: float, high: float) -> None:
    """At most eight ticks from `low` to `high`, at powers of ten, and between them where there is room."""
    decades = math.log10(high / low)
    subs = (1.0, 2.0, 5.0) if decades < 2 else (1.0, 3.0) if decades < 4 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda v, _: si(v)))
    axis.set_minor_locator(NullLocator())  # the majors say enough, and every tick costs a millisecond


def colour_bar(figure: Figure, axes: Axes, values: np.ndarray, label: str) -> LogNorm:
    """A bar of colours for positive `values`; returns what turns a value into its place on it."""
    low, high = float(values.min()), float(values.max())
    norm = LogNorm(low / 1.01, high * 1.01)
    bar = figure.colorbar(ScalarMappable(norm, FITTED), ax=axes, label=label, aspect=30, pad=0.02)
    mark(bar.ax.yaxis, low, high)
    bar.outline.set_visible(False)
    return norm


def svg(figure: Figure, name: str) -> str:
    """SVG to inline: ids unique in the page by `name`, ink in the page's text colour, as wide as its column."""
    text = io.StringIO()
    figure.set_facecolor("none")  # the page shows through, light or dark
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter that Matplotlib's font lacks the page's has
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    body = text.getvalue()
    body = body[body.index("<svg") :].replace(INK, "currentColor")
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*" height="[^"]*"|<svg height="[^"]*" width="[^"]*"', r"<svg \1", body, count=1
    )


def png(figure: Figure) -> bytes:
    """The figure on white, for slides and papers."""
    image = io.BytesIO()
    figure.set_facecolor("white")
    figure.set_dpi(200)
    figure.set_layout_engine("none")  # it keeps its layout
    with rc_context(STYLE):
        FigureCanvasAgg(figure).print_png(image, pil_kwargs={"compress_level": 1})  # a third of the time
    return image.getvalue()


def stacked(drawn: Sequence[str], columns: int = 2) -> str:
    """Inlined SVGs of one size as one file on white."""
    width, height = (float(v) for v in re.findall(r'viewBox="0 0 (\S+) (\S+)"', drawn[0])[0])
    cells = [
        part.replace("<svg ", f'<svg x="{width * (i % columns)}" y="{height * (i // columns)}" '
                     f'width="{width}" height="{height}" ', 1)
        for i, part in enumerate(drawn)
    ]  # fmt: skip
    whole = f"0 0 {width * min(columns, len(drawn))} {height * -(-len(drawn) // columns)}"
    style = f"background: #ffffff; color: {INK}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{whole}" style="{style}">\n{"".join(cells)}</svg>\n'
