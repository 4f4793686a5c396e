"""Optimizers by name: the published update in numpy, closed forms of penalties, and a minimum that all of them find.

In the rules r is the rate of a step: the learning rate times the schedule, which the compiled step takes as an input.
"""

import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from train.errors import UserError
from train.optim import chain as optim
from train.optim import schedules
from train.optim.chain import evaluation_params, optimizer, optimizers

STEPS = 6
RATE = 0.03
SHAPES = {"kernel": (4, 3), "tensor": (3, 2, 4), "bias": (3,)}


def numbers(seed):
    rng = np.random.default_rng(seed)
    return {"layer": {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}}


def float32(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def close(a, b, tolerance=2e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


def run(spec, rates, steps=STEPS):
    """Parameters, and those that a run would be judged by, after each step on gradients that do not depend on them."""
    tx = optimizer({"learning_rate": RATE, **spec})

    @jax.jit
    def step(params, state, grads, rate):
        updates, state = tx.update(grads, state, params, rate=rate)
        params = optax.apply_updates(params, updates)
        return params, state, evaluation_params(params, state)

    params = float32(numbers(0))
    state, path = tx.init(params), []
    for t in range(steps):
        params, state, judged = step(params, state, float32(numbers(t + 1)), np.float32(rates(t)))
        path.append((params, judged))
    return path


# Rules: (parameter, [gradients], [rates], of a matrix or not) -> parameter after each step, in float64.


def stepwise(rule):
    """From a generator that is sent (w, g, r) and yields the change of w."""

    def path(w, gradients, rates):
        change, ws = rule(w.ndim > 1), []
        next(change)
        for g, r in zip(gradients, rates, strict=True):
            w = w + change.send((w, g, r))
            ws.append((w, w))
        return ws

    return path


@stepwise
def sgd(_):
    step = None
    while True:
        _, g, r = yield step
        step = -r * g


def heavy_ball(nesterov):
    def rule(_):
        v, step = 0, None
        while True:
            _, g, r = yield step
            v = 0.9 * v + g
            step = -r * (g + 0.9 * v if nesterov else v)

    return stepwise(rule)


@stepwise
def adagrad(_):
    s, step = 0.1, None
    while True:
        _, g, r = yield step
        s = s + g**2
        step = -r * g / np.sqrt(s + 1e-7)


@stepwise
def rmsprop(_):
    v, step = 0, None
    while True:
        _, g, r = yield step
        v = 0.9 * v + 0.1 * g**2
        step = -r * g / np.sqrt(v + 1e-8)


def moments(g, m, v, t, b1, b2):
    """New means of the gradient and its square, and both corrected for their start at 0."""
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return m, v, m / (1 - b1**t), v / (1 - b2**t)


def adamw(decay=0.0, nesterov=False):
    def rule(matrix):
        m = v = t = 0
        step = None
        while True:
            w, g, r = yield step
            t += 1
            m, v, mean, square = moments(g, m, v, t, 0.9, 0.999)
            if nesterov:
                mean = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
            step = -r * (mean / (np.sqrt(square) + 1e-8) + decay * matrix * w)

    return stepwise(rule)


@stepwise
def lion(matrix):
    m, step = 0, None
    while True:
        w, g, r = yield step
        step = -r * (np.sign(0.9 * m + 0.1 * g) + 0.3 * matrix * w)
        m = 0.99 * m + 0.01 * g


@stepwise
def adafactor(_):
    v = t = 0
    step = None
    while True:
        w, g, r = yield step
        t += 1
        v = (1 - t**-0.8) * v + t**-0.8 * (g**2 + 1e-30)
        scale = v
        if w.ndim > 1:  # the outer product of the means over the last two axes, of which neither is shorter here
            rows, columns = np.argsort(w.shape)[-2:]
            over_rows, over_columns = v.mean(rows, keepdims=True), v.mean(columns, keepdims=True)
            scale = over_rows * over_columns / over_rows.mean(columns, keepdims=True)
        u = g / np.sqrt(scale)
        u /= max(1, np.sqrt((u**2).mean()))
        step = -r * max(1e-3, np.sqrt((w**2).mean())) * u


@stepwise
def muon_of_matrices(_):
    m = t = 0
    step = None
    while True:
        w, g, r = yield step
        t += 1
        m = 0.95 * m + 0.05 * g
        x = 0.95 * m / (1 - 0.95 ** (t + 1)) + 0.05 * g / (1 - 0.95**t)
        x = x / np.linalg.norm(x)
        for _ in range(5):
            a = x.T @ x
            x = 3.4445 * x + x @ (-4.775 * a + 2.0315 * a @ a)
        step = -r * np.sqrt(max(1, w.shape[1] / w.shape[0])) * x


def muon(w, gradients, rates):
    return (muon_of_matrices if w.ndim == 2 else adamw(nesterov=True))(w, gradients, rates)


@stepwise
def sophia(matrix):
    m = h = t = 0
    step = None
    while True:
        w, g, r = yield step
        t += 1
        m = 0.965 * m + 0.035 * g
        u = np.clip(m / (1 - 0.965**t) / np.maximum(0.5 * h, 1e-8), -1, 1)
        step = -r * (u + 0.3 * matrix * w)
        if t % 2 == 1:
            h = 0.99 * h + 0.01 * 3 * g**2


def schedule_free(adaptive):
    def path(w, gradients, rates):
        x = y = z = w
        v = total = most = 0
        ys = []
        for t, (g, r) in enumerate(zip(gradients, rates, strict=True), 1):
            if adaptive:
                v = 0.999 * v + 0.001 * g**2
                g = g / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            z = z - r * (g + 0.3 * (w.ndim > 1) * y)
            most = max(most, r)
            total += most**2
            x = x + most**2 / total * (z - x)
            y = 0.1 * z + 0.9 * x
            ys.append((y, x))
        return ys

    return path


def unfolded(g, axis):
    return np.moveaxis(g, axis, 0).reshape(g.shape[axis], -1)


def along(g, factors):
    """G ×ᵢ Fᵢ for each axis i of `factors`."""
    for i, factor in factors.items():
        g = np.moveaxis(np.tensordot(factor, g, (1, i)), 0, i)
    return g


def shampoo(max_dim):
    def rule(matrix):
        sums, roots, t, step = {}, {}, 0, None
        while True:
            w, g, r = yield step
            for i, d in enumerate(w.shape):
                second = unfolded(g, i) @ unfolded(g, i).T
                kept = second if matrix and d <= max_dim else np.diag(np.diag(second))
                sums[i] = sums.get(i, 1e-4 * np.eye(d)) + kept
                roots[i] = power(sums[i], -1 / (2 * w.ndim)) if t < 2 or t % 2 == 0 else roots[i]
            t += 1
            step = -r * along(g, roots)

    return stepwise(rule)


def power(h, exponent):
    values, vectors = np.linalg.eigh(h)
    return (vectors * values**exponent) @ vectors.T


def soap(max_dim):
    def rule(matrix):
        m = v = t = 0
        moment, basis, step = {}, {}, None
        while True:
            w, g, r = yield step
            step = np.zeros_like(w)
            if t:
                into = {i: q.T for i, q in basis.items()}
                m, v = 0.95 * m + 0.05 * g, 0.95 * v + 0.05 * along(g, into) ** 2
                mean, square = m / (1 - 0.95**t), v / (1 - 0.95**t)
                step = along(along(mean, into) / (np.sqrt(square) + 1e-8), basis)
            for i, d in enumerate(w.shape if matrix else ()):
                if d <= max_dim:
                    moment[i] = 0.95 * moment.get(i, 0) + 0.05 * unfolded(g, i) @ unfolded(g, i).T
                    if t == 0:
                        basis[i] = np.linalg.eigh(moment[i])[1]
                    elif t % 2 == 0:
                        basis[i] = np.linalg.qr(moment[i] @ basis[i])[0]
            t += 1
            step = -r * (step + 0.3 * matrix * w)

    return stepwise(rule)


RULES = {
    "sgd": ({}, sgd),
    "momentum": ({}, heavy_ball(False)),
    "nesterov": ({}, heavy_ball(True)),
    "adagrad": ({}, adagrad),
    "rmsprop": ({}, rmsprop),
    "adam": ({}, adamw()),
    "adamw": ({"weight_decay": 0.3}, adamw(0.3)),
    "lion": ({"weight_decay": 0.3}, lion),
    "adafactor": ({"min_dim_size_to_factor": 2}, adafactor),
    "muon": ({}, muon),
    "sophia": ({"gamma": 0.5, "examples": 3.0, "interval": 2, "weight_decay": 0.3}, sophia),
    "schedule_free_sgd": ({"weight_decay": 0.3}, schedule_free(False)),
    "schedule_free_adamw": ({"weight_decay": 0.3}, schedule_free(True)),
    "shampoo": ({"interval": 2}, shampoo(1200)),
    "shampoo, long axes": ({"interval": 2, "max_dim": 3}, shampoo(3)),
    "soap": ({"interval": 2, "weight_decay": 0.3}, soap(10_000)),
    "soap, long axes": ({"interval": 2, "max_dim": 3, "weight_decay": 0.3}, soap(3)),
}


@pytest.mark.parametrize("name", RULES)
def test_optimizer_is_its_rule(name):
    """Under a schedule, each parameter and what it is judged by, step by step."""
    spec, rule = RULES[name]
    rates = schedules.cosine(steps=8, warmup=3)
    path = run({"name": name.split(",")[0], **spec}, rates)
    for leaf in SHAPES:
        gradients = [numbers(t + 1)["layer"][leaf] for t in range(STEPS)]
        expected = rule(numbers(0)["layer"][leaf], gradients, [RATE * rates(t) for t in range(STEPS)])
        close([(params["layer"][leaf], judged["layer"][leaf]) for params, judged in path], expected, 1e-4)


# Names.


def test_every_optimizer_of_ours_has_a_rule():
    ours = {name for name, package in optimizers().items() if package == "train.optim.optimizers"}
    assert ours <= {name.split(",")[0] for name in RULES}
    listed = {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "lion", "adafactor", "muon"}
    listed |= {"sophia", "schedule_free_sgd", "schedule_free_adamw", "soap", "shampoo"}
    assert listed <= set(optimizers()) & {name.split(",")[0] for name in RULES}


def test_names_clash_only_where_ours_goes_before():
    """And no optimizer has an argument that `config.optim` gives another meaning."""
    named = [{n for n, f in vars(importlib.import_module(p)).items() if inspect.isfunction(f)} for p in optim.SOURCES]
    ours, optaxs, contrib = (names & (set(optimizers()) | set(optim.LEFT_OUT)) for names in named)
    assert not optaxs & contrib
    assert ours & (optaxs | contrib) == {"rmsprop", "sophia", "schedule_free_sgd", "schedule_free_adamw"}
    for name, package in optimizers().items():
        assert not set(optim.OWN) & set(inspect.signature(optim.resolve(package, name)).parameters), name


# What suits the quadratic below better than a rate of 0.1.
FAST = {"adadelta": 30.0, "adagrad": 1.0, "dadapt_adamw": 3.0, "dog": 3.0, "dowg": 3.0, "lars": 10.0, "shampoo": 1.0}
SUITED = {name: {"learning_rate": rate} for name, rate in (FAST | {"rprop": 0.01, "sm3": 1.0}).items()}
SUITED["simplified_ademamix"] = {"b1": 0.9}


@pytest.mark.parametrize("name", sorted(optimizers()))
def test_optimizer_minimises_a_quadratic(name):
    """From a spec as a config has it, with a rate that falls to 0: 99 % of the loss is gone."""
    tx = optimizer({"name": name, "learning_rate": 0.1, **SUITED.get(name, {})})
    goal, start = float32(numbers(0)), float32(numbers(1))
    curved = jax.tree.map(lambda p: jnp.linspace(0.5, 2, p.size).reshape(p.shape), goal)
    terms = lambda p: jax.tree.map(lambda c, p, g: 0.5 * (c * (p - g) ** 2).sum(), curved, p, goal)
    loss = lambda p: sum(jax.tree.leaves(terms(p)))

    def step(carry, rate):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params, rate=rate)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def train(params):
        (params, state), _ = jax.lax.scan(step, (params, tx.init(params)), jnp.linspace(1, 0, 300))
        return loss(evaluation_params(params, state))

    assert train(start) < 0.01 * loss(start)


@pytest.mark.parametrize("name", sorted(optim.LEFT_OUT))
def test_what_does_not_fit_the_step_says_why(name):
    with pytest.raises(UserError, match=rf"config.optim.name='{name}' does not go with the one train step: (it|use) "):
        optimizer({"name": name, "learning_rate": 0.1})


def test_decay_that_cannot_spare_biases_is_refused():
    spec = {"name": "prodigy", "learning_rate": 1.0, "weight_decay": 0.1}
    with pytest.raises(
        UserError, match=r"weight_decay: prodigy decays all parameters alike; set config.optim.decay=all"
    ):
        optimizer(spec)
    optimizer({**spec, "decay": "all"})


# What is judged.


def test_schedule_free_players_are_judged_by_their_averages():
    """Through clipping and beside another player, as alone; an average of the average is refused."""
    spec = {"name": "schedule_free_sgd", "learning_rate": 0.1, "clip": 0.5}
    alone, both = optimizer(spec), optimizer({"a": spec, "b": {"name": "sgd", "learning_rate": 0.1}})
    params = {"a": float32(numbers(0)), "b": float32(numbers(1))}
    states = alone.init(params["a"]), both.init(params)
    for t in range(2, 5):
        grads = {"a": float32(numbers(t)), "b": float32(numbers(-t % 97))}
        own, of_own = alone.update(grads["a"], states[0], params["a"])
        updates, of_both = both.update(grads, states[1], params)
        close(updates["a"], own)
        params, states = optax.apply_updates(params, updates), (of_own, of_both)
    judged = evaluation_params(params, states[1])
    close(judged["a"], evaluation_params(params["a"], states[0]))
    close(judged["b"], params["b"], 0)
    assert jnp.abs(judged["a"]["layer"]["kernel"] - params["a"]["layer"]["kernel"]).max() > 1e-3
    with pytest.raises(UserError, match=r"config.ema=0.9: schedule_free keeps an average of its own; set config.ema=0"):
        optimizer(spec, 0.9).init(params["a"])


# Muon.


def test_muon_leaves_embeddings_to_adam():
    """At a rate of their own, which follows the schedule like the other."""
    rng = np.random.default_rng(0)
    params = float32(
        {"token": {"embedding": rng.standard_normal((5, 3))}, "up": {"kernel": rng.standard_normal((3, 5))}}
    )
    tx = optimizer({"name": "muon", "learning_rate": 0.1, "adam_learning_rate": 0.01})
    updates, _ = jax.jit(tx.update)(params, tx.init(params), params, rate=np.float32(0.5))
    close(jnp.abs(updates["token"]["embedding"]), jnp.full((5, 3), 0.005 * (0.09 / 0.19 + 1)))
    values = np.linalg.svd(np.asarray(updates["up"]["kernel"]) / (0.05 * np.sqrt(5 / 3)), compute_uv=False)
    assert values.min() > 0.5
    assert values.max() < 1.3


# Penalties.

ROWS, COLUMNS = 40, 6
RIDGE, LASSO = 0.3, 0.25


def regression(orthogonal):
    """A design whose columns are orthonormal times √rows, or any, and targets."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, COLUMNS))
    x = np.linalg.qr(x)[0] * np.sqrt(ROWS) if orthogonal else x
    return x, x @ np.linspace(-1, 1, COLUMNS)[:, None] + 0.1 * rng.standard_normal((ROWS, 1)) + 2


def fitted(x, y, **penalties):
    """The weights and bias that the optimizer finds for half the mean square, on centred columns."""
    x, y = jnp.asarray(x - x.mean(0), jnp.float32), jnp.asarray(y, jnp.float32)
    tx = optimizer({"name": "sgd", "learning_rate": 0.2, **penalties})
    loss = lambda p: 0.5 * ((x @ p["kernel"] + p["bias"][None] - y) ** 2).mean()

    def step(carry, rate):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params, rate=rate)
        return (optax.apply_updates(params, updates), state), None

    params = {"kernel": jnp.ones((COLUMNS, 1)), "bias": jnp.zeros(1)}
    rates = jnp.linspace(1, 0, 2000) ** 2
    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), rates)[0][0])(params)


def test_l2_is_ridge_regression():
    """(XᵀX + n λ)⁻¹ Xᵀy; the bias, no matrix, is the mean of y, unless everything is penalised."""
    x, y = regression(orthogonal=False)
    centred = x - x.mean(0)
    found = fitted(x, y, l2=RIDGE)
    close(found["kernel"], np.linalg.solve(centred.T @ centred + ROWS * RIDGE * np.eye(COLUMNS), centred.T @ y), 1e-4)
    close(found["bias"], y.mean(0), 1e-4)
    close(fitted(x, y, l2=RIDGE, decay="all")["bias"], y.mean(0) / (1 + RIDGE), 1e-4)


def test_l1_is_the_lasso():
    """Where columns are orthonormal, soft thresholding of the least-squares solution at λ."""
    x, y = regression(orthogonal=True)
    x -= x.mean(0)
    x = np.linalg.qr(x)[0] * np.sqrt(ROWS)
    least_squares = x.T @ y / ROWS
    expected = np.sign(least_squares) * np.maximum(np.abs(least_squares) - LASSO, 0)
    assert 0 < np.count_nonzero(expected) < COLUMNS, "the check needs weights that vanish"
    close(fitted(x, y, l1=LASSO)["kernel"], expected, 1e-3)


def test_penalties_are_clipped_with_the_gradient():
    """They are part of what is minimised; without a gradient from the data they are all of it."""
    params = float32({"kernel": np.asarray([[3.0, -4.0]]), "bias": np.asarray([5.0])})
    tx = optimizer({"name": "sgd", "learning_rate": 1.0, "l1": 1.0, "l2": 2.0, "clip": 1.0})
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    whole = np.asarray([[1 + 6.0, -1 - 8.0]])
    close(updates, {"kernel": -whole / np.linalg.norm(whole), "bias": np.zeros(1)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"l1": -0.1}, r"config.optim.l1=-0.1 weighs a penalty; use a finite number, 0 \(off\) or more"),
        ({"l2": "big"}, r"config.optim.l2=big weighs a penalty"),
        ({"name": "muon", "adam_learning_rate": -1.0}, r"config.optim.adam_learning_rate=-1.0 is a step's length"),
        ({"name": "soap", "b3": 0.9}, r"config.optim.b3: soap has no 'b3'. It takes: b1, b2, eps, interval"),
        ({"name": "shampo"}, r"config.optim.name='shampo' is no optimizer; did you mean 'shampoo'"),
    ],
)
def test_mistakes_are_sentences(given, message):
    with pytest.raises(UserError, match=message):
        optimizer({"name": "sgd", "learning_rate": 0.1, **given})
