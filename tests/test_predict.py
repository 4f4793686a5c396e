"""Predictions of a run that was read back, its data gone, are what its evaluation scored: numbers, names and units."""

import csv
import dataclasses
import io
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs.base import base
from data import tables
from data.pipeline import eval_batches
from data.source import Column
from models.api import from_linen
from models.vae import VAE
from train import predict
from train.errors import UserError
from train.experiment import build_experiment
from train.files import read_rows
from train.loop import train
from train.metrics import merge_on_host
from train.predictions import Classes, Labels
from train.saved import Saved, load
from train.step import eval_step
from train.tasks.reconstruct import elbo

RNG = np.random.default_rng(5)


def trained(workdir, data, model, task, **changes):
    """The metrics of its evaluations, by step."""
    config = base()
    config.update(data=data, model=model, task={"name": task}, optim={"name": "adamw", "learning_rate": 1e-2})
    config.update(steps=4, batch_size=8, writers=())
    config.eval.update(every=2, batch_size=7)  # which divides no split below
    config.checkpoint.update(every=2, keep=5)
    config.update(ConfigDict(changes))
    train(config, workdir)
    rows = read_rows(workdir / "metrics.jsonl", {"step": int}, "")
    return {row["step"]: row for row in rows if row["split"] == "valid"}


def command(capsys, *argv):
    capsys.readouterr()  # what training said
    predict.main([str(one) for one in argv])
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def fails(*argv):
    with pytest.raises(UserError) as error:
        predict.main([str(one) for one in argv])
    return str(error.value)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A run on pictures of another size than the network's, in folders of classes."""
    place = tmp_path_factory.mktemp("images")
    for split, count in (("train", 20), ("valid", 16)):
        for name, brightness in (("wolf", 60), ("ape", 120), ("bee", 180)):
            (place / "set" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = RNG.integers(brightness - 60, brightness + 60, (10, 14, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / "set" / split / name / f"{i}.png")
    data = {"name": "images:folder", "path": str(place / "set"), "size": 8}
    scores = trained(place / "run", data, {"name": "mlp:MLP", "classes": 3, "width": 8}, "supervised:classify")
    (place / "set" / "valid").rename(place / "new")
    (place / "set").rename(place / "gone")
    return place, scores


def test_images(images, capsys):
    place, scores = images
    rows = command(capsys, "--workdir", place / "run", place / "new")
    assert list(rows[0]) == ["file", "class", "probability", "p:ape", "p:bee", "p:wolf"]
    truth = [row["file"].split("/")[-2] for row in rows]
    assert len(rows) == 48
    assert set(truth) == {"wolf", "ape", "bee"}
    assert np.mean([row["class"] == name for row, name in zip(rows, truth, strict=True)]) == scores[4]["accuracy"]
    nats = [-math.log(float(row[f"p:{name}"])) for row, name in zip(rows, truth, strict=True)]
    assert np.mean(nats) == pytest.approx(scores[4]["loss"], rel=1e-6)


def test_padding_changes_nothing(images):
    place, _ = images
    run = load(str(place / "run"))
    files = sorted((place / "new").rglob("*.png"))
    together = run.predict(files)
    alone = [run.predict(str(file)) for file in files[:8]]
    np.testing.assert_array_equal(together.probabilities[:8], np.concatenate([one.probabilities for one in alone]))
    assert together.best[:8].tolist() == [one.best[0] for one in alone]
    assert jax.tree.leaves(run.params)[0].dtype == jnp.float32


def test_checkpoints_by_name(images, capsys):
    place, scores = images
    best = min(scores, key=lambda step: scores[step]["loss"])
    files = sorted((place / "new").rglob("*.png"))
    truth = [("ape", "bee", "wolf").index(file.parent.name) for file in files]
    for step in (2, 4, "best", "last"):
        p = load(place / "run", step=step).predict(files).probabilities
        named = {"best": best, "last": 4}.get(step, step)
        assert -np.log(p[range(48), truth]).mean() == pytest.approx(scores[named]["loss"], rel=1e-6)
    chosen = command(capsys, "--workdir", place / "run", "--step", 2, files[0])
    assert float(chosen[0]["p:bee"]) == pytest.approx(
        load(place / "run", step=2).predict(files[0]).probabilities[0, 1], rel=1e-6
    )
    assert "no checkpoint of step 3; there are checkpoints of 2, 4" in fails(
        "--workdir", place / "run", "--step=3", "x"
    )


def test_a_best_that_was_not_kept(images):
    place, _ = images
    log = place / "run" / "metrics.jsonl"
    before = log.read_text()
    log.write_text(before + json.dumps({"step": 3, "split": "valid", "loss": 1e-3}) + "\n")
    said = fails("--workdir", place / "run", "--best", "x.png")
    log.write_text(before)
    assert "0.001 at step 3, has no checkpoint, which config.checkpoint.best=True would have kept" in said


def test_bad_images(images, tmp_path):
    place, _ = images
    (tmp_path / "text.png").write_text("no image")
    assert "text.png cannot be read as an image" in fails("--workdir", place / "run", tmp_path / "text.png")
    assert "no image at 'none.png'" in fails("--workdir", place / "run", "none.png")
    np.save(tmp_path / "small.npy", np.zeros((2, 4, 4, 3), np.uint8))
    assert "[2, 4, 4, 3]; the network takes numbers [N, 8, 8, 3]" in fails(
        "--workdir", place / "run", tmp_path / "small.npy"
    )
    assert "--out x.txt: give it the ending .csv or .jsonl" in fails("--workdir", "w", "--out", "x.txt", "x.png")


def test_rows_of_a_table(tmp_path, capsys):
    """In tons, not in standard deviations; its columns in another order, beside one more, and without the target."""
    lengths, kinds = RNG.normal(30, 5, 60), RNG.choice(["oak", "fir", "elm"], 60)
    tons = 100 + 3 * lengths + 20 * (kinds == "oak") + RNG.normal(0, 4, 60)
    table = "kind,length,tons\n" + "".join(f"{k},{a},{b}\n" for k, a, b in zip(kinds, lengths, tons, strict=True))
    (tmp_path / "table.csv").write_text(table)
    data = {"name": "tables:regression", "path": str(tmp_path / "table.csv")}
    scores = trained(tmp_path / "run", data, {"name": "mlp:MLP", "classes": 1, "width": 8}, "forecast:forecast")
    (tmp_path / "table.csv").unlink()
    order = np.random.default_rng(0).permutation(60)
    held, kept = order[:12], order[12:]
    new = "id,length,kind\n" + "".join(f"{i},{lengths[i]}, {kinds[i]}\n" for i in held)
    (tmp_path / "new.csv").write_text(new)
    rows = command(capsys, "--workdir", tmp_path / "run", tmp_path / "new.csv")
    assert list(rows[0]) == ["file", "row", "tons"]
    assert [int(row["row"]) for row in rows] == list(range(1, 13))
    errors = (np.array([float(row["tons"]) for row in rows]) - tons[held]) / tons[kept].std()
    assert np.mean(errors**2) == pytest.approx(scores[4]["loss"], rel=1e-5)
    assert np.mean(np.abs(errors)) == pytest.approx(scores[4]["mae"], rel=1e-5)
    run = load(tmp_path / "run")
    said = run.predict([{"kind": "fir", "length": 31.5}, {"kind": kinds[held[0]], "length": lengths[held[0]]}])
    assert said.values[1, 0] == pytest.approx(float(rows[0]["tons"]), rel=1e-6)
    assert said.names == ("tons",)
    assert run.apply(np.zeros((2, 4), np.float32)).shape == (2, 1)

    predict.main(["--workdir", str(tmp_path / "run"), "--out", str(tmp_path / "o.jsonl"), str(tmp_path / "new.csv")])
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [line["tons"] for line in lines] == [float(row["tons"]) for row in rows]

    for bad, said in {
        "length\n3\n": r"the column 'kind' is missing",
        "kind,length\noak,3\nash,4\n": "column 'kind' holds 'ash' in row 2, which is no word of the training table's",
        "kind,length\noak,3\noak,long\n": "column 'length' has numbers and holds 'long' in row 2",
        "kind,length\noak,3\noak\n": "row 2 has another number of values than the 2 columns",
        "kind,length\n": "holds no row",
    }.items():
        (tmp_path / "bad.csv").write_text(bad)
        found = fails("--workdir", tmp_path / "run", tmp_path / "bad.csv")
        assert said in found.replace("begins with a number", "has numbers")
        assert "bad.csv" in found


def test_a_table_without_a_header(tmp_path):
    """Read with and without its target, the second column, three rows at a time."""
    table, columns = RNG.normal(size=(7, 3)), (Column("1"), Column("3"))
    for name, kept in (("whole.csv", [0, 1, 2]), ("less.csv", [0, 2])):
        np.savetxt(tmp_path / name, table[:, kept], delimiter=",", fmt="%.17g")
        found = list(tables.parts(tmp_path / name, columns, "2", 3))
        assert list(map(len, found)) == [3, 3, 1]
        np.testing.assert_array_equal(np.concatenate(found), table[:, [0, 2]])


def test_texts(tmp_path, capsys):
    """Two files that are the held-out text, and a part of it, share batches."""
    text = "the quick brown fox jumps over the lazy dog. " * 40
    (tmp_path / "text.txt").write_text(text)
    data = {"name": "text:file", "path": str(tmp_path / "text.txt"), "context": 16}
    model = {"name": "rnn:SequenceModel", "vocab": 28, "cell": "rnn", "width": 8, "outputs": 28}
    scores = trained(tmp_path / "run", data, model, "supervised:classify")
    (tmp_path / "text.txt").unlink()
    held_out = text[int(0.9 * len(text)) :]
    (tmp_path / "a.txt").write_text(held_out[:50])
    (tmp_path / "b.txt").write_text(held_out)
    a, b = command(capsys, "--workdir", tmp_path / "run", tmp_path / "a.txt", tmp_path / "b.txt")
    assert (int(a["tokens"]), int(b["tokens"])) == (49, len(held_out) - 1)
    assert float(b["nats_per_token"]) == pytest.approx(scores[4]["loss"], rel=1e-6)
    assert float(b["bits_per_byte"]) == pytest.approx(scores[4]["bits_per_byte"], rel=1e-6)
    (tmp_path / "c.txt").write_text("the quick brown Fox")
    assert "c.txt: no such character in the training text: 'F'" in fails(
        "--workdir", tmp_path / "run", tmp_path / "c.txt"
    )


@pytest.mark.parametrize("level", ["mean", "last"])
def test_series(tmp_path, capsys, level):
    """Every held-out window as a file of its own: the forecasts are those that were scored, in degrees."""
    steps = np.arange(100)
    degrees, wind = 20 + 5 * np.sin(steps / 3) + 0.1 * steps, RNG.normal(7, 2, 100)
    lines = [f"{i},{a},{b}" for i, (a, b) in enumerate(zip(wind, degrees, strict=True))]
    path = tmp_path / "series.csv"
    path.write_text("\n".join(["day,wind,degrees", *lines]))
    data = {"name": "series:table", "path": str(path), "target": "degrees", "lookback": 8, "horizon": 3, "season": 5}
    model = {"name": "mlp:MLP", "classes": 3, "width": 8}
    scores = trained(tmp_path / "run", data | {"level": level}, model, "forecast:forecast")
    path.unlink()
    files = []
    for now in range(80, 98):  # the first step that is forecast
        files.append(tmp_path / f"{now}.csv")
        files[-1].write_text("\n".join(["degrees,day,wind", *(f"{degrees[i]},{i},{wind[i]}" for i in range(now))]))
    rows = command(capsys, "--workdir", tmp_path / "run", *files)
    assert list(rows[0]) == ["file", "degrees+1", "degrees+2", "degrees+3"]
    forecasts = np.array([[float(row[f"degrees+{h}"]) for h in (1, 2, 3)] for row in rows])
    truth = np.array([degrees[now : now + 3] for now in range(80, 98)])
    errors = (forecasts - truth) / degrees[:60].std()
    assert np.mean(errors**2) == pytest.approx(scores[4]["loss"], rel=1e-5)
    files[0].write_text("degrees,day,wind\n1,2,3\n4,5,6\n")
    assert "has 2 rows, and a forecast is made from the last 8" in fails("--workdir", tmp_path / "run", files[0])


def untrained(data, model, task):
    """A run as it begins, its held-out records and its evaluation's numbers."""
    config = base()
    config.update(data=data, model=model, task={"name": task}, optim={"name": "sgd", "learning_rate": 1.0})
    config.update(batch_size=4)
    config.eval.batch_size = 7
    experiment = build_experiment(config)
    valid = experiment.dataset.valid
    params, state = jax.jit(experiment.task.init)(jax.random.key(1), valid.gather(np.arange(4)))
    score = jax.jit(lambda *known: eval_step(*known, jax.random.key(0), jnp.int32(0), task=experiment.task))
    scores = merge_on_host([score(params, batch, state) for batch in eval_batches(valid, batch_size=7)])
    return Saved(config, experiment, params, state, None), valid.gather(np.arange(len(valid))), scores


def test_pixels():
    data = {"name": "scenes:segment", "side": 16, "train": 4, "valid": 10}
    run, held, scores = untrained(
        data, {"name": "unet:UNet", "classes": 4, "width": 4, "halvings": 1}, "segment:segment"
    )
    said = run.predict(held["x"])
    names = np.array(["background", "ellipse", "rectangle", "triangle"])
    assert np.mean(said.best == names[held["y"]]) == pytest.approx(scores["accuracy"], abs=1e-12)
    assert next(said.rows())["share:background"] == np.mean(said.best[0] == "background")


def test_boxes(tmp_path):
    """The outputs of the network give the accuracy; the boxes that are told are its own, best first."""
    data = {"name": "scenes:detect", "side": 16, "train": 4, "valid": 10}
    model = {"name": "detector:Detector", "classes": 3, "boxes": 2, "width": 2, "halvings": 3}
    run, held, scores = untrained(data, model, "detect:detect")
    cells, said = run.apply(held["x"]), run.predict(held["x"])
    middle = (held["boxes"][..., :2] + held["boxes"][..., 2:])[held["present"] > 0] / 2 * 2
    image, (column, row) = np.nonzero(held["present"])[0], np.floor(middle).clip(0, 1).astype(int).T
    right = np.asarray(cells.classes)[image, row, column].argmax(-1) == held["y"][held["present"] > 0]
    assert right.mean() == pytest.approx(scores["accuracy"], rel=1e-6)
    assert said.names == ("ellipse", "rectangle", "triangle")
    score = np.clip(cells.confidence, 0, 1)[..., None] * np.clip(cells.classes, 0, 1)[..., None, :]
    np.testing.assert_allclose(said.scores.max((1, 2)), score.max((1, 2, 3, 4)), rtol=1e-5)
    found = said._replace(scores=said.scores + 0.2 * (said.scores > 0))
    predict.write(predict.rows([([{"row": i} for i in range(10)], found)]), tmp_path / "boxes.csv")
    with (tmp_path / "boxes.csv").open() as file:
        told = [json.loads(row["objects"]) for row in csv.DictReader(file)]
    assert sum(map(len, told)) == np.sum(said.scores > 0) > 0
    assert all(one["box"] in said.corners[i].tolist() for i, some in enumerate(told) for one in some)
    assert all(sorted(some, key=lambda one: -one["score"]) == some for some in told)


def test_tokens():
    data = {"name": "sequences:neighbours", "length": 9, "train": 4, "valid": 9}
    model = {"name": "rnn:SequenceModel", "vocab": 2, "cell": "rnn", "width": 4, "outputs": 2}
    run, held, scores = untrained(data, model, "supervised:classify")
    said = run.predict(held["x"])
    right = (said.probabilities.argmax(-1) == held["y"]) * held["mask"]
    assert right.sum() / held["mask"].sum() == pytest.approx(scores["accuracy"], rel=1e-6)
    assert next(said.rows())["class"] == " ".join(said.best[0])
    np.testing.assert_allclose(said.probabilities, jax.nn.softmax(run.apply(held["x"])), rtol=1e-5)


def test_labels_and_many_classes():
    """Repeats are one label, a blank between them makes two; of many classes a row tells the five likeliest."""
    said = Labels(np.array([[0, 3, 3, 0, 3, 1], [2, 2, 1, 0, 0, 0]]), ("-", "a", "b", "c"))
    assert [row["labels"] for row in said.rows()] == ["c c a", "b a"]
    p = np.arange(12.0)[None, ::-1] / 66
    row = next(Classes(p, tuple("abcdefghijkl")).rows())
    assert (row["class"], row["class_5"], row["probability_2"]) == ("a", "e", 10 / 66)
    assert len(row) == 10


def test_what_predicts_nothing(images):
    run = load(images[0] / "run")
    code = from_linen(VAE(shape=(8, 8, 3), latent=2, width=4))
    run = dataclasses.replace(run, experiment=run.experiment._replace(task=elbo(code)))
    with pytest.raises(UserError, match="predicts nothing of a single input; tasks of classes, numbers"):
        run.predict(np.zeros((1, 8, 8, 3), np.uint8))
