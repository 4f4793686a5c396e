"""Tasks on graphs (data/graphs.py): those of vectors and texts, for networks that are given the edges too; links."""

import optax
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.parts.graph import at
from train.losses import ClassLossName, LossName
from train.step import Batch, Scored, Task
from train.tasks import forecast as forecasts
from train.tasks import supervised
from train.tasks.supervised import accurate, inputs, masked_mean


def classify(model: Model, classes: int, label_smoothing: float = 0.0, loss: ClassLossName = "cross_entropy") -> Task:
    """`supervised:classify` of nodes, `y` [B, N] and `mask` [B, N], or of graphs, `y` [B]."""
    return supervised.classify(model, classes, label_smoothing, loss)._replace(predict=None)


def regress(model: Model, loss: LossName = "mse") -> Task:
    """`supervised:regress` of nodes, `y` [B, N, F], or of graphs, `y` [B, F]."""
    return supervised.regress(model, loss)._replace(predict=None)


def forecast(model: Model, loss: LossName = "mse") -> Task:
    """`forecast:forecast` of every node: `y` and `naive` [B, N, H]."""
    return forecasts.forecast(model, loss)._replace(predict=None)


def links(model: Model) -> Task:
    """Is there an edge between two nodes?  Of `pairs` [B, P, 2], where `y` [B, P] is 1 or 0, the network is not told.

    The network gives each node a vector z, and the score of a pair is z_i · z_j: binary cross-entropy and accuracy
    (Kipf & Welling 2016, "Variational graph auto-encoders", the one without variance).
    """

    def init(key, batch):
        return model.init(key, *inputs(batch))

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        z, state = model.apply(params, state, *inputs(batch), key=key, train=train)
        pairs, y = batch["pairs"], batch["y"]
        scores = (at(z, pairs[..., 0]) * at(z, pairs[..., 1])).sum(-1)
        values = optax.sigmoid_binary_cross_entropy(scores, y.astype(scores.dtype))
        return masked_mean(values, {"accuracy": accurate(scores > 0, y > 0)}, batch, state)

    return Task(init, loss)
