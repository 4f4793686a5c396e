"""Mean average precision of a trained detector over its held-out split: PASCAL VOC's, at an overlap of 0.5.

    uv run python -m scripts.score.detector --workdir runs/scenes_detector [--overlap 0.5]

Boxes of a class that overlap a better one by more than half are suppressed (IoU; Redmon et al. 2016, section 2.3).
"""

import argparse
import pathlib

import jax
import numpy as np

from data.pipeline import eval_batches
from models.api import Model
from train.detection import average_precision, detections, iou_of_all
from train.experiment import Experiment, build_experiment, build_models
from train.saved import config_of, restore


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--workdir", type=pathlib.Path, required=True)
    flags.add_argument("--overlap", type=float, default=0.5, help="IoU from which on a box is right")
    options = flags.parse_args()
    experiment = build_experiment(config_of(options.workdir))
    model = build_models(experiment.config)["model"]
    precisions = score(model, *restore(options.workdir, experiment), experiment, options.overlap)
    shown = "  ".join(f"class {k} {value:.4f}" for k, value in enumerate(precisions))
    count = len(experiment.dataset.valid)
    print(f"{options.workdir} on {count:,} images: mAP@{options.overlap:g} {np.mean(precisions):.4f}  ({shown})")


def score(model: Model, params, state, experiment: Experiment, threshold: float) -> list[float]:
    """The average precision of each class."""

    @jax.jit
    def found(params, state, batch):
        boxes, scores = detections(model.apply(params, state, batch["x"])[0])
        return scores, jax.vmap(iou_of_all)(boxes, batch["boxes"])

    parts = []
    for batch in eval_batches(experiment.dataset.valid, batch_size=experiment.config.eval.batch_size):
        scores, overlap = found(params, state, batch)
        rows = batch["mask"] > 0
        parts.append([np.asarray(part)[rows] for part in (scores, overlap, batch["present"] > 0, batch["y"])])
    scores, overlap, present, kinds = (np.concatenate(part) for part in zip(*parts, strict=True))
    classes = range(experiment.dataset.classes)
    return [average_precision(scores[:, k], overlap, present & (kinds == k), threshold) for k in classes]


if __name__ == "__main__":
    main()
