"""Mixture of experts: one expert is a dense layer, a loop over tokens is the reference, losses have closed forms.

Shapes: S tokens, E experts, D width, U units.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from models.api import from_linen
from models.llama import Llama
from models.parts.cpu import rows_of_a_tile, tiled_dot
from models.parts.experts import Experts, Route, balance_loss, kept, top_k, z_loss
from train import configs
from train.cost import budget
from train.experiment import build_experiment
from train.step import init_state

E, D, U = 4, 5, 7


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def made(count, top, capacity=None):
    layer = Experts(count, top, U, capacity=capacity)
    variables = nn.meta.unbox(layer.init(jax.random.key(0), draw(2, 3, D)))
    penalty = variables["penalty"]
    return (lambda params, x: layer.apply({"params": params, "penalty": penalty}, x)), variables["params"]


def mlp(params, e, x_D):
    h = x_D @ params["up"][e]
    return (h[:U] * jax.nn.silu(h[U:])) @ params["down"][e]


@pytest.mark.slow
@pytest.mark.parametrize("top", [1, 2, 4])
def test_experts_are_a_loop_over_tokens(top):
    """Values, and gradients by weights, router and input."""
    layer, params = made(E, top)

    def loop(params, x):
        def token(x_D):
            weight, index = jax.lax.top_k(jax.nn.softmax(x_D @ params["router"]), top)
            return sum(weight[i] / weight.sum() * mlp(params, index[i], x_D) for i in range(top))

        return jax.vmap(jax.vmap(token))(x)

    value = lambda f: jax.jit(jax.value_and_grad(lambda p, x: jnp.sin(f(p, x)).sum(), (0, 1)))(params, draw(2, 3, D))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), value(layer), value(loop))


def test_one_expert_is_a_dense_layer():
    layer, params = made(1, 1)
    x = draw(2, 3, D)
    np.testing.assert_allclose(
        layer(params, x), jax.vmap(jax.vmap(lambda x: mlp(params, 0, x)))(x), rtol=1e-5, atol=1e-6
    )


def test_losses_of_the_router_have_their_closed_forms():
    """All used alike: k.  All tokens to one expert: E.  Equal logits c: (c + log E)²."""
    even = Route(jnp.asarray([[0, 1], [2, 3]]), jnp.full((2, 2), 0.5), jnp.zeros((2, E)))
    assert balance_loss(even) == pytest.approx(2)
    one = top_k(jnp.zeros((6, E)).at[:, 2].set(50.0), 1)
    assert balance_loss(one) == pytest.approx(E)
    assert z_loss(Route(even.expert_Sk, even.weight_Sk, jnp.full((2, E), 3.0))) == pytest.approx((3 + np.log(E)) ** 2)


@pytest.mark.slow
def test_an_expert_takes_what_it_has_room_for():
    """First choices before second ones, tokens in their order; what finds no room counts nothing."""
    route = Route(jnp.asarray([[0, 1], [0, 2], [1, 0], [0, 1]]), jnp.full((4, 2), 0.5), jnp.zeros((4, E)))
    np.testing.assert_array_equal(kept(route, 2).weight_Sk > 0, [[1, 1], [1, 1], [1, 0], [0, 0]])
    layer, params = made(E, 1, capacity=1.0)
    params = {**params, "router": jnp.zeros((D, E)).at[:, 1].set(1.0)}
    x = jnp.abs(draw(1, 8, D))  # all tokens want expert 1, which has room for 8 / 4
    out = layer(params, x)
    assert (jnp.abs(out[0, :2]).max(-1) > 0).all()
    np.testing.assert_array_equal(out[0, 2:], 0)


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["unrolled", "scan"])
def test_a_network_remembers_its_penalties(stack):
    """Of every layer, where it trains; evaluation leaves them as they are."""
    network = Llama(11, 2, 2, 8, 12, 16, experts=E, experts_per_token=2, stack=stack)
    model = from_linen(network)
    tokens = jnp.arange(10)[None] % 11
    params, state = jax.jit(model.init)(jax.random.key(0), tokens)
    _, same = jax.jit(model.apply)(params, state, tokens)
    logits, after = jax.jit(lambda p, s: model.apply(p, s, tokens, key=jax.random.key(1), train=True))(params, state)
    assert logits.shape == (1, 10, 11)
    penalties = jnp.concatenate([x.ravel() for x in jax.tree.leaves(after["penalty"])])
    assert penalties.shape == (4,)
    assert (penalties > 0).all()
    jax.tree.map(np.testing.assert_array_equal, same, state)


def test_more_experts_than_there_are_is_said():
    with pytest.raises(ValueError, match="a token goes to 5 of 4 experts; use 1 to 4"):
        Experts(E, 5, U).init(jax.random.key(0), draw(1, 2, D))


@pytest.mark.slow
def test_training_adds_the_penalties_and_a_token_meets_few_experts():
    """By hand: the penalties of the state after a step; two of four experts; products of those two."""
    page = configs.load("configs/text/markov_llama.py")
    flags = ["model.experts=4", "model.layers=2", "model.width=16", "model.heads=2", "model.kv_heads=1"]
    flags += [
        "model.inner=24",
        "batch_size=4",
        "data.context=8",
        "model.context=8",
        "data.train_tokens=2000",
        "data.valid_tokens=200",
    ]
    made = build_experiment(configs.config_of(page, flags))
    batch = {k: jnp.zeros(v.shape, v.dtype) for k, v in made.batch.items()}
    state = jax.jit(functools.partial(init_state, made.task, made.tx))(jax.random.key(0), batch)
    scored = jax.jit(lambda s, b, k, train: made.task.loss(s.params, s.model_state, b, k, train), static_argnums=3)
    loss = lambda train: scored(state, batch, jax.random.key(1), train)
    (trained, (after, metrics)), (held_out, _) = loss(True), loss(False)
    penalty = sum(float(x.sum()) for x in jax.tree.leaves(after["penalty"]))
    assert float(trained - held_out) == pytest.approx(penalty, rel=1e-4)
    assert float(metrics["penalty"][0] / metrics["penalty"][1]) == pytest.approx(penalty, rel=1e-5)
    counted, expert = budget.count(made), 3 * 16 * 24
    assert counted.params_total - counted.params_active == 2 * 2 * expert  # layers × experts that sleep
    fewer = budget.count(build_experiment(configs.config_of(page, [*flags, "model.experts_per_token=1"])))
    assert (
        counted.flops_per_step - fewer.flops_per_step == 6 * 2 * expert * 4 * 8
    )  # a multiply-add, three times, a token


def test_parameters_are_drawn_without_a_forward_pass():
    """The penalties in the state are made by every step: to draw them would need the whole batch on every device."""
    model = from_linen(Llama(8, 1, 2, 8, 8, 4, experts=2))
    program = jax.jit(model.init).lower(jax.random.key(0), jnp.zeros((2, 4), jnp.int32)).as_text()
    assert not re.search("dot_general|ragged", program)


def test_tiles_of_rows_are_the_ragged_product():
    """Of an expert with two tiles, one with none and one with part of one; rows behind the last count nothing."""
    x, w, sizes = draw(40, 3), draw(4, 3, 5, seed=1), jnp.asarray([25, 0, 9, 3])
    slopes = lambda product: jax.value_and_grad(lambda x, w: (product(x, w, sizes) ** 3).sum(), (0, 1))(x, w)
    assert rows_of_a_tile(x, w) == 16
    np.testing.assert_allclose(tiled_dot(x, w, sizes), jax.lax.ragged_dot(x, w, sizes), rtol=1e-5, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        slopes(tiled_dot),
        slopes(jax.lax.ragged_dot),
    )
