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


def test_evaluation_sees_the_data_as_they_are(batch):
    task = classify(from_linen(MLP(K, width=8, layers=1)), K)
    both = augment.augmented(task, {"mixup": {}, "crop": {"padding": 1}, "flip": {}}, {"classes": K})
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


def test_unknown_names_are_sentences():
    task = Task(lambda key, batch: ({}, {}), lambda *_: 0)
    with pytest.raises(UserError, match=r"config.augment.flop is no augmentation; did you mean 'flip'"):
        augment.augmented(task, {"flop": {}}, {})
    with pytest.raises(UserError, match=r"config.augment.crop.pading: crop has no 'pading'; did you mean 'padding'"):
        augment.augmented(task, {"crop": {"pading": 2}}, {})
