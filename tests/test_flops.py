"""FLOPs and parameters against formulas by hand and XLA's own count.

Shapes: B batch, L length, D width, V vocabulary.
"""

import jax
import jax.numpy as jnp
import pytest

from configs.base import base
from models.api import from_linen
from models.gpt import GPT
from models.lenet import LeNet5
from models.mlp import MLP
from models.resnet import ResNet, imagenet
from models.vgg import VGG
from train.cost import budget, flops, hlo
from train.experiment import build_experiment
from train.tasks.supervised import classify

B, L, D, V, LAYERS = 3, 16, 8, 11, 2


def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def key():
    return jax.eval_shape(lambda: jax.random.key(0))


def gradient_of(module, batch, classes):
    """A function of shapes and its arguments: the gradient of one batch."""
    task = classify(from_linen(module), classes)
    params, state = jax.eval_shape(task.init, key(), batch)
    gradient = jax.grad(lambda params, state, batch, key: task.loss(params, state, batch, key, True)[0])
    return gradient, (params, state, batch, key())


def counted(module, batch, classes):
    gradient, arguments = gradient_of(module, batch, classes)
    return flops.count(gradient, *arguments)


def xla_counts(module, batch, classes):
    gradient, arguments = gradient_of(module, batch, classes)
    return jax.jit(gradient).lower(*arguments).cost_analysis()["flops"]


def images(size, batch=B, channels=1):
    return {"x": shape(batch, size, size, channels), "y": shape(batch, dtype=jnp.int32)}


def tokens(length=L, batch=B):
    return {"x": shape(batch, length, dtype=jnp.int32), "y": shape(batch, length, dtype=jnp.int32)}


# By hand.


def test_multiply_add_is_two():
    assert flops.count(jnp.dot, shape(3, 5), shape(5, 7)) == 2 * 3 * 5 * 7
    batched = lambda a, b: jnp.einsum("nij,njk->nik", a, b)
    assert flops.count(batched, shape(4, 3, 5), shape(4, 5, 7)) == 4 * 2 * 3 * 5 * 7
    assert flops.count(jnp.tanh, shape(100)) == 0


def test_loops_count_every_turn():
    turns = lambda x: jax.lax.scan(lambda x, _: (x @ x, None), x, length=6)[0]
    assert flops.count(turns, shape(5, 5)) == 6 * 2 * 5**3
    nested = lambda x: jax.lax.scan(lambda x, _: (jax.jit(turns)(x), None), x, length=3)[0]
    assert flops.count(nested, shape(5, 5)) == 18 * 2 * 5**3
    either = lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)
    assert flops.count(either, shape(5, 5)) == 2 * 2 * 5**3, "of branches the dearest"


def test_perceptron():
    """2 a weight and example forwards, as many for the weight's gradient, and as many for the gradient of the layer's
    input, which the first layer does not need."""
    layers = [(16, 32), (32, 32), (32, 10)]
    weights = sum(a * b for a, b in layers)
    assert counted(MLP(10, width=32, layers=2), images(4), 10) == B * (6 * weights - 2 * 16 * 32)


def meeting(size):
    """Pairs of an output and a place of a 3-wide window that fall on one of `size` inputs in a row, not beside them."""
    return 3 * size - 2


def test_lenet():
    """Convolutions: 2 · pairs of positions and places of the window inside the image · features in · features out.  C1
    pads 28 × 28 by 2: of a 5-wide window 3, 4, 5, …, 5, 4, 3 places are inside.  C1 has no gradient by its input."""
    c1, c3 = (5 * 28 - 6) ** 2 * 1 * 6, 10**2 * 25 * 6 * 16
    dense = 400 * 120 + 120 * 84 + 84 * 10
    assert counted(LeNet5(), images(28), 10) == B * (4 * c1 + 6 * c3 + 6 * dense)


CONVOLUTIONS = {
    "same": {"padding": "SAME"},
    "valid": {"padding": "VALID"},
    "uneven": {"padding": ((0, 3), (2, 1))},
    "stride": {"padding": "SAME", "window_strides": (2, 3)},
    "dilated": {"padding": "SAME", "rhs_dilation": (2, 1)},
    "transposed": {"padding": ((1, 2), (1, 2)), "lhs_dilation": (2, 2)},
    "groups": {"padding": "SAME", "feature_group_count": 2},
    "depthwise": {"padding": "SAME", "feature_group_count": 4},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_backwards_are_twice_forwards(name):
    """Each multiply-add of a number with a number has one in either gradient; zeros of padding, strides and spreads
    have none.  And the count of the program that XLA is given (both gradients of groups are other groups) is the same.
    """
    options = {"window_strides": (1, 1), **CONVOLUTIONS[name]}
    image, kernel = shape(B, 9, 8, 4), shape(3, 3, 4 // options.get("feature_group_count", 1), 8)
    conv = lambda x, w: jax.lax.conv_general_dilated(x, w, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)
    both = jax.grad(lambda x, w: (conv(x, w) ** 2).sum(), (0, 1))
    forwards = flops.count(conv, image, kernel)
    assert flops.count(both, image, kernel) == 3 * forwards
    for fn in (conv, both):
        assert flops.count(fn, image, kernel) == hlo.analyse(jax.jit(fn).lower(image, kernel).as_text("hlo")).flops


def test_strides():
    stride = lambda x, w: jax.lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    inside = 4 * 3 - 1  # 8 pixels, 4 outputs: one place of the last window is outside
    assert flops.count(stride, shape(B, 8, 8, 3), shape(3, 3, 3, 5)) == 2 * B * inside**2 * 3 * 5


def test_groups():
    depthwise = lambda x, w: jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", feature_group_count=6, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert flops.count(depthwise, shape(B, 8, 8, 6), shape(3, 3, 1, 6)) == 2 * B * meeting(8) ** 2 * 6


def test_residual_network():
    """Every convolution thrice, but for the stem's input."""

    def stage(size, before, width):
        """The first stage keeps the size; the others halve it: of the last window one place is outside."""
        if before == width:
            return meeting(size) ** 2 * 2 * width**2
        first = (3 * size - 1) ** 2 * before * width
        return first + meeting(size) ** 2 * width**2 + size**2 * before * width

    stem = meeting(16) ** 2 * 1 * 4
    body = stage(16, 4, 4) + stage(8, 4, 8) + stage(4, 8, 16) + 16 * 10
    assert counted(ResNet(10, blocks=1, width=4), images(16), 10) == B * (2 * 2 * stem + 3 * 2 * body)


# 1e9 multiply-adds of an image of 224 × 224 that torchvision publishes with its weights.
PUBLISHED = {
    ("resnet", 18): 1.814,
    ("resnet", 34): 3.664,
    ("resnet", 50): 4.089,
    ("resnet", 101): 7.801,
    ("resnet", 152): 11.514,
    ("vgg", 11): 7.609,
    ("vgg", 13): 11.308,
    ("vgg", 16): 15.470,
    ("vgg", 19): 19.632,
}


@pytest.mark.slow
@pytest.mark.parametrize(("family", "depth"), PUBLISHED)
def test_published_counts_hold_the_padding(family, depth, monkeypatch):
    """All places of every window together are the published count; those that meet the image a few percent less."""
    model = from_linen({"resnet": imagenet, "vgg": VGG}[family](classes=1000, depth=depth))
    image = shape(1, 224, 224, 3)
    params, state = jax.eval_shape(model.init, key(), image)
    forwards = jax.make_jaxpr(lambda *inputs: model.apply(*inputs)[0])(params, state, image).jaxpr
    multiply_adds = flops.jaxpr_flops(forwards) / 2
    assert 0.9 < multiply_adds / (1e9 * PUBLISHED[family, depth]) < 0.98
    monkeypatch.setattr(flops, "meeting", lambda outputs, window, *_: outputs * window)
    assert flops.jaxpr_flops(forwards) / 2 == pytest.approx(1e9 * PUBLISHED[family, depth], abs=5e5)


def gpt_flops(layers=LAYERS, width=D, length=L, vocab=V, ratio=4):
    """A training step's, per token: matrices of the blocks, scores and mixing over the whole square, logits."""
    matrices = layers * (4 * width**2 + 2 * ratio * width**2)
    return 3 * (2 * matrices + 4 * layers * length * width + 2 * width * vocab)


@pytest.mark.parametrize("stack", ["unrolled", "scan"])
@pytest.mark.parametrize(
    "options", [{}, {"positions": "rotary", "bias": True}, {"head": "untied", "ratio": 2}], ids=str
)
def test_gpt(stack, options):
    module = GPT(V, LAYERS, 2, D, L, stack=stack, **options)
    assert counted(module, tokens(), V) == B * L * gpt_flops(ratio=options.get("ratio", 4))


@pytest.mark.parametrize("stack", ["unrolled", "scan"])
def test_rematerialisation_is_recomputed_work(stack):
    """The count is of what is executed: with remat="full" the blocks go forwards twice, all but at most the product
    that ends each, which nothing needs again."""
    plain, full = (
        counted(GPT(V, LAYERS, 2, D, L, stack=stack, remat=remat), tokens(), V) for remat in ("none", "full")
    )
    again = B * L * LAYERS * (2 * 12 * D**2 + 4 * L * D)
    last = B * L * LAYERS * 2 * 4 * D**2
    assert again - last <= full - plain <= again


# A run's budget.


def experiment(**changes):
    config = base()
    config.steps, config.batch_size = 10, 4
    config.data.update(name="synthetic:markov", states=V, context=L, train_tokens=1024, valid_tokens=64)
    config.model.update(name="gpt:GPT", vocab=V, layers=LAYERS, heads=2, width=D, context=L)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=1e-3)
    config.update_from_flattened_dict({k: v for k, v in changes.items() if not k.startswith("model.")})
    config.model.update({k.removeprefix("model."): v for k, v in changes.items() if k.startswith("model.")})
    return build_experiment(config)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model.stack": "scan"},
        {"model.remat": "full"},
        {"model.stack": "scan", "model.remat": "dots"},
        {"accumulate": 2},
        {"precision": "bfloat16"},
        {"model.dropout": 0.1},
    ],
    ids=str,
)
def test_flops_of_a_run_do_not_depend_on_how_it_is_computed(changes):
    """Laws are fitted to the architecture's work: neither recomputation nor slices nor precision change it."""
    assert budget.step_flops(experiment(**changes)) == 4 * L * gpt_flops()


def test_six_n_d():
    """C = 6 N D is what matrices cost; attention over L tokens adds 12 layers L D a token (Chowdhery et al. 2022,
    appendix B).  N is here all parameters but norms and positions: the tied embedding is the head's matrix."""
    made = experiment()
    params = made.state.params
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    norms = (2 * LAYERS + 1) * D
    counted = budget.step_flops(made) / (4 * L)
    assert counted == 6 * (total - norms - L * D) + 12 * LAYERS * L * D


def test_six_n_d_is_near_where_it_is_used():
    """At the shape of GPT-3 175B the count is within 5 % of 6 N D with its 174.6e9 parameters (Brown et al. 2020)."""
    exact = gpt_flops(layers=96, width=12_288, length=2048, vocab=50_257)
    assert exact == pytest.approx(6 * 174.6e9, rel=0.05)


@pytest.mark.parametrize("stack", ["unrolled", "scan"])
def test_blocks_and_embeddings(stack):
    """GPT-2 small: 124,439,808 parameters, of which token and position tables are not counted by Kaplan et al."""
    module = GPT(50_257, 12, 12, 768, 1024, bias=True, stack=stack)
    params, _ = jax.eval_shape(from_linen(module).init, key(), shape(1, 8, dtype=jnp.int32))
    rows = budget.blocks(params)
    assert sum(total for _, total, _ in rows) == 124_439_808
    assert sum(inner for _, _, inner in rows) == 124_439_808 - (50_257 + 1024) * 768
    block = 12 * 768**2 + 13 * 768  # Kaplan et al. leave out biases and norms; we count every number that is learnt
    blocks = [("stack/blocks", 12 * block, 12 * block)]
    if stack == "unrolled":
        blocks = [(f"stack/block_{i}", block, block) for i in range(12)]
    rest = [("token_embed", 50_257 * 768, 0), ("position_embed", 1024 * 768, 0), ("norm", 2 * 768, 2 * 768)]
    assert sorted((name.split("/embedding")[0], *row) for name, *row in collapse(rows)) == sorted(blocks + rest)


def collapse(rows):
    """Top-level tables and norms by their first name; blocks of a stack by their second."""
    found = {}
    for name, total, inner in rows:
        first = name if name.startswith("stack") else name.split("/")[0]
        before = found.get(first, (0, 0))
        found[first] = (before[0] + total, before[1] + inner)
    return [(name, *row) for name, row in found.items()]


def test_untied_head_is_not_counted_either():
    module = GPT(V, LAYERS, 2, D, L, head="untied", positions="rotary")
    params, _ = jax.eval_shape(from_linen(module).init, key(), shape(1, L, dtype=jnp.int32))
    rows = budget.blocks(params)
    inner = LAYERS * (12 * D**2 + 2 * D) + D
    assert sum(row[2] for row in rows) == inner
    assert sum(row[1] for row in rows) == inner + 2 * V * D


# Against XLA.


@pytest.mark.parametrize(
    ("module", "batch", "classes", "tolerance"),
    [
        (MLP(10, width=512, layers=3), images(16, batch=64), 10, 0.02),
        (GPT(512, 2, 4, 256, 64), tokens(64), 512, 0.1),
        (LeNet5(), images(28, batch=64), 10, 0.1),
        (ResNet(10, blocks=1, width=32), images(32, batch=16), 10, 0.02),
    ],
    ids=["mlp", "gpt", "lenet", "resnet"],
)
def test_xla_agrees(module, batch, classes, tolerance):
    """XLA also counts elementwise work, so the shapes are those where products dominate."""
    assert counted(module, batch, classes) == pytest.approx(xla_counts(module, batch, classes), rel=tolerance)


def test_measured_budget():
    """Steps, units, memory and XLA's count of the program that runs."""
    made = experiment()
    step = lambda state, batch: state.replace(step=state.step + batch["x"].sum())
    work = budget.measure(budget.count(made), jax.jit(step).lower(made.state, made.batch).compile(), 1)
    leaves = jax.tree.leaves(made.state)
    assert (work.units, work.flops) == (10 * 4 * L, 10 * 4 * L * gpt_flops())
    assert work.params_total - work.params_non_embedding == (V + L) * D
    assert work.state_bytes == sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    assert work.state_bytes == pytest.approx(3 * 4 * work.params_total, abs=64), "parameters and Adam's two moments"
    assert work.device_bytes >= work.state_bytes
    for text in (f"{work.params_total:,}", f"{work.params_non_embedding:,}", "10 steps × 64 tokens"):
        assert text in budget.table(work, "token")
