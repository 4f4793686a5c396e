"""Contrastive divergence is the gradient of a free-energy gap whose negative samples are held constant."""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.axes import draw
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean


def contrastive_divergence(model: Model, sweeps: int = 1) -> Task:
    """CD-k (Hinton 2002): F(data) - F(sample), the sample `sweeps` Gibbs sweeps away from the data.

    Inputs of any shape in [0, 1] are read as the probabilities of binary units, and sampled.
    """

    def binary(batch, key):
        x_BV = batch["x"].reshape(len(batch["x"]), -1)
        return (draw(jax.random.uniform, key, x_BV.shape) < x_BV).astype(x_BV.dtype)

    def init(key, batch):
        return model.init(key, batch["x"].reshape(len(batch["x"]), -1))

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        data_key, *sweep_keys = jax.random.split(key, sweeps + 1)
        data_BV = sample_BV = binary(batch, data_key)
        for sweep_key in sweep_keys:
            sample_BV, _ = model.apply(params, state, sample_BV, key=sweep_key, method="gibbs")
        sample_BV = stop_gradient(sample_BV)
        data_energy, _ = model.apply(params, state, data_BV)
        sample_energy, _ = model.apply(params, state, sample_BV)
        error = jnp.abs(data_BV - sample_BV).mean(-1)
        return masked_mean(data_energy - sample_energy, {"reconstruction_error": error}, batch, state)

    return Task(init, loss)
