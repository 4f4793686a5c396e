"""Groups of parameters: each follows its own optimizer; frozen ones stay bit for bit and cost nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from models.api import from_linen
from models.mlp import MLP
from tests.support.arrays import close
from tests.support.small import blobs
from train import paths
from train.cost import budget
from train.errors import UserError
from train.experiment import build_experiment
from train.optim.chain import evaluation_params, learning_rates, optimizer, peak_rate
from train.optim.groups import learner
from train.step import init_state, train_step
from train.tasks.supervised import classify

B, K = 8, 3
ADAM = {"name": "adamw", "learning_rate": 0.1, "weight_decay": 0.3}
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
FROZEN = {"name": "frozen"}
NETWORK = MLP(K, width=4, layers=2)


def batch(seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((B, 5)), rng.integers(0, K, B)
    return {"x": jnp.asarray(x, jnp.float32), "y": jnp.asarray(y, jnp.int32)}


def states(spec, steps=3, ema=0.0, **options):
    """The state before the first step, and after the last."""
    task, tx = classify(from_linen(NETWORK), K)._replace(learns=learner(spec)), optimizer(spec, ema)
    first = state = jax.jit(functools.partial(init_state, task, tx))(jax.random.key(0), batch())
    step = jax.jit(functools.partial(train_step, task=task, tx=tx, **options))
    for i in range(steps):
        state, metrics = step(state, batch(i), jax.random.key(1), np.float32(0.5))
    return first, state, metrics


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_frozen_parameters_stay_and_the_others_move_as_without_them(accumulate):
    """The first layer frozen is the network that begins behind it: the same gradient, norm and optimizer."""
    spec = {"head": {**ADAM, "match": "^logits/"}, "middle": {**SGD, "match": "hidden_1"}, "rest": FROZEN}
    first, last, metrics = states(spec, ema=0.5, accumulate=accumulate)
    for name in ("kernel", "bias"):
        before, after = (state.params["hidden_0"][name] for state in (first, last))
        assert np.asarray(before).tobytes() == np.asarray(after).tobytes()

    def behind(params, b):
        h = jax.nn.relu(b["x"] @ first.params["hidden_0"]["kernel"] + first.params["hidden_0"]["bias"][None])
        h = jax.nn.relu(h @ params["hidden_1"]["kernel"] + params["hidden_1"]["bias"][None])
        logits = h @ params["logits"]["kernel"] + params["logits"]["bias"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, b["y"]).mean()

    params = {name: first.params[name] for name in ("hidden_1", "logits")}
    each = {"hidden_1": optimizer(SGD), "logits": optimizer(ADAM)}
    own = {name: tx.init(params[name]) for name, tx in each.items()}
    for i in range(3):
        grads = jax.grad(behind)(params, batch(i))
        for name, tx in each.items():
            updates, own[name] = tx.update(grads[name], own[name], params[name], rate=0.5)
            params[name] = optax.apply_updates(params[name], updates)
    close({name: last.params[name] for name in params}, params)
    total, weight = metrics["grad_norm"]
    assert float(total / weight) == pytest.approx(float(optax.tree.norm(grads)), rel=1e-5)
    judged = evaluation_params(last.params, last.opt_state)
    assert judged["hidden_0"] == last.params["hidden_0"]
    assert not np.array_equal(judged["logits"]["kernel"], last.params["logits"]["kernel"])
    kept = {name for name in paths.leaves(last.opt_state) if "hidden_0" in name}
    assert not kept, "neither moments nor an average of what is frozen"


def test_what_is_frozen_has_neither_state_nor_gradient():
    config = blobs(**{"model.layers": 2})
    counts = {}
    for name, optim in {"all": ADAM, "head": {"logits": dict(ADAM), "rest": dict(FROZEN)}}.items():
        with config.unlocked():
            config.optim = optim
        counts[name] = budget.count(build_experiment(config))
    head, wide = 8 * 2 + 2, counts["all"].params_total
    # Adam has two moments of every parameter that is trained, and counts its steps.
    assert counts["all"].state_bytes - counts["head"].state_bytes == 2 * 4 * (wide - head)
    forward = 2 * 16 * (2 * 8 + 8 * 8 + 8 * 2)
    assert counts["all"].flops_per_step == 3 * forward - 2 * 16 * 2 * 8
    assert counts["head"].flops_per_step == forward + 2 * 16 * 8 * 2
    assert [row[:3] for row in counts["head"].groups] == [
        ("logits", "adamw, rate 0.1", head),
        ("rest", "frozen", wide - head),
    ]
    assert "hidden_*/bias, hidden_*/kernel" in budget.table(counts["head"], "example")


def test_rates_of_groups_are_those_that_there_are():
    spec = {"biases": {**SGD, "match": "bias$"}, "logits": {**ADAM, "match": "logits/k"}, "rest": FROZEN}
    assert learning_rates(spec) == {"biases.learning_rate": 0.01, "logits.learning_rate": 0.1}
    assert peak_rate(spec) == 0.1


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"a": {**SGD, "match": "conv"}, "rest": SGD}, r"optim\.a\.match='conv' matches no parameter; they are hidden"),
        ({"a": {**SGD, "match": "("}}, r"config\.optim\.a\.match='\(' is no regular expression"),
        (
            {"a": {**SGD, "match": "bias"}, "b": {**SGD, "match": "logits"}, "rest": SGD},
            r"both have logits/bias; change",
        ),
        ({"logits": SGD}, r"\(logits\): no group has hidden_\*/bias, hidden_\*/kernel; set config\.optim\.rest"),
        ({"head": SGD, "rest": SGD}, r"optim\.head is no top-level part of the parameters, which are hidden_0, hid"),
        ({"logits": FROZEN, "rest": FROZEN}, r"every parameter is frozen, so nothing is learnt"),
        ({"logits": SGD, "rest": {**FROZEN, "clip": 1.0}}, r"optim\.rest is frozen, which takes no clip"),
        ({"logits": SGD, "rest": {**SGD, "match": "x"}}, r"optim\.rest is what no other group has; give the group"),
        ({"logits": {"name": "sgd"}, "rest": SGD}, r"config\.optim\.logits has no learning_rate"),
    ],
)
def test_a_mistake_is_a_sentence(spec, said):
    config = blobs()
    with config.unlocked():
        config.optim = spec
    with pytest.raises(UserError, match=said):
        build_experiment(config)
