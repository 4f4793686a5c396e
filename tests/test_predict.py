"""Predictions of a run that was read back, its data gone, are what its evaluation scored: numbers, names and units."""

import csv
import dataclasses
import io
import json
import math
import wave

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs.base import base
from data import audio, blocks, sound, tables
from data.pipeline import eval_batches
from data.source import Column
from models.api import from_linen
from models.vae import VAE
from train import lines, predict
from train.errors import UserError
from train.evaluation import eval_step, merge_on_host
from train.experiment import build_experiment
from train.files import read_rows
from train.loop import train
from train.predictions import Classes, Labels
from train.predictions import rows as rows_of
from train.saved import Saved, load
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_padding_changes_nothing(images):
    place, _ = images
    run = load(str(place / "run"))
    files = sorted((place / "new").rglob("*.png"))
    together = run.predict(files)
    alone = [run.predict(str(file)) for file in files[:8]]
    np.testing.assert_array_equal(together.probabilities[:8], run.predict(files[:8]).probabilities)
    # In another row of the batch a sum may be rounded otherwise.
    found = np.concatenate([one.probabilities for one in alone])
    np.testing.assert_allclose(found, together.probabilities[:8], rtol=5e-7)
    assert together.best[:8].tolist() == [one.best[0] for one in alone]
    assert jax.tree.leaves(run.params)[0].dtype == jnp.float32


@pytest.mark.slow
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


@pytest.mark.slow
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

    (tmp_path / "labelled.csv").write_text(
        "tons,length,kind\n" + "".join(f"{tons[i]},{lengths[i]},{kinds[i]}\n" for i in held)
    )
    scored = run.score(tmp_path / "labelled.csv")
    assert scored.metrics == pytest.approx({k: scores[4][k] for k in ("loss", "mae")}, rel=1e-5)  # naive is not known
    kept_numbers = json.loads((tmp_path / "run" / "scores.json").read_text())["numbers"]
    assert scored.details["numbers"] == pytest.approx(kept_numbers, rel=1e-4)
    assert kept_numbers["mean_absolute_error"] == pytest.approx(scores[4]["mae"] * tons[kept].std(), rel=1e-5)

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


@pytest.mark.parametrize(
    ("odd", "wrong"),
    [
        ("", ""),
        ('" fir","1\n"', ""),  # a number with the end of a line after it
        ("fir,1_0", ""),  # which Python takes for 10
        ("fir,nan", "holds the missing cell 'nan' in row 501"),
        ("ash,1", "holds 'ash' in row 501"),
        ("fir,1,2", "row 501 has another number of values"),
    ],
)
def test_a_long_table_is_read_as_a_short_one(tmp_path, monkeypatch, odd, wrong):
    """By Arrow and by the reader of training tables: the same features, 64 at a time, and the same sentences."""
    values, kinds = RNG.normal(size=1000), RNG.choice(["oak", "fir"], 1000)
    rows = [f"{i},{kinds[i]}, {values[i].item()!r}" for i in range(1000)]
    rows[500] = f"7,{odd}" if odd else rows[500]
    (tmp_path / "t.csv").write_text("\ufeffid, kind,length\n\n" + "\n".join(rows) + "\n")
    columns = (Column("kind", ("fir", "oak")), Column("length"))
    monkeypatch.setattr(blocks, "LONG", 0)
    read = lambda module: list(module.parts(tmp_path / "t.csv", columns, "tons", 64))
    if wrong:
        for module in (blocks, tables):
            with pytest.raises(ValueError, match=wrong):
                read(module)
        return
    found, expected = read(blocks), read(tables)
    assert [len(part) for part in found] == [64] * 15 + [40]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


@pytest.mark.slow
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
    scored = load(tmp_path / "run").score(tmp_path / "b.txt")
    assert scored.metrics == pytest.approx({k: v for k, v in scores[4].items() if k not in ("step", "split")}, rel=1e-6)
    assert scored.details == {}  # its classes are a vocabulary
    assert not (tmp_path / "run" / "scores.json").exists()
    (tmp_path / "c.txt").write_text("the quick brown Fox")
    assert "c.txt: no such character in the training text: 'F'" in fails(
        "--workdir", tmp_path / "run", tmp_path / "c.txt"
    )


@pytest.mark.slow
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
    path.write_text("\n".join(["day,wind,degrees", *lines[80 - 8 :]]))  # the held-out part, and a window before it
    expected = {name: value for name, value in scores[4].items() if name not in ("step", "split")}
    assert load(tmp_path / "run").score(path).metrics == pytest.approx(expected, rel=1e-5)
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


@pytest.mark.slow
def test_pixels():
    data = {"name": "scenes:segment", "side": 16, "train": 4, "valid": 10}
    run, held, scores = untrained(
        data, {"name": "unet:UNet", "classes": 4, "width": 4, "halvings": 1}, "segment:segment"
    )
    said = run.predict(held["x"])
    names = np.array(["background", "ellipse", "rectangle", "triangle"])
    assert np.mean(said.best == names[held["y"]]) == pytest.approx(scores["accuracy"], abs=1e-12)
    assert next(rows_of(said.cells()))["share:background"] == np.mean(said.best[0] == "background")


@pytest.mark.slow
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
    predict.write([({"row": range(10)}, found)], tmp_path / "boxes.csv")
    with (tmp_path / "boxes.csv").open() as file:
        told = [json.loads(row["objects"]) for row in csv.DictReader(file)]
    assert sum(map(len, told)) == np.sum(said.scores > 0) > 0
    assert all(one["box"] in said.corners[i].tolist() for i, some in enumerate(told) for one in some)
    assert all(sorted(some, key=lambda one: -one["score"]) == some for some in told)


@pytest.mark.slow
def test_tokens():
    data = {"name": "sequences:neighbours", "length": 9, "train": 4, "valid": 9}
    model = {"name": "rnn:SequenceModel", "vocab": 2, "cell": "rnn", "width": 4, "outputs": 2}
    run, held, scores = untrained(data, model, "supervised:classify")
    said = run.predict(held["x"])
    right = (said.probabilities.argmax(-1) == held["y"]) * held["mask"]
    assert right.sum() / held["mask"].sum() == pytest.approx(scores["accuracy"], rel=1e-6)
    assert next(rows_of(said.cells()))["class"] == " ".join(said.best[0])
    np.testing.assert_allclose(said.probabilities, jax.nn.softmax(run.apply(held["x"])), rtol=1e-5)


def test_labels_and_many_classes():
    """Repeats are one label, a blank between them makes two; of many classes a row tells the five likeliest."""
    said = Labels(np.array([[0, 3, 3, 0, 3, 1], [2, 2, 1, 0, 0, 0]]), ("-", "a", "b", "c"))
    assert said.cells() == {"labels": ["c c a", "b a"]}
    p = np.arange(12.0)[None, ::-1] / 66
    row = next(rows_of(Classes(p, tuple("abcdefghijkl")).cells()))
    assert (row["class"], row["class_5"], row["probability_2"]) == ("a", "e", 10 / 66)
    assert len(row) == 10


def test_what_predicts_nothing(images):
    run = load(images[0] / "run")
    code = from_linen(VAE(shape=(8, 8, 3), latent=2, width=4))
    run = dataclasses.replace(run, experiment=run.experiment._replace(task=elbo(code)))
    with pytest.raises(UserError, match="predicts nothing of a single input; tasks of classes, numbers"):
        run.predict(np.zeros((1, 8, 8, 3), np.uint8))


def test_lines_are_those_of_the_libraries(tmp_path):
    """Cells with commas, quotes, per cents and numbers that are not finite, as csv and json would write them."""
    cells = {
        "file": ['a,"b".png', "50 %.png"],
        "row": range(3, 5),
        "p:50 %": np.array([0.1, 1e-30], np.float32),
        "y": np.array([np.nan, 1234567.875]),
        "objects": [[{"score": 0.5}], []],
    }
    whole = io.StringIO(lines.csv_header(cells) + lines.csv_lines(cells))
    first, second = csv.DictReader(whole)
    assert first["file"] == 'a,"b".png'
    assert (first["row"], second["row"], first["y"]) == ("3", "4", "nan")
    assert np.float32(second["p:50 %"]) == np.float32(1e-30)
    assert json.loads(first["objects"]) == [{"score": 0.5}]
    found = [json.loads(line) for line in lines.json_lines(cells).splitlines()]
    assert found[0] == {"file": 'a,"b".png', "row": 3, "p:50 %": 0.1, "y": None, "objects": [{"score": 0.5}]}
    assert (found[1]["file"], found[1]["y"]) == ("50 %.png", 1234567.9)


def distance(a, b):
    """Levenshtein 1966."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(new[j - 1] + 1, row[j] + 1, row[j - 1] + (x != y)))
        row = new
    return row[-1]


@pytest.mark.slow
def test_labels_and_sound(tmp_path):
    """Labels of arrays are those of the evaluation's errors; a .wav at another rate, in stereo, says the same."""
    data = {"name": "audio:dialled", "digits": 3, "train": 8, "valid": 9}
    model = {"name": "rnn:SequenceModel", "cell": "lstm", "width": 8, "outputs": 11}
    run, held, scores = untrained(data, model, "transcribe:ctc")
    path = run.predict(held["x"]).path
    heard = [Labels(path[None, i, : held["frames"][i]], tuple(map(str, range(11)))).best[0] for i in range(9)]
    true = [[str(k) for k in line if k] for line in held["y"]]
    wrong = sum(map(distance, heard, true))
    assert wrong / sum(map(len, true)) == pytest.approx(scores["label_error_rate"], rel=1e-6)

    time = np.arange(3000) / 24_000
    tone = 0.4 * np.sin(2 * np.pi * 770 * time) + 0.4 * np.sin(2 * np.pi * 1336 * time)
    save(tmp_path / "five.wav", np.stack([tone, tone], 1), 24_000)
    one = run.predict(tmp_path / "five.wav")
    spectrum, used = sound.spectrum(tmp_path / "five.wav", held["x"].shape[1])
    assert used == 13  # of 10 ms, in 125 ms
    assert (one.path[0, used:] == 0).all()
    np.testing.assert_array_equal(one.path[0, :used], run.predict(spectrum[None]).path[0, :used])
    rows_F = spectrum[3:10].mean(0)
    assert set(np.argsort(rows_F)[-2:]) == {round(770 / 50), round(1336 / 50)}  # bins of 50 Hz
    save(tmp_path / "long.wav", np.zeros((24_000, 1)), 24_000)
    with pytest.raises(UserError, match=r"long.wav takes 1.00 s, and the network hears"):
        run.predict(tmp_path / "long.wav")


def save(path, sound_NC, rate, width=2):
    whole = np.round(sound_NC * (2 ** (8 * width - 1) - 1)).astype("<i4")
    raw = whole.view(np.uint8).reshape(*whole.shape, 4)[..., :width]
    with wave.open(str(path), "wb") as file:
        file.setparams((sound_NC.shape[1], width, rate, 0, "NONE", ""))
        file.writeframes((raw ^ 128 if width == 1 else raw).tobytes())


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_sound_is_read_right(tmp_path, width):
    """A tone below 4 kHz, sampled at 16 kHz with one above, is what 8 kHz would have heard of it."""
    at = lambda rate: np.arange(rate // 10) / rate
    tone = lambda time: 0.5 * np.sin(2 * np.pi * 500 * time)
    save(tmp_path / "a.wav", (tone(at(16_000)) + 0.3 * np.sin(2 * np.pi * 6000 * at(16_000)))[:, None], 16_000, width)
    np.testing.assert_allclose(sound.read(tmp_path / "a.wav"), tone(at(8000)), atol=0.02 if width == 1 else 1e-4)


def test_the_likelihood_of_a_sound(tmp_path):
    """Of a model of samples: held-out clips as files of their own cost what its evaluation says."""
    data = {"name": "audio:tones", "context": 32, "train_tokens": 256, "valid_tokens": 128, "vocab": 256}
    model = {"name": "wavenet:WaveNet", "vocab": 256, "width": 4, "skip": 4, "layers": 2, "cycles": 1}
    run, held, scores = untrained(data, model, "supervised:classify")
    files = [tmp_path / f"{i}.wav" for i in range(4)]
    for file, x, y in zip(files, held["x"], held["y"], strict=True):
        save(file, audio.decode(np.append(x, y[-1]))[:, None], audio.RATE, 4)
    said = run.predict(files)
    assert said.tokens.tolist() == [32] * 4
    assert -said.log_likelihood.sum() / 128 == pytest.approx(scores["loss"], rel=1e-5)
    assert "bits_per_byte" not in said.cells()


@pytest.mark.parametrize(
    ("task", "model", "data", "metric"),
    [
        ("rules:perceptron", {"name": "neuron:Neuron", "scale": 1.0}, {"name": "neurons:separable"}, "error"),
        ("supervised:classify", {"name": "mlp:MLP", "classes": 4, "width": 4}, {"name": "synthetic:blobs"}, "accuracy"),
        ("supervised:regress", {"name": "neuron:Neuron"}, {"name": "neurons:linear"}, "loss"),
    ],
)
def test_kinds_of_small_tasks(task, model, data, metric):
    run, held, scores = untrained(data, model, task)
    said = run.predict(held["x"])
    right = said.probabilities.argmax(-1) == held["y"] if isinstance(said, Classes) else None
    made = {"accuracy": lambda: right.mean(), "error": lambda: 1 - right.mean(),
            "loss": lambda: np.mean((said.values - held["y"]) ** 2)}[metric]()  # fmt: skip
    assert made == pytest.approx(scores[metric], rel=1e-5)
