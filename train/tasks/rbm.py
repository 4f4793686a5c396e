"""Contrastive divergence is the gradient of a free-energy gap whose negative samples are held constant."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.parts.axes import draw
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean


def contrastive_divergence(model: Model, sweeps: int = 1) -> Task:
    """CD-k (Hinton 2002): F(data) - F(sample), the sample `sweeps` Gibbs sweeps away from the data.

    Inputs of any shape in [0, 1] are read as the probabilities of binary units, and sampled.
    """

    def init(key, batch):
        return model.init(key, flat(batch))

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        data_key, *sweep_keys = jax.random.split(key, sweeps + 1)
        values, error = gap(model, params, state, binary(flat(batch), data_key), sweep_keys)
        return masked_mean(values, {"reconstruction_error": error}, batch, state)

    return Task(init, loss)


def layerwise(sweeps: int = 1, **layers: Model) -> Task:
    """A deep belief network (Hinton, Osindero & Teh 2006): RBMs in the order of their names, each by CD-k on samples of
    the hidden units of the one below.

    No gradient leaves a layer, so each learns as if the others were not there.  All do so in one run: the upper ones
    learn from lower ones that are still learning, where the paper trains one after the other.  Metrics are the
    layers' `reconstruction_error` by name.
    """
    names = sorted(layers)

    def init(key, batch):
        v_BV, params, state = flat(batch), {}, {}
        for name, own in zip(names, jax.random.split(key, len(names)), strict=True):
            params[name], state[name] = layers[name].init(own, v_BV)
            v_BV = layers[name].apply(params[name], state[name], v_BV, method="upwards")[0]
        return params, state

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        total, told, v_BV = jnp.zeros(len(batch["x"])), {}, flat(batch)
        for name, own in zip(names, jax.random.split(key, len(names)), strict=True):
            data_key, *sweep_keys = jax.random.split(own, sweeps + 1)
            v_BV = stop_gradient(binary(v_BV, data_key))
            values, error = gap(layers[name], params[name], state[name], v_BV, sweep_keys)
            total, told[f"reconstruction_error_{name}"] = total + values, error
            v_BV = layers[name].apply(params[name], state[name], v_BV, method="upwards")[0]
        return masked_mean(total, told, batch, state)

    return Task(init, loss)


def gap(
    model: Model, params: Params, state: ModelState, data_BV: jax.Array, keys: Sequence[Key[Array, ""]]
) -> tuple[jax.Array, jax.Array]:
    """Of each record: F(data) - F(sample), a Gibbs sweep away for each key, and the mean difference of a unit."""
    sample_BV = data_BV
    for key in keys:
        sample_BV, _ = model.apply(params, state, sample_BV, key=key, method="gibbs")
    sample_BV = stop_gradient(sample_BV)
    data_energy, _ = model.apply(params, state, data_BV)
    sample_energy, _ = model.apply(params, state, sample_BV)
    return data_energy - sample_energy, jnp.abs(data_BV - sample_BV).mean(-1)


def flat(batch: Batch) -> jax.Array:
    return batch["x"].reshape(len(batch["x"]), -1)


def binary(p_BV: jax.Array, key: Key[Array, ""]) -> jax.Array:
    return (draw(jax.random.uniform, key, p_BV.shape) < p_BV).astype(p_BV.dtype)
