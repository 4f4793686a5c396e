"""Every activation, loss, initialiser and norm by its name, against its formula in numpy and scipy.

Shapes: B batch, T frames, L labels, K classes.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import special, stats

from models.api import Model, from_linen
from models.mlp import MLP
from models.parts.activations import ACTIVATIONS, GATES, units_before
from models.parts.initializers import INITIALIZERS, initializer
from models.parts.norms import NORMS, norm
from tests.support.arrays import close, normal
from train.build import build
from train.errors import UserError
from train.losses import BOUNDARIES, CLASS_LOSSES, LOSSES
from train.tasks.supervised import classify, regress
from train.tasks.transcribe import ctc, edit_distance

B, T, L, K = 3, 4, 2, 3
X = np.concatenate([np.linspace(-7, 7, 56), [-30, -1e-4, 1e-4, 30]])
KINKS = [-3, -1, 0, 1, 3, 6]
EXTREME = [-1e12, -1e4, -1e-30, -0.0, 0.0, 1e-30, 1e4, 1e12]


# Activations: the formula in float64, and where it has kinks {x: the slope there}, one of those between its sides.

RELU, SIGMA = lambda x: np.maximum(x, 0), special.expit
ELEMENTWISE = {
    "identity": (lambda x: x, {}),
    "sigmoid": (SIGMA, {}),
    "tanh": (np.tanh, {}),
    "sin": (np.sin, {}),
    "softplus": (lambda x: np.logaddexp(x, 0), {}),
    "softsign": (lambda x: x / (1 + np.abs(x)), {}),
    "relu": (RELU, {0: 0}),
    "leaky_relu": (lambda x: np.where(x < 0, 0.01 * x, x), {0: 1}),
    "relu6": (lambda x: np.minimum(RELU(x), 6), {0: 0, 6: 0}),
    "relu_squared": (lambda x: RELU(x) ** 2, {}),
    "elu": (lambda x: np.where(x < 0, np.expm1(x), x), {}),
    "selu": (
        lambda x: np.where(x < 0, 1.0507009873554805 * 1.6732632423543773 * np.expm1(x), 1.0507009873554805 * x),
        {0: 1.7580993408473766},
    ),
    "gelu": (lambda x: x * stats.norm.cdf(x), {}),
    "gelu_tanh": (lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), {}),
    "quick_gelu": (lambda x: x * SIGMA(1.702 * x), {}),
    "silu": (lambda x: x * SIGMA(x), {}),
    "mish": (lambda x: x * np.tanh(np.logaddexp(x, 0)), {}),
    "hard_tanh": (lambda x: np.clip(x, -1, 1), {-1: 1, 1: 1}),
    "hard_sigmoid": (lambda x: np.clip(x / 6 + 0.5, 0, 1), {-3: 0, 3: 0}),
    "hard_swish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), {-3: 0, 3: 1}),
    "clipped_gelu": (lambda x: np.clip(x * stats.norm.cdf(x), -10, 10), {}),
    "laplace": (lambda x: stats.norm.cdf(x, 0.707107, 0.282095), {}),
    "sqrt_softplus": (lambda x: np.sqrt(np.logaddexp(x, 0)), {}),
}
GATED = {"glu": SIGMA, "reglu": RELU, "geglu": lambda x: x * stats.norm.cdf(x), "swiglu": lambda x: x * SIGMA(x)}


def test_every_activation_is_in_a_table():
    assert set(ELEMENTWISE) | set(GATED) | {"softmax"} == set(ACTIVATIONS)
    assert set(GATED) == set(GATES)


@functools.cache
def all_activations():
    """Values and slopes of every activation, {name: (two arrays)}, on all inputs, compiled as one program."""

    def both(f, x):
        value, vjp = jax.vjp(f, x)
        return value, vjp(jnp.ones_like(value))[0]

    every = jax.jit(lambda x: {name: both(f, x) for name, f in ACTIVATIONS.items()})
    return jax.device_get(every(jnp.asarray([*X, *KINKS, *EXTREME], jnp.float32)))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activation_is_its_formula(name):
    """And its gradient is the formula's central difference, or at a kink the slope that the table says."""
    formula, kinks = ELEMENTWISE[name]
    value, slope = (array[: X.size] for array in all_activations()[name])
    close(value, formula(X))
    smooth = np.array([all(abs(x - kink) > 1e-3 for kink in kinks) for x in X])
    close(slope[smooth], ((formula(X + 1e-5) - formula(X - 1e-5)) / 2e-5)[smooth], 2e-4)
    at_kinks = all_activations()[name][1][X.size : -len(EXTREME)]
    for kink, expected in kinks.items():
        assert at_kinks[KINKS.index(kink)] == pytest.approx(expected), kink


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_input_makes_a_gradient_that_is_not_finite(name):
    for array in all_activations()[name]:
        assert np.isfinite(array).all()


@pytest.mark.parametrize("name", GATED)
def test_gate_halves_the_last_axis(name):
    x = normal(0, B, 8)
    close(ACTIVATIONS[name](x), x[:, :4] * GATED[name](np.asarray(x[:, 4:], np.float64)))
    assert units_before(name, 5) == 10
    with pytest.raises(ValueError, match="halves the last axis, which is 7; make it even"):
        ACTIVATIONS[name](x[:, :7])


def test_softmax_is_over_the_last_axis():
    close(ACTIVATIONS["softmax"](normal(0, B, 2, 5)), special.softmax(np.asarray(normal(0, B, 2, 5)), axis=-1))
    assert units_before("softmax", 5) == 5


# Initialisers: the distribution of one number of a weight with n inputs and m outputs.

UNIFORM = lambda limit: stats.uniform(-limit, 2 * limit)


def cut(variance):
    """The normal distribution within two of its deviations, scaled to this variance."""
    return stats.truncnorm(-2, 2, scale=math.sqrt(variance / stats.truncnorm(-2, 2).var()))


DISTRIBUTIONS = {
    "normal": lambda n, m: stats.norm(),
    "uniform": lambda n, m: UNIFORM(1),
    "xavier_normal": lambda n, m: cut(2 / (n + m)),
    "xavier_uniform": lambda n, m: UNIFORM(math.sqrt(6 / (n + m))),
    "he_normal": lambda n, m: cut(2 / n),
    "he_uniform": lambda n, m: UNIFORM(math.sqrt(6 / n)),
    "lecun_normal": lambda n, m: cut(1 / n),
    "lecun_uniform": lambda n, m: UNIFORM(math.sqrt(3 / n)),
}
DISTRIBUTIONS |= {
    other + shape: DISTRIBUTIONS[name + shape]
    for other, name in (("glorot", "xavier"), ("kaiming", "he"))
    for shape in ("_normal", "_uniform")
}


def test_every_initialiser_is_in_a_table():
    assert set(DISTRIBUTIONS) | {"zeros", "orthogonal"} == set(INITIALIZERS)


@pytest.mark.parametrize(
    ("shape", "n", "m"), [((150, 100), 150, 100), ((3, 3, 20, 60), 180, 540)], ids=["dense", "conv"]
)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_initialiser_is_its_distribution(name, shape, n, m):
    """Mean, variance and, by Kolmogorov and Smirnov, the rest; `gain` multiplies."""
    expected = DISTRIBUTIONS[name](n, m)
    drawn = np.asarray(initializer(name)(jax.random.key(0), shape, jnp.float32))
    assert abs(drawn.mean()) < 4.5 * expected.std() / math.sqrt(drawn.size)
    assert drawn.var() == pytest.approx(expected.var(), rel=0.05)
    assert stats.kstest(drawn.ravel(), expected.cdf).pvalue > 1e-3
    np.testing.assert_array_equal(initializer(name, 0.5)(jax.random.key(0), shape, jnp.float32), 0.5 * drawn)


@pytest.mark.parametrize("shape", [(20, 7), (7, 20), (3, 3, 4, 5)])
def test_orthogonal_and_zeros(shape):
    """Columns are orthonormal, or rows where they are the longer ones."""
    q = np.asarray(initializer("orthogonal", 2.0)(jax.random.key(0), shape, jnp.float32)).reshape(-1, shape[-1]) / 2
    close(q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T, np.eye(min(q.shape)))
    assert not initializer("zeros")(jax.random.key(0), shape, jnp.float32).any()


# Norms: what is subtracted and divided by, given x [B, H, W, C].


def groups(count):
    def moments(x):
        parts = x.reshape(*x.shape[:-1], count, -1)
        spread = lambda m: np.broadcast_to(m, parts.shape).reshape(x.shape)
        axes = (1, 2, 4)
        return spread(parts.mean(axes, keepdims=True)), spread(parts.var(axes, keepdims=True))

    return moments


MOMENTS = {
    "batch": lambda x: (x.mean((0, 1, 2)), x.var((0, 1, 2))),
    "layer": lambda x: (x.mean(-1, keepdims=True), x.var(-1, keepdims=True)),
    "group": lambda x: groups({64: 32, 16: 8, 6: 2, 7: 1}[x.shape[-1]])(x),
    "rms": lambda x: (0, (x**2).mean(-1, keepdims=True)),
}


@pytest.mark.parametrize(
    ("kind", "channels"), [*((kind, 6) for kind in MOMENTS), ("group", 7), ("group", 16), ("group", 64)]
)
def test_norm_is_its_formula(kind, channels):
    """(x - mean) / √(variance + 1e-5) · scale + bias, in training; constant inputs keep gradients finite."""

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return norm(kind, train, "norm")(x)

    model, x = from_linen(Layer()), 2 + 3 * normal(0, 2, 3, 2, channels)
    params, state = jax.jit(model.init)(jax.random.key(0), x)
    params = jax.tree.map(lambda p: p + 0.1 * jnp.arange(channels), params)
    out = lambda x: model.apply(params, state, x, train=True)[0]
    made, flat = jax.jit(lambda x: (out(x), jax.grad(lambda x: out(x).sum())(jnp.zeros_like(x))))(x)
    own = {name: np.asarray(value) for name, value in params.get("norm", {}).items()}
    assert set(own) == ({"scale"} if kind == "rms" else {"scale", "bias"})
    numbers = np.asarray(x, np.float64)
    mean, variance = MOMENTS[kind](numbers)
    expected = (numbers - mean) / np.sqrt(variance + 1e-5) * own.get("scale", 1) + own.get("bias", 0)
    close(made, expected, 1e-4)
    assert jnp.isfinite(flat).all()


def test_every_norm_is_in_a_table():
    assert set(MOMENTS) | {"none"} == set(NORMS)
    np.testing.assert_array_equal(norm("none", True, "norm")(normal(0, B, 4)), normal(0, B, 4))


# The multilayer perceptron, every part of it by name.


def test_perceptron_of_named_parts():
    """Against numpy: dense, norm, gate; the gate leaves `width` units, and weights start with the gain."""
    spec = {"width": 4, "layers": 2, "activation": "swiglu", "norm": "layer", "initializer": "orthogonal", "gain": 2.0}
    model, x = from_linen(build("models", {"name": "mlp:MLP", "classes": K, **spec}, "model")), normal(0, B, 5)
    params, state = jax.jit(model.init)(jax.random.key(0), x)
    close(params["hidden_1"]["kernel"] @ params["hidden_1"]["kernel"].T, 4 * np.eye(4))
    h = np.asarray(x, np.float64)
    for i in range(2):
        h = h @ np.asarray(params[f"hidden_{i}"]["kernel"])
        h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
        h = h[:, :4] * h[:, 4:] * SIGMA(h[:, 4:])
    close(jax.jit(model.apply)(params, state, x)[0], h @ np.asarray(params["logits"]["kernel"]))


def test_perceptron_starts_as_flax_does():
    """Unless told otherwise: no norm, and the kernels of a plain `nn.Dense`."""
    assert (MLP(K).norm, MLP(K).gain) == ("none", 1.0)
    ours, theirs = (
        init(jax.random.key(0), (5, 4), jnp.float32)
        for init in (initializer(MLP(K).initializer), nn.Dense(4).kernel_init)
    )
    np.testing.assert_array_equal(ours, theirs)


# Losses: of outputs and targets, of scores and a class.

OUTPUTS = np.asarray([-3.0, -1.0, -0.3, 0.0, 0.5, 1.0, 4.0])
NUMBERS = {
    "mse": (lambda o, t: (o - t) ** 2, X),
    "mae": (lambda o, t: np.abs(o - t), X),
    "huber": (lambda o, t: np.where(np.abs(o - t) < 1, (o - t) ** 2 / 2, np.abs(o - t) - 0.5), X),
    "log_cosh": (lambda o, t: np.log(np.cosh(o - t)), X),
    "binary_cross_entropy": (lambda o, t: -t * np.log(SIGMA(o)) - (1 - t) * np.log(SIGMA(-o)), [0.0, 0.3, 1.0]),
    "hinge": (lambda o, t: np.maximum(0, 1 - t * o), [-1.0, 1.0]),
    "squared_hinge": (lambda o, t: np.maximum(0, 1 - t * o) ** 2, [-1.0, 1.0]),
}
CLASSES = {
    "cross_entropy": lambda s, c: special.logsumexp(s) - s[c],
    "hinge": lambda s, c: max(0, 1 + max(s[k] for k in range(len(s)) if k != c) - s[c]),
    "focal": lambda s, c: -((1 - special.softmax(s)[c]) ** 2) * np.log(special.softmax(s)[c]),
}


def test_every_loss_is_in_a_table():
    assert set(NUMBERS) == set(LOSSES)
    assert set(CLASSES) == set(CLASS_LOSSES)
    assert {name for name, (_, targets) in NUMBERS.items() if len(targets) < 4} == set(BOUNDARIES)


@pytest.mark.parametrize("name", NUMBERS)
def test_loss_is_its_formula(name):
    formula, targets = NUMBERS[name]
    outputs, targets = (grid.ravel() for grid in np.meshgrid(OUTPUTS, targets))
    close(LOSSES[name](jnp.asarray(outputs, jnp.float32), jnp.asarray(targets, jnp.float32)), formula(outputs, targets))


@pytest.mark.parametrize("name", CLASSES)
def test_loss_of_a_class_is_its_formula(name):
    scores, classes = 2 * normal(0, 20, 4), jnp.arange(20) % 4
    expected = [CLASSES[name](s, c) for s, c in zip(np.asarray(scores, np.float64), np.asarray(classes), strict=True)]
    close(CLASS_LOSSES[name](scores, classes), expected)


def test_no_output_makes_a_gradient_that_is_not_finite():
    o = jnp.asarray(EXTREME)
    scores = jnp.stack([jnp.concatenate([o, o]), jnp.concatenate([-o, o]), jnp.concatenate([0 * o, o])], axis=1)

    @jax.jit
    def gradients(o, scores):
        of_numbers = {name: jax.grad(lambda x, f=f: f(x, jnp.ones_like(x)).sum())(o) for name, f in LOSSES.items()}
        classes = jnp.arange(len(scores)) % 3
        return of_numbers, {n: jax.grad(lambda x, f=f: f(x, classes).sum())(scores) for n, f in CLASS_LOSSES.items()}

    for name, gradient in itertools.chain(*(table.items() for table in gradients(o, scores))):
        assert jnp.isfinite(gradient).all(), name


def says(outputs):
    """A network that says just this of everything."""
    apply = lambda params, state, *inputs, key=None, train=False, method=None: (params["outputs"], state)
    return Model(lambda key, *inputs: ({"outputs": outputs}, {}), apply), {"outputs": outputs}


def scored(task, params, batch):
    loss, (_, metrics) = jax.jit(lambda params, batch: task.loss(params, {}, batch, jax.random.key(0), True))(
        params, batch
    )
    return loss, {name: float(total / weight) for name, (total, weight) in metrics.items()}


@pytest.mark.parametrize(("name", "least"), [("hinge", -1.0), ("binary_cross_entropy", 0.0)])
def test_two_classes_have_an_accuracy(name, least):
    outputs = jnp.asarray([[2.0], [-1.0], [0.5]])
    model, params = says(outputs)
    batch = {"x": jnp.zeros(B), "y": jnp.asarray([[1.0], [1.0], [least]])}
    loss, metrics = scored(regress(model, name), params, batch)
    assert metrics == {"loss": pytest.approx(float(loss)), "accuracy": pytest.approx(1 / 3)}
    close(loss, np.mean(NUMBERS[name][0](np.asarray(outputs), np.asarray(batch["y"]))))
    assert set(scored(regress(model), params, batch)[1]) == {"loss"}


def test_classes_by_another_loss():
    model, params = says(normal(0, B, K))
    batch = {"x": jnp.zeros(B), "y": jnp.arange(B)}
    loss, _ = scored(classify(model, K, loss="hinge"), params, batch)
    close(loss, np.mean([CLASSES["hinge"](s, c) for c, s in enumerate(np.asarray(params["outputs"]))]))
    with pytest.raises(
        UserError, match=r"label_smoothing=0\.1 is for the loss cross_entropy, not for hinge; set it to 0"
    ):
        classify(model, K, 0.1, "hinge")
    with pytest.raises(
        ValueError, match="focal is of one class for each y, and y holds probabilities; use cross_entropy"
    ):
        scored(classify(model, K, loss="focal"), params, {**batch, "y": jnp.full((B, K), 1 / K)})


# CTC.


def merged(path):
    """The labels that a path stands for."""
    return tuple(label for label, _ in itertools.groupby(path) if label)


@pytest.mark.slow
def test_ctc_sums_over_all_alignments():
    """Loss and gradient, against all K^T paths; of each sequence only its frames, of the batch what the mask counts."""
    model, params = says(normal(0, 4, T, K))
    y, frames = np.asarray([[1, 2], [1, 1], [2, 0], [0, 0]]), np.asarray([4, 3, 2, 4])
    mask = jnp.asarray([1.0, 1, 1, 0])
    batch = {"x": jnp.zeros(4), "y": jnp.asarray(y), "frames": jnp.asarray(frames), "mask": mask}

    def by_paths(params):
        log_p = jax.nn.log_softmax(params["outputs"])
        values = []
        for b in range(3):
            fits = [p for p in itertools.product(range(K), repeat=frames[b]) if merged(p) == tuple(filter(None, y[b]))]
            chosen = log_p[b, np.arange(frames[b])[None], np.asarray(fits)]
            values.append(-jax.nn.logsumexp(chosen.sum(1)))
        return sum(values) / 3

    task = ctc(model, K)
    loss, gradient = jax.jit(jax.value_and_grad(lambda p: task.loss(p, {}, batch, jax.random.key(0), True)[0]))(params)
    expected, by_hand = jax.jit(jax.value_and_grad(by_paths))(params)
    close(loss, expected)
    close(gradient["outputs"], by_hand["outputs"])
    no_frames = {name: value for name, value in batch.items() if name != "frames"}
    assert scored(task, params, no_frames) == scored(task, params, {**batch, "frames": jnp.full(4, T)})

    errors = sum(
        levenshtein(merged(p[:n]), [label for label in t if label])
        for p, n, t in zip(params["outputs"].argmax(-1)[:3].tolist(), frames[:3], y[:3].tolist(), strict=True)
    )
    assert scored(task, params, batch)[1]["label_error_rate"] == pytest.approx(errors / 5)
    with pytest.raises(ValueError, match=r"outputs are \[4, 4, 3\], CTC needs \[B, T, 4 or more\]"):
        scored(ctc(model, K + 1), params, batch)


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, z in enumerate(b, 1):
            new.append(min(new[-1] + 1, row[j] + 1, row[j - 1] + (x != z)))
        row = new
    return row[-1]


def test_edit_distance_is_levenshteins():
    rng = np.random.default_rng(0)
    paths, lengths = rng.integers(0, 3, (200, 9)), rng.integers(0, 6, 200)
    y = np.where(np.arange(5)[None] < lengths[:, None], rng.integers(1, 3, (200, 5)), 0)
    expected = [
        levenshtein(merged(p), [label for label in t if label]) for p, t in zip(paths.tolist(), y.tolist(), strict=True)
    ]
    np.testing.assert_array_equal(edit_distance(jnp.asarray(paths), jnp.asarray(y)), expected)
    assert 0 in expected
    assert max(expected) > 4
