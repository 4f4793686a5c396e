"""Forecasts, judged beside the simplest one."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from train.losses import LOSSES, LossName
from train.predictions import Numbers
from train.step import Batch, Scored, Task
from train.tasks.supervised import inputs, masked_mean


def forecast(model: Model, loss: LossName = "mse") -> Task:
    """Mean of `loss` (train/losses.py) between the outputs for `x` and `y`, both float32 [B, H]; with it `mae`.

    `naive` and `naive_mae` are the same of the forecast `batch["naive"]` [B, H] that the data brings, such as the
    values of a season before: a network is worth what it is below them.
    """
    value = LOSSES[loss]

    def init(key, batch):
        return model.init(key, *inputs(batch))

    def scalar(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        outputs, state = model.apply(params, state, *inputs(batch), key=key, train=train)
        y, naive = batch["y"], batch["naive"]
        if outputs.shape != y.shape:
            raise ValueError(f"the network's outputs are {list(outputs.shape)}, its targets {list(y.shape)}")
        metrics = {"mae": jnp.abs(outputs - y), "naive": value(naive, y), "naive_mae": jnp.abs(naive - y)}
        return masked_mean(value(outputs, y), metrics, batch, state)

    def predict(params, state, x):
        return Numbers(model.apply(params, state, x)[0])

    return Task(init, scalar, predict)
