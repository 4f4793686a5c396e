"""Recurrent networks: torch's numbers, causality, closed forms; and the sequences whose best losses are known.

Shapes: B batch, L length, F features, H width, O outputs.
"""

import functools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import sequences, series
from data.pipeline import batch_at
from models.api import from_linen
from models.decode import How, generate, step_of
from models.parts import recurrent
from models.parts.recurrent import CELLS, Cell, elman, recur
from models.rnn import Layer, Recurrent, SequenceModel
from tests.support.arrays import close
from tests.support.golden import numbers
from train.tasks.forecast import forecast
from train.tasks.supervised import classify

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "rnn.npz")
B, L, F, H, VOCAB = 2, 5, 3, 4, 6


def draw(*shape, seed=0, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).standard_normal(shape), jnp.float32)


# Torch.


def given(*name_and_shape):
    return jnp.asarray(numbers(*name_and_shape) / 2)


def torch_names(layers, direction):
    """Our layers' names and theirs, in torch's order of parameters."""
    both = [("forward", ""), ("backward", "_reverse")][: 2 if direction == "both" else 1]
    return [(f"{ours}_{i}", f"l{i}{theirs}", i) for i in range(layers) for ours, theirs in both]


def weights_of_torch(cell, layers, direction):
    """Torch has two sets of biases everywhere; where only their sum matters we have one."""
    params, gates, ways = {}, CELLS[cell].gates, 2 if direction == "both" else 1
    for ours, theirs, i in torch_names(layers, direction):
        x_bias, h_bias = (given(f"bias_{part}_{theirs}", gates * H) for part in ("ih", "hh"))
        params[ours] = {
            "input": given(f"weight_ih_{theirs}", gates * H, ways * H if i else F).T,
            "recurrent": given(f"weight_hh_{theirs}", gates * H, H).T,
            "bias": h_bias if CELLS[cell].apart else x_bias + h_bias,
        }
        params[ours] |= {"input_bias": x_bias} if CELLS[cell].apart else {}
    return params


@pytest.mark.slow
@pytest.mark.parametrize("case", GOLDEN.files)
def test_outputs_states_and_gradients_are_torchs(case):
    cell, layers, direction = case.split()
    layers, parts = int(layers), CELLS[cell].parts
    model = Recurrent(cell, H, layers, direction)
    params = weights_of_torch(cell, layers, direction)
    first = np.stack([given(f"state_{part}", len(params), B, H) for part in range(parts)])
    states = [tuple(jnp.asarray(part) for part in first[:, i]) for i in range(len(params))]

    @functools.partial(jax.value_and_grad, has_aux=True)
    def scalar(params):
        y, last = model.apply({"params": params}, given("x", B, L, F), states)
        return jnp.sin(y).sum() + sum(jnp.sin(part).sum() for part in jax.tree.leaves(last)), (y, last)

    (_, (y, last)), gradients = jax.jit(scalar)(params)
    found = [y, np.stack([[state[part] for state in last] for part in range(parts)])]
    for ours, _, _ in torch_names(layers, direction):
        g = gradients[ours]
        found += [g["input"].T, g["recurrent"].T, g.get("input_bias", g["bias"]), g["bias"]]
    found = np.concatenate([np.ravel(value) for value in found])
    assert found.shape == GOLDEN[case].shape
    np.testing.assert_allclose(found, GOLDEN[case], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("layers", "direction"), [(1, "forward"), (3, "forward"), (2, "both")])
def test_sizes_are_those_of_keras(cell, layers, direction):
    """SimpleRNN H(F + H + 1), LSTM 4H(F + H + 1), GRU with reset_after 3H(F + H + 2); wide ones, from their shapes."""
    width, features, ways = 256, 100, 2 if direction == "both" else 1
    sets = 2 if cell == "gru" else 1
    gates = {"rnn": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}[cell]
    inputs = [features] + [ways * width] * (layers - 1)
    expected = sum(ways * gates * width * (wide + width + sets) for wide in inputs) + (ways * width + 1) * 10
    module = SequenceModel(cell, width, 10, layers=layers, direction=direction)
    shapes = jax.eval_shape(from_linen(module).init, jax.random.key(0), jnp.zeros((1, 2, features)))[0]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


# The scan and its gradient.


def by_autodiff(cell, reverse, w_HG, b_G, x_LBG, first):
    """`recur` as a plain scan, for JAX to differentiate."""

    def one(state, x_BG):
        r_BG = state[0] @ w_HG + b_G[None]
        state = cell.step(state, x_BG, r_BG) if cell.apart else cell.step(state, x_BG + r_BG)
        return state, state[0]

    last, h_LBH = jax.lax.scan(one, first, x_LBG, reverse=reverse)
    return h_LBH, last


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 3], ids=["one product", "products of unequal parts"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_of_the_scan_is_autodiffs(cell, reverse, parts, monkeypatch):
    """By weights, biases, inputs and first state, from all outputs and all parts of the last state; in 64 bits."""
    monkeypatch.setattr(recurrent, "SMALL", 0)
    monkeypatch.setattr(recurrent, "PARTS", parts)
    made, G = CELLS[cell], CELLS[cell].gates * H
    given = draw(H, G), draw(G, seed=1), draw(L, B, G, seed=2), tuple(draw(B, H, seed=3 + i) for i in range(made.parts))

    def value_and_gradient(scan):
        def scalar(arguments):
            h_LBH, last = scan(made, reverse, *arguments)
            return jnp.sin(h_LBH).sum() + sum((part**2).sum() for part in last)

        return jax.jit(jax.value_and_grad(scalar))(jax.tree.map(lambda x: x.astype(jnp.float64), given))

    with jax.enable_x64(True):
        close(value_and_gradient(recur), value_and_gradient(by_autodiff), 1e-13)


@pytest.mark.parametrize("growth", [0.5, 1.0, 1.5])
def test_gradient_through_a_linear_network_is_a_power(growth):
    """d h_T / d h_0 = W^T: where W is a rotation times g its norm is g^T, which vanishes, stays or explodes."""
    steps, rotation = 20, np.linalg.qr(np.random.default_rng(0).standard_normal((H, H)))[0]
    w_HH, zeros = jnp.asarray(growth * rotation, jnp.float32), jnp.zeros((steps, 1, H))
    last = lambda h_H: recur(Cell(elman(lambda x: x), gates=1), False, w_HH, jnp.zeros(H), zeros, (h_H[None],))[1][0][0]
    jacobian = jax.jit(jax.jacrev(last))(draw(H))
    exact = np.linalg.matrix_power(growth * rotation, steps)
    np.testing.assert_allclose(jacobian, exact.T, atol=1e-5 * growth**steps)
    np.testing.assert_allclose(np.linalg.norm(jacobian, 2), growth**steps, rtol=1e-5)


def test_an_open_forget_gate_keeps_the_cell():
    """f = 1 and i = 0: the constant error carousel.  The cell, and the gradient by it, stay as they are to the bit."""
    gates = jnp.repeat(jnp.asarray([-200.0, 200.0, 0.0, 0.0]), H)
    state = draw(B, H), draw(B, H, seed=1)
    carried = lambda c: recur(CELLS["lstm"], False, jnp.zeros((H, 4 * H)), gates, draw(50, B, 4 * H), (state[0], c))[1][
        1
    ]
    np.testing.assert_array_equal(carried(state[1]), state[1])
    np.testing.assert_array_equal(jax.grad(lambda c: carried(c).sum())(state[1]), 1)


@pytest.mark.parametrize(("cell", "keep", "write"), [("lstm", 1, 0), ("gru", 1, None)])
def test_gates_begin_by_keeping_as_long_as_they_are_told(cell, keep, write):
    """A gate of sigmoid(b) keeps for 1 / (1 - sigmoid(b)) steps: uniform from 2 to `memory`."""
    bias_GH = Layer(cell, 1000, memory=50).remembering(jax.random.key(0), (CELLS[cell].gates * 1000,))
    bias_GH = np.asarray(bias_GH).reshape(-1, 1000)
    steps = 1 / (1 - 1 / (1 + np.exp(-bias_GH[keep].astype(np.float64))))
    assert 2 <= steps.min() < 3 < 48 < steps.max() <= 50.01
    assert steps.mean() == pytest.approx(26, abs=4 * 48 / math.sqrt(12 * 1000))
    if write is not None:
        np.testing.assert_array_equal(bias_GH[write], -bias_GH[keep])


# Networks.


def make(module, x):
    """Parameters moved off their initial values, so that no zero hides a fault."""
    params, _ = jax.jit(from_linen(module).init)(jax.random.key(0), x)
    noise = np.random.default_rng(0)
    return jax.tree.map(lambda p: p + 0.1 * noise.standard_normal(p.shape).astype(np.float32), params)


def text(length=L, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, VOCAB, (B, length)), jnp.int32)


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "direction"), [("lstm", "forward"), ("gru", "forward"), ("rnn", "both")])
def test_outputs_depend_on_the_past_or_on_everything(cell, direction):
    """d y_t / d x_s in two layers: exactly zero for s > t in one direction, nowhere zero in both."""
    model = from_linen(SequenceModel(cell, H, 3, layers=2, direction=direction))
    x_BLF = draw(1, L, F)
    params = make(SequenceModel(cell, H, 3, layers=2, direction=direction), x_BLF)
    outputs = lambda x_BLF: model.apply(params, {}, x_BLF)[0][0].sum(-1)
    on = np.abs(jax.jit(jax.jacrev(outputs))(x_BLF))[:, 0].max(-1)
    later = on[np.triu_indices(L, 1)]
    assert (later == 0).all() if direction == "forward" else (later > 1e-6).all()
    assert (on[np.tril_indices(L)] > 1e-6).all()


@pytest.mark.slow
def test_the_last_state_of_both_directions_has_read_everything():
    """head="last" is the head on the state after the last step forward beside the one after the first, backward."""
    x_BLF = draw(B, L, F)
    module = SequenceModel("gru", H, 3, layers=2, direction="both", head="last")
    params = make(module, x_BLF)
    h_BLH, _ = Recurrent("gru", H, 2, "both").apply({"params": params["recurrent"]}, x_BLF)
    state = jnp.concatenate([h_BLH[:, -1, :H], h_BLH[:, 0, H:]], axis=-1)
    found, _ = from_linen(module).apply(params, {}, x_BLF)
    close(found, state @ params["head"]["kernel"] + params["head"]["bias"][None])


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_generation_with_a_state_is_generation_without(cell):
    """Pieces of 3, 1 and 4 tokens give the logits of the whole; greedy text is the argmax of whole texts."""
    module, x_BL = SequenceModel(cell, 8, VOCAB, vocab=VOCAB, layers=2), text(8)
    model, params = from_linen(module), make(module, x_BL)
    apply, cache, parts = jax.jit(model.apply), module.empty_cache(B), []
    for piece in jnp.split(x_BL, (3, 4), axis=1):
        (logits, cache), _ = apply(params, {}, piece, cache)
        parts.append(logits)
    close(jnp.concatenate(parts, axis=1), apply(params, {}, x_BL)[0])

    write = jax.jit(functools.partial(generate, step_of(model)), static_argnames=("tokens", "how"))
    empty = module.empty_cache(B)
    made = write(params, empty, x_BL[:, :3], jax.random.key(0), tokens=5, how=How(0.0))
    known = x_BL.at[:, 3:].set(0)  # what stands at t and after cannot matter
    for t in range(3, 8):
        known = known.at[:, t].set(apply(params, {}, known)[0][:, t - 1].argmax(-1))
    np.testing.assert_array_equal(made, known[:, 3:])


@pytest.mark.slow
def test_padding_behind_a_text_changes_nothing():
    """With mask 0 behind it: neither loss nor gradient."""
    module = SequenceModel("gru", H, VOCAB, vocab=VOCAB)
    task, params = classify(from_linen(module), VOCAB), make(module, text())
    grad_fn = jax.jit(jax.value_and_grad(lambda p, b: task.loss(p, {}, b, jax.random.key(0), True)[0]))
    cut = {"x": text(L), "y": text(L, 1)}
    longer = {name: jnp.concatenate([value, text(3, 2)], axis=1) for name, value in cut.items()}
    mask = jnp.tile(jnp.arange(L + 3)[None] < L, (B, 1)).astype(jnp.float32)
    close(grad_fn(params, cut), grad_fn(params, {**longer, "mask": mask}), 1e-6)


@pytest.mark.parametrize(
    ("options", "x", "said"),
    [
        ({"width": 0}, "floats", r"width=0; use 1 or more"),
        ({"vocab": VOCAB}, "floats", r"inputs are float32\[2, 5, 3\] and vocab=6; numbers need vocab=0"),
        ({}, "tokens", r"inputs are int32\[2, 5\] and vocab=0; tokens need vocab="),
        ({"cell": "rnn", "memory": 9}, "floats", r"memory=9: 'rnn' has no gate to keep its state"),
    ],
)
def test_what_cannot_work_is_said(options, x, said):
    model = from_linen(SequenceModel(**{"cell": "lstm", "width": H, "outputs": 3, **options}))
    with pytest.raises(ValueError, match=said):
        model.init(jax.random.key(0), draw(B, L, F) if x == "floats" else text())


def test_no_state_continues_what_is_read_from_both_ends():
    module = SequenceModel("lstm", H, VOCAB, vocab=VOCAB, direction="both")
    with pytest.raises(ValueError, match="reads from the end too"):
        from_linen(module).init(jax.random.key(0), text(), module.empty_cache(B))


# Data.


def records(dataset, count=20_000):
    return batch_at(dataset.train, 0, batch_size=count, seed=0)


def test_the_adding_problem():
    """The sum by hand, one mark in each half, uniform places, and 1/6 for the best constant."""
    batch = records(sequences.adding(length=7))
    numbers_BL, marks_BL = np.moveaxis(batch["x"], -1, 0)
    np.testing.assert_allclose(batch["y"][:, 0], np.where(marks_BL == 1, numbers_BL, 0).sum(1))
    assert set(np.unique(marks_BL)) == {0, 1}
    for half in (slice(0, 3), slice(3, 7)):
        np.testing.assert_array_equal(marks_BL[:, half].sum(1), 1)
        share = 1 / marks_BL[:, half].shape[1]
        np.testing.assert_allclose(marks_BL[:, half].mean(0), share, atol=4 * math.sqrt(share * (1 - share) / 20_000))
    squares = (batch["y"][:, 0] - 1) ** 2
    assert float(squares.mean()) == pytest.approx(1 / 6, abs=float(4 * squares.std()) / math.sqrt(20_000))
    correlation = np.corrcoef(numbers_BL.T) - np.eye(7)
    assert float(np.abs(correlation).max()) < 5 / math.sqrt(20_000), "the numbers are independent"


def test_the_copy_task():
    """The symbols come back at the end; who knows all but them pays the published baseline."""
    batch = records(sequences.copying(blanks=100), 2000)
    x_BL, y_BL = batch["x"], batch["y"]
    assert x_BL.shape == y_BL.shape == (2000, 120)
    np.testing.assert_array_equal(y_BL[:, -10:], x_BL[:, :10])
    assert x_BL[:, :10].max() < 8
    np.testing.assert_array_equal(x_BL[:, 10:], np.tile([8] * 99 + [9] + [8] * 10, (2000, 1)))
    assert (y_BL[:, :-10] == 8).all()
    nats = np.where(y_BL == 8, 0.0, math.log(8))  # certain of blanks, any symbol where there is one
    assert nats.mean() == pytest.approx(sequences.copying_baseline(100)) == pytest.approx(0.17329, abs=1e-5)
    shares = np.bincount(x_BL[:, :10].ravel(), minlength=8) / 20_000
    np.testing.assert_allclose(shares, 1 / 8, atol=4 * math.sqrt(7 / 64 / 20_000))


def test_neighbours_cannot_be_told_from_one_side():
    """The rule; and by all pairs of bits: alone either says nothing, nor can a sum of a part of each say more."""
    batch = records(sequences.neighbours(length=9, distance=2), 1000)
    for t in range(9):
        assert (batch["mask"][:, t] == float(2 <= t < 7)).all()
        if 2 <= t < 7:
            np.testing.assert_array_equal(batch["y"][:, t], batch["x"][:, t - 2] ^ batch["x"][:, t + 2])
    assert batch["x"].mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(9000))
    # Logit a(past) + b(future) on the four cases of xor: with labels -1, 1, 1, -1 the gradient of the mean logistic
    # loss by each of the four numbers vanishes at 0, and the loss is convex: ln 2 is the least.
    cases = jnp.eye(2)[jnp.asarray([[0, 0], [0, 1], [1, 0], [1, 1]])].reshape(4, 4)
    loss = lambda v: jax.nn.softplus(-jnp.asarray([-1.0, 1, 1, -1]) * (cases @ v)).mean()
    np.testing.assert_array_equal(jax.grad(loss)(jnp.zeros(4)), 0)
    assert float(loss(jnp.zeros(4))) == pytest.approx(math.log(2))


@pytest.mark.parametrize("make", [sequences.adding, sequences.copying, sequences.neighbours])
def test_records_are_a_function_of_seed_and_number(make):
    first, again, other = make(seed=1), make(seed=1), make(seed=2)
    ids = np.array([5, 0, 999])
    jax.tree.map(np.testing.assert_array_equal, first.train.gather(ids), again.train.gather(ids))
    one = first.train.gather(ids[:1])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), first.train.gather(ids), one)
    for different in (first.valid, other.train):
        assert (
            (different.gather(ids)["x"] != first.train.gather(ids)["x"]).any(axis=tuple(range(1, one["x"].ndim))).all()
        )
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.unique == len(first.train) == 1_000_000


SERIES = {"lookback": 5, "horizon": 4, "season": 3}


def test_windows_of_a_series():
    """Window by window: what is seen, what follows, and what stood there a season before."""
    half = series.Forecasts(np.arange(40, dtype=np.float32).reshape(20, 2), **SERIES)
    assert len(half) == 20 - 5 - 4 + 1
    batch = half.gather(np.arange(len(half)))
    for i in range(len(half)):
        np.testing.assert_array_equal(batch["x"][i], half.series_TF[i : i + 5])
        np.testing.assert_array_equal(batch["y"][i], half.series_TF[i + 5 : i + 9, 0])
        np.testing.assert_array_equal(batch["naive"][i], half.series_TF[[i + 2, i + 3, i + 4, i + 2], 0])


def test_a_level_moves_no_error():
    """Counted from the last step seen, which is then zero, differences are what they were."""
    values = np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32)
    mean, last = (series.Forecasts(values, **SERIES, level=level).gather(np.arange(22)) for level in ("mean", "last"))
    assert (last["x"][:, -1] == 0).all()
    for batch in (mean, last):
        batch["x"] -= batch["x"][:, :1]
        batch["naive"] -= batch["y"]
    close(last["x"], mean["x"], 1e-6)
    close(last["naive"], mean["naive"], 1e-6)


def test_a_table_is_standardised_by_what_is_trained_on(tmp_path):
    """Its held-out part may be anything; its first target is the first row of that part, and none is trained on."""
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, (100, 2))
    values[80:] += 1000
    rows = [f"2016-07-{i},{a:.9f},{b:.9f}" for i, (a, b) in enumerate(values)]
    (tmp_path / "t.csv").write_text("\n".join(["date,load,OT", *rows]))
    dataset = series.table(str(tmp_path / "t.csv"), target="OT", train=0.6, valid=0.2, **SERIES)
    standard = (values[:, ::-1] - values[:60, ::-1].mean(0)) / values[:60, ::-1].std(0)
    np.testing.assert_allclose(dataset.train.series_TF, standard[:60], atol=1e-6)
    batch = dataset.valid.gather(np.arange(len(dataset.valid)))
    np.testing.assert_allclose(batch["y"][[0, -1]], [standard[80:84, 0], standard[96:, 0]], rtol=1e-5)
    alone = series.table(str(tmp_path / "t.csv"), target="load", inputs="target", rows=50, **SERIES)
    assert alone.train.series_TF.shape == (30, 1)
    assert (dataset.unit, dataset.unique, alone.unique) == ("example", 60 - 8, 30 - 8)


@pytest.mark.parametrize(
    ("contents", "options", "said"),
    [
        ("a,b\n1,2\n3,x\n", {"target": "b"}, r"column 'b' begins with a number and holds 'x' in row 2"),
        ("a,b\n1,2\n3,4\n", {"target": "c"}, r"target='c' is no column of numbers .*; choose one of a, b"),
        ("a,b\n1,2\n3\n", {"target": "a"}, r"is no table: it needs two rows or more, with equally many"),
        ("", {"target": "a"}, r"is no table"),
        ("a\n1\n2\n", {"target": "a"}, r"2 rows are too few: the training part has 1 and the held-out"),
        ("a\n1\n2\n", {"target": "a", "train": 0.9}, r"parts of 1 in all"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, contents, options, said):
    (tmp_path / "t.csv").write_text(contents)
    with pytest.raises(ValueError, match=said):
        series.table(str(tmp_path / "t.csv"), **SERIES, **options)
    with pytest.raises(ValueError, match="no table at"):
        series.table(str(tmp_path / "none.csv"), target="a", **SERIES)


def test_a_seasonal_series_has_its_two_errors():
    """Beside the pattern, noise: 0.3² for who knows the pattern, and twice that a season later, as the task reports."""
    dataset = series.seasonal(lookback=48, horizon=24, noise=0.3, steps=20_000)
    batch = dataset.valid.gather(np.arange(len(dataset.valid)))
    raw = np.random.default_rng(0)
    pattern = raw.standard_normal(24)
    noisy = (np.resize(pattern, 20_000) + 0.3 * raw.standard_normal(20_000))[:12_000]
    scale, phase = noisy.std(), (16_000 + np.arange(len(dataset.valid))[:, None] + np.arange(24)) % 24
    oracle = (pattern[phase] - noisy.mean()) / scale
    assert ((oracle - batch["y"]) ** 2).mean() * scale**2 == pytest.approx(0.09, rel=0.08)

    module = SequenceModel("gru", 2, 24, head="last")
    task = forecast(from_linen(module))
    part = {name: jnp.asarray(value[:500]) for name, value in batch.items()}
    params, state = task.init(jax.random.key(0), part)
    _, (_, metrics) = task.loss(params, state, part, jax.random.key(1), False)
    found = {name: float(total / weight) for name, (total, weight) in metrics.items()}
    outputs, _ = from_linen(module).apply(params, {}, part["x"])
    assert found["mae"] == pytest.approx(float(np.abs(outputs - part["y"]).mean()), rel=1e-5)
    assert found["naive"] * scale**2 == pytest.approx(0.18, rel=0.15)
    assert found["naive_mae"] * scale == pytest.approx(math.sqrt(0.18 * 2 / math.pi), rel=0.1)
