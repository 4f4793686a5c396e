"""What a run is worth, in detail: planted predictions against definitions, and new data against evaluation."""

import base64
import csv
import json
import math
import re

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from sklearn import metrics as reference

from configs.base import base
from data.source import Column, Columns, Scale, examples
from train import curves, details, overlays, score
from train.errors import UserError
from train.experiment import build_experiment
from train.files import read_rows
from train.loop import train
from train.predictions import Boxes, Classes, Labels, Numbers
from train.saved import Saved, load

RNG = np.random.default_rng(11)


def summed(prediction, batch, cut, names=(), **known):
    """The details of two batches, the first of `cut` records; `mask` leaves some out."""
    tally = jax.jit(details.tally)
    parts = [
        tally(
            type(prediction)(*(np.asarray(v)[at] for v in prediction if len(v))), {k: v[at] for k, v in batch.items()}
        )
        for at in (slice(0, cut), slice(cut, None))
    ]
    dataset = examples(Columns(x=np.zeros(1)), Columns(x=np.zeros(1)), **known)
    return details.summary(type(prediction), parts, dataset, names)


def test_classes_by_their_definitions():
    N, K = 70, 12
    p = RNG.dirichlet(np.ones(K) / 3, N).astype(np.float32)
    y, mask = RNG.integers(0, K - 1, N).astype(np.int32), (RNG.random(N) < 0.8).astype(np.float32)
    found = summed(Classes(p), {"y": y, "mask": mask}, 32, [f"c{k}" for k in range(K)])
    p, y = p[mask > 0], y[mask > 0]
    guess = p.argmax(1)
    numbers = found["numbers"]
    assert found["records"] == mask.sum()
    assert found["confusion"] == reference.confusion_matrix(y, guess, labels=range(K)).tolist()
    assert numbers["accuracy"] == pytest.approx(np.mean(guess == y))
    assert numbers["top_5_accuracy"] == pytest.approx(reference.top_k_accuracy_score(y, p, k=5, labels=range(K)))
    recall = reference.recall_score(y, guess, labels=np.unique(y), average=None, zero_division=0)
    assert numbers["balanced_accuracy"] == pytest.approx(recall.mean())
    assert numbers["lowest_class_accuracy"] == pytest.approx(recall.min())
    assert [row["count"] for row in found["classes"]] == np.bincount(y, minlength=K).tolist()
    assert [row["said"] for row in found["classes"]] == np.bincount(guess, minlength=K).tolist()
    error, sure = 0.0, p.max(1)
    for low in range(15):  # Guo et al. 2017, equations 3 to 5
        at = np.floor(sure * 15) == low
        if at.any():
            error += at.mean() * abs(np.mean(guess[at] == y[at]) - sure[at].mean())
    assert numbers["expected_calibration_error"] == pytest.approx(error, abs=1e-6)
    assert sum(row["count"] for row in found["reliability"]) == len(y)


def test_pixels_of_the_middle_and_certain_classes():
    """An output smaller than its target is set beside the target's middle; who is always certain has no calibration."""
    y = RNG.integers(0, 3, (4, 6, 6)).astype(np.int32)
    p = np.eye(3, dtype=np.float32)[y[:, 1:5, 1:5]]
    found = summed(Classes(p), {"y": y, "mask": np.ones(4, np.float32)}, 3, "abc")
    assert found["confusion"] == np.diag(np.bincount(y[:, 1:5, 1:5].ravel())).tolist()
    assert found["numbers"] == {"accuracy": 1, "balanced_accuracy": 1, "lowest_class_accuracy": 1}


def test_residuals_in_own_units():
    N, H = 40, 3
    y = RNG.normal(size=(N, H)).astype(np.float32)
    said = (y + RNG.normal(0.2, 0.5, (N, H))).astype(np.float32)
    mask = (np.arange(N) < 33).astype(np.float32)
    known = {"scales": {"y": Scale([7.0], [3.0])}, "columns": {"y": (Column("tons"),)}}
    found = summed(Numbers(said), {"y": y, "mask": mask}, 20, **known)
    true, guess = 7 + 3 * y[:33].astype(float), 7 + 3 * said[:33].astype(float)
    numbers, residual = found["numbers"], (guess - true).ravel()
    assert numbers["mean_residual"] == pytest.approx(residual.mean(), rel=1e-5)
    assert numbers["mean_absolute_error"] == pytest.approx(reference.mean_absolute_error(true, guess), rel=1e-5)
    assert numbers["root_mean_square_error"] == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-5)
    assert numbers["r2"] == pytest.approx(reference.r2_score(true.ravel(), guess.ravel()), rel=1e-5)
    assert found["residuals"]["quantiles"]["0.95"] == pytest.approx(np.quantile(residual, 0.95), rel=1e-5)
    assert sum(found["residuals"]["counts"]) == 33 * H
    by_output = np.sqrt(np.mean((guess - true) ** 2, axis=0))
    assert found["root_mean_square_error_by_output"] == pytest.approx(by_output.tolist(), rel=1e-5)
    pairs = np.array(found["points"])
    np.testing.assert_allclose(pairs, np.stack([true.ravel(), guess.ravel()], 1), rtol=1e-5)
    assert found["of"] == "tons"


def test_labels_and_boxes():
    path = np.array([[1, 1, 0, 2], [1, 0, 1, 2], [2, 2, 2, 2]], np.int32)
    y, frames = np.array([[1, 2, 0], [1, 2, 0], [2, 0, 0]], np.int32), np.array([4, 4, 2], np.int32)
    found = summed(Labels(path), {"y": y, "frames": frames, "mask": np.ones(3, np.float32)}, 2)
    assert found["numbers"] == {"sequence_accuracy": 2 / 3, "label_error_rate": 1 / 5}
    truth = np.array([[[0, 0, 0.5, 0.5]], [[0.5, 0.5, 1, 1]], [[0, 0, 1, 1]]], np.float32)
    shifted = truth + np.array([0, 0.1, 1])[:, None, None].astype(np.float32)  # IoU 1, 0.47, 0
    batch = {"y": np.array([[0], [0], [1]], np.int32), "boxes": truth, "present": np.ones((3, 1), np.float32)}
    scores = np.zeros((3, 2, 1), np.float32)
    scores[:2, 0], scores[2, 1] = 0.9, 0.8
    found = summed(Boxes(shifted, scores), {**batch, "mask": np.ones(3, np.float32)}, 2, "ab")
    assert [row["average_precision"] for row in found["classes"]] == [0.5, 0]
    assert found["numbers"]["mean_average_precision"] == 0.25


def test_a_veil_leaves_the_background():
    image = RNG.random((2, 2, 3)).astype(np.float32)
    found = overlays.veiled(image, np.array([[0, 1], [0, 2]]))
    np.testing.assert_array_equal(found[:, 0], image[:, 0])
    assert found[0, 1] == pytest.approx(0.45 * image[0, 1] + 0.55 * np.array([0xE6, 0x9F, 0x00]) / 255)


def trained(workdir, data, model, task, **changes):
    """The metrics of its last evaluation."""
    config = base()
    config.update(data=data, model=model, task={"name": task}, optim={"name": "adamw", "learning_rate": 1e-2})
    config.update(steps=3, batch_size=8, writers=())
    config.eval.update(every=0, batch_size=7)  # which divides no split below
    config.update(ConfigDict(changes))
    train(config, workdir)
    (row,) = (r for r in read_rows(workdir / "metrics.jsonl", {"step": int}, "") if r["split"] == "valid")
    return {name: value for name, value in row.items() if name not in ("step", "split")}


def kept(workdir):
    return json.loads((workdir / "scores.json").read_text())


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A run on pictures in folders of classes, one of which has a name that is HTML."""
    place = tmp_path_factory.mktemp("images")
    for split, count in (("train", 12), ("valid", 9)):
        for name, brightness in (("wolf", 60), ("<b onload=alert(1)>", 120), ("$bee", 180)):
            (place / "set" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = RNG.integers(brightness - 60, brightness + 60, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / "set" / split / name / f"{i}.png")
    data = {"name": "images:folder", "path": str(place / "set")}
    return place, trained(place / "run", data, {"name": "mlp:MLP", "classes": 3, "width": 8}, "supervised:classify")


def test_a_training_ends_with_details(images):
    place, metrics = images
    found, record = kept(place / "run"), json.loads((place / "run" / "record.json").read_text())
    assert found["records"] == 27
    assert found["numbers"]["accuracy"] == pytest.approx(metrics["accuracy"])
    assert record["scores"] == found["numbers"]
    assert (found["step"], found["split"], found["kind"]) == (3, "valid", "classes")
    page = (place / "run" / "run.html").read_text()
    assert "Held out, in detail" in page
    assert "expected calibration error" in page
    assert "&lt;b onload=alert(1)&gt;" in page
    assert "<b onload" not in page
    assert all(src.startswith("data:image/png;base64,") for src in re.findall(r'src="([^"]*)', page))


def test_scores_of_a_run_are_its_evaluations(images, capsys):
    """Its own split; then, the data moved away, the same images as new ones and as arrays."""
    place, metrics = images
    score.main(["--workdir", str(place / "run"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"] == metrics
    assert found["details"] == {k: v for k, v in kept(place / "run").items() if k not in ("step", "split")}
    assert load(place / "run").score(split="train").details["records"] == 36
    held = place / "new"
    (place / "set" / "valid").rename(held)
    (place / "set").rename(place / "gone")
    with pytest.raises(UserError, match="own data cannot be read"):
        load(place / "run").score()
    score.main(["--workdir", str(place / "run"), "--json", "--out", str(place / "out"), str(held)])
    moved = json.loads(capsys.readouterr().out)
    assert moved["metrics"] == pytest.approx(metrics, rel=1e-6)
    assert moved["details"]["confusion"] == found["details"]["confusion"]
    assert json.loads((place / "out" / "scores.json").read_text())["metrics"] == moved["metrics"]
    files = sorted(held.rglob("*.png"))
    x, y = np.stack([np.asarray(Image.open(f)) for f in files]), np.array([f.parent.name for f in files])
    run = load(place / "run")
    assert run.score({"x": x, "y": y}).metrics == pytest.approx(metrics, rel=1e-6)
    np.savez(place / "new.npz", x=x, y=[sorted(set(y)).index(name) for name in y])
    score.main(["--workdir", str(place / "run"), str(place / "new.npz")])
    text = capsys.readouterr().out
    assert f"loss                        {metrics['loss']:.6g}" in text
    for bad, said in (
        ({"x": x}, "lack 'y'"),
        ({"x": x, "y": y, "z": y}, "no 'z'"),
        ({"x": x, "y": np.full(len(y), "ape")}, "'ape' is no class of this run"),
        ({"x": x, "y": np.full(len(y), 3)}, "has the label 3"),
        ({"x": x[:, :4], "y": y}, r"x is \[27, 4, 8, 3\]"),
    ):
        with pytest.raises(UserError, match=said):
            run.score(bad)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["segment", "detect"])
def test_pictures(tmp_path, kind):
    """Of a run as it begins, its held-out records given as arrays."""
    config = base()
    model = {
        "segment": {"name": "unet:UNet", "classes": 4, "width": 2, "halvings": 1},
        "detect": {"name": "detector:Detector", "classes": 3, "boxes": 1, "width": 2, "halvings": 2},
    }[kind]
    config.update(data={"name": f"scenes:{kind}", "side": 16, "train": 8, "valid": 10}, model=model, batch_size=8)
    config.update(task={"name": f"{kind}:{kind}"}, optim={"name": "sgd", "learning_rate": 1.0})
    config.eval.batch_size = 7
    experiment = build_experiment(config)
    held = experiment.dataset.valid.gather(np.arange(10))
    params, state = jax.jit(experiment.task.init)(jax.random.key(1), held)
    found = Saved(config, experiment, params, state, None).score(held)
    details, metrics = found.details, found.metrics
    if kind == "segment":
        each = np.array(details["confusion"])
        assert each.sum() == 10 * 16 * 16
        assert details["numbers"]["accuracy"] == pytest.approx(metrics["accuracy"])
        overlap = np.diag(each) / (each.sum(0) + each.sum(1) - np.diag(each))
        assert [metrics[f"iou_{k}"] for k in range(4)] == pytest.approx(overlap.tolist())
    else:
        assert sum(row["count"] for row in details["classes"]) == held["present"].sum()
        assert math.isfinite(details["numbers"]["mean_average_precision"])
    score.write(tmp_path, details, found.pictures)
    inside = curves.inlined(tmp_path / "pictures.png").removeprefix("data:image/png;base64,")
    assert base64.b64decode(inside) == found.pictures
    assert found.pictures.startswith(curves.PNG)
    (tmp_path / "pictures.png").write_text("<script>")
    assert curves.inlined(tmp_path / "pictures.png") == ""


def test_what_cannot_be_scored(images, tmp_path):
    place, _ = images
    with (tmp_path / "t.csv").open("w") as file:
        csv.writer(file).writerow(["a"])
    with pytest.raises(UserError, match="--best and --step"):
        score.main(["--workdir", str(place / "run"), "--best", "--step", "3"])
    with pytest.raises(UserError, match="--split train is of the run's own data"):
        score.main(["--workdir", str(place / "run"), "--split", "train", "x"])
