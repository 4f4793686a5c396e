"""Tasks on graphs (data/graphs.py): those of vectors and texts, for networks that are given the edges too."""

from models.api import Model
from train.losses import ClassLossName, LossName
from train.step import Task
from train.tasks import forecast as forecasts
from train.tasks import supervised


def classify(
    model: Model, classes: int, label_smoothing: float = 0.0, loss: ClassLossName = "cross_entropy"
) -> Task:
    """`supervised:classify` of nodes, `y` [B, N] and `mask` [B, N], or of graphs, `y` [B]."""
    return supervised.classify(model, classes, label_smoothing, loss)._replace(predict=None)


def regress(model: Model, loss: LossName = "mse") -> Task:
    """`supervised:regress` of nodes, `y` [B, N, F], or of graphs, `y` [B, F]."""
    return supervised.regress(model, loss)._replace(predict=None)


def forecast(model: Model, loss: LossName = "mse") -> Task:
    """`forecast:forecast` of every node: `y` and `naive` [B, N, H]."""
    return forecasts.forecast(model, loss)._replace(predict=None)
