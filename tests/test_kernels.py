"""Attention by fused kernels or in blocks is XLA's, and a loss in slices is the whole loss: values and gradients."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from models.api import from_linen
from models.gpt import GPT
from models.llama import Llama
from models.parts import kernels
from models.parts.kernels import Seen, Window, causal
from train import configs
from train.cost import hlo, plan
from train.errors import UserError
from train.losses import cross_entropy
from train.step import Task
from train.tasks.supervised import classify, is_first
from train.wrap import attending

L, H = 256, 64


def masks(L: int) -> dict[str, Seen]:
    """Of two texts of L tokens."""
    padded = jnp.arange(L)[None] < jnp.array([[L], [100]])
    segments = jnp.stack([jnp.arange(L) // 100, jnp.zeros(L, jnp.int32)])
    return {
        "causal": Seen(causal),
        "window": Seen(Window(70)),
        "padding before the text": Seen(causal, keys_BT=~padded),
        "segments": Seen(causal, segments_BT=segments),
        "segments and a window": Seen(Window(33), segments_BT=segments, keys_BT=padded),
        "all": Seen(None),
        "padding": Seen(None, keys_BT=padded),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", masks(L))
def test_splash_is_plain_attention(name, monkeypatch):
    monkeypatch.setitem(kernels.COMPUTED, "splash", functools.partial(kernels.splash, interpret=True))
    compare(masks(L)[name], "splash", "tpu", L)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "length"),  # of blocks of 64; of 128, and a shorter one
    [("causal", L), ("window", 600), ("padding before the text", 200), ("segments and a window", L)],
)
def test_blocks_are_plain_attention(name, length):
    compare(masks(length)[name], "blocks", "cpu", length)


def compare(mask: Seen, kernel: kernels.Kernel, platform: str, L: int) -> None:
    """Attention of random texts of L tokens by the kernel with XLA's."""
    keys = jax.random.split(jax.random.key(0), 4)
    heads = (4, 2, 2)  # fewer heads of keys
    qkv = [jax.random.normal(key, (2, L, n, H)) for key, n in zip(keys[:3], heads, strict=True)]
    probe = jax.random.normal(keys[3], qkv[0].shape)

    def run(*qkv: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = kernels.attend(*qkv, mask, None)
        return jnp.sum(out * probe), out

    both = jax.value_and_grad(run, argnums=(0, 1, 2), has_aux=True)
    (_, plain), plain_grads = both(*qkv)
    with kernels.using(kernel, platform):
        (_, fused), fused_grads = both(*qkv)
    np.testing.assert_allclose(fused, plain, atol=2e-6)
    for a, b in zip(fused_grads, plain_grads, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("sees", [causal, Window(1), Window(200), Window(513), None])
@pytest.mark.parametrize(("L", "T"), [(640, 640), (1024, 384), (3072, 3072)])
def test_blocks_that_a_kernel_visits(L, T, sees):
    """Those in which any query sees any key."""
    rows, columns = kernels.block(L), kernels.block(T)
    every = np.ones((L, T), bool) if sees is None else np.asarray(sees(jnp.arange(L)[:, None], jnp.arange(T)[None]))
    blocks = every.reshape(L // rows, rows, T // columns, columns).any((1, 3))
    said = f"visits_{blocks.sum()}_of_{L // rows}x{T // columns}_blocks"
    assert kernels.blocks_said(L, T, sees) == said


KERNEL = 'custom_call_target="tpu_custom_call", note={'
PROGRAM = f"""HloModule step

ENTRY %main (q: bf16[2,4,256,64], k: bf16[2,2,256,64]) -> bf16[2,4,256,64] {{
  %q = bf16[2,4,256,64]{{3,2,1,0}} parameter(0)
  %k = bf16[2,2,256,64]{{3,2,1,0}} parameter(1)
  %fwd = (bf16[2,4,256,64]{{3,2,1,0}}, f32[2,4,256,128]{{3,2,1,0}}) custom-call(%q, %k, /*index=2*/%k), {KERNEL}
"xprof_metadata":"{{}}"
}}, metadata={{op_name="jit(step)/visits_3_of_2x2_blocks/splash_mha_fwd_residuals"}}
  %bwd_dkv = (bf16[2,2,4,256,64]{{4,3,2,1,0}}, bf16[2,2,256,64]{{3,2,1,0}}) custom-call(%q, %k, %k, %q), {KERNEL}
"xprof_metadata":"{{}}"
}}, metadata={{op_name="jit(step)/visits_3_of_2x2_blocks/splash_mha_dkv"}}
}}
"""


def test_work_of_a_kernel():
    """Three blocks of 128 × 128, of 2 texts × 4 heads of 64: two products forward, five backward; keys and values (of
    two heads) pass by for each block of queries that sees them, queries and gradients for each block of keys."""
    block, heads = 2 * 128 * 128 * 64, 2 * 4
    q, k = 2 * 4 * 256 * 64 * 2, 2 * 2 * 256 * 64 * 2
    passed = heads * 3 * 128 * 64 * 2  # of each of the two arrays
    work = hlo.analyse(PROGRAM)
    assert work.flops == (2 + 5) * 3 * heads * block
    forward = q + 2 * passed + q + 4 * 2 * 4 * 256 * 128
    backward = 2 * k + 2 * q + k + 2 * passed
    assert work.bytes == forward + backward


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu, the extra tpu")
def test_the_plan_counts_what_splash_does():
    """Forward, again in rematerialisation, and backward: 2 + 2 + 5 products of the blocks that are seen."""

    def flops(attention: str) -> float:
        config = configs.load("markov_llama").get_config()
        config.update(batch_size=8, attention=attention, precision="bfloat16")
        config.data.context = config.model.context = 2048
        config.model.update(heads=2, kv_heads=1, head_width=128, layers=2, remat="full", stack="scan")
        return plan.elsewhere(config, "v5e:2x4").work.compiled_flops or 0.0

    visited = 3 * 1024 * 1024  # of four blocks
    fused = (2 + 2 + 5) * 2 * visited * 128 * 8 * 2 * 2
    plain = (2 + 2 + 4) * 2 * 2048 * 2048 * 128 * 8 * 2 * 2
    assert flops("splash") - fused == pytest.approx(flops("xla") - plain, rel=1e-3)


def test_who_sees_nothing_says_nothing():
    q = jax.random.normal(jax.random.key(0), (1, 4, 1, 8))
    nobody = jnp.zeros((1, 4), bool)
    assert not kernels.attend(q, q, q, Seen(None, keys_BT=nobody), None).any()


def test_a_kernel_that_cannot_says_why():
    q = jnp.zeros((1, 100, 2, 64))
    with kernels.using("splash", "tpu"), pytest.raises(ValueError, match=r"multiple of 128, and these are 100"):
        kernels.attend(q, q, q, Seen(), None)
    with kernels.using("cudnn", "gpu"), pytest.raises(ValueError, match=r"16 bits, and these are float32"):
        kernels.attend(q, q, q, Seen(), None)
    with kernels.using("blocks", "cpu"), pytest.raises(ValueError, match=r"blocks are for what is causal"):
        kernels.attend(q, q, q, Seen(None), None)
    with kernels.using("auto", "tpu"):  # leaves it to XLA
        assert kernels.attend(q, q, q, Seen(), None).shape == q.shape
    task = Task(lambda *_: ({}, {}), lambda *_: None)
    with pytest.raises(
        UserError, match=r"attention='cudnn' is for GPUs, and this is a cpu; use 'auto' or 'xla' or 'blocks'"
    ):
        attending(task, "cpu", "cudnn")


def test_cross_entropy_has_the_gradient_of_its_formula():
    scores = 5 * jax.random.normal(jax.random.key(0), (3, 7, 11))
    classes = jax.random.randint(jax.random.key(1), (3, 7), 0, 11)
    weight = jax.random.normal(jax.random.key(2), (3, 7))
    theirs = optax.losses.softmax_cross_entropy_with_integer_labels
    total = lambda loss: jax.value_and_grad(lambda scores: jnp.sum(weight * loss(scores, classes)))(scores)
    for a, b in zip(total(cross_entropy), total(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_classes_of_eight_bits_among_more_than_they_number():
    scores = jax.random.normal(jax.random.key(0), (4, 300))
    small = jnp.array([0, 3, 44, 255], jnp.uint8)
    of = lambda classes: jax.grad(lambda scores: cross_entropy(scores, classes).sum())(scores)
    np.testing.assert_array_equal(of(small), of(small.astype(jnp.int32)))
    np.testing.assert_array_equal(is_first(scores.at[:, 299].set(9), small), 0)


def test_the_best_class_is_the_first_of_equals():
    scores = jax.random.randint(jax.random.key(0), (500, 6), 0, 3).astype(jnp.float32)  # full of ties
    classes = jax.random.randint(jax.random.key(1), (500,), 0, 6)
    np.testing.assert_array_equal(is_first(scores, classes), scores.argmax(-1) == classes)
    assert not is_first(jnp.full((3, 6), jnp.nan), jnp.arange(3)).any(), "of no numbers none is the largest"


NETWORKS = {
    "tied": GPT(37, layers=1, heads=2, width=16, context=16),
    "untied": Llama(37, layers=1, heads=2, width=16, inner=16, context=16),
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_loss_in_slices_is_the_whole_loss(network, precision):
    """Over several devices: tests/test_mesh.py."""
    model = from_linen(NETWORKS[network], precision)
    B, draw = 8, np.random.default_rng(0)
    x, y = jnp.asarray(draw.integers(0, 37, (2, B, 16), np.int32))
    batch = {"x": x, "y": y, "mask": jnp.asarray(draw.random((B, 16)) < 0.7), "source": jnp.arange(B) % 2}
    params, state = model.init(jax.random.key(0), x)

    def trained(slices: int):
        task = classify(model, 37, label_smoothing=0.1, sources=("a", "b"), loss_slices=slices)
        both = jax.jit(jax.value_and_grad(task.loss, has_aux=True), static_argnums=4)
        return both(params, state, batch, jax.random.key(1), True)

    (whole, (_, told)), grads = trained(1)
    (sliced, (_, told_in_slices)), grads_in_slices = trained(4)
    allowed = 1e-6 if precision == "float32" else 1e-2  # of the norm: they add in another order
    apart = lambda a, b: float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))
    np.testing.assert_allclose(sliced, whole, rtol=1e-6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), told_in_slices, told)
    assert max(jax.tree.leaves(jax.tree.map(apart, grads_in_slices, grads))) < allowed


def test_slices_are_refused_where_they_cannot_be():
    task = classify(from_linen(NETWORKS["tied"]), 37, loss_slices=3)
    x = jnp.zeros((2, 16), jnp.int32)
    params, state = task.init(jax.random.key(0), {"x": x})
    with pytest.raises(ValueError, match=r"config.loss_slices=3 does not divide 16 tokens; 2 does"):
        task.loss(params, state, {"x": x, "y": x}, jax.random.key(0), True)
