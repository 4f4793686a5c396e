"""What augmentation may make of an image, and of its label.  B batch, H height, W width, C channels, K classes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.api import from_linen
from models.mlp import MLP
from train import augment
from train.errors import UserError
from train.step import Task
from train.tasks.supervised import classify
from train.wrap import augmented

B, H, W, C, K = 64, 6, 5, 2, 4


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = rng.random((B, H, W, C), np.float32) + 0.5  # nowhere zero, as padding is
    return {"x": jnp.asarray(images), "y": jnp.asarray(np.arange(B) % K, jnp.int32)}


def changed(change, batch, draws=20):
    return [jax.tree.map(np.asarray, jax.jit(change)(batch, jax.random.key(i))) for i in range(draws)]


def test_crops_are_windows_of_the_padded_image(batch):
    """Each of the 25 windows, as often as the others, each image by itself."""
    padding = 2
    padded = np.pad(batch["x"], ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    offsets = list(itertools.product(range(2 * padding + 1), repeat=2))
    windows = np.stack([padded[:, i : i + H, j : j + W] for i, j in offsets])
    counts = np.zeros(len(offsets))
    for made in changed(augment.crop(padding), batch):
        matches = (windows == made["x"]).all((2, 3, 4))
        assert (matches.sum(0) == 1).all()
        assert np.ptp(matches.argmax(0)) > 0
        counts += matches.sum(1)
        np.testing.assert_array_equal(made["y"], batch["y"])
    expected = counts.sum() / len(offsets)
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected)


def test_half_of_the_images_are_mirrored(batch):
    mirrored = 0
    for made in changed(augment.flip(), batch):
        as_it_was = (made["x"] == batch["x"]).all((1, 2, 3))
        assert (as_it_was | (made["x"] == batch["x"][:, :, ::-1]).all((1, 2, 3))).all()
        mirrored += (~as_it_was).sum()
    assert abs(mirrored / (20 * B) - 0.5) < 4 * 0.5 / np.sqrt(20 * B)


def test_mixup_weighs_images_and_labels_alike(batch):
    """The mean over the batch stays, since each image is somebody's partner once; λ is the labels' own."""
    for made in changed(augment.mixup(K, alpha=1.0), batch, 5):
        np.testing.assert_allclose(made["x"].mean(0), batch["x"].mean(0), rtol=1e-5)
        np.testing.assert_allclose(made["y"].sum(1), 1, rtol=1e-6)
        weight = made["y"][np.arange(B), batch["y"]]
        different = weight < 1
        assert different.any()
        assert np.ptp(weight[different]) < 1e-6
        rest = (made["x"] - weight[different][0] * batch["x"]) / (1 - weight[different][0])
        distance = np.abs(rest[:, None] - batch["x"][None]).max((2, 3, 4)).min(1)
        assert distance.max() < 1e-3, "what is not the image itself is another one of the batch"


def test_mixup_draws_from_the_beta_distribution(batch):
    """The mean of Beta(α, α) is 1/2, its variance 1 / (4 (2 α + 1))."""
    weigh = lambda key: augment.mixup(K, alpha=0.5)(batch, key)["y"]
    y = jax.jit(jax.vmap(weigh))(jax.random.split(jax.random.key(0), 2000))
    weight = np.where((y.max(-1) < 1).any(1)[:, None], y[:, jnp.arange(B), batch["y"]], np.nan).min(1)
    weight = weight[~np.isnan(weight)]
    assert abs(weight.mean() - 0.5) < 0.04
    assert abs(weight.var() - 1 / 8) < 0.01


def test_cutmix_covers_as_much_as_its_label_says(batch):
    for made in changed(augment.cutmix(K), batch):
        foreign = (made["x"] != batch["x"]).all(3)
        cover = foreign.any(0)
        rows, columns = cover.any(1), cover.any(0)
        assert (cover == rows[:, None] & columns[None]).all(), "a rectangle, at the same place in each image"
        share = cover.mean()
        np.testing.assert_allclose(made["y"].sum(1), 1, rtol=1e-6)
        own = made["y"][np.arange(B), batch["y"]]
        assert (np.isclose(own, 1 - share, atol=1e-6) | np.isclose(own, 1, atol=1e-6)).all()


@pytest.mark.slow
def test_evaluation_sees_the_data_as_they_are(batch):
    task = classify(from_linen(MLP(K, width=8, layers=1)), K)
    both = augmented(task, {"mixup": {}, "crop": {"padding": 1}, "flip": {}}, {"classes": K})
    params, state = jax.jit(task.init)(jax.random.key(0), batch)
    loss = lambda which, train: jax.jit(functools.partial(which.loss, train=train))(
        params, state, batch, key=jax.random.key(1)
    )
    np.testing.assert_array_equal(loss(task, False)[0], loss(both, False)[0])
    assert abs(float(loss(task, True)[0] - loss(both, True)[0])) > 1e-4


def test_mixed_labels_cost_the_mean_of_both_labels():
    """Cross-entropy is linear in the target: of λ a + (1 - λ) b it is λ times that of a and the rest of b's."""
    task = classify(from_linen(MLP(K, width=8, layers=1)), K)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 5)), jnp.float32)
    a, b = jnp.asarray([0, 1, 2], jnp.int32), jnp.asarray([3, 3, 0], jnp.int32)
    params, state = jax.jit(task.init)(jax.random.key(0), {"x": x, "y": a})
    cost = lambda y: float(task.loss(params, state, {"x": x, "y": y}, jax.random.key(1), True)[0])
    mixed = 0.3 * jax.nn.one_hot(a, K) + 0.7 * jax.nn.one_hot(b, K)
    assert cost(mixed) == pytest.approx(0.3 * cost(a) + 0.7 * cost(b), rel=1e-6)


def scene(draw):
    """One-pixel objects: `y` names each pixel's number, `boxes` its edges, so that both say where it went."""
    x = np.arange(1, 1 + B * H * W, dtype=np.float32).reshape(B, H, W, 1)
    rows, columns = draw.integers(H, size=(B, 3)), draw.integers(W, size=(B, 3))
    edges = np.stack([columns / W, rows / H, (columns + 1) / W, (rows + 1) / H], axis=-1)
    return {
        "x": jnp.asarray(x),
        "y": jnp.asarray(x[..., 0], jnp.int32),
        "boxes": jnp.asarray(edges, jnp.float32),
        "present": jnp.asarray(draw.integers(2, size=(B, 3)), jnp.float32),
    }, x[np.arange(B)[:, None], rows, columns, 0]


@pytest.mark.parametrize("padding", [0, 2, 7])
def test_targets_move_with_their_image(padding):
    """Each pixel keeps its class, each box the pixel inside; padding counts nowhere, nor does a box outside."""
    rng, change = np.random.default_rng(0), augment.crop(padding) if padding else augment.flip()
    padded = lost = 0
    for i in range(5):
        batch, inside = scene(rng)
        made = jax.tree.map(np.asarray, jax.jit(change)(batch, jax.random.key(i)))
        is_image = made["x"][..., 0] > 0
        np.testing.assert_array_equal(made["y"], made["x"][..., 0], err_msg="padding, 0 in both, is where it was made")
        np.testing.assert_array_equal(made.get("mask", np.ones(is_image.shape)), is_image)
        height, width = is_image.shape[1:]
        for b, boxes in enumerate(made["boxes"]):
            for slot, (left, top, right, bottom) in enumerate(boxes):
                column, row = round(float(left * width)), round(float(top * height))
                if inside[b, slot] not in made["x"][b]:
                    assert made["present"][b, slot] == 0
                    lost += 1
                    continue
                assert made["present"][b, slot] == batch["present"][b, slot]
                assert made["x"][b, row, column, 0] == inside[b, slot]
                np.testing.assert_allclose([right - left, bottom - top], [1 / width, 1 / height], rtol=1e-5)
        padded += (~is_image).sum()
    assert bool(padded) == bool(lost) == bool(padding)


def test_a_crop_keeps_the_mask_that_was_there():
    batch = {"x": jnp.ones((3, 4, 4, 1)), "y": jnp.ones((3, 4, 4), jnp.int32), "mask": jnp.asarray([1.0, 0.0, 1.0])}
    made = jax.jit(augment.crop(1))(batch, jax.random.key(0))
    np.testing.assert_array_equal(made["mask"], made["x"][..., 0] * batch["mask"][:, None, None])


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("flip", {"x": jnp.ones((2, 8))}, r"images \[B, H, W, C\], and 'x' is float32\[2, 8\]"),
        ("flip", {"y": jnp.ones((2, 2, 2), jnp.int32)}, r"'y' is int32\[2, 2, 2\], and how that moves .* not known"),
        ("crop", {"points": jnp.ones((2, 7, 2))}, r"'points' is float32\[2, 7, 2\], and how that moves"),
        ("mixup", {"y": jnp.ones((2, 4, 4), jnp.int32)}, r"one label for each image, and 'y' is int32\[2, 4, 4\]"),
        ("cutmix", {"boxes": jnp.ones((2, 3, 4))}, r"mixes images and labels, and 'boxes' would stay as it is"),
    ],
)
def test_what_cannot_move_is_refused(name, changes, said):
    batch = {"x": jnp.ones((2, 4, 4, 1)), "y": jnp.zeros(2, jnp.int32), **changes}
    task = augmented(
        Task(lambda *_: ({}, {}), lambda *_: (jnp.zeros(()), ({}, {}))), {name: {}}, {"classes": 2}, "detect:detect"
    )
    with pytest.raises(UserError, match=rf"config.augment.{name} does not fit the task detect:detect: .*{said}"):
        task.loss({}, {}, batch, jax.random.key(0), True)
    task.loss({}, {}, batch, jax.random.key(0), False)


def test_unknown_names_are_sentences():
    task = Task(lambda key, batch: ({}, {}), lambda *_: (jnp.zeros(()), ({}, {})))
    with pytest.raises(UserError, match=r"config.augment.flop is no augmentation; did you mean 'flip'"):
        augmented(task, {"flop": {}}, {})
    with pytest.raises(UserError, match=r"config.augment.crop.pading: crop has no 'pading'; did you mean 'padding'"):
        augmented(task, {"crop": {"pading": 2}}, {})
