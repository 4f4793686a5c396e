"""The one train step: a pure function whose accumulated gradient is that of the whole batch.  Evaluation is exact."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from data.pipeline import eval_batches
from data.source import Columns, Windows
from models.api import from_linen
from models.gpt import GPT
from models.mlp import MLP
from models.parts.norms import batch_norm
from tests.support.arrays import close
from train.evaluation import Spread, eval_step, merge_on_host
from train.metrics import compute, mean
from train.optim.chain import evaluation_params, optimizer
from train.step import Task, gradients, init_state, train_step
from train.tasks.supervised import classify

K, L, B = 5, 6, 12
RATE = np.float32(1)


def draw(seed=0):
    return np.random.default_rng(seed)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def images(size=B, seed=0):
    x = draw(seed).standard_normal((size, 3)).astype(np.float32)
    return {"x": jnp.asarray(x), "y": jnp.asarray(draw(seed + 1).integers(0, K, size), jnp.int32)}


def text(seed=0):
    tokens = jnp.asarray(draw(seed).integers(0, K, (B, L + 1)), jnp.int32)
    return {"x": tokens[:, :-1], "y": tokens[:, 1:]}


def mlp(**options):
    return classify(from_linen(MLP(K, width=8, layers=1, **options)), K)


def gpt(**options):
    return classify(from_linen(GPT(K, layers=1, heads=2, width=8, context=L, **options)), K)


def begin(task, tx, batch, seed=0):
    return jax.jit(functools.partial(init_state, task, tx))(jax.random.key(seed), batch)


def stepping(task, tx, **options):
    step = jax.jit(functools.partial(train_step, task=task, tx=tx, **options))
    return lambda state, batch, rate=RATE, seed=1: step(state, batch, jax.random.key(seed), rate)


# Accumulation.

RAGGED = np.asarray([1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0], np.float32)  # slices of 3 are 1, 0 and so on: all unequal


WEIGHTS = {  # also such as sum below 1
    "rows": RAGGED,
    "little": RAGGED * np.linspace(0.01, 0.05, B, dtype=np.float32),
    "least": RAGGED * np.float32(1e-30),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("masked", "slices"),
    [("nothing", 3), ("rows", 2), ("rows", 3), ("rows", 4), ("tokens", 2), ("tokens", 3), ("little", 3), ("least", 2)],
)
def test_accumulated_gradient_is_the_whole_batchs(masked, slices):
    """Weighted by what each slice counts, not by slices: their masks are unequal, and one counts nothing at all."""
    task, batch = (mlp(), images()) if masked in WEIGHTS else (gpt(), text())
    if masked in WEIGHTS:
        batch["mask"] = jnp.asarray(WEIGHTS[masked])
    if masked == "tokens":
        mask = (np.arange(L)[None] < draw(3).integers(1, L + 1, B)[:, None]).astype(np.float32)
        mask[0::slices] = 0  # the rows of the first slice
        batch["mask"] = jnp.asarray(mask)
    state = begin(task, optimizer({"name": "sgd", "learning_rate": 0.1}), batch)
    whole, _, expected = jax.jit(functools.partial(gradients, task, accumulate=1))(state, batch, jax.random.key(1))
    parts, _, metrics = jax.jit(functools.partial(gradients, task, accumulate=slices))(state, batch, jax.random.key(1))
    if masked != "nothing":
        weights = np.asarray(batch["mask"]).reshape(-1, slices, *batch["mask"].shape[1:]).swapaxes(0, 1)
        assert len({float(w.sum()) for w in weights}) > 1, "the check needs slices that count differently"
    close(parts, whole)
    close(metrics, expected)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(whole)) > 1e-2


def test_the_length_of_the_weights_counts_for_nothing():
    """A mean weighs by ratios: of a batch whose weights sum to 0.06 the gradient is that of one of 6."""
    task, batch = mlp(), images()
    state = begin(task, optimizer({"name": "sgd", "learning_rate": 0.1}), batch)
    graded = jax.jit(functools.partial(gradients, task, accumulate=1))
    whole, _, _ = graded(state, {**batch, "mask": jnp.asarray(RAGGED)}, jax.random.key(1))
    scaled, _, _ = graded(state, {**batch, "mask": jnp.asarray(RAGGED) / 100}, jax.random.key(1))
    close(scaled, whole)


def test_running_averages_move_once_a_step():
    """By 0.1 of the mean of what the slices hold: the mean over the batch, and the mean of their variances."""

    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            return nn.Dense(K)(nn.BatchNorm(not train, momentum=0.9)(x))

    task, batch = classify(from_linen(Normed()), K), images()
    state = begin(task, optimizer({"name": "sgd", "learning_rate": 0.1}), batch)
    _, after, _ = jax.jit(functools.partial(gradients, task, accumulate=3))(state, batch, jax.random.key(1))
    slices = np.stack([np.asarray(batch["x"])[i::3] for i in range(3)])
    (stats,) = after["batch_stats"].values()
    close(stats["mean"], 0.1 * slices.mean((0, 1)))
    close(stats["var"], 0.9 + 0.1 * slices.var(1).mean(0))


def test_accumulated_step_is_the_whole_batchs():
    task, tx = mlp(), optimizer({"name": "adamw", "learning_rate": 0.01, "clip": 0.1})
    batch = {**images(), "mask": jnp.asarray(RAGGED)}
    state = begin(task, tx, batch)
    one, _ = stepping(task, tx)(state, batch)
    four, _ = stepping(task, tx, accumulate=4)(state, batch)
    close(four.params, one.params)
    close(four.opt_state, one.opt_state)


def test_accumulated_slices_draw_their_own_dropout():
    """Two equal halves of a batch, with dropout, are not dropped alike."""
    noise = Task(
        lambda key, batch: ({"w": jnp.zeros(())}, {}),
        lambda params, state, batch, key, train: (
            params["w"],
            (state, {"loss": mean(params["w"]), "drawn": mean(jax.random.normal(key) ** 2)}),
        ),
    )
    tx = optimizer({"name": "sgd", "learning_rate": 0.1})
    batch = {"x": jnp.zeros((2, 1))}
    _, metrics = stepping(noise, tx, accumulate=2)(begin(noise, tx, batch), batch)
    base = jax.random.fold_in(jax.random.key(1), 0)
    expected = sum(float(jax.random.normal(key)) ** 2 for key in jax.random.split(base))
    assert float(metrics["drawn"][0]) == pytest.approx(expected, rel=1e-6)


# Steps that are not finite.


class Normed(nn.Module):
    """With running statistics, which a NaN would stay in."""

    @nn.compact
    def __call__(self, x, *, train=False):
        return nn.Dense(K)(batch_norm(train, "norm")(x))


def poisoned(kind):
    """(task, good batch, bad batch): a NaN in the data, or a gradient that is infinite where the loss is finite."""
    if kind == "data":
        task, good = classify(from_linen(Normed()), K), images()
        return task, good, {**good, "x": good["x"].at[0].set(jnp.nan)}

    def loss(params, state, batch, key, train):
        value = jnp.sqrt(params["w"] * batch["x"]).sum()
        return value, (state, {"loss": mean(value)})

    task = Task(lambda key, batch: ({"w": jnp.ones(2)}, {"seen": jnp.zeros(2)}), loss)
    return task, {"x": jnp.ones(2)}, {"x": jnp.asarray([1.0, 0.0])}


@pytest.mark.parametrize("kind", ["data", "gradient"])
def test_skipped_step_changes_nothing_but_the_step(kind):
    task, good, bad = poisoned(kind)
    tx = optimizer({"name": "adamw", "learning_rate": 0.01}, ema=0.9)
    step = stepping(task, tx, nonfinite="skip")
    before, metrics = step(begin(task, tx, good), good)
    assert float(metrics["skipped"][0]) == 0
    after, metrics = step(before, bad)
    assert float(metrics["skipped"][0]) == 1
    assert not np.isfinite(float(metrics["grad_norm"][0]))
    assert np.isfinite(float(metrics["loss"][0])) == (kind == "gradient")
    assert int(after.step) == int(before.step) + 1
    same(after.replace(step=before.step), before)
    moved, _ = step(after, good)
    assert all((a != b).any() for a, b in zip(*map(jax.tree.leaves, (moved.params, after.params)), strict=True))


@pytest.mark.parametrize("kind", ["data", "gradient"])
def test_finite_steps_are_the_same_with_and_without_skipping(kind):
    task, good, bad = poisoned(kind)
    tx = optimizer({"name": "adamw", "learning_rate": 0.01})
    state = begin(task, tx, good)
    (skips, _), (stops, _) = (stepping(task, tx, nonfinite=policy)(state, good) for policy in ("skip", "stop"))
    close(skips, stops, 1e-6)
    poison, _ = stepping(task, tx, nonfinite="stop")(state, bad)
    assert not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(poison.params)), "the check needs a poison"


# A pure function of state, batch and key.


def test_step_is_pure():
    """Same inputs, same outputs, bit for bit; another key, step or batch, others."""
    task, tx = mlp(dropout=0.5), optimizer({"name": "adamw", "learning_rate": 0.01})
    state, step = begin(task, tx, images()), stepping(mlp(dropout=0.5), tx)
    kept = jax.tree.map(np.array, state)
    first = step(state, images())
    same(step(state, images()), first)
    same(state, kept)
    others = {
        "key": step(state, images(), seed=2),
        "step": step(state.replace(step=state.step + 1), images()),
        "batch": step(state, images(seed=9)),
        "rate": step(state, images(), np.float32(0.5)),
    }
    for what, (new, _) in others.items():
        assert (new.params["hidden_0"]["kernel"] != first[0].params["hidden_0"]["kernel"]).any(), what


def test_key_of_a_step_is_folded_from_its_number():
    """So that a resumed run draws what the first would have, and no key is kept."""

    def loss(params, state, batch, key, train):
        return params["w"], (state, {"loss": mean(params["w"]), "drawn": mean(jax.random.normal(key))})

    task, tx = Task(lambda key, batch: ({"w": jnp.zeros(())}, {}), loss), optimizer({"name": "sgd", "learning_rate": 1})
    state, step = begin(task, tx, {}), stepping(task, tx)
    for number in range(3):
        state, metrics = step(state, {})
        expected = jax.random.normal(jax.random.fold_in(jax.random.key(1), number))
        assert float(metrics["drawn"][0]) == pytest.approx(float(expected), rel=1e-6)
    assert int(state.step) == 3


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_gradient_of_ones_own_is_traced_within_too(accumulate):
    """What networks do to spread arrays over devices, they do in the backward pass as well (models.layers.look_up)."""
    open_now, seen = [], {"forward": [], "backward": [], "evaluation": []}

    @contextlib.contextmanager
    def within():
        open_now.append(True)
        yield
        open_now.pop()

    @jax.custom_vjp
    def square(w):
        seen["evaluation"].append(bool(open_now))
        return w**2

    def forward(w):
        seen["forward"].append(bool(open_now))
        return w**2, w

    def backward(w, g):
        seen["backward"].append(bool(open_now))
        return (2 * w * g,)

    square.defvjp(forward, backward)

    def loss(params, state, batch, key, train):
        values = square(params["w"]) * batch["x"]
        return values.mean(), (state, {"loss": mean(values)})

    task = Task(lambda key, batch: ({"w": jnp.ones(())}, {}), loss, within=within)
    tx, batch = optimizer({"name": "sgd", "learning_rate": 0.1}), {"x": jnp.ones(4)}
    state, _ = stepping(task, tx, accumulate=accumulate)(begin(task, tx, batch), batch)
    assert float(state.params["w"]) == pytest.approx(0.8)
    jax.eval_shape(functools.partial(eval_step, task=task), state.params, batch, {}, jax.random.key(0), np.int32(0))
    assert not open_now
    assert all(some and all(some) for some in seen.values()), seen


def test_gradient_norm_is_before_clipping():
    task, tx = mlp(), optimizer({"name": "sgd", "learning_rate": 1.0, "clip": 1e-3})
    state = begin(task, tx, images())
    grads, _, _ = jax.jit(functools.partial(gradients, task, accumulate=1))(state, images(), jax.random.key(1))
    new, metrics = stepping(task, tx)(state, images())
    norm = lambda tree: np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(tree)))
    assert float(metrics["grad_norm"][0]) == pytest.approx(norm(grads), rel=1e-5)
    assert norm(jax.tree.map(jnp.subtract, new.params, state.params)) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("ema", [0.0, 0.15, 0.8])
def test_evaluation_sees_the_average(ema):
    """avg ← d avg + (1 - d) params after every step, d = min(ema, (1 + t) / (10 + t)); without it the parameters."""
    task, tx = mlp(), optimizer({"name": "sgd", "learning_rate": 0.5}, ema)
    state, step = begin(task, tx, images()), stepping(task, tx)
    average = state.params
    for t in range(4):
        state, _ = step(state, images())
        decay = min(ema, (1 + t) / (10 + t))
        average = jax.tree.map(lambda a, p, d=decay: d * a + (1 - d) * p, average, state.params)
    judged = evaluation_params(state.params, state.opt_state)
    close(judged, average, 1e-6)
    assert (jnp.abs(judged["logits"]["kernel"] - state.params["logits"]["kernel"]).max() > 1e-3) == bool(ema)


# Metrics and evaluation.


def test_metrics_merge_by_addition():
    """However a split is cut into batches, the mean is the one over all of it."""
    rng = draw()
    values, weights = rng.standard_normal(1000).astype(np.float32), (rng.random(1000) > 0.3).astype(np.float32)
    expected = np.average(values.astype(np.float64), weights=weights)
    assert compute({"m": mean(values, weights)})["m"] == pytest.approx(expected, rel=1e-5)
    for pieces in (1, 7, 20):
        cuts = np.sort(rng.choice(np.arange(1, 1000), pieces - 1, replace=False))
        parts = [{"m": mean(v, w)} for v, w in zip(np.split(values, cuts), np.split(weights, cuts), strict=True)]
        assert merge_on_host(parts)["m"] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(compute({"m": mean(values, 0.0)})["m"])


def test_host_sums_do_not_lose_small_batches():
    """In float32 a sum of 2²⁴ would swallow every further 1."""
    parts = [{"m": (np.float32(2**24), np.float32(2**24))}] + [{"m": (np.float32(1), np.float32(0))}] * 1000
    assert merge_on_host(parts)["m"] == (2**24 + 1000) / 2**24


def nats(logits, y):
    """-log softmax at the target, float64."""
    logits = np.asarray(logits, np.float64)
    picked = np.take_along_axis(logits, np.asarray(y)[..., None], -1)[..., 0]
    return np.log(np.exp(logits).sum(-1)) - picked


def evaluate(task, params, source, batch_size):
    score = jax.jit(functools.partial(eval_step, task=task))
    parts = [
        score(params, jax.tree.map(jnp.asarray, batch), {}, jax.random.key(2), np.int32(index))
        for index, batch in enumerate(eval_batches(source, batch_size=batch_size))
    ]
    return merge_on_host(parts), sum(float(part["loss"][1]) for part in parts)


@pytest.mark.parametrize("batch_size", [1, 8, 23, 32])
def test_evaluation_is_exact_over_the_split(batch_size):
    """23 records: the last batch is filled up, and what fills it counts nothing.  Dropout is off."""
    data, model = images(23), from_linen(MLP(K, width=8, layers=1, dropout=0.5))
    source = Columns(**jax.tree.map(np.asarray, data))
    params, _ = jax.jit(model.init)(jax.random.key(0), data["x"])
    found, weight = evaluate(classify(model, K), params, source, batch_size)
    logits, _ = model.apply(params, {}, data["x"])
    assert weight == 23
    assert found["loss"] == pytest.approx(nats(logits, data["y"]).mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx(np.mean(np.asarray(logits.argmax(-1)) == data["y"]))


def test_a_part_of_a_split_is_spread_over_it():
    part = Spread(Columns(x=np.arange(23)), 5)
    assert part.gather(np.arange(len(part)))["x"].tolist() == [0, 4, 9, 13, 18]
    assert len(Spread(part, 9)) == 5


@pytest.mark.slow
def test_every_held_out_token_counts_once():
    """A stream that its windows do not divide: all tokens but the first are predicted, in their own window."""
    stream = draw().integers(0, K, 4 * L + 4).astype(np.uint8)
    model = from_linen(GPT(K, layers=1, heads=2, width=8, context=L))
    params, _ = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, L), jnp.int32))
    found, weight = evaluate(classify(model, K), params, Windows(stream, L, L, last="pad"), batch_size=3)
    expected = []
    for first in range(0, len(stream) - 1, L):
        piece = stream[first : first + L + 1].astype(np.int32)
        logits, _ = model.apply(params, {}, jnp.asarray(piece[None, :-1]))
        expected += nats(logits[0], piece[1:]).tolist()
    assert weight == len(stream) - 1 == len(expected)
    assert found["loss"] == pytest.approx(np.mean(expected), rel=1e-5)
