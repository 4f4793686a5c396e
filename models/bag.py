"""A bag of words: what a text is by the words in it, in whatever order.

Shapes: B batch, L length, D width, C classes.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.dense import Embed, at_least_one, dense

SMALLEST = {"vocab": 256, "width": 16}  # at which pages are tested


class Bag(nn.Module):
    """The mean of the vectors of its words, one hidden layer, and the logits (Iyyer et al. 2015).

    Tokens `padding` are not in the bag.
    """

    vocab: int
    classes: int
    width: int
    padding: int = 0

    @nn.compact
    def __call__(self, tokens_BL: Int[Array, "b l"], *, train: bool = False) -> Float[Array, "b c"]:
        at_least_one(self, "vocab", "classes", "width")
        embed = Embed(self.vocab, self.width, nn.initializers.normal(1.0), ("vocab", "embed"), name="token_embed")
        is_word_BL1 = (tokens_BL != self.padding)[..., None]
        x_BD = jnp.where(is_word_BL1, embed(tokens_BL), 0).sum(1) / jnp.maximum(is_word_BL1.sum(1), 1)
        x_BD = jax.nn.relu(dense(self.width, ("embed", "mlp"), name="hidden")(x_BD))
        return dense(self.classes, ("mlp", None), name="class")(x_BD)
