"""PNG of what a network makes: pictures in a grid, points in a plane.  H height, W width, C channels."""

import io
import math

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from train.charts import LAW, STYLE, png
from train.overlays import image_of

GAP = 2  # white pixels between pictures
LEAST = 96  # pixels of a picture's side, at least: small ones are enlarged by a whole number
DRAWN = 2_000  # points


def grid(records: np.ndarray, columns: int) -> np.ndarray:
    """Pictures [N, H, W, C] -> one picture [rows (H + GAP) + GAP, columns (W + GAP) + GAP, 3] in [0, 1], row by row."""
    count, height, width, _ = records.shape
    rows = math.ceil(count / columns)
    sheet = np.ones((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), np.float32)
    for i, picture in enumerate(np.clip(records, 0, 1)):
        top, left = (GAP + i // columns * (height + GAP)), (GAP + i % columns * (width + GAP))
        sheet[top : top + height, left : left + width] = image_of(picture)
    return sheet


def of_pictures(records: np.ndarray, columns: int) -> bytes:
    """PNG of pictures [N, H, W, C] with pixels in [0, 1]."""
    enlarged = max(1, LEAST // max(records.shape[1:3]))
    made = io.BytesIO()
    imsave(made, grid(records, columns).repeat(enlarged, 0).repeat(enlarged, 1), format="png")
    return made.getvalue()


@rc_context(STYLE)
def of_points(points_N2: np.ndarray) -> bytes:
    """PNG of points in a plane."""
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_aspect("equal")
    axes.scatter(*points_N2[:DRAWN].T, s=6, lw=0, color=LAW, alpha=0.5)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # which lays it out
    return png(figure)
