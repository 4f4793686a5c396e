"""Training batches, changed on the device by pure functions of (batch, key).  B batch, H height, W width, C channels.

Nothing of it happens in evaluation.  A key is a step's, so a resumed run sees the same images.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from models.axes import draw, part, whole
from train.build import build
from train.errors import UserError, suggest
from train.step import Batch, Task

Augmentation = Callable[[Batch, jax.Array], Batch]

ORDER = ("crop", "flip", "mixup", "cutmix")


def augmented(task: Task, specs: Mapping[str, Mapping[str, Any]], offer: Mapping[str, Any]) -> Task:
    """`task` on batches changed by the augmentations that `specs` names, one after the other in `ORDER`."""
    for name in specs:
        if name not in ORDER:
            raise UserError(f"config.augment.{name} is no augmentation{suggest(name, ORDER)}")
    changes = [
        build("train.augment", {"name": name, **specs[name]}, f"augment.{name}", offer)
        for name in ORDER
        if name in specs
    ]
    if not changes:
        return task

    def loss(params, state, batch, key, train):
        if train:
            key, *keys = jax.random.split(key, len(changes) + 1)
            for change, change_key in zip(changes, keys, strict=True):
                batch = change(batch, change_key)
        return task.loss(params, state, batch, key, train)

    return Task(task.init, loss)


def crop(padding: int = 4) -> Augmentation:
    """Pads images with `padding` zeros on each side and cuts the old size out of that (He et al. 2015, section 4.2)."""

    def change(batch, key):
        x_BHWC = batch["x"]
        edge = (padding, padding)
        padded = jnp.pad(x_BHWC, ((0, 0), edge, edge, (0, 0)))
        at_B2 = draw(jax.random.randint, key, (len(x_BHWC), 2), minval=0, maxval=2 * padding + 1)
        cut = lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), x_BHWC.shape[1:])
        return {**batch, "x": jax.vmap(cut)(padded, at_B2)}

    return change


def flip() -> Augmentation:
    """Mirrors every second image, at random, left to right."""

    def change(batch, key):
        x_BHWC = batch["x"]
        mirrored = draw(jax.random.bernoulli, key, (len(x_BHWC), 1, 1, 1))
        return {**batch, "x": jnp.where(mirrored, x_BHWC[:, :, ::-1], x_BHWC)}

    return change


def mixup(classes: int, alpha: float = 0.2) -> Augmentation:
    """Means of two images and of their labels, weighted λ and 1 - λ, λ ~ Beta(alpha, alpha) (Zhang et al. 2017)."""

    def change(batch, key):
        weight_key, pair_key = jax.random.split(key)
        weight = jax.random.beta(weight_key, alpha, alpha)
        x, y, other_x, other_y = paired(batch, classes, pair_key)
        return {**batch, "x": mean(x, other_x, weight), "y": mean(y, other_y, weight)}

    return change


def cutmix(classes: int, alpha: float = 1.0) -> Augmentation:
    """A rectangle of another image in each, and of its label the share that the rectangle covers (Yun et al. 2019)."""

    def change(batch, key):
        area_key, place_key, pair_key = jax.random.split(key, 3)
        x, y, other_x, other_y = paired(batch, classes, pair_key)
        height, width = x.shape[1:3]
        side = jnp.sqrt(1 - jax.random.beta(area_key, alpha, alpha))
        row, column = jax.random.uniform(place_key, (2,))
        covers = lambda middle, size: jnp.abs(jnp.arange(size) + 0.5 - middle * size) < side * size / 2
        inside_HW = covers(row, height)[:, None] & covers(column, width)[None]
        mixed = jnp.where(inside_HW[None, :, :, None], other_x, x)
        return {**batch, "x": mixed, "y": mean(y, other_y, 1 - inside_HW.mean())}

    return change


def paired(batch: Batch, classes: int, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Images and label probabilities of the batch, and those of each one's partner, anywhere in the whole batch."""
    x, y = batch["x"], batch["y"]
    y = y if jnp.issubdtype(y.dtype, jnp.floating) else jax.nn.one_hot(y, classes)
    order = jax.random.permutation(key, len(whole(y)))
    partner = lambda values: part(whole(values)[order])
    return x, y, partner(x), partner(y)


def mean(a: jax.Array, b: jax.Array, weight: jax.Array) -> jax.Array:
    return weight * a + (1 - weight) * b
