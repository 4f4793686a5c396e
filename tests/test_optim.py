"""Schedules against their formulas; optimizers, with the schedule as an input, against optax with it built in."""

import inspect
import math
import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from models.api import from_linen
from models.gpt import GPT
from models.rbm import RBM
from train.build import build
from train.errors import UserError
from train.optim import schedules
from train.optim.chain import decay_matrices, evaluation_params, learning_rates, optimizer, peak_rate
from train.optim.groups import learner

STEPS, WARMUP = 100, 20


def close(a, b, tolerance=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=1e-8), a, b)


# Schedules: their shapes after the warmup, as a function of the step and the number of warmup steps.

SHAPES = {
    "constant": ({}, lambda step, warmup: 1.0),
    "cosine": ({"floor": 0.1}, lambda s, w: 0.55 + 0.45 * math.cos(math.pi * (s - w) / (STEPS - w))),
    "linear": ({"floor": 0.1}, lambda s, w: np.interp(s, [w, STEPS], [1, 0.1])),
    "polynomial": ({"power": 0.9, "floor": 0.1}, lambda s, w: 0.1 + 0.9 * ((STEPS - s) / (STEPS - w)) ** 0.9),
    "exponential": ({"floor": 0.01}, lambda s, w: math.exp(math.log(0.01) / (STEPS - w)) ** (s - w)),
    "cosine_restarts": (
        {"cycles": 4, "floor": 0.1},
        lambda s, w: (
            0.55 + 0.45 * math.cos(math.pi * ((s - w) % ((STEPS - w) / 4) * 4 / (STEPS - w) if s < STEPS else 1))
        ),
    ),
    "wsd": (
        {"decay": 0.25, "floor": 0.1},
        lambda s, w: np.interp(s, [w, 0.75 * STEPS, STEPS], [1, 1, 0.1]),
    ),
    "inverse_sqrt": ({}, lambda s, w: math.sqrt(w / s) if w else 1 / math.sqrt(1 + s)),
    "step": (
        {"at": (0.5, 0.75), "factor": 0.1},
        lambda s, w: 1.0 if 2 * s < STEPS else 0.1 if 4 * s < 3 * STEPS else 0.01,
    ),
}


def test_every_schedule_is_in_the_table():
    public = {n for n, f in vars(schedules).items() if inspect.isfunction(f) and f.__module__ == schedules.__name__}
    assert set(SHAPES) == public - {"warmed", "of_run", "steps_of"}


@pytest.mark.parametrize("warmup", [0, WARMUP])
@pytest.mark.parametrize("name", SHAPES)
def test_schedule_is_its_formula(name, warmup):
    """At every step, and at the end, one past the last step that is taken."""
    options, shape = SHAPES[name]
    schedule = build("train.optim.schedules", {"name": name, "warmup": warmup, **options}, "schedule", steps=STEPS)
    for step in range(STEPS + 1):
        expected = (step + 1) / warmup if step < warmup else shape(step, warmup)
        assert schedule(step) == pytest.approx(expected, abs=1e-12), step
    assert schedule(warmup) == 1, "the warmup ends at the peak"
    assert schedule(0) == (1 / warmup if warmup else 1), "the first step moves"


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("cosine", {"floor": 0.1}, optax.cosine_decay_schedule(1.0, STEPS, alpha=0.1)),
        ("linear", {"floor": 0.1}, optax.linear_schedule(1.0, 0.1, STEPS)),
        ("polynomial", {"power": 2.0, "floor": 0.1}, optax.polynomial_schedule(1.0, 0.1, 2.0, STEPS)),
        ("exponential", {"floor": 0.01}, optax.exponential_decay(1.0, STEPS, 0.01)),
        (
            "cosine_restarts",
            {"cycles": 2},
            optax.join_schedules([optax.cosine_decay_schedule(1.0, STEPS // 2)] * 2, [STEPS // 2]),
        ),
        ("step", {"at": (0.5, 0.75)}, optax.piecewise_constant_schedule(1.0, {50: 0.1, 75: 0.1})),
        (
            "wsd",
            {"decay": 0.2},
            optax.join_schedules([optax.constant_schedule(1.0), optax.linear_schedule(1.0, 0.0, 20)], [80]),
        ),
    ],
)
def test_schedule_is_optaxs(name, options, theirs):
    schedule = build("train.optim.schedules", {"name": name, **options}, "schedule", steps=STEPS)
    ours = [schedule(step) for step in range(STEPS)]
    np.testing.assert_allclose(ours, [float(theirs(step)) for step in range(STEPS)], atol=1e-6)


def test_floors_are_reached_and_kept():
    more = {"polynomial": {"power": 2.0}, "cosine_restarts": {"cycles": 3}}
    for name in ("cosine", "linear", "wsd", "polynomial", "exponential", "cosine_restarts"):
        spec = {"name": name, "floor": 0.1, "warmup": 5, **more.get(name, {})}
        schedule = build("train.optim.schedules", spec, "schedule", steps=STEPS)
        assert schedule(STEPS) == pytest.approx(0.1)
        assert schedule(2 * STEPS) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "cosine", "warmup": 101}, r"warmup=101 does not fit into config.steps=100; use 0 … 100"),
        ({"name": "cosine", "warmup": -1}, r"warmup=-1 does not fit"),
        ({"name": "wsd", "decay": 0.0}, r"decay=0.0 is the fraction of the run that decays"),
        ({"name": "wsd", "decay": 1.5}, r"decay=1.5 is the fraction"),
        ({"name": "exponential", "floor": 0.0}, r"floor=0.0 is what the last step is multiplied by; use 0 < floor"),
        ({"name": "cosine_restarts", "cycles": 0}, r"config.schedule.cycles=0; use 1 or more"),
        ({"name": "step"}, r"config.schedule needs at"),
        ({"name": "inverse_sqrt"}, r"config.schedule needs warmup"),
        ({"name": "cosin"}, r"did you mean 'cosine'"),
        ({"name": "cosine", "flor": 0.1}, r"config.schedule.flor: .* did you mean 'floor'"),
    ],
)
def test_schedule_errors_are_sentences(spec, message):
    with pytest.raises(UserError, match=message):
        build("train.optim.schedules", spec, "schedule", steps=STEPS)


# Optimizers.


def tree(seed):
    rng = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    return {"layer": {"kernel": normal(4, 3), "bias": normal(3)}, "norm": {"scale": normal(3)}}


MATRICES = {"layer": {"kernel": True, "bias": False}, "norm": {"scale": False}}


def run(tx, steps=6, **extra):
    """Parameters after each of some steps on gradients that are no function of them."""
    params = tree(0)
    state, path = tx.init(params), []

    @jax.jit
    def one(params, state, grads, extra):
        updates, state = tx.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    for step in range(steps):
        given = {name: np.float32(values(step)) for name, values in extra.items()}
        params, state = one(params, state, tree(step + 1), given)
        path.append(params)
    return path, state


@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        (
            {"name": "adamw", "weight_decay": 0.3, "b2": 0.9},
            lambda rate: optax.adamw(rate, b2=0.9, weight_decay=0.3, mask=MATRICES),
        ),
        (
            {"name": "adamw", "weight_decay": 0.3, "decay": "all"},
            lambda rate: optax.adamw(rate, weight_decay=0.3),
        ),
        ({"name": "adamw"}, lambda rate: optax.adamw(rate, mask=MATRICES)),  # optax decays by 1e-4 unasked
        ({"name": "adam", "b1": 0.5}, lambda rate: optax.adam(rate, b1=0.5)),
        ({"name": "sgd", "momentum": 0.9}, lambda rate: optax.sgd(rate, momentum=0.9)),
        ({"name": "sgd", "momentum": 0.9, "nesterov": True}, lambda rate: optax.sgd(rate, 0.9, nesterov=True)),
        ({"name": "lion", "weight_decay": 0.3}, lambda rate: optax.lion(rate, weight_decay=0.3, mask=MATRICES)),
        (
            {"name": "lars", "weight_decay": 0.3},
            lambda rate: optax.lars(rate, weight_decay=0.3, weight_decay_mask=MATRICES),
        ),
        (
            {"name": "adamw", "weight_decay": 0.3, "clip": 0.7},
            lambda rate: optax.chain(
                optax.clip_by_global_norm(0.7), optax.adamw(rate, weight_decay=0.3, mask=MATRICES)
            ),
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_rate_is_the_schedule(spec, theirs):
    """The peak learning rate times an input of the step, against optax with the schedule inside."""
    schedule = schedules.cosine(steps=8, warmup=3)
    shape = jnp.asarray([schedule(step) for step in range(8)])
    ours, _ = run(optimizer({**spec, "learning_rate": 0.03}), rate=schedule)
    expected, _ = run(theirs(lambda count: 0.03 * shape[count]))
    close(ours, expected)
    constant, _ = run(optimizer({**spec, "learning_rate": 0.03}))
    assert jnp.abs(constant[-1]["layer"]["kernel"] - ours[-1]["layer"]["kernel"]).max() > 1e-4


@pytest.mark.parametrize("clip", [0.5, 1e3])
def test_clipping_is_by_the_norm_of_everything(clip):
    tx, grads = optimizer({"name": "sgd", "learning_rate": 1.0, "clip": clip}), tree(1)
    updates, _ = tx.update(grads, tx.init(tree(0)), tree(0))
    norm = math.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(grads)))
    close(updates, jax.tree.map(lambda g: -g * min(1, clip / norm), grads))


# Weight decay.


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["unrolled", "scan"])
def test_only_matrices_decay(stack):
    """A step without gradients shrinks weights by rate · decay, and leaves biases and norms as they are, also where
    the norms of a stack form a matrix."""
    model = from_linen(GPT(7, layers=2, heads=1, width=4, context=5, bias=True, stack=stack))
    params, _ = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 5), jnp.int32))
    params = jax.tree.map(lambda p: p + 1.0, params)
    tx = optimizer({"name": "adamw", "learning_rate": 0.1, "weight_decay": 0.5})
    updates, _ = jax.jit(tx.update)(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    rows, _ = jax.tree_util.tree_flatten_with_path(jax.tree.map(lambda u, p: u / p, updates, params))
    decayed = {"/".join(k.key for k in path) for path, leaf in rows if leaf.any()}
    names = {"/".join(k.key for k in path) for path, _ in rows}
    assert decayed == {name for name in names if name.endswith(("kernel", "embedding"))}
    assert any(name.endswith("norm1/scale") for name in names - decayed)
    for path, leaf in rows:
        np.testing.assert_allclose(leaf, -0.05 if "/".join(k.key for k in path) in decayed else 0, rtol=1e-5)


def test_decay_of_a_machine_is_of_its_weights():
    params, _ = from_linen(RBM(4, 3)).init(jax.random.key(0), jnp.zeros((1, 4)))
    assert decay_matrices(params) == {"w_VH": True, "b_V": False, "c_H": False}


# Players, averages.

PLAYERS = {
    "a": {"name": "adamw", "learning_rate": 0.1, "weight_decay": 0.3, "clip": 0.5},
    "b": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
}


def test_players_have_their_own_optimizers():
    """One optimizer over both, against each alone on its own gradients: clipping too is by player."""
    both, alone = optimizer(PLAYERS), {player: optimizer(spec) for player, spec in PLAYERS.items()}
    params = {"a": tree(0), "b": tree(10)}
    state, states = both.init(params), {player: alone[player].init(params[player]) for player in PLAYERS}
    for step in range(1, 4):
        grads = {"a": tree(step), "b": tree(10 + step)}
        updates, state = both.update(grads, state, params, rate=0.5)
        for player in PLAYERS:
            own, states[player] = alone[player].update(grads[player], states[player], params[player], rate=0.5)
            close(updates[player], own)
        params = optax.apply_updates(params, updates)


def test_rates_of_players():
    assert learning_rates(PLAYERS) == {"a.learning_rate": 0.1, "b.learning_rate": 0.01}
    assert peak_rate(PLAYERS) == 0.1
    assert learning_rates(PLAYERS["b"]) == {"learning_rate": 0.01}


def test_average_is_its_closed_form():
    """Σ w_i p_i; the steps themselves are those without an average.

    Until the decay is reached, update t decays by (1 + t) / (10 + t), so p₀ weighs n! 9! / (n + 9)! and p_i
    9 (n! / i!) (i + 8)! / (n + 9)!; from there on each decays by the same factor.
    """
    n, spec, f = 6, {"name": "adam", "learning_rate": 0.1}, math.factorial
    growing = [f(9) / f(n + 9) * f(n), *(9 * f(n) / f(i) * f(i + 8) / f(n + 9) for i in range(1, n + 1))]
    steady = [0.1**n, *(0.9 * 0.1 ** (n - i) for i in range(1, n + 1))]  # (1 + 0) / (10 + 0) is reached at once
    for decay, weights in ((0.9999, growing), (0.1, steady)):
        assert sum(weights) == pytest.approx(1)
        path, state = run(optimizer(spec, decay), n, step=lambda step: step)
        expected = jax.tree.map(lambda *ps, w=weights: sum(map(operator.mul, w, ps)), tree(0), *path)
        close(evaluation_params(path[-1], state), expected)
    plain, state = run(optimizer(spec), n)
    close(path, plain)
    assert evaluation_params(plain[-1], state) is plain[-1]


@pytest.mark.parametrize(
    ("spec", "ema", "message"),
    [
        ({"name": "adamw"}, 0.0, r"config.optim has no learning_rate; set config.optim.learning_rate"),
        ({"name": "adamv", "learning_rate": 0.1}, 0.0, r"config.optim.name='adamv'.*did you mean 'adam"),
        ({"name": "adam", "learning_rate": 0.1, "beta1": 0.5}, 0.0, r"config.optim.beta1: adam has no 'beta1'.*b1"),
        ({"name": "adam", "learning_rate": "big"}, 0.0, r"config.optim.learning_rate=.?big"),
        ({"name": "adamw", "learning_rate": 0.1, "clip": 0.0}, 0.0, r"clip=0.0 is a norm; use a number above 0"),
        ({"name": "adamw", "learning_rate": 0.1, "decay": "some"}, 0.0, r"decay='some'.*all, matrices"),
        ({"name": "adam", "learning_rate": 0.1}, 1.0, r"config.ema=1.0 is a decay; use 0"),
        ({"name": "adam", "learning_rate": 0.1}, -0.1, r"config.ema=-0.1 is a decay"),
        ({}, 0.0, r"config.optim needs one optimizer"),
        ({"learning_rate": 0.1}, 0.0, r"config.optim needs one optimizer.*it has \['learning_rate'\]"),
        ({"a": {"learning_rate": 0.1}}, 0.0, r"config.optim.a.*name"),
    ],
)
def test_optimizer_errors_are_sentences(spec, ema, message):
    with pytest.raises(UserError, match=message):
        optimizer(spec, ema)


def test_players_must_be_those_of_the_parameters():
    with pytest.raises(UserError, match=r"config.optim.b is no top-level part of the parameters, which are a, c; name"):
        learner(PLAYERS)({"a": tree(0), "c": tree(1)})


def test_rate_is_traced_once():
    """Runs that differ in their schedule share one program: a changed rate does not trace the update again."""
    tx, traces = optimizer({"name": "adamw", "learning_rate": 0.1}), []

    @jax.jit
    def one(params, state, rate):
        traces.append(rate)
        return tx.update(params, state, params, rate=rate)

    state = tx.init(tree(0))
    for rate in (1.0, 0.5, 0.0):
        updates, _ = one(tree(0), state, np.float32(rate))
    assert len(traces) == 1
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates)), "at rate 0 nothing moves"
