"""An answer that is a part of the text.  B batch, L length."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from models.api import Model, ModelState, Params
from models.bert import chosen
from train.losses import cross_entropy
from train.metrics import mean
from train.predictions import Spans
from train.step import Batch, Scored, Task
from train.tasks.supervised import counted, masked_mean

FILLER = 0  # behind the last token
NEVER = -1e30  # the score of a place that there is not; of two such the differences are finite


def span(model: Model) -> Task:
    """Cross-entropy of the answer's first and last token, of every token of `x` [B, L] (Devlin et al. 2018, 4.2).

    `y` [B, 2] are the numbers of the two, the network's outputs the scores [B, L, 2] of every token as the first and as
    the last.  Zeros of `x` are no tokens.  The loss is the mean of both; `mask` is [B].

    The answer that is given is the likeliest span that does not end before it starts.  `exact_match` is the share of
    answers with both ends right, `f1` the mean over records of 2 · shared / (tokens given + true tokens) (Rajpurkar et
    al. 2016, with places for words).
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        scores_BL2, state = model.apply(params, state, batch["x"], key=key, train=train)
        if scores_BL2.shape != (*batch["x"].shape, 2):
            raise ValueError(
                f"the network's outputs are {list(scores_BL2.shape)}; a span needs two scores of each token, "
                f"{[*batch['x'].shape, 2]}, as bert:Bert gives them with config.model.head=span"
            )
        scores_BL2 = jnp.where((batch["x"] != FILLER)[..., None], scores_BL2, NEVER)
        values_B2 = cross_entropy(jnp.moveaxis(scores_BL2, -1, 1), batch["y"])
        first_B, last_B = chosen(scores_BL2)
        told_B2 = jnp.stack([first_B, last_B], axis=1).astype(batch["y"].dtype)
        right_B = (told_B2 == batch["y"]).all(1).astype(jnp.float32)
        scalar, (state, metrics) = masked_mean(values_B2, {}, batch, state)
        mask_B = counted(right_B, batch)
        of = {"exact_match": right_B, "f1": f1(told_B2, batch["y"])}
        return scalar, (state, {**metrics, **{name: mean(values, mask_B) for name, values in of.items()}})

    def predict(params, state, x_BL):
        scores_BL2, _ = model.apply(params, state, x_BL)
        scores_BL2 = jnp.where((x_BL != FILLER)[..., None], scores_BL2, NEVER)
        first_B, last_B = chosen(scores_BL2)
        p_BL2, rows = jax.nn.softmax(scores_BL2, axis=1), jnp.arange(len(x_BL))
        return Spans(first_B, last_B, p_BL2[rows, first_B, 0] * p_BL2[rows, last_B, 1])

    return Task(init, loss, predict)


def f1(told_B2: Int[Array, "b 2"], true_B2: Int[Array, "b 2"]) -> Float[Array, " b"]:
    """2 · shared places / places of both."""
    length = lambda first, last: jnp.maximum(last - first + 1, 0)
    shared_B = length(jnp.maximum(told_B2[:, 0], true_B2[:, 0]), jnp.minimum(told_B2[:, 1], true_B2[:, 1]))
    return 2 * shared_B / (length(*told_B2.T) + length(*true_B2.T))
