"""A network's collections: running statistics are state; what it sows is not."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from models.api import from_linen
from models.parts.norms import batch_norm
from train.errors import UserError
from train.experiment import check_state
from train.optim.chain import optimizer
from train.step import init_state, train_step
from train.tasks.supervised import classify


class Noting(nn.Module):
    """Keeps running statistics, and notes its activations in a collection of its own."""

    note: bool = True

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Dense(4)(batch_norm(train, "norm")(x))
        if self.note:
            self.sow("notes", "hidden", x)
            self.sow("sums", "hidden", x.sum(), reduce_fn=lambda total, new: total + new, init_fn=lambda: 0.0)
        return x


def test_what_a_network_sows_is_dropped_and_its_statistics_stay():
    batch = {"x": jnp.asarray(np.random.default_rng(0).standard_normal((8, 3)), jnp.float32), "y": jnp.arange(8) % 4}
    ends = {}
    for note in (True, False):
        task, tx = classify(from_linen(Noting(note)), 4), optimizer({"name": "sgd", "learning_rate": 0.1})
        state = jax.jit(functools.partial(init_state, task, tx))(jax.random.key(0), batch)
        step = jax.jit(functools.partial(train_step, task=task, tx=tx))
        for _ in range(2):
            state, _ = step(state, batch, jax.random.key(1), np.float32(1))
        ends[note] = state
    assert set(ends[False].model_state) == {"batch_stats"}
    assert set(ends[True].model_state) == {"batch_stats", "sums"}, "a sum keeps its shape, so it is state"
    jax.tree.map(np.testing.assert_array_equal, ends[True].params, ends[False].params)
    means = [ends[note].model_state["batch_stats"] for note in (True, False)]
    jax.tree.map(np.testing.assert_array_equal, *means)


def test_a_state_that_changes_its_shape_is_a_sentence():
    config = ConfigDict({"task": {"name": "mine:task"}})
    one, two = (types.SimpleNamespace(shape=(n,), dtype="float32") for n in (1, 2))
    check_state(config, {"a": one}, {"a": one})
    for after in ({"a": two, "b": one}, {"b": one}):
        with pytest.raises(UserError, match=r"task mine:task: a step changes the shapes of the network's state \(a\)"):
            check_state(config, {"a": one, "b": one}, after)
