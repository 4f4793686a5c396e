"""Style transfer: a network paints pictures anew.  B batch, H height, W width, C channels (features), L layers."""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Key

from models.api import Model, ModelState, Params
from train.errors import UserError, suggest
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean

TINY = 1e-8
SMALLEST = {"layers": ("stem",), "content": ("stem",)}  # at which pages are tested, whose classifiers are ResNets


def style(
    painter: Model, classifier: Model, layers: tuple[str, ...], content: tuple[str, ...], weight: float = 1.0
) -> Task:
    """`painter` makes of a picture x one whose Gram matrices are those of `style`, and whose features are those of x.

    Features are what the submodules of `classifier` give, named in `layers` for the Gram matrices (Gatys et al. 2016,
    eq. 3-5) and in `content` for the features themselves (eq. 1); it is trained elsewhere (config.init) and frozen.
    The painter learns from many pictures what Gatys et al. do for one (Johnson et al. 2016); a sigmoid of its output is
    the new picture.  Distances are relative, |a - b|² / |b|², the mean over layers: `gram` and `content` of the new
    picture, `gram_before` of x.  The loss is content + weight × gram.
    """

    def init(key, batch):
        keys = jax.random.split(key)
        parts = {"painter": painter.init(keys[0], batch["x"]), "classifier": classifier.init(keys[1], batch["x"])}
        return {name: made[0] for name, made in parts.items()}, {name: made[1] for name, made in parts.items()}

    def paint(params: Params, state: ModelState, x: jax.Array, **how) -> tuple[jax.Array, ModelState]:
        made, after = painter.apply(params["painter"], state["painter"], x, **how)
        if made.shape != x.shape:
            raise ValueError(
                f"the painter makes {list(made.shape)} of pictures {list(x.shape)}; give it as many colours"
            )
        return jax.nn.sigmoid(made), {**state, "painter": after}

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        made, after = paint(params, state, batch["x"], key=key, train=train)

        def features(x: jax.Array) -> dict[str, jax.Array]:
            held = stop_gradient(params["classifier"])
            (_, inside), _ = classifier.apply(held, state["classifier"], x, capture=True)
            for name in {*layers, *content}:
                if name not in inside:
                    raise UserError(f"config.task: the classifier has no layer {name!r}{suggest(name, inside)}")
            return inside

        new, old, aim = features(made), features(batch["x"]), features(batch["style"])
        grams = lambda inside: [gram(inside[name]) for name in layers]
        average = lambda a, b: sum(map(relative, a, b)) / len(b)
        told = {
            "gram": average(grams(new), grams(aim)),
            "gram_before": average(grams(old), grams(aim)),
            "content": average([new[name] for name in content], [old[name] for name in content]),
        }
        return masked_mean(told["content"] + weight * told["gram"], told, batch, after)

    return Task(init, loss)


def gram(x_BHWC: Float[Array, "b h w c"]) -> Float[Array, "b c c"]:
    """The mean over places of the products of two features: which go together, and not where."""
    return jnp.einsum("bhwc,bhwd->bcd", x_BHWC, x_BHWC) / (x_BHWC.shape[1] * x_BHWC.shape[2])


def relative(a: Float[Array, "b *n"], b: Float[Array, "b *n"]) -> Float[Array, " b"]:
    """|a - b|² / |b|² of each record."""
    total = lambda x: (x**2).sum(tuple(range(1, x.ndim)))
    return total(a - b) / (total(b) + TINY)
