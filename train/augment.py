"""Training batches, changed on the device by pure functions of (batch, key).  B batch, H height, W width, C channels.

Nothing of it happens in evaluation.  A key is a step's, so a resumed run sees the same images.

What lies on the image moves with it: values [B, H, W, ...] (masks, classes of pixels) and `boxes` [B, M, 4], left, top,
right, bottom as shares of the image.  Values [B] and [B, K] say something of the whole image and stay.  Of the rest
nobody knows how it moves, so it is refused.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from models.axes import draw, part, whole
from train.step import Batch

Augmentation = Callable[[Batch, jax.Array], Batch]

ORDER = ("crop", "flip", "mixup", "cutmix")
MOVES = ("crop", "flip")  # what is where on the image


def refusal(name: str, batch: Batch) -> str:
    """Why this augmentation cannot be right of such a batch; nothing where it can."""
    shown = lambda key: f"{key!r} is {batch[key].dtype}{list(batch[key].shape)}"
    mixes_any = name == "mixup" and jnp.issubdtype(batch["x"].dtype, jnp.floating)  # numbers of any shape
    if batch["x"].ndim != 4 and not mixes_any:
        return f"it changes images [B, H, W, C], and {shown('x')}; leave it out"
    if name in MOVES:
        fixed = [key for key, value in batch.items() if key not in ("x", "boxes") and value.ndim > 2]
        lost = [key for key in fixed if not lies_on_image(batch[key], batch["x"])]
        return f"{shown(lost[0])}, and how that moves with the image is not known; leave it out" if lost else ""
    if "y" not in batch:
        return "it mixes labels, and the batch has no 'y'; leave it out"
    y, others = batch["y"], sorted(set(batch) - {"x", "y", "mask"})
    if others:
        return f"it mixes images and labels, and {others[0]!r} would stay as it is; leave it out"
    is_label = y.ndim == 1 or (y.ndim == 2 and jnp.issubdtype(y.dtype, jnp.floating))
    return "" if is_label else f"it mixes one label for each image, and {shown('y')}; leave it out"


def lies_on_image(value: jax.Array, x_BHWC: jax.Array) -> bool:
    return value.ndim > 2 and value.shape[1:3] == x_BHWC.shape[1:3]


def on_image(batch: Batch) -> Batch:
    return {key: value for key, value in batch.items() if key != "boxes" and lies_on_image(value, batch["x"])}


def crop(padding: int = 4) -> Augmentation:
    """Pads images with `padding` zeros on each side and cuts the old size out of that (He et al. 2015, section 4.2).

    Where pixels have classes, those of the padding do not count: `mask` [B, H, W] is 0 there.  Boxes are cut to the
    image; one that lies outside is not `present`.
    """

    def change(batch, key):
        x_BHWC = batch["x"]
        B, H, W, _ = x_BHWC.shape
        at_B2 = draw(jax.random.randint, key, (B, 2), minval=0, maxval=2 * padding + 1)

        def cut(value_BHW):
            rest = ((0, 0),) * (value_BHW.ndim - 3)
            padded = jnp.pad(value_BHW, ((0, 0), (padding, padding), (padding, padding), *rest))
            start = lambda at: (at[0], at[1], *[0] * len(rest))
            one = lambda value, at: jax.lax.dynamic_slice(value, start(at), value_BHW.shape[1:])
            return jax.vmap(one)(padded, at_B2)

        if "y" in batch and lies_on_image(batch["y"], x_BHWC):
            mask = batch.get("mask", jnp.ones(B, jnp.float32))
            mask = mask.reshape(B, *mask.shape[1:], *[1] * (3 - mask.ndim))
            batch = {**batch, "mask": jnp.broadcast_to(mask, (B, H, W))}
        changed = {**batch, **{name: cut(value) for name, value in on_image(batch).items()}}
        if "boxes" not in batch:
            return changed
        size = jnp.asarray([W, H, W, H], jnp.float32)
        moved_B14 = (padding - jnp.tile(at_B2[:, ::-1], (1, 2)))[:, None] / size[None, None]
        boxes_BM4 = (batch["boxes"] + moved_B14).clip(0, 1)
        is_seen_BM = (boxes_BM4[..., 2:] > boxes_BM4[..., :2]).all(-1)
        return {**changed, "boxes": boxes_BM4, "present": batch["present"] * is_seen_BM}

    return change


def flip() -> Augmentation:
    """Mirrors every second image, at random, left to right."""

    def change(batch, key):
        mirrored_B = draw(jax.random.bernoulli, key, (len(batch["x"]), 1, 1, 1)).reshape(-1)
        choose = lambda new, old: jnp.where(mirrored_B.reshape(-1, *[1] * (old.ndim - 1)), new, old)
        changed = {**batch, **{name: choose(value[:, :, ::-1], value) for name, value in on_image(batch).items()}}
        if "boxes" not in batch:
            return changed
        left, top, right, bottom = jnp.split(batch["boxes"], 4, axis=-1)
        boxes_BM4 = jnp.concatenate([1 - right, top, 1 - left, bottom], axis=-1)
        return {**changed, "boxes": choose(boxes_BM4, batch["boxes"])}

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
