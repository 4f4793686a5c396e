"""What is no mean over records, by what a task predicts: confusions, calibration, residuals, average precision.

A prediction and its batch give sums and a few values of each record, on the device (`tally`); those of all batches give
numbers and tables, on the host (`summary`).  It asks for the kind of prediction, so that a task that has `predict` has
all of this.  B batch, N what is counted (inputs, tokens or pixels), K classes, P boxes, M slots, L labels, T frames.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data.source import Dataset
from models.unet import centre
from train.detection import average_precision, iou_of_all
from train.predictions import MANY, TOP, Boxes, Classes, Labels, Numbers, Prediction
from train.tasks.transcribe import edit_distance

BINS = 15  # of confidence (Guo et al. 2017)
CONFUSED = 100  # classes, of more no matrix is kept
EACH = 64  # numbers of a record that are kept one by one
KEPT = 100_000  # residuals of which quantiles are told
POINTS = 400  # pairs of target and prediction that are drawn
SHOWN = 8  # records whose pictures are drawn
OVERLAP = 0.5  # IoU from which on a box is right (PASCAL VOC)

Report = dict[str, Any]  # JSON: "numbers" of the whole, and tables


class Tally(NamedTuple):
    """Of one batch."""

    sums: dict[str, Any]
    each: dict[str, Any]  # a value for each record; `counts` says which of them do
    shown: dict[str, Any]  # of the first records


def tally(prediction: Prediction, batch: Mapping[str, Any]) -> Tally:
    """On the device; `batch` as `data.pipeline.eval_batches` makes it, its inputs left out."""
    made = KINDS[type(prediction)].tally(prediction, batch)
    mask = batch["mask"]
    return made._replace(each={**made.each, "counts": (mask > 0).reshape(len(mask), -1).any(1)})


def summary(kind: type, tallies: Sequence[Tally], dataset: Dataset, names: Sequence[str]) -> Report:
    """On the host; `names` are those of the classes."""
    sums = {name: sum(np.asarray(t.sums[name], np.float64) for t in tallies) for name in tallies[0].sums}
    each = {
        name: np.concatenate([np.asarray(t.each[name])[t.each["counts"]] for t in tallies]) for name in tallies[0].each
    }
    return {"kind": KINDS[kind].name, "records": len(each["counts"]), **KINDS[kind].summary(sums, each, dataset, names)}


def measured(prediction: Any, batch: Mapping[str, Any]) -> bool:
    """Whether there is something to set the prediction beside."""
    needs = ("y", "boxes", "present") if isinstance(prediction, Boxes) else ("y",)
    return type(prediction) in KINDS and all(name in batch for name in needs)


# Classes.


def tally_classes(said: Classes, batch: Mapping[str, Any]) -> Tally:
    """Of inputs, tokens or pixels: who was taken for whom, and how sure the network was."""
    p, y, mask = said.probabilities, batch["y"], batch["mask"]
    middle = lambda pixels: centre(pixels, *p.shape[1:3]) if p.ndim == 4 and pixels.ndim == 3 else pixels
    y, mask = middle(y), middle(mask)
    y = y.argmax(-1) if jnp.issubdtype(y.dtype, jnp.floating) and y.ndim == p.ndim else y.astype(jnp.int32)
    K, guess = p.shape[-1], p.argmax(-1)
    counts = jnp.broadcast_to((mask > 0).reshape(*mask.shape, *[1] * (y.ndim - mask.ndim)), y.shape)
    counts_N, y_N, guess_N, p_NK = counts.reshape(-1), y.reshape(-1), guess.reshape(-1), p.reshape(-1, K)
    one_N, right_N = counts_N.astype(jnp.int32), (guess_N == y_N) & counts_N
    count = lambda index_N, size: jnp.zeros(size, jnp.int32).at[index_N].add(one_N)
    if K <= CONFUSED:
        sums = {"confusion": count(y_N * K + guess_N, K * K).reshape(K, K)}
    else:
        right = jnp.zeros(K, jnp.int32).at[y_N].add(right_N.astype(jnp.int32))
        sums = {"true": count(y_N, K), "said": count(guess_N, K), "right": right}
    if K > MANY:
        own_N1 = jnp.take_along_axis(p_NK, y_N[:, None], 1)
        before_NK = (p_NK > own_N1) | ((p_NK == own_N1) & (jnp.arange(K)[None] < y_N[:, None]))
        sums["top"] = ((before_NK.sum(-1) < TOP) & counts_N).sum()
    sure_N = p_NK.max(-1)
    of_bin_NJ = (jnp.floor(sure_N * BINS).clip(0, BINS - 1)[:, None] == jnp.arange(BINS)[None]) & counts_N[:, None]
    sums["bin_count"] = of_bin_NJ.sum(0)
    sums["bin_right"] = (of_bin_NJ & right_N[:, None]).sum(0)
    sums["bin_sure"] = jnp.where(of_bin_NJ, sure_N[:, None], 0).sum(0)
    return Tally(sums, {}, {"guess": guess[:SHOWN]} if p.ndim == 4 else {})


def summary_classes(sums: dict, each: dict, dataset: Dataset, names: Sequence[str]) -> Report:
    if "confusion" in sums:
        counts_KK = sums["confusion"]
        true, said, right = counts_KK.sum(1), counts_KK.sum(0), np.diag(counts_KK)
    else:
        true, said, right = sums["true"], sums["said"], sums["right"]
    total, seen = true.sum(), true > 0
    accuracy = ratio(right, true)
    numbers = {"accuracy": right.sum() / total, "balanced_accuracy": accuracy[seen].mean()}
    numbers["lowest_class_accuracy"] = accuracy[seen].min()
    if "top" in sums:
        numbers["top_5_accuracy"] = sums["top"] / total
    count, sure, hit = sums["bin_count"], sums["bin_sure"], sums["bin_right"]
    report: Report = {
        "numbers": {name: float(value) for name, value in numbers.items()},
        "classes": [
            {"name": name, "count": int(n), "said": int(s), "accuracy": float(a), "precision": float(p)}
            for name, n, s, a, p in zip(names, true, said, accuracy, ratio(right, said), strict=True)
        ],
    }
    if "confusion" in sums:
        report["confusion"] = sums["confusion"].astype(int).tolist()
    if not np.isclose(sure.sum(), total, rtol=1e-6, atol=0):  # else every guess is certain, by rule
        report["numbers"]["expected_calibration_error"] = calibration_error(count, sure, hit)
        edges = np.arange(BINS + 1) / BINS
        report["reliability"] = [
            {"low": a, "high": b, "count": int(n), "confidence": float(c), "accuracy": float(r)}
            for a, b, n, c, r in zip(edges, edges[1:], count, ratio(sure, count), ratio(hit, count), strict=False)
        ]
    return report


def calibration_error(count: np.ndarray, sure: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error Σ |right - sure| / N, sums of each bin of confidence (Guo et al. 2017, equation 5)."""
    return float(np.abs(right - sure).sum() / count.sum())


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(a, np.float64) / b


# Numbers.


def tally_numbers(said: Numbers, batch: Mapping[str, Any]) -> Tally:
    """Residuals: prediction - target, as the network has them."""
    values, y, mask = said.values, batch["y"].astype(jnp.float32), batch["mask"]
    counts = jnp.broadcast_to((mask > 0).reshape(*mask.shape, *[1] * (y.ndim - mask.ndim)), y.shape)
    zero = lambda x: jnp.where(counts, x, 0)
    residual, flat = values - y, (len(y), -1)
    of_output = lambda x: zero(x).reshape(flat).sum(0)[:EACH]
    sums = {"count": counts.sum(), "y": zero(y).sum(), "y2": zero(y**2).sum(), "residual": zero(residual).sum()}
    sums |= {"absolute": zero(jnp.abs(residual)).sum(), "square": zero(residual**2).sum()}
    sums |= {"output_count": of_output(jnp.ones_like(y)), "output_square": of_output(residual**2)}
    kept = {"said": values, "true": jnp.where(counts, y, jnp.nan)}
    return Tally(sums, {name: value.reshape(flat)[:, :EACH] for name, value in kept.items()}, {})


def summary_numbers(sums: dict, each: dict, dataset: Dataset, names: Sequence[str]) -> Report:
    """In the data's own units."""
    scale = dataset.scales.get("y")
    deviation = np.array(scale.deviation) if scale else np.ones(1)
    is_one_scale = deviation.size == 1
    unit = float(deviation[0]) if is_one_scale else 1.0
    mean = float(scale.mean[0]) if scale and is_one_scale and dataset.level == "mean" else 0.0
    count = sums["count"]
    spread = sums["y2"] - sums["y"] ** 2 / count
    columns = dataset.columns.get("y", ())
    numbers = {
        "mean_residual": unit * sums["residual"] / count,
        "mean_absolute_error": unit * sums["absolute"] / count,
        "root_mean_square_error": unit * np.sqrt(sums["square"] / count),
        "r2": 1 - sums["square"] / spread if spread > 0 else np.nan,
    }
    true, said = each["true"].ravel(), each["said"].ravel()
    true, said = true[np.isfinite(true)], said[np.isfinite(true)]
    residual = unit * (said - true)[:KEPT].astype(np.float64)
    quantiles = {str(q): float(np.quantile(residual, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
    heights, edges = np.histogram(residual, bins=min(40, max(5, round(len(residual) ** 0.5))))
    some = np.linspace(0, len(true) - 1, min(POINTS, len(true))).astype(int)
    report = {
        "numbers": {name: float(value) for name, value in numbers.items()},
        "of": columns[0].name if columns else "y",
        "level": dataset.level,
        "in_own_units": is_one_scale,
        "residuals": {"quantiles": quantiles, "edges": edges.tolist(), "counts": heights.tolist()},
        "points": [[float(unit * true[i] + mean), float(unit * said[i] + mean)] for i in some],
    }
    outputs = sums["output_count"].size
    if outputs > 1:
        report["root_mean_square_error_by_output"] = (
            unit * np.sqrt(ratio(sums["output_square"], sums["output_count"]))
        ).tolist()
    return report


# Labels.


def tally_labels(said: Labels, batch: Mapping[str, Any]) -> Tally:
    path_BT, y_BL = said.path, batch["y"]
    T = path_BT.shape[1]
    frames_B = batch.get("frames", jnp.full(len(y_BL), T))
    path_BT = jnp.where(jnp.arange(T)[None] < frames_B[:, None], path_BT, 0)
    counts_B, wrong_B = batch["mask"] > 0, edit_distance(path_BT, y_BL)
    sums = {"count": counts_B.sum(), "right": (counts_B & (wrong_B == 0)).sum()}
    sums |= {"wrong": jnp.where(counts_B, wrong_B, 0).sum()}
    sums |= {"labels": jnp.where(counts_B[:, None], y_BL != 0, False).sum()}
    return Tally(sums, {}, {})


def summary_labels(sums: dict, each: dict, dataset: Dataset, names: Sequence[str]) -> Report:
    numbers = {"sequence_accuracy": sums["right"] / sums["count"], "label_error_rate": sums["wrong"] / sums["labels"]}
    return {"numbers": {name: float(value) for name, value in numbers.items()}}


# Boxes.


def tally_boxes(said: Boxes, batch: Mapping[str, Any]) -> Tally:
    overlap_BPM = jax.vmap(iou_of_all)(said.corners, batch["boxes"])
    each = {"scores": said.scores, "overlap": overlap_BPM, "present": batch["present"] > 0, "kind": batch["y"]}
    return Tally(
        {"count": (batch["mask"] > 0).sum()}, each, {"corners": said.corners[:SHOWN], "scores": said.scores[:SHOWN]}
    )


def summary_boxes(sums: dict, each: dict, dataset: Dataset, names: Sequence[str], overlap: float = OVERLAP) -> Report:
    precisions, classes = [], []
    for k, name in enumerate(names):
        present = each["present"] & (each["kind"] == k)
        precisions.append(average_precision(each["scores"][:, k], each["overlap"], present, overlap))
        classes.append({"name": name, "count": int(present.sum()), "average_precision": precisions[-1]})
    known = [value for value in precisions if np.isfinite(value)]
    return {"numbers": {"mean_average_precision": float(np.mean(known)) if known else np.nan}, "classes": classes}


class Kind(NamedTuple):
    name: str
    tally: Callable[[Any, Mapping[str, Any]], Tally]
    summary: Callable[[dict, dict, Dataset, Sequence[str]], Report]


KINDS: Mapping[type, Kind] = {
    Classes: Kind("classes", tally_classes, summary_classes),
    Numbers: Kind("numbers", tally_numbers, summary_numbers),
    Labels: Kind("labels", tally_labels, summary_labels),
    Boxes: Kind("boxes", tally_boxes, summary_boxes),
}
