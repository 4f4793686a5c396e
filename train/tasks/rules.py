"""Learning rules older than the gradient, as scalars whose gradient they are.  B batch, D inputs.

The LMS rule of ADALINE (Widrow & Hoff 1960) is that of `supervised:regress` with the squared error.
"""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.axes import whole
from train.predictions import Classes, Numbers
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean


def perceptron(model: Model) -> Task:
    """max(0, -y w·x), y = ±1: its negative gradient on a mistake is y x (Rosenblatt 1958).  The batch's `y` is 0 or 1.

    An output of exactly 0 is a mistake.  Metrics: `error`, the share of mistakes, and `mistakes`, how many training
    made so far; with batches of one they number at most (R/γ)² on data of radius R and margin γ (Novikoff 1962).
    """

    def init(key, batch):
        params, state = model.init(key, batch["x"])
        return params, {"network": state, "mistakes": jnp.zeros(())}

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        output, network = model.apply(params, state["network"], batch["x"], key=key, train=train)
        margin = (2 * batch["y"] - 1) * output
        wrong = (margin <= 0).astype(jnp.float32)
        counted = whole(wrong * batch.get("mask", jnp.ones(len(wrong)))).sum() if train else 0.0
        state = {"network": network, "mistakes": state["mistakes"] + counted}
        mistakes = jnp.broadcast_to(state["mistakes"], wrong.shape)
        return masked_mean(-margin * wrong, {"error": wrong, "mistakes": mistakes}, batch, state)

    def predict(params, state, x):
        is_one = model.apply(params, state["network"], x)[0] > 0
        return Classes(jax.nn.one_hot(is_one, 2))

    return Task(init, loss, predict)


def oja(model: Model) -> Task:
    """-½ y² + ½ stop(y²)|w|² with y = w·x: the negative gradient is y (x - y w), Hebb's rule with decay (Oja 1982).

    The unit must have no bias.  `cosine`, in evaluation only, is the angle to the first principal component of
    the batch, which should hold the whole split.
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        y, state = model.apply(params, state, batch["x"], key=key, train=train)
        square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        values = -0.5 * y**2 + 0.5 * stop_gradient(y**2) * square
        if train:
            return masked_mean(values, {}, batch, state)
        mask = batch.get("mask", jnp.ones(len(y)))
        x_BD = batch["x"].reshape(len(y), -1) * mask[:, None]
        component = jnp.linalg.svd(x_BD, full_matrices=False)[2][0]
        weight = jax.tree.leaves(params)[0]
        cosine = jnp.abs(component @ weight) / jnp.linalg.norm(weight)
        return masked_mean(values, {"cosine": jnp.broadcast_to(cosine, y.shape)}, batch, state)

    def predict(params, state, x):
        return Numbers(model.apply(params, state, x)[0])

    return Task(init, loss, predict)
