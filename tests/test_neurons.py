"""Neurons and their rules: logic by thresholds, and learning rules as gradients.  B batch, D inputs, S steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from data import neurons
from data.pipeline import batch_at
from models.api import from_linen
from models.mcculloch_pitts import ThresholdNetwork
from models.mlp import MLP
from models.neuron import Neuron
from scripts.plot_classics import profile
from train.metrics import compute
from train.step import init_state, train_step
from train.tasks.rules import oja, perceptron
from train.tasks.supervised import classify, regress

D = 6


def trained(task, dataset, steps, rate, batch_size=1, falling=True):
    """The state after `steps` of the one train step, by plain gradient descent."""
    tx = optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(),
        lambda grads, state, params=None, *, rate=1.0, **_: (jax.tree.map(lambda g: -rate * g, grads), state),
    )
    everything = batch_at(dataset.train, 0, batch_size=steps * batch_size, seed=0)  # batches follow each other in it
    stacked = {n: jnp.asarray(c).reshape(steps, batch_size, *c.shape[1:]) for n, c in everything.items()}
    rates = rate * (np.linspace(1, 0, steps, endpoint=False) if falling else np.ones(steps))
    state = init_state(task, tx, jax.random.key(0), {name: values[0] for name, values in stacked.items()})
    step = functools.partial(train_step, task=task, tx=tx)
    one = lambda state, inputs: step(state, inputs[0], jax.random.key(1), inputs[1])
    return jax.jit(lambda state: jax.lax.scan(one, state, (stacked, jnp.asarray(rates, jnp.float32))))(state)


def held_out(task, state, dataset):
    batch = jax.tree.map(jnp.asarray, dataset.valid.gather(np.arange(len(dataset.valid))))
    _, (_, metrics) = task.loss(state.params, state.model_state, batch, jax.random.key(0), False)
    return compute(metrics)


# Thresholds.


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_threshold_units_compute_every_boolean_function(inputs):
    """All 2^2^n truth tables, no two alike; the function whose number is odd, even, … is what its bits say."""
    table = neurons.truth_tables(inputs=inputs).train.columns
    model = from_linen(ThresholdNetwork(inputs))
    x_PN = jnp.asarray(table["x"])
    params, _ = model.init(jax.random.key(0), x_PN)
    outputs = np.asarray(jax.jit(model.apply)(params, {}, x_PN)[0])
    np.testing.assert_array_equal(outputs, table["y"])
    assert len(np.unique(outputs, axis=1).T) == 2**2**inputs
    if inputs == 2:
        x = table["x"].astype(bool)
        both, either, one = np.logical_and(*x.T), np.logical_or(*x.T), np.logical_xor(*x.T)
        for function, number in ((both, 0b1000), (either, 0b1110), (one, 0b0110)):
            np.testing.assert_array_equal(outputs[:, number], function)


def test_thresholds_have_no_gradient():
    task, table = regress(from_linen(ThresholdNetwork(2))), neurons.truth_tables(inputs=2)
    batch = jax.tree.map(jnp.asarray, table.train.columns)
    params, _ = task.init(jax.random.key(0), batch)
    moved = jax.tree.map(lambda p: p - 0.5, params)
    gradient = jax.grad(lambda p: task.loss(p, {}, {**batch, "y": 1 - batch["y"]}, jax.random.key(0), True)[0])(moved)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


# Rules.


def gradient_of(task, params, x, y=None):
    state = {"network": {}, "mistakes": jnp.zeros(())} if y is not None else {}
    batch = {"x": x[None]} if y is None else {"x": x[None], "y": jnp.asarray([y], jnp.int32)}
    return jax.grad(lambda p: task.loss(p, state, batch, jax.random.key(0), True)[0])(params)


def test_the_perceptrons_gradient_is_rosenblatts_rule():
    """w += y x on a mistake and nothing else, an output of 0 being one."""
    task, rng = perceptron(from_linen(Neuron())), np.random.default_rng(0)
    for trial in range(20):
        x = jnp.asarray(rng.standard_normal(D), jnp.float32)
        w = jnp.asarray(rng.standard_normal(D) * (trial > 0), jnp.float32)
        params = {"weight": w, "bias": jnp.zeros(())}
        y = trial % 2
        sign = 2 * y - 1
        wrong = sign * float(w @ x) <= 0
        gradient = gradient_of(task, params, x, y)
        np.testing.assert_array_equal(gradient["weight"], -sign * wrong * x)
        assert gradient["bias"] == -sign * wrong


def test_hebbs_rule_with_decay_is_ojas():
    task, rng = oja(from_linen(Neuron(bias=False))), np.random.default_rng(1)
    x, w = (jnp.asarray(rng.standard_normal(D), jnp.float32) for _ in range(2))
    y = w @ x
    np.testing.assert_allclose(gradient_of(task, {"weight": w}, x)["weight"], -y * (x - y * w), rtol=1e-5)


@pytest.mark.parametrize("margin", [0.1, 0.2])
def test_mistakes_are_fewer_than_novikoffs_bound(margin):
    data = neurons.separable(dims=D, margin=margin, train=300, valid=300)
    x, y = data.train.columns["x"], 2 * data.train.columns["y"] - 1
    task = perceptron(from_linen(Neuron(bias=False)))
    state, metrics = trained(task, data, steps=4000, rate=1.0, falling=False)
    mistakes = float(state.model_state["mistakes"])
    assert mistakes == float(metrics["error"][0].sum())
    assert 0 < mistakes <= (np.linalg.norm(x, axis=1).max() / margin) ** 2
    assert ((x @ state.params["weight"]) * y > 0).all(), "and then there are none"


def test_no_perceptron_learns_xor():
    data = neurons.parity(inputs=2)
    task = perceptron(from_linen(Neuron()))
    for steps in (10, 1003):
        state, _ = trained(task, data, steps, rate=1.0, falling=False)
        assert held_out(task, state, data)["error"] >= 0.25


@pytest.mark.slow
def test_lms_reaches_least_squares():
    """The weights nearest to the solution of the normal equations, and its error on new data."""
    data = neurons.linear(dims=D, noise=0.5, train=200)
    x, y = (data.train.columns[name].astype(np.float64) for name in "xy")
    exact = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]
    task = regress(from_linen(Neuron()))
    state, _ = trained(task, data, steps=2000, rate=0.1, batch_size=200)
    found = np.append(state.params["weight"], state.params["bias"])
    np.testing.assert_allclose(found, exact, atol=1e-4)
    assert held_out(task, state, data)["loss"] == pytest.approx(0.25, rel=0.15)


def test_oja_finds_the_first_principal_component():
    """As `numpy.linalg.svd` does; and the weight's length goes to 1."""
    data = neurons.ellipsoid(dims=D)
    task = oja(from_linen(Neuron(bias=False, scale=0.1)))
    state, _ = trained(task, data, steps=3000, rate=0.05, batch_size=16)
    w = np.asarray(state.params["weight"])
    component = np.linalg.svd(data.train.columns["x"], full_matrices=False)[2][0]
    assert abs(component @ w) / np.linalg.norm(w) > 0.999
    assert np.linalg.norm(w) == pytest.approx(1, abs=0.02)
    assert held_out(task, state, data._replace(valid=data.train))["cosine"] > 0.999


# Backpropagation.


@pytest.mark.slow
def test_backpropagation_solves_xor():
    data = neurons.parity(inputs=2)
    task = classify(from_linen(MLP(2, width=4, layers=1, activation="tanh")), 2)
    state, _ = trained(task, data, steps=2000, rate=0.5, batch_size=4, falling=False)
    assert held_out(task, state, data)["accuracy"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu"])
def test_gradients_are_central_differences(activation):
    """In float64, to 1e-6."""
    with jax.enable_x64(True):
        model = MLP(3, width=5, layers=2, activation=activation)
        x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 2)))
        params = model.init(jax.random.key(0), x)["params"]
        params = jax.tree.map(lambda p: p.astype(jnp.float64) + 0.1, params)
        scalar = lambda params: (model.apply({"params": params}, x) ** 2).sum()
        check_grads(scalar, (params,), order=1, modes=("rev",), eps=1e-5, rtol=1e-6, atol=1e-6)


def read_out(model, params, weights, x):
    """[B] outputs of the network whose last layer has these weights, one a hidden unit, and no bias."""
    last = {"kernel": weights[:, None], "bias": jnp.zeros(1)}
    return model.apply({"params": params | {"logits": last}}, x)[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_one_hidden_layer_approximates(activation):
    """Four times as wide, nearer everywhere: units as they start, the output's weights by least squares."""
    train, grid = neurons.curve().train.columns, neurons.curve().valid.columns
    errors = []
    for width in (8, 32, 128):
        model = MLP(1, width, 1, activation, bias_initializer="uniform", gain=10.0)
        params = model.init(jax.random.key(0), jnp.asarray(train["x"]))["params"]
        outputs = jax.jit(functools.partial(read_out, model, params))
        units = jax.vmap(outputs, (0, None), 1)(jnp.eye(width), train["x"])
        weights = np.linalg.lstsq(np.asarray(units, np.float64), train["y"][:, 0], rcond=1e-6)[0]
        errors.append(np.abs(outputs(weights.astype(np.float32), grid["x"]) - grid["y"][:, 0]).max())
    assert errors[0] > errors[1] > errors[2], errors
    assert errors[2] < errors[0] / 10, errors


# What the data promise.


def test_separable_points_keep_their_distance():
    """A support vector machine finds a plane as far from every point as the one that the data were made with."""
    from sklearn.svm import LinearSVC

    data = neurons.separable(dims=D, margin=0.1, train=200)
    x, y = data.train.columns["x"], 2 * data.train.columns["y"] - 1
    assert np.linalg.norm(x, axis=1).max() <= 1 + 1e-6
    plane = LinearSVC(C=1e5, fit_intercept=False, max_iter=100_000, tol=1e-5).fit(x, y).coef_[0]
    assert (y * (x @ plane)).min() / np.linalg.norm(plane) > 0.099


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: neurons.truth_tables(inputs=5), r"inputs=5 have 2\^2\^5 functions"),
        (lambda: neurons.parity(inputs=0), "inputs=0"),
        (lambda: neurons.separable(margin=0.6), "margin=0.6"),
        (lambda: neurons.ellipsoid(decay=1.0), "decay=1.0 must be between 0 and 1"),
    ],
)
def test_bad_numbers_are_sentences(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "initializer", "options", "low", "high"),
    [
        ("relu", "xavier_normal", {}, 0.5, 2.0),  # half of the variance passes a layer: times 2^(19 / 2)
        ("relu", "he_normal", {}, 0.5, 2.0),
        ("sigmoid", "xavier_normal", {}, 0.0, 1.0),  # times 4^19: at most a quarter of the signal passes
        ("sigmoid", "he_normal", {"residual": True}, 1.0, 10.0),
        ("relu", "he_normal", {"norm": "layer"}, 0.2, 2.0),
        ("relu", "he_normal", {"residual": True}, 1e3, 1e5),
    ],
)
def test_gradients_vanish_and_explode_as_the_variance_says(activation, initializer, options, low, high):
    """The signal at the first of 20 layers over that at the last, times what theory takes away (He et al. 2015)."""
    lost = {("relu", "xavier_normal"): 2 ** (19 / 2), ("sigmoid", "xavier_normal"): 4.0**19}
    first = profile(activation, initializer, depth=20, **options)[0]
    assert low < first * lost.get((activation, initializer), 1.0) < high
