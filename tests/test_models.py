"""Networks: published sizes, causality, equal programs, exact small machines.

Shapes: B batch, L length, D width, V vocabulary or visible units, H hidden units, S states.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from data import tokenize
from models.api import from_linen
from models.decode import How, generate, step_of
from models.gan import Critic, Generator
from models.gpt import GPT
from models.lenet import LeNet5
from models.mlp import MLP
from models.parts.activations import gelu
from models.parts.attention import ALONE, Attention
from models.parts.dense import dense
from models.parts.positions import rotate
from models.parts.transformer import Block, dense_mlp, layer_norm
from models.rbm import RBM, log_partition
from models.resnet import ResNet
from models.vae import VAE
from tests.support.arrays import close
from train import sample
from train.errors import UserError
from train.sample import continue_text, first_ids

B, L, VOCAB, CONTEXT = 2, 6, 11, 8
TINY = {"vocab": VOCAB, "layers": 2, "heads": 2, "width": 8, "context": CONTEXT, "bias": True}


def image(size, channels):
    return jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)


def tokens(length, batch=1):
    return jax.ShapeDtypeStruct((batch, length), jnp.int32)


def sizes(module, *inputs):
    """Parameters, and numbers in the untrained state."""
    trees = jax.eval_shape(from_linen(module).init, jax.eval_shape(lambda: jax.random.key(0)), *inputs)
    return tuple(sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in trees)


def make(module, *inputs, seed=0, scale=1.0):
    """A network with every parameter moved off its initial value, so that no zero hides a fault."""
    model = from_linen(module)
    params, state = jax.jit(model.init)(jax.random.key(seed), *inputs)
    noise = np.random.default_rng(seed)
    params = jax.tree.map(lambda p: p + scale * 0.1 * noise.standard_normal(p.shape).astype(np.float32), params)
    return model, params, state


def text(seed=0, length=L, batch=B):
    return jnp.asarray(np.random.default_rng(seed).integers(0, VOCAB, (batch, length)), jnp.int32)


# Sizes.


@pytest.mark.parametrize(
    ("module", "inputs", "count"),
    [
        (LeNet5(), image(28, 1), 61_706),  # the form that is taught
        (GPT(50_257, 12, 12, 768, 1024, bias=True), tokens(1024), 124_439_808),  # GPT-2 small
        (GPT(50_257, 24, 16, 1024, 1024, bias=True), tokens(1024), 354_823_168),  # GPT-2 medium
        # nanoGPT's character model: 10.65 M as it prints, without positions; biases off.
        (GPT(65, 6, 6, 384, 256), tokens(256), 10_646_784 + 256 * 384 + 0 * 65),
        (GPT(65, 6, 6, 384, 256, positions="rotary"), tokens(256), 10_646_784),
        (MLP(10, width=800, layers=2), image(28, 1), 784 * 800 + 800 + 800 * 800 + 800 + 800 * 10 + 10),
        (VAE((28, 28, 1), latent=20, width=500), image(28, 1), 784 * 500 + 500 + 501 * 40 + 21 * 500 + 501 * 784),
        (Generator((2,), 8, 1), jax.ShapeDtypeStruct((1, 3), jnp.float32), 3 * 8 + 8 + 8 * 2 + 2),
        (Critic(8, 1), jax.ShapeDtypeStruct((1, 2), jnp.float32), 2 * 8 + 8 + 8 + 1),
        (RBM(784, 500), jax.ShapeDtypeStruct((1, 784), jnp.float32), 784 * 500 + 784 + 500),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "apply") else "",
)
def test_published_sizes(module, inputs, count):
    assert sizes(module, inputs)[0] == count


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "published"), [(3, 0.27e6), (5, 0.46e6), (9, 0.85e6), (18, 1.7e6)])
def test_residual_network_has_the_papers_size(blocks, published):
    """He et al. 2015, table 6: ResNet-20, 32, 56, 110.  Theirs has no projections: ours adds two, and their norms."""
    convolutions = 9 * (3 * 16 + 2 * blocks * 16**2 + 16 * 32 + (2 * blocks - 1) * 32**2)
    convolutions += 9 * (32 * 64 + (2 * blocks - 1) * 64**2)
    norms = 2 * (16 + 2 * blocks * (16 + 32 + 64))
    projections = 16 * 32 + 32 * 64 + 2 * (32 + 64)
    params, state = sizes(ResNet(10, blocks=blocks, width=16), image(32, 3))
    assert params == convolutions + norms + projections + 64 * 10 + 10
    assert state == norms + 2 * (32 + 64)  # a running mean and variance for each scale and bias
    assert params - projections == pytest.approx(published, rel=0.025)


# GPT: one function, however it is compiled.


def stacked(params):
    """One array per layer → arrays with a leading layer axis, as the scan keeps them."""
    layers = [params["stack"][f"block_{i}"] for i in range(TINY["layers"])]
    return {**params, "stack": {"blocks": jax.tree.map(lambda *p: jnp.stack(p), *layers)}}


@pytest.fixture(scope="module", params=["learned", "rotary"])
def gpts(request):
    """The same parameters for an unrolled and for a scanned stack."""
    options = {**TINY, "positions": request.param}
    unrolled, params, _ = make(GPT(**options), text())
    return {"unrolled": (unrolled, params), "scan": (from_linen(GPT(**options, stack="scan")), stacked(params))}


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["unrolled", "scan"])
def test_no_logit_depends_on_a_later_token(gpts, stack):
    """d logits_t / d embedding_s, exactly zero for s > t and not zero for s <= t."""
    model, params = gpts[stack]
    everyone = jnp.arange(L, dtype=jnp.int32)[None]  # so that row s of the table is the embedding of position s

    @jax.jit
    def influence(params):
        def logits(table):
            changed = {**params, "token_embed": {"embedding": table}}
            return model.apply(changed, {}, everyone)[0][0, :, L:].sum(-1)  # of tokens that are not in the text

        return jnp.abs(jax.jacrev(logits)(params["token_embed"]["embedding"])[:, :L]).max(-1)

    on = np.asarray(influence(params))
    assert (on[np.triu_indices(L, 1)] == 0).all()
    assert (on[np.tril_indices(L)] > 1e-4).all()


@pytest.mark.slow
def test_scan_is_the_unrolled_stack(gpts):
    unrolled, scanned = (jax.jit(model.apply)(params, {}, text())[0] for model, params in gpts.values())
    close(unrolled, scanned)


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["unrolled", "scan"])
def test_rematerialisation_changes_nothing(stack):
    params = make(GPT(**TINY), text())[1]
    params = params if stack == "unrolled" else stacked(params)

    def value_and_gradient(remat):
        model = from_linen(GPT(**TINY, stack=stack, remat=remat))
        return jax.jit(jax.value_and_grad(lambda p: (model.apply(p, {}, text())[0] ** 2).mean()))(params)

    plain = value_and_gradient("none")
    for remat in ("full", "dots"):
        close(plain, value_and_gradient(remat), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["unrolled", "scan"])
def test_cache_gives_the_logits_of_the_whole_text(gpts, stack):
    """A prefill of three tokens, then one, then two at once, then the rest one by one."""
    model, params = gpts[stack]
    x_BL = text(3, CONTEXT)
    whole, _ = jax.jit(model.apply)(params, {}, x_BL)
    cache = GPT(**TINY, stack=stack).empty_cache(B)
    apply, parts = jax.jit(model.apply), []
    for piece in jnp.split(x_BL, (3, 4, 6, 7), axis=1):
        (logits, cache), _ = apply(params, {}, piece, None, cache)
        parts.append(logits)
    assert int(cache["length"]) == CONTEXT
    close(jnp.concatenate(parts, axis=1), whole)


def write(model):
    return jax.jit(functools.partial(generate, step_of(model)), static_argnames=("tokens", "how"))


@pytest.mark.slow
def test_greedy_generation_is_argmax_without_a_cache(gpts):
    model, params = gpts["unrolled"]
    prompt = text(4, 3)
    cache, key = GPT(**TINY).empty_cache(B), jax.random.key(0)
    made = write(model)(params, cache, prompt, key, tokens=CONTEXT - 3, how=How(0.0))
    apply, known = jax.jit(model.apply), jnp.zeros((B, CONTEXT), jnp.int32).at[:, :3].set(prompt)
    for t in range(3, CONTEXT):  # what stands at t and after cannot matter: no logit depends on a later token
        logits, _ = apply(params, {}, known)
        known = known.at[:, t].set(logits[:, t - 1].argmax(-1))
    np.testing.assert_array_equal(made, known[:, 3:])


@pytest.mark.slow
def test_sampled_tokens_follow_the_softmax():
    """Frequencies of one token over many draws, against the probabilities of the temperature."""
    model, params, _ = make(GPT(**TINY), text(), scale=5.0)
    prompt, temperature, draws = jnp.tile(text(5, 3, batch=1), (2000, 1)), 1.5, 2000
    cache = GPT(**TINY).empty_cache(draws)
    made = write(model)(params, cache, prompt, jax.random.key(1), tokens=1, how=How(temperature))
    logits, _ = model.apply(params, {}, prompt[:1])
    expected = jax.nn.softmax(logits[0, -1] / temperature)
    counted = np.bincount(np.asarray(made[:, 0]), minlength=VOCAB) / draws
    assert np.ptp(expected) > 0.1, "the check needs a distribution that is not flat"
    np.testing.assert_allclose(counted, expected, atol=4 * np.sqrt(0.25 / draws))


@pytest.mark.slow
def test_a_temperature_near_zero_is_argmax():
    """Its limit, also where the quotient of a logit and the temperature is no float32."""
    model, params, _ = make(GPT(**TINY), text(), scale=50.0)
    prompt, cache, key = text(4, 3), GPT(**TINY).empty_cache(B), jax.random.key(0)
    with jax.debug_key_reuse(False):  # which takes the keys of a scan for used when the first is split off
        greedy, *cold = (
            write(model)(params, cache, prompt, key, tokens=4, how=How(temperature))
            for temperature in (0.0, 1e-40, 1e-37, 1e-10, 1e-5)
        )
    for each in cold:
        np.testing.assert_array_equal(each, greedy)


@pytest.mark.slow
@pytest.mark.parametrize("context", [1, 2, 3])
def test_text_of_any_context_goes_on(context):
    """Greedily, each token is what the network says of the window before it."""
    model, params, _ = make(GPT(**{**TINY, "context": context}), text()[:, :context], scale=5.0)
    cache = GPT(**{**TINY, "context": context}).empty_cache(1)
    options = {"tokens": 5, "temperature": 0.0, "known": VOCAB}
    made = continue_text(model, params, cache, [1, 2, 0], jax.random.key(0), context=context, **options)
    assert len(made) == 5
    if context == 1:
        before = [0, *made[:-1]]
        logits = [model.apply(params, {}, jnp.asarray([[token]]))[0][0, -1] for token in before]
        assert made == [int(one.argmax()) for one in logits]


def test_the_default_prompt_is_one_that_the_tokenizer_knows():
    assert first_ids(tokenize.load("bytes", "")) == [10]
    assert first_ids(tokenize.load("chars", "\nab")) == [0]
    one_line = tokenize.load("chars", "abc")
    assert one_line.decode(first_ids(one_line)) == "a"


@pytest.mark.parametrize("flag", [("--temperature", "nan"), ("--temperature", "inf"), ("--seed", str(2**70))])
def test_what_cannot_be_sampled_is_refused(flag):
    with pytest.raises(UserError, match=f"{flag[0]} "):
        sample.main(["--workdir", "none", *flag])


@pytest.mark.slow
def test_ids_without_a_meaning_are_never_drawn():
    """Of a vocabulary rounded up from 3: the softmax of the first three, though others are likelier."""
    model, params, _ = make(GPT(**TINY), text(), scale=5.0)
    draws, known = 2000, 3
    prompt, cache = jnp.tile(text(5, 3, batch=1), (draws, 1)), GPT(**TINY).empty_cache(draws)
    logits = model.apply(params, {}, prompt[:1])[0][0, -1]
    assert logits.argmax() >= known
    assert jax.nn.softmax(logits)[known:].sum() > 0.1
    sampled = write(model)(params, cache, prompt, jax.random.key(1), tokens=1, how=How(1.0, known=known))
    counted = np.bincount(np.asarray(sampled[:, 0]), minlength=known) / draws
    np.testing.assert_allclose(counted, jax.nn.softmax(logits[:known]), atol=4 * np.sqrt(0.25 / draws))
    greedy = write(model)(params, cache, prompt, jax.random.key(1), tokens=4, how=How(0.0, known=known))
    assert (greedy[:, 0] == logits[:known].argmax()).all()
    assert greedy.max() < known


def test_text_longer_than_the_context_is_refused():
    model, params, _ = make(GPT(**TINY), text())
    with pytest.raises(ValueError, match="9 tokens exceed the model's context=8"):
        model.apply(params, {}, text(length=CONTEXT + 1))


# Parts.


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 3, 4, 5)])
def test_flattened_dense_is_dense(shape):
    """Values, and gradients by the input, the weights and the bias."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    x, weight, params = draw(*shape), draw(*shape[:-1], 7), {"kernel": draw(5, 7), "bias": draw(7)}

    def value_and_gradient(layer):
        scalar = lambda params, x: (weight * jnp.sin(layer.apply({"params": params}, x))).sum()
        return jax.jit(jax.value_and_grad(scalar, (0, 1)))(params, x)

    close(value_and_gradient(dense(7)), value_and_gradient(nn.Dense(7)))


def test_gelu_is_the_exact_one():
    """Values and derivatives, in the bulk and far in both tails."""
    x = jnp.concatenate([jnp.linspace(-12, 12, 2001), jnp.asarray([-1e4, 1e4])])
    exact = functools.partial(jax.nn.gelu, approximate=False)
    close(jax.jit(gelu)(x), jax.jit(exact)(x), 1e-6)
    close(jax.jit(jax.vmap(jax.grad(gelu)))(x), jax.jit(jax.vmap(jax.grad(exact)))(x), 1e-6)


# Attention.


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_attention_is_the_formula():
    """softmax(q·k / √H) v over the past, token by token in numpy."""
    heads, width = 2, 8
    x = np.random.default_rng(0).standard_normal((B, L, width)).astype(np.float32)
    layer = Attention(heads, bias=True)
    params = nn.meta.unbox(jax.jit(layer.init)(jax.random.key(0), jnp.asarray(x))["params"])
    params = jax.tree.map(lambda p: p + 0.1, params)
    out, _ = jax.jit(layer.apply)({"params": params}, jnp.asarray(x))
    q, k, v = np.moveaxis(np.tensordot(x, params["qkv"]["kernel"], 1) + np.asarray(params["qkv"]["bias"]), -2, 0)
    mixed = np.zeros_like(x)
    for b, t, n in itertools.product(range(B), range(L), range(heads)):
        head = slice(n * width // heads, (n + 1) * width // heads)
        weights = softmax(q[b, t, head] @ k[b, : t + 1, head].T / np.sqrt(width / heads))
        mixed[b, t, head] = weights @ v[b, : t + 1, head]
    close(out, mixed @ np.asarray(params["out"]["kernel"]) + np.asarray(params["out"]["bias"]))


@pytest.mark.slow
def test_block_is_pre_norm():
    """With both branches' outputs at zero a block is the identity; that is what pre-norm means."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((B, L, 8)), jnp.float32)
    block = Block(functools.partial(Attention, 2, name="attention"), dense_mlp(32), layer_norm())
    params = nn.meta.unbox(jax.jit(lambda key: block.init(key, x, None, ALONE, False))(jax.random.key(0))["params"])
    params["attention"]["out"]["kernel"] *= 0
    params["down"]["kernel"] *= 0
    np.testing.assert_array_equal(block.apply({"params": params}, x, None, ALONE, False)[0], x)


def test_rotary_scores_depend_on_distances_alone():
    rng = np.random.default_rng(0)
    q, k = (jnp.asarray(rng.standard_normal((1, L, 2, 8)), jnp.float32) for _ in range(2))
    scores = lambda first: jnp.einsum("blnh,btnh->bnlt", *(rotate(x, first + jnp.arange(L)) for x in (q, k)))
    close(scores(0), scores(517), 2e-4)
    assert jnp.abs(scores(0) - jnp.einsum("blnh,btnh->bnlt", q, k)).max() > 0.5, "positions must matter"
    close(jnp.linalg.norm(rotate(q, jnp.arange(L)), axis=-1), jnp.linalg.norm(q, axis=-1))


# Precision, state, randomness.

EVERY = {
    "gpt": (lambda: GPT(**TINY, dropout=0.5), text),
    "gpt scanned": (lambda: GPT(**TINY, dropout=0.5, stack="scan"), text),
    "mlp": (lambda: MLP(5, width=16, dropout=0.5), lambda: pixels(4)),
    "lenet": (lambda: LeNet5(), lambda: pixels(28)),
    "resnet": (lambda: ResNet(5, blocks=1, width=4), lambda: pixels(8)),
    "vae": (lambda: VAE((4, 4, 1), latent=2, width=8), lambda: pixels(4)),
    "generator": (lambda: Generator((4, 4, 1), width=8), lambda: pixels(4).reshape(B, 16)),
    "critic": (lambda: Critic(width=8), lambda: pixels(4)),
    "rbm": (lambda: RBM(16, 8), lambda: pixels(4).reshape(B, 16)),
}


def pixels(size):
    return jnp.asarray(np.random.default_rng(size).random((B, size, size, 1)), jnp.float32)


@pytest.fixture(scope="module", params=EVERY)
def network(request):
    module, inputs = EVERY[request.param]
    return module(), *make(module(), inputs())[1:], inputs()


@pytest.mark.slow
def test_bfloat16_is_near_and_stays_inside(network):
    """Computed in bfloat16, which has 8 bits; parameters, state and outputs stay float32."""
    module, params, state, x = network
    outputs = {}
    for precision in ("float32", "bfloat16"):
        model = from_linen(module, precision)
        fresh = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)), x)
        assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {jnp.dtype("float32")}
        outputs[precision], _ = jax.jit(model.apply)(params, state, x, key=jax.random.key(1))
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {jnp.dtype("float32")}
    if isinstance(module, VAE):  # the noise of its code is another one in bfloat16: compare the code alone
        outputs = {precision: output[1:] for precision, output in outputs.items()}
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(outputs["float32"]))
    error = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()) / scale, *outputs.values())
    assert 0 < max(jax.tree.leaves(error)) < 0.05


def test_float64_rounds_once():
    """Computed in 64 bits from the same float32 numbers: what numpy finds, to the last bit; 32 bits miss it."""
    rng = np.random.default_rng(0)
    w, v, x = (rng.standard_normal(shape).astype(np.float32) for shape in ((999, 7), (7, 3), (5, 999)))
    params = {
        "hidden_0": {"kernel": w, "bias": np.zeros(7, np.float32)},
        "logits": {"kernel": v, "bias": np.zeros(3, np.float32)},
    }
    run = lambda precision: from_linen(MLP(3, width=7, layers=1), precision).apply(params, {}, jnp.asarray(x))[0]
    with jax.enable_x64(True):
        exact = run("float64")
    known = (np.maximum(x.astype(np.float64) @ w, 0) @ v.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(exact, known)
    assert exact.dtype == np.float32
    assert (run("float32") != known).any()


@pytest.mark.slow
def test_training_alone_changes_state_and_draws_dropout(network):
    module, params, state, x = network
    if isinstance(module, VAE):
        pytest.skip("its output is a sample in evaluation too")
    model = from_linen(module)
    outputs = {}
    for train in (False, True):
        apply = jax.jit(functools.partial(model.apply, train=train))
        (a, after), (b, _) = (apply(params, state, x, key=jax.random.key(k)) for k in (1, 2))
        outputs[train] = bool((a == b).all())
        same = jax.tree.map(lambda p, q: bool((p == q).all()), state, after)
        assert all(jax.tree.leaves(same)) != (train and bool(state)), "running statistics move in training, only there"
    assert outputs[False], "evaluation must not draw"
    assert outputs[True] == (getattr(module, "dropout", 0) == 0)


def test_running_statistics_are_averages_of_the_batches():
    """0.9 of the old and 0.1 of the batch's own mean and variance, of the stem of a residual network."""
    model, params, state = make(ResNet(5, blocks=1, width=4), pixels(8))
    _, after = jax.jit(functools.partial(model.apply, train=True))(params, state, pixels(8))
    out = jax.lax.conv_general_dilated(
        pixels(8), params["stem"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    close(after["batch_stats"]["norm_stem"]["mean"], 0.1 * out.mean((0, 1, 2)))
    close(after["batch_stats"]["norm_stem"]["var"], 0.9 + 0.1 * out.var((0, 1, 2)))


def test_dropout_keeps_the_mean():
    """The average over many masks of a linear network's output is its output without dropout."""
    model, params, _ = make(MLP(3, width=512, layers=1, dropout=0.3), pixels(4))
    draw = jax.jit(jax.vmap(lambda key: model.apply(params, {}, pixels(4), key=key, train=True)[0]))
    draws = draw(jax.random.split(jax.random.key(0), 2000))
    expected, _ = model.apply(params, {}, pixels(4))
    error = jnp.abs(draws.mean(0) - expected) / (draws.std(0) / np.sqrt(2000))
    assert draws.std(0).min() > 0.01
    assert error.max() < 4


# Restricted Boltzmann machine, small enough to enumerate.

VISIBLE, HIDDEN = 4, 3


def states(units):
    return np.array(list(itertools.product((0.0, 1.0), repeat=units)), np.float32)


@pytest.fixture(scope="module")
def machine():
    return make(RBM(VISIBLE, HIDDEN), jnp.zeros((1, VISIBLE)), scale=8.0)


def energies(params):
    """E(v, h) of every pair of states, [visible states, hidden states]."""
    v, h = states(VISIBLE), states(HIDDEN)
    w, b, c = (np.asarray(params[name], np.float64) for name in ("w_VH", "b_V", "c_H"))
    return -(v @ b)[:, None] - (h @ c)[None] - v @ w @ h.T


def test_free_energy_sums_over_the_hidden_states(machine):
    model, params, _ = machine
    free, _ = model.apply(params, {}, jnp.asarray(states(VISIBLE)))
    close(free, -np.log(np.exp(-energies(params)).sum(1)))


def test_partition_function_is_brute_force(machine):
    _, params, _ = machine
    assert float(log_partition(params)) == pytest.approx(np.log(np.exp(-energies(params)).sum()), abs=1e-5)


def test_gibbs_sampling_leaves_the_model_distribution_as_it_is(machine):
    """Exactly: Σ_v p(v) T(v → v') = p(v'), with T from the conditionals that the energies imply; and the sampler's
    moves from each state occur as often as T says."""
    model, params, _ = machine
    joint = np.exp(-energies(params))
    joint /= joint.sum()
    hidden = joint / joint.sum(1, keepdims=True)  # p(h | v)
    visible = (joint / joint.sum(0)).T  # p(v | h)
    transition, p = hidden @ visible, joint.sum(1)
    np.testing.assert_allclose(p @ transition, p, atol=1e-12)

    draws = 4000
    start = np.repeat(states(VISIBLE), draws, axis=0)
    moved, _ = jax.jit(lambda v, key: model.apply(params, {}, v, key=key, method="gibbs"))(start, jax.random.key(0))
    number = np.asarray(moved) @ (2 ** np.arange(VISIBLE)[::-1])
    counted = np.stack([np.bincount(row.astype(int), minlength=2**VISIBLE) for row in number.reshape(-1, draws)])
    assert np.ptp(transition, axis=0).max() > 0.1, "the check needs moves that depend on where they start"
    np.testing.assert_allclose(counted / draws, transition, atol=4.5 * np.sqrt(0.25 / draws))
