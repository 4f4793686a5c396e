"""Pictures of a held-out split with what a network says drawn over them: classes of pixels, or boxes.

H height, W width, C channels, K classes, M slots for objects.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from data.source import Batch
from train.charts import PALETTE, STYLE, plain, png
from train.predictions import Boxes

COLUMNS = 4
VEIL = 0.55  # of a class over its pixels


@rc_context(STYLE)
def pictures(truth: Batch, shown: Mapping[str, np.ndarray], names: Sequence[str]) -> bytes:
    """PNG of the first records: `truth` is their batch, `shown` what train/details.py keeps of the prediction."""
    images = [image_of(x) for x in truth["x"]]
    is_boxes = "corners" in shown
    rows = math.ceil(len(images) / COLUMNS) * (1 if is_boxes else 2)
    figure = Figure(figsize=(1.7 * COLUMNS, 1.85 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for each in axes.flat:
        each.set_axis_off()
    for i, image in enumerate(images):
        if is_boxes:
            boxes_on(axes[i // COLUMNS, i % COLUMNS], image, truth, shown, names, i)
            continue
        guess = shown["guess"][i]
        size = guess.shape
        for row, (title, classes) in enumerate((("target", truth["y"][i]), ("prediction", guess))):
            place = axes[2 * (i // COLUMNS) + row, i % COLUMNS]
            grey = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1)  # under the colours of classes
            place.imshow(veiled(middle(grey, *size), middle(classes, *size)))
            place.set_title(title, fontsize=7)
    handles = [Patch(color=colour(k), label=plain(name)) for k, name in enumerate(names) if k or is_boxes]
    figure.legend(handles=handles[:20], loc="outside lower center", ncols=6)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # which lays it out
    return png(figure)


def middle(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """The part of an image that a network without padding tells of (models/unet.py)."""
    top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
    return x[top : top + height, left : left + width]


def image_of(x_HWC: np.ndarray) -> np.ndarray:
    """RGB in [0, 1] of pixels in [0, 1]; of others their range is stretched to it."""
    x = np.asarray(x_HWC, np.float32)
    x = np.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x[..., :3]
    if x.shape[-1] < 3:
        x = np.pad(x, ((0, 0), (0, 0), (0, 3 - x.shape[-1])))
    low, high = float(x.min()), float(x.max())
    return x if low >= 0 and high <= 1 else (x - low) / ((high - low) or 1)


def colour(k: int) -> str:
    return PALETTE[k % len(PALETTE)]


def veiled(image_HW3: np.ndarray, classes_HW: np.ndarray) -> np.ndarray:
    """Every class but 0, the background, in its colour over the image."""
    table = np.array(
        [[int(colour(k)[i : i + 2], 16) / 255 for i in (1, 3, 5)] for k in range(int(classes_HW.max()) + 1)]
    )
    veil = VEIL * (classes_HW > 0)[..., None]
    return (1 - veil) * image_HW3 + veil * table[classes_HW]


def boxes_on(place: Axes, image: np.ndarray, truth: Batch, shown: Mapping[str, np.ndarray], names, i: int) -> None:
    """Targets dashed in white, predictions in the colours of their classes, with their scores."""
    height, width, _ = image.shape
    place.imshow(image, extent=(0, width, height, 0))
    corners = lambda box: ((box[0] * width, box[1] * height), (box[2] - box[0]) * width, (box[3] - box[1]) * height)
    for box, present in zip(truth["boxes"][i], truth["present"][i], strict=True):
        if present > 0:
            place.add_patch(Rectangle(*corners(box), fill=False, ls=(0, (3, 2)), lw=1.2, ec="white"))
    for found in Boxes(shown["corners"], shown["scores"], tuple(names)).objects(
        shown["corners"][i], shown["scores"][i]
    ):
        ink = colour(list(names).index(found["class"]))
        place.add_patch(Rectangle(*corners(found["box"]), fill=False, lw=1.4, ec=ink))
        left, top = found["box"][0] * width, found["box"][1] * height
        place.text(left, top, f"{found['score']:.2f}", fontsize=5, color="white", va="bottom", clip_on=True,
                   bbox={"facecolor": ink, "edgecolor": "none", "pad": 0.6})  # fmt: skip
    place.set_xlim(0, width)
    place.set_ylim(height, 0)
