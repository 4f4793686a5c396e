"""Convolutional networks: published sizes, PyTorch's numbers from the same parameters, and their layers by formula.

Shapes: B batch, H height, W width, C channels.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from models.alexnet import AlexNet
from models.api import from_linen
from models.googlenet import GoogLeNet
from models.lenet import SEEN, LeNet5, LeNet1989
from models.parts.convolution import conv, local_response_norm, max_pool
from models.resnet import Block, ResNet, imagenet
from models.vgg import VGG
from tests.support.arrays import normal
from tests.support.golden import numbers, parameter

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "convolution.npz")


def shapes(module, side, channels=3):
    """Shapes of parameters and state."""
    image = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    return jax.eval_shape(from_linen(module).init, jax.eval_shape(lambda: jax.random.key(0)), image)


def error(ours, theirs):
    """The largest difference, relative to the largest number."""
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


# Sizes.


@pytest.mark.parametrize(
    ("module", "side", "count"),
    [
        (LeNet1989(), 16, 9_760),
        (LeNet5(), 28, 61_706),
        (AlexNet(), 224, 60_965_224),
        (VGG(depth=11), 224, 132_863_336),
        (VGG(depth=13), 224, 133_047_848),
        (VGG(depth=16), 224, 138_357_544),
        (VGG(depth=19), 224, 143_667_240),
        (VGG(depth=16, norm="batch"), 224, 138_365_992),
        (GoogLeNet(), 224, 6_998_552),
        (imagenet(depth=18), 224, 11_689_512),
        (imagenet(depth=34), 224, 21_797_672),
        (imagenet(depth=50), 224, 25_557_032),
        (imagenet(depth=101), 224, 44_549_160),
        (imagenet(depth=152), 224, 60_192_808),
        (ResNet(10), 32, 272_474),
    ],
)
def test_published_sizes(module, side, count):
    params, _ = shapes(module, side, 1 if isinstance(module, LeNet1989 | LeNet5) else 3)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_layers_of_1989():
    """Parameters layer by layer, as section 3 of the paper counts them; each map of H1 is seen by 8 of H2's."""
    params, _ = shapes(LeNet1989(), 16, 1)
    count = lambda *names: sum(leaf.size for name in names for leaf in jax.tree.leaves(params[name]))
    layers = count("h1", "h1_bias"), count("h2", "h2_bias"), count("h3"), count("output")
    assert layers == (1_068, 2_592, 5_790, 310)
    assert (np.bincount(np.ravel(SEEN)) * 4 == 8).all()


# The same parameters as in PyTorch (scripts/golden/torch_convolution.py, which computes in float64).


def filled(tree):
    name = lambda path: "/".join(part.key for part in path)
    return jax.tree_util.tree_map_with_path(lambda path, leaf: jnp.asarray(parameter(name(path), *leaf.shape)), tree)


def with_parameters(module, side):
    params, state = shapes(module, side)
    params = filled(params)
    return params, {"batch_stats": filled(state["batch_stats"])} if state else {}


def images(side):
    return jnp.asarray(numbers("images", 4, side, side, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "module", "side"),
    [
        ("vgg11", VGG(10, depth=11, hidden=32), 32),
        ("alexnet", AlexNet(10, width=24, hidden=32), 96),
        ("googlenet", GoogLeNet(10, width=16), 64),
    ],
)
def test_logits_are_those_of_torch(name, module, side):
    params, state = with_parameters(module, side)
    logits, _ = jax.jit(from_linen(module).apply)(params, state, images(side))
    assert error(logits, GOLDEN[f"{name}.eval"]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 50])
def test_residual_networks_are_torchvisions(depth):
    params, state = with_parameters(imagenet(10, depth=depth), 64)
    logits, _ = jax.jit(from_linen(imagenet(10, depth=depth)).apply)(params, state, images(64))
    assert error(logits, GOLDEN[f"resnet{depth}.eval"]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "last", "bits"), [(18, "norm2", 32), (50, "norm3", 64)])
def test_batch_norm_is_torchs(depth, last, bits):
    """Logits in training, and the running statistics of the first and the last norm afterwards.

    Both keep 0.9 of the old; torch adds 0.1 of the unbiased variance, n / (n - 1) of ours, for n numbers a map.  The
    deep network grows rounding errors: in 32 bits torch's own logits are 7e-5 away from those in 64, and ours are too.
    """
    name, (params, state) = f"resnet{depth}", with_parameters(imagenet(10, depth=depth), 64)
    with jax.enable_x64(bits == 64):
        arguments = jax.tree.map(lambda x: jnp.asarray(x, f"float{bits}"), (params, state, images(64)))
        logits, after = jax.jit(functools.partial(from_linen(imagenet(10, depth=depth)).apply, train=True))(*arguments)
        state, after = jax.tree.map(np.asarray, (state, after))
    assert error(logits, GOLDEN[f"{name}.train"]) < 1e-5
    block = {18: "stage3_block1", 50: "stage3_block2"}[depth]
    pick = {"first": lambda tree: tree["norm_stem"], "last": lambda tree: tree[block][last]}
    for place, n in (("first", 4 * 32 * 32), ("last", 4 * 2 * 2)):
        old, new = (pick[place](tree["batch_stats"]) for tree in (state, after))
        assert error(new["mean"], GOLDEN[f"{name}.{place}.mean"]) < 1e-5
        unbiased = 0.9 * old["var"] + (new["var"] - 0.9 * old["var"]) * n / (n - 1)
        assert error(unbiased, GOLDEN[f"{name}.{place}.var"]) < 1e-5


# Layers by formula.


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": 2},
        {"strides": 2, "padding": 0},
        {"padding": 1, "groups": 2},
        {"dilation": 2, "strides": 3},
        {"use_bias": False, "groups": 4},
    ],
    ids=str,
)
def test_convolution_is_the_sum(options):
    """Every output by itself: the products of a kernel and the pixels under it, those outside being zero."""
    x, kernel, features = np.asarray(normal(0, 2, 7, 6, 4)), 3, 8
    layer = conv(features, kernel, **options)
    params = jax.eval_shape(layer.init, jax.eval_shape(lambda: jax.random.key(0)), x)
    params = jax.tree.map(lambda p: normal(1, *p.shape), params)
    stride, dilation, groups = (options.get(name, 1) for name in ("strides", "dilation", "groups"))
    padding = options.get("padding", dilation * (kernel - 1) // 2)
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    size = lambda pixels: (pixels + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    expected = np.zeros((2, size(7), size(6), features))
    w = np.asarray(params["params"]["kernel"])
    for i, j, f in np.ndindex(*expected.shape[1:]):
        rows, columns = (slice(stride * k, stride * k + dilation * (kernel - 1) + 1, dilation) for k in (i, j))
        group = f // (features // groups) * (4 // groups)
        seen = padded[:, rows, columns, group : group + 4 // groups]
        expected[:, i, j, f] = (seen * w[..., f]).sum((1, 2, 3))
    expected += np.asarray(params["params"].get("bias", 0))
    np.testing.assert_allclose(jax.jit(layer.apply)(params, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"strides": 2, "groups": 2}, {"padding": 0, "dilation": 2, "groups": 4}], ids=str
)
def test_convolution_has_laxs_gradients(options):
    """By the input and the parameters, of groups one after the other and of `lax.conv_general_dilated` alone."""
    layer, x = conv(8, 3, **options), normal(0, 2, 7, 6, 4)
    params = jax.eval_shape(layer.init, jax.eval_shape(lambda: jax.random.key(0)), x)
    params = jax.tree.map(lambda p: normal(1, *p.shape), params)

    @jax.jit
    def gradients(params, x):
        weigh = lambda y: (y * jnp.cos(jnp.arange(y.size, dtype=jnp.float32).reshape(y.shape))).sum()
        layers = layer, layer.clone(conv_general_dilated=jax.lax.conv_general_dilated)
        return [jax.grad(lambda *a, f=f: weigh(f.apply(*a)), (0, 1))(params, x) for f in layers]

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *gradients(params, x))


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, "SAME"), (3, 2, "SAME")])
def test_max_pool_is_flaxs(size, stride, padding):
    """Values and gradient, of numbers that differ."""
    x = jnp.asarray(np.random.default_rng(0).permutation(2 * 9 * 8 * 3).reshape(2, 9, 8, 3), jnp.float32)
    edges = padding if isinstance(padding, str) else [(padding, padding)] * 2
    ours = lambda x: max_pool(x, size, stride, padding)
    theirs = lambda x: nn.max_pool(x, (size, size), (stride, stride), edges)
    weight = normal(1, *jax.eval_shape(ours, x).shape)

    @jax.jit
    def value_and_gradient(x):
        return [(f(x), jax.vjp(f, x)[1](weight)[0]) for f in (ours, theirs)]

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *value_and_gradient(x))


def test_max_pool_shares_the_gradient_of_equals():
    gradient = jax.jit(jax.grad(lambda x: max_pool(x, 2, 2).sum()))(jnp.zeros((1, 4, 4, 1)))
    np.testing.assert_array_equal(gradient, np.full((1, 4, 4, 1), 0.25))


def test_local_response_norm_is_the_formula():
    x = 30 * np.asarray(normal(0, 2, 3, 3, 7), np.float64)
    expected = np.zeros_like(x)
    for i in range(7):
        near = x[..., max(0, i - 2) : i + 3]
        expected[..., i] = x[..., i] / (2 + 1e-4 * (near**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(local_response_norm(jnp.asarray(x, jnp.float32)), expected, rtol=1e-5)


def test_a_map_of_1989_sees_eight():
    """d H2 / d H1 is zero for just the four maps that a third leaves out: a change of those moves nothing."""
    module = LeNet1989()
    params = filled(shapes(module, 16, 1)[0])
    image = normal(0, 1, 16, 16, 1)

    def second(first):  # the maps of H2 with H1's shifted by `first`
        shifted = {**params, "h1_bias": {"bias": params["h1_bias"]["bias"] + first}}
        _, seen = module.apply({"params": shifted}, image, capture_intermediates=True)
        return seen["intermediates"]["h2"]["__call__"][0][0].sum((0, 1))

    moved = np.asarray(jax.jit(jax.jacfwd(second))(jnp.zeros((1, 1, 12)))[:, 0, 0])
    for group, maps in enumerate(SEEN):
        assert ((moved[4 * group : 4 * group + 4] != 0) == np.isin(np.arange(12), maps)).all()


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_pre_activation_leaves_a_clear_path(kind):
    """With its last convolution at zero a block is the identity (He et al. 2016, eq. 4); the older kind is a ReLU."""
    x = normal(0, 2, 4, 4, 8)
    for order, expected in (("pre", x), ("post", nn.relu(x))):
        block = Block(8 if kind == "basic" else 2, kind=kind, order=order)
        apply, init = (functools.partial(f, train=False) for f in (block.apply, block.init))
        variables = jax.tree.map(lambda v: jnp.ones(v.shape), jax.eval_shape(init, jax.random.key(0), x))
        last = "conv2" if kind == "basic" else "conv3"
        variables["params"][last] = jax.tree.map(jnp.zeros_like, variables["params"][last])
        np.testing.assert_allclose(jax.jit(apply)(variables, x), expected, atol=1e-5)


def test_images_too_small_are_a_sentence():
    with pytest.raises(ValueError, match="images of 16 × 16 are too small"):
        shapes(VGG(10, depth=11), 16)


def test_numbers_neither_vanish_nor_grow():
    """From He's initial weights the logits of the deepest network without norms stay of order one."""
    model = from_linen(VGG(10, depth=19, width=8, hidden=64))
    params, _ = jax.jit(model.init)(jax.random.key(0), images(32))
    logits, _ = jax.jit(model.apply)(params, {}, images(32))
    assert 0.02 < float(logits.std()) < 20
