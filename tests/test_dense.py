"""Dense prediction by convolution: WaveNet, U-Net, a one-shot detector, and what they learn from.

Shapes: B batch, L length, D width, H × W pixels, S cells along a side, N boxes of a cell, K classes.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import accuracy_score, jaccard_score

from data import audio, scenes
from data.pipeline import eval_batches
from models.api import Model, from_linen
from models.detector import Cells, Detector, corners
from models.unet import UNet
from models.wavenet import WaveNet, dilations, receptive_field
from scripts.score import dialled as score_dialled
from scripts.score import tones as score_tones
from tests.support.arrays import close
from tests.support.golden import numbers
from tests.support.small import PAGES, small
from train import details, detection
from train.evaluation import merge_on_host
from train.experiment import build_experiment
from train.metrics import compute
from train.step import gradients, init_state
from train.tasks.detect import detect
from train.tasks.segment import segment

KEY = jax.random.key(0)
GOLDEN = np.load("tests/golden/dense.npz")
SMALL = {
    "wavenet": WaveNet(12, width=4, skip=5, layers=2, cycles=2),
    "unet": UNet(4, 4, 1),
    "detector": Detector(3, 2, 4, 2),
}


def shapes(module, *inputs):
    return jax.eval_shape(from_linen(module).init, jax.eval_shape(lambda: jax.random.key(0)), *inputs)[0]


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def made(module, x):
    """A network with every parameter moved off its initial value, so that no zero hides a fault."""
    model, rng = from_linen(module), np.random.default_rng(0)
    params, state = jax.jit(model.init)(jax.random.key(0), x)
    return model, jax.tree.map(lambda p: p + 0.3 * rng.standard_normal(p.shape).astype(np.float32), params), state


def pixels(side, batch=2):
    return jnp.asarray(np.random.default_rng(side).random((batch, side, side, 3)), jnp.float32)


# WaveNet.


def test_receptive_field_is_the_papers():
    assert receptive_field(dilations(10, 1)) == 1024
    assert receptive_field(dilations(10, 3)) == 1 + 3 * 1023
    assert dilations(3, 2) == (1, 2, 4, 1, 2, 4)


def test_output_depends_on_its_receptive_field_alone():
    """d logits_t / d input_s: exactly zero for s > t and for s <= t - field, not zero between."""
    length = 12
    model, params, _ = made(SMALL["wavenet"], jnp.arange(length, dtype=jnp.int32)[None])
    everyone = jnp.arange(length, dtype=jnp.int32)[None]  # row s of the table is the embedding of place s

    @jax.jit
    def influence(table):
        logits = lambda table: model.apply({**params, "embed": {"embedding": table}}, {}, everyone)[0][0].sum(-1)
        return jnp.abs(jax.jacrev(logits)(table)).max(-1)

    on = np.asarray(influence(params["embed"]["embedding"]))
    field = receptive_field((1, *dilations(2, 2)))
    assert field == 8 < length
    back = np.subtract.outer(np.arange(length), np.arange(length))
    inside = (back >= 0) & (back < field)
    assert (on[~inside] == 0).all()
    assert (on[inside] > 1e-5).all()


def test_wavenet_has_the_size_of_its_formula():
    vocab, width, skip, layers = 256, 32, 64, 30
    gates = 2 * width * 2 * width + 2 * width
    through = (layers - 1) * (width + 1) * width  # the last layer has no successor
    ends = (skip + 1) * skip + (skip + 1) * vocab
    expected = vocab * 2 * width + layers * (gates + (width + 1) * skip) + through + ends
    assert size(shapes(WaveNet(), jax.ShapeDtypeStruct((1, 9), jnp.int32))) == expected


def test_wavenet_is_the_formula():
    """Equation 2 and figure 4, one sample after the other, in float64."""
    x = np.random.default_rng(3).integers(0, 12, (2, 12)).astype(np.int32)
    model, params, _ = made(SMALL["wavenet"], jnp.asarray(x))
    out, _ = jax.jit(model.apply)(params, {}, jnp.asarray(x))
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    now, before = np.split(p["embed"]["embedding"], 2, axis=1)
    dense = lambda value, layer: value @ layer["kernel"][0] + layer["bias"]
    for row, logits in zip(x, out, strict=True):
        h = [now[row[t]] + (before[row[t - 1]] if t else 0) for t in range(len(row))]
        total = 0
        for i, dilation in enumerate(dilations(2, 2)):
            layer, z = p[f"layer_{i}"], []
            for t in range(len(row)):
                past = h[t - dilation] if t >= dilation else np.zeros(4)
                kernel = layer["filter_gate"]["kernel"]
                filtered, gate = np.split(past @ kernel[0] + h[t] @ kernel[1] + layer["filter_gate"]["bias"], 2)
                z.append(np.tanh(filtered) / (1 + np.exp(-gate)))
            total = total + dense(np.array(z), layer["skip"])
            h = [a + dense(b, layer["residual"]) for a, b in zip(h, z, strict=True)] if i < 3 else h
        hidden = dense(np.maximum(total, 0), p["hidden"])
        close(logits, dense(np.maximum(hidden, 0), p["logits"]))


# U-Net.


def test_unet_has_the_published_size_and_shape():
    """31,030,658 (the form with biases and 2 × 2 up-convolutions), and 388 × 388 pixels of 572 × 572 (figure 1)."""
    features = [64 * 2**i for i in range(5)]
    conv = lambda k, a, b: k * k * a * b + b
    down = sum(conv(3, a, b) + conv(3, b, b) for a, b in zip([1, *features], features, strict=False))
    up = sum(conv(2, 2 * f, f) + conv(3, 2 * f, f) + conv(3, f, f) for f in features[:4])
    image = jax.ShapeDtypeStruct((1, 572, 572, 1), jnp.float32)
    network = UNet(2, padding="VALID")
    params = shapes(network, image)
    assert size(params) == down + up + conv(1, 64, 2) == 31_030_658
    assert jax.eval_shape(from_linen(network).apply, params, {}, image)[0].shape == (1, 388, 388, 2)


@pytest.mark.parametrize(("padding", "side", "out"), [("SAME", 16, 16), ("VALID", 44, 4)])
def test_unet_is_pytorchs(padding, side, out):
    """The same parameters in torch's functions (scripts/golden/torch_dense.py)."""
    module, image = UNet(3, 2, 2, padding), jnp.asarray(numbers("unet/image", 1, side, side, 1))

    def same(path, leaf):
        scale = np.sqrt(np.prod(leaf.shape[:-1]) / 3) if leaf.ndim > 1 else 1
        return numbers("/".join(["unet", *(p.key for p in path)]), *leaf.shape) / np.float32(scale)

    params = jax.tree_util.tree_map_with_path(same, shapes(module, image))
    logits, _ = jax.jit(from_linen(module).apply)(params, {}, image)
    assert logits.shape == (1, out, out, 3)
    close(logits, GOLDEN[f"unet_{padding}"])


@pytest.mark.parametrize(("padding", "side"), [("SAME", 18), ("VALID", 46)])
def test_sides_that_cannot_be_halved_are_refused(padding, side):
    with pytest.raises(ValueError, match="cannot be halved: with padding='SAME' the image's sides must be multiples"):
        shapes(UNet(2, 2, 2, padding), pixels(side))


# Segmentation.


def evaluated(task, batch):
    """Loss and metrics."""
    loss, (_, metrics) = jax.jit(lambda batch: task.loss({}, {}, batch, KEY, False))(batch)
    return loss, metrics


def fixed(outputs):
    """A network that says the same whatever it sees."""
    return Model(lambda key, x: ({}, {}), lambda params, state, x, **_: (outputs, state))


def test_overlaps_of_a_split_are_scikit_learns():
    """Pixel accuracy and Jaccard index from batches of 4, 2 and 3 under a mask, as of all counted pixels."""
    rng, classes = np.random.default_rng(0), 5
    y = rng.integers(0, classes - 1, (9, 6, 7)).astype(np.int32)  # the last class is only ever guessed
    logits = (rng.standard_normal((9, 6, 7, classes)) + np.eye(classes)[y]).astype(np.float32)
    mask = (rng.random(y.shape) < 0.7).astype(np.float32)
    parts = []
    for rows in np.split(np.arange(9), [4, 6]):
        batch = {name: jnp.asarray(value[rows]) for name, value in (("x", y), ("y", y), ("mask", mask))}
        parts.append(evaluated(segment(fixed(jnp.asarray(logits[rows])), classes), batch)[1])
    found = merge_on_host(parts)
    truth, guess = y[mask > 0], logits.argmax(-1)[mask > 0]
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    expected = jaccard_score(truth, guess, labels=range(classes), average=None)
    assert [found[f"iou_{k}"] for k in range(classes)] == pytest.approx(list(expected))
    assert found["iou"] == pytest.approx(jaccard_score(truth, guess, labels=range(1, classes), average="micro"))
    assert len(set(expected)) == classes


def linear(outputs):
    """A network of one matrix, from what a pixel or a cell of 4 × 4 pixels holds to `outputs` numbers or to `Cells`."""
    side = 4 if outputs == CELL else 1

    def apply(params, state, x, **_):
        x = x.reshape(len(x), x.shape[1] // side, side, x.shape[2] // side, side, 3).swapaxes(2, 3)
        y = x.reshape(*x.shape[:3], -1) @ params["w"]
        place, confidence, probability = jnp.split(y, (8, 10), axis=-1) if outputs == CELL else (y, y, y)
        return Cells(place.reshape(*y.shape[:3], 2, 4), confidence, probability) if outputs == CELL else y, state

    return Model(lambda key, x: ({"w": jnp.asarray(numbers("w", side * side * 3, outputs)) / side}, {}), apply)


CELL = 2 * 5 + 3
TASKS = {"segment": (scenes.segment, segment, 4), "detect": (scenes.detect, detect, CELL)}


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_accumulated_slices_are_the_whole_batch(name):
    """Metrics and gradients of two slices with unequal masks; and of the rows that count, without the others."""
    source, make, outputs = TASKS[name]
    data = source(side=16, train=6, valid=1)
    batch = {k: jnp.asarray(v) for k, v in data.train.gather(np.arange(6)).items()}
    mask = jnp.asarray([1.0, 0, 1, 0, 0, 1])
    task = make(linear(outputs), data.classes)
    state = init_state(task, optax.set_to_zero(), jax.random.key(0), batch)

    def scored(batch, accumulate):
        scored = jax.jit(functools.partial(gradients, task, accumulate=accumulate))
        grads, _, metrics = scored(state, batch, jax.random.key(1))
        return grads, compute(metrics)

    whole = scored({**batch, "mask": mask}, 1)
    for other in (scored({**batch, "mask": mask}, 2), scored({k: v[mask > 0] for k, v in batch.items()}, 1)):
        close(whole[0], other[0])
        assert whole[1] == pytest.approx(other[1], rel=1e-5, nan_ok=True)
    assert jnp.abs(whole[0]["w"]).max() > 1e-3


def test_cropped_logits_meet_the_middle_of_the_image():
    y = jnp.arange(36, dtype=jnp.int32).reshape(1, 6, 6)
    perfect = 50 * jax.nn.one_hot(y[:, 1:5, 1:5], 36)
    for mask in (jnp.ones(1), jnp.ones((1, 6, 6))):
        loss, metrics = evaluated(segment(fixed(perfect), 36), {"x": y, "y": y, "mask": mask})
        assert float(loss) < 1e-6
        assert metrics["accuracy"] == (16, 16)


# Boxes.


def some_boxes(seed, count, side=12):
    """With whole-numbered corners in [0, side]."""
    corner = np.random.default_rng(seed).integers(0, side - 1, (count, 2))
    extent = np.random.default_rng(seed + 1).integers(1, side - corner + 1)
    return np.concatenate([corner, corner + extent], 1).astype(np.float32)


def covered(box, side=12):
    grid = np.zeros((side, side), bool)
    left, top, right, bottom = box.astype(int)
    grid[top:bottom, left:right] = True
    return grid


def test_overlap_is_counted_in_squares():
    a, b = some_boxes(0, 30), some_boxes(7, 20)
    expected = [[(covered(p) & covered(q)).sum() / (covered(p) | covered(q)).sum() for q in b] for p in a]
    close(detection.iou_of_all(jnp.asarray(a), jnp.asarray(b)), np.array(expected), 1e-6)
    nothing = jnp.asarray([[1.0, 1, 1, 1]])
    assert detection.iou(nothing, nothing) == 0


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_suppression_is_greedy(threshold):
    """Take the best, strike out what overlaps it, and so on, on a list."""
    boxes, scores = some_boxes(3, 60), np.random.default_rng(5).random(60).astype(np.float32)
    overlap = np.asarray(detection.iou_of_all(jnp.asarray(boxes), jnp.asarray(boxes)))
    left, kept = list(np.argsort(-scores)), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if overlap[best, i] <= threshold]
    alone = detection.best_alone(jnp.asarray(boxes), jnp.asarray(scores), threshold)
    assert set(np.flatnonzero(alone)) == set(kept)
    assert 1 < len(kept) < 60


def reference_ap(scored, truths, threshold):
    """VOC as its paper tells it (Everingham et al. 2010, sections 3.4.1 and 4.2): `scored` are (score, image, box)."""
    unclaimed, right = {i: list(map(tuple, boxes)) for i, boxes in truths.items()}, []
    for _, image, box in sorted(scored, key=lambda d: -d[0]):
        best = max(truths[image], key=lambda t: float(overlap_of(box, t)), default=None)
        hit = best is not None and overlap_of(box, best) >= threshold and tuple(best) in unclaimed[image]
        if hit:
            unclaimed[image].remove(tuple(best))
        right.append(hit)
    count = sum(map(len, truths.values()))
    recall = [sum(right[: i + 1]) / count for i in range(len(right))]
    precision = [sum(right[: i + 1]) / (i + 1) for i in range(len(right))]
    area, before = 0.0, 0.0
    for level in sorted(set(recall) - {0.0}):
        area += (level - before) * max(p for p, r in zip(precision, recall, strict=True) if r >= level)
        before = level
    return area


def overlap_of(p, q):
    a, b = covered(np.asarray(p)), covered(np.asarray(q))
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_average_precision_is_the_definition(threshold):
    """Some boxes near an object, some anywhere; some images without objects, some slots without detections."""
    rng, images, slots, guesses = np.random.default_rng(1), 12, 3, 8
    truth = np.stack([some_boxes(100 + i, slots) for i in range(images)])
    guess = np.stack([some_boxes(200 + i, guesses) for i in range(images)])
    guess[:, :4] = truth[:, [0, 0, 1, 2]] + rng.integers(-1, 2, (images, 4, 4)) * [0, 0, 1, 1]
    guess = np.clip(guess, 0, 12).astype(np.float32)
    guess[..., 2:] = np.maximum(guess[..., 2:], guess[..., :2] + 1)
    scores = rng.random((images, guesses)).astype(np.float32) * (rng.random((images, guesses)) < 0.8)
    present = rng.random((images, slots)) < 0.6
    overlap = np.asarray(jax.vmap(detection.iou_of_all)(jnp.asarray(guess), jnp.asarray(truth)))
    found = detection.average_precision(scores, overlap, present, threshold)
    scored = [(s, i, box) for i in range(images) for s, box in zip(scores[i], guess[i], strict=True) if s > 0]
    expected = reference_ap(scored, {i: truth[i][present[i]] for i in range(images)}, threshold)
    assert found == pytest.approx(expected)
    assert 0.1 < found < 0.9


def test_average_precision_of_known_rankings():
    """Two objects: ranked right, wrong, right the envelope is 1 to recall ½ and 2/3 from there on."""
    same = np.array([[[1.0, 0], [0, 0], [0, 1]]], np.float32)
    present = np.ones((1, 2), bool)
    score = lambda *values, p=present: detection.average_precision(np.array([values], np.float32), same, p)
    assert score(0.9, 0.8, 0.7) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert score(0.9, 0.7, 0.8) == 1
    assert score(0.9, 0.0, 0.0) == 0.5
    assert score(0.0, 0.9, 0.0) == score(0.0, 0.0, 0.0) == 0
    assert np.isnan(score(0.9, 0.8, 0.7, p=~present))
    twice = np.array([[[1.0], [0.9]]], np.float32)  # the second finding of an object is a mistake
    assert detection.average_precision(np.array([[0.1, 0.9]], np.float32), twice, np.ones((1, 1), bool)) == 1


# The detector.


@pytest.fixture(scope="module")
def seen():
    """Scenes in each of which no two objects have their centres in the same of 4 × 4 cells."""
    drawn = scenes.draw(60, 32, 0.1, np.random.default_rng(0))
    cell = np.floor((drawn.boxes[..., :2] + drawn.boxes[..., 2:]) / 2 * 4).astype(int)
    number = np.where(drawn.present > 0, cell[..., 1] * 4 + cell[..., 0], -1 - np.arange(4))
    alone = np.array([len(set(row)) == 4 for row in number])
    assert 20 < alone.sum() < 60
    return scenes.Scenes(*(column[alone] for column in drawn)), cell[alone]


def batch_of(drawn):
    columns = {"x": drawn.images, "y": drawn.kinds, "boxes": drawn.boxes, "present": drawn.present}
    return {name: jnp.asarray(value) for name, value in columns.items()}


def test_loss_is_equation_3(seen):
    """Redmon et al. 2016, written out cell by cell, in float64; some images are masked."""
    drawn, cell = seen
    count, side, boxes, classes = len(cell), 4, 2, 3
    rng = np.random.default_rng(2)
    place = rng.uniform(0.1, 0.9, (count, side, side, boxes, 4))
    confidence, probability = rng.random((count, side, side, boxes)), rng.random((count, side, side, classes))
    mask = (rng.random(count) < 0.6).astype(np.float32)
    total, overlaps, hits = 0.0, [], []
    for i, row, column in np.argwhere(np.broadcast_to(mask[:, None, None] > 0, (count, side, side))):
        mine = [m for m in range(4) if drawn.present[i, m] and tuple(cell[i, m]) == (column, row)]
        at, predicted = place[i, row, column], confidence[i, row, column]
        x, y = (column + at[:, 0]) / side, (row + at[:, 1]) / side
        w, h = at[:, 2] ** 2, at[:, 3] ** 2
        if not mine:
            total += 0.5 * (predicted**2).sum()
            continue
        left, top, right, bottom = np.asarray(drawn.boxes[i, mine[0]], np.float64)
        across = np.maximum(np.minimum(x + w / 2, right) - np.maximum(x - w / 2, left), 0)
        along = np.maximum(np.minimum(y + h / 2, bottom) - np.maximum(y - h / 2, top), 0)
        iou = across * along / (w * h + (right - left) * (bottom - top) - across * along)
        j = iou.argmax()
        centre = (x[j] * side - (left + right) / 2 * side) ** 2 + (y[j] * side - (top + bottom) / 2 * side) ** 2
        extent = (np.sqrt(w[j]) - np.sqrt(right - left)) ** 2 + (np.sqrt(h[j]) - np.sqrt(bottom - top)) ** 2
        kind = np.eye(classes)[drawn.kinds[i, mine[0]]]
        total += 5 * (centre + extent) + (predicted[j] - iou[j]) ** 2
        total += 0.5 * np.delete(predicted**2, j).sum() + ((probability[i, row, column] - kind) ** 2).sum()
        overlaps.append(iou[j])
        hits.append(probability[i, row, column].argmax() == kind.argmax())
    outputs = Cells(*(jnp.asarray(value, jnp.float32) for value in (place, confidence, probability)))
    task, batch = detect(fixed(outputs), classes), {**batch_of(drawn), "mask": jnp.asarray(mask)}
    loss, metrics = evaluated(task, batch)
    assert float(loss) == pytest.approx(total / mask.sum(), rel=1e-5)
    assert compute(metrics) == pytest.approx(
        {"loss": total / mask.sum(), "iou": np.mean(overlaps), "accuracy": np.mean(hits)}, rel=1e-5
    )


def perfect(drawn, cell):
    """Cells that say just what is there."""
    count, side, classes = len(cell), 4, 3
    place = np.full((count, side, side, 2, 4), 0.5)
    confidence, probability = np.zeros((count, side, side, 2)), np.zeros((count, side, side, classes))
    for i, m in np.argwhere(drawn.present > 0):
        column, row = cell[i, m]
        box = drawn.boxes[i, m]
        place[i, row, column, 1] = [*((box[:2] + box[2:]) / 2 * side - cell[i, m]), *np.sqrt(box[2:] - box[:2])]
        confidence[i, row, column, 1] = probability[i, row, column, drawn.kinds[i, m]] = 1
    return Cells(*(jnp.asarray(value, jnp.float32) for value in (place, confidence, probability)))


def test_the_truth_costs_nothing_and_is_found(seen):
    """Loss 0, every object at its place, and an average precision of 1 for each class."""
    drawn, cell = seen
    outputs = perfect(drawn, cell)
    loss, metrics = evaluated(detect(fixed(outputs), 3), batch_of(drawn))
    assert float(loss) < 1e-9
    assert compute(metrics)["iou"] == pytest.approx(1, abs=1e-5)
    assert compute(metrics)["accuracy"] == 1
    boxes, scores = jax.jit(detection.detections)(outputs)
    overlap = np.asarray(jax.vmap(detection.iou_of_all)(boxes, jnp.asarray(drawn.boxes)))
    for k in range(3):
        present = (drawn.present > 0) & (drawn.kinds == k)
        assert detection.average_precision(np.asarray(scores[:, k]), overlap, present) == 1
        assert (np.asarray(scores[:, k]) > 0).sum() == present.sum()
    close(corners(outputs.place)[0, 0, 0, 0], np.array([0, 0, 0.25, 0.25]))


def test_scenes_are_scored_whole(tmp_path):
    """The numbers of batches that leave a rest are those of one batch of all scenes."""
    config = small(next(page for page in PAGES if page.stem == "scenes_detector"), tmp_path)
    experiment, model = build_experiment(config), linear(CELL)
    params, _ = model.init(KEY, None)
    predict = jax.jit(lambda x: detect(model, 3).predict(params, {}, x))
    tally = jax.jit(details.tally)
    batches = list(eval_batches(experiment.dataset.valid, batch_size=24))
    tallies = [tally(predict(batch["x"]), {k: v for k, v in batch.items() if k != "x"}) for batch in batches]
    each = {k: np.concatenate([np.asarray(t.each[k])[t.each["counts"]] for t in tallies]) for k in tallies[0].each}
    found = details.summary_boxes({}, each, experiment.dataset, experiment.dataset.names, 0.1)

    @jax.jit
    def once(batch):
        boxes, scores = detection.detections(model.apply(params, {}, batch["x"])[0])
        return scores, jax.vmap(detection.iou_of_all)(boxes, batch["boxes"])

    batch = experiment.dataset.valid.gather(np.arange(64))
    scores, overlap = map(np.asarray, once(batch))
    present = [(batch["present"] > 0) & (batch["y"] == k) for k in range(3)]
    expected = [detection.average_precision(scores[:, k], overlap, p, 0.1) for k, p in enumerate(present)]
    assert [row["average_precision"] for row in found["classes"]] == pytest.approx(expected, abs=1e-6)
    assert [row["count"] for row in found["classes"]] == [p.sum() for p in present]
    assert found["numbers"]["mean_average_precision"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert min(expected) > 0


@pytest.mark.parametrize("task", [segment, detect])
def test_outputs_must_be_the_datas_classes(task):
    data = {segment: scenes.segment, detect: scenes.detect}[task](side=16, train=2, valid=1)
    batch = {name: jnp.asarray(value) for name, value in data.train.gather(np.arange(2)).items()}
    wrong = task(from_linen(UNet(9, 2, 1) if task is segment else Detector(9, 2, 2, 2)), data.classes)
    with pytest.raises(ValueError, match=rf"the network has 9 outputs and the data {data.classes} classes"):
        jax.eval_shape(lambda: wrong.loss(*wrong.init(jax.random.key(0), batch), batch, KEY, True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_is_near_and_stays_inside(name):
    x = jnp.asarray([[3, 1, 4, 1, 5, 9]], jnp.int32) if name == "wavenet" else pixels(16)
    _, params, state = made(SMALL[name], x)
    exact, rough = (
        jax.jit(from_linen(SMALL[name], precision).apply)(params, state, x)[0] for precision in ("float32", "bfloat16")
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((exact, rough))} == {jnp.dtype("float32")}
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(rough), strict=True):
        assert 0 < jnp.abs(a - b).max() < 0.05 * jnp.abs(a).max()


# Scenes.


def test_shapes_have_their_areas_and_boxes():
    """π/4 of the box, all of it, half of it; and pixels reach to all four sides of their box."""
    drawn = scenes.draw(400, 64, 0.0, np.random.default_rng(0))
    assert set(drawn.present.sum(1)) == {1, 2, 3, 4}
    alone = np.flatnonzero(drawn.present.sum(1) == 1)
    for kind, share in enumerate((np.pi / 4, 1, 0.5)):
        shares = []
        for i in alone[drawn.kinds[alone, 0] == kind]:
            left, top, right, bottom = 64 * drawn.boxes[i, 0]
            rows, columns = np.nonzero(drawn.pixels[i] == kind + 1)
            shares.append(len(rows) / ((right - left) * (bottom - top)))
            inside = [columns.min() - left, rows.min() - top, right - columns.max() - 1, bottom - rows.max() - 1]
            assert min(inside) > -1
            thin = (bottom - top) / (right - left) if kind == 2 else 0  # rows in which an apex is thinner than a pixel
            assert max(inside) < 1.5 + thin
            assert len(np.unique(drawn.images[i][drawn.pixels[i] > 0], axis=0)) == 1, "one colour without noise"
        assert np.mean(shares) == pytest.approx(share, rel=0.02)


def test_scenes_are_a_function_of_their_seed():
    one, two, other = (scenes.detect(side=16, train=70, valid=5, seed=seed) for seed in (0, 0, 1))
    assert one.fingerprint == two.fingerprint != other.fingerprint
    pixels = scenes.segment(side=16, train=70, valid=5)
    np.testing.assert_array_equal(pixels.valid.gather(np.arange(5))["x"], one.valid.gather(np.arange(5))["x"])
    with pytest.raises(ValueError, match=r"side=8.*needs side >= 16"):
        scenes.segment(side=8)


# Sound.


def test_steps_are_mu_law():
    sound = np.linspace(-1, 1, 2001).astype(np.float32)
    steps = audio.encode(sound)
    assert (steps[0], steps[1000], steps[-1]) == (0, 128, 255)
    np.testing.assert_array_equal(audio.encode(audio.decode(np.arange(256)).astype(np.float32)), np.arange(256))
    edges = audio.decode(steps - 0.5), audio.decode(steps + 0.5)
    assert (edges[0] <= sound + 1e-6).all()
    assert (sound <= edges[1] + 1e-6).all()
    assert audio.decode(np.array([255])) == pytest.approx(1)
    loud = audio.decode(np.array([192]))[0]  # F = 2 · 192 / 255 - 1, by the formula of section 2.2
    assert np.log(1 + 255 * loud) / np.log(256) == pytest.approx(2 * 192 / 255 - 1)


def test_three_decaying_sines_follow_a_recurrence_of_order_six():
    """So the matrix of all windows of a clip has rank 6."""
    for clip in audio.plucks(5, 200, np.random.default_rng(0)).astype(np.float64):
        values = np.linalg.svd(np.lib.stride_tricks.sliding_window_view(clip, 40), compute_uv=False)
        assert values[6] < 1e-5 * values[0]
        assert values[5] > 10 * values[6]


def test_the_better_predictor_has_the_lower_loss():
    """Of the set's baselines; and the steps of the linear one have probabilities that add up to one."""
    dataset = audio.tones(context=64, train_tokens=60_000, valid_tokens=10_000)
    batch = dataset.valid.gather(np.arange(3))
    np.testing.assert_array_equal(batch["x"][:, 1:], batch["y"][:, :-1])
    bound = score_tones.bound(256, 0.01, 64, count=200)
    losses = bound, score_tones.linear(dataset, 12), score_tones.markov(dataset), score_tones.unigram(dataset)
    assert list(losses) == sorted(losses)
    for middle in (-1.2, 0.003, 0.8):
        assert np.exp(-score_tones.nats(np.arange(256), middle, 0.02, 256)).sum() == pytest.approx(1)


def test_dialled_numbers_are_the_tones_of_their_keys():
    """Without noise, strong tones alone tell every key in its order; noise hides them."""
    quiet = audio.dialled(noise=0.0, train=300, valid=1, digits=5).train.gather(np.arange(300))
    lengths = (quiet["y"] > 0).sum(1)
    assert (lengths.min(), lengths.max(), quiet["frames"].max() <= 80) == (3, 5, True)
    assert set(quiet["y"].ravel()) == set(range(11))
    assert quiet["x"].shape == (300, 80, audio.SPECTRUM)
    assert score_dialled.label_error_rate(quiet, 2.0, 1) == 0
    after = np.arange(80) > quiet["frames"][:, None]  # one frame overlaps the next
    assert quiet["x"][after].max() == 0
    loud = audio.dialled(noise=3.0, train=300, valid=1, digits=5).train.gather(np.arange(300))
    assert score_dialled.label_error_rate(loud, 2.0, 1) > 0.5
    # 1 is 697 and 1209 Hz, 0 is 941 and 1336 Hz: in the spectrum of one frame, the two highest peaks
    for key, tones in ((1, (697, 1209)), (10, (941, 1336))):
        row = np.flatnonzero(quiet["y"][:, 0] == key)[0]
        heard = quiet["x"][row, np.argmax(quiet["x"][row].max(1) > 2.5)]  # the first frame that is full of a key
        peaks = [i for i in range(1, audio.SPECTRUM - 1) if heard[i] > max(heard[i - 1], heard[i + 1], 2.0)]
        np.testing.assert_allclose(np.array(peaks) * 50, tones, atol=26)


def test_calls_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"digits=2.*3 digits or more"):
        audio.dialled(digits=2)
