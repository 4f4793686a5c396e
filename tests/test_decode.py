"""Decoding: with a carry as without, by the exact rules of each way to choose, and the best text that there is.

Shapes: B batch, L length, V vocabulary, K beams.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.api import from_linen
from models.decode import How, batch_axes, beam, bucket, choose, continue_texts, generate, rows_of, step_of
from models.gpt import GPT
from models.llama import Llama
from models.mamba import Mamba
from models.neox import NeoX
from models.parts.transformer import places
from models.rnn import SequenceModel
from models.t5 import T5
from models.transformer import Transformer
from models.whisper import Whisper
from tests.support.golden import numbers

B, VOCAB, CONTEXT = 2, 7, 12
SIZES = {"vocab": VOCAB, "layers": 2, "heads": 4, "width": 16}
LLAMA = {"inner": 20, "kv_heads": 2, "context": CONTEXT}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
NETWORKS = {
    "gpt": lambda: GPT(**SIZES, context=CONTEXT),
    "gpt, scanned": lambda: GPT(**SIZES, context=CONTEXT, positions="rotary", stack="scan"),
    "llama": lambda: Llama(**SIZES, **LLAMA, scaling=LLAMA3),
    "mistral": lambda: Llama(**SIZES, **LLAMA, window=3),
    "qwen": lambda: Llama(**SIZES, **LLAMA, head_norm="rms", head_width=6, window=4, unwindowed=(1,)),
    "neox": lambda: NeoX(**SIZES, inner=20, context=CONTEXT, turned=0.5),
    "gru": lambda: SequenceModel("gru", 8, VOCAB, vocab=VOCAB),
    "mamba": lambda: Mamba(VOCAB, 2, 8, state=3),
    "s4": lambda: Mamba(VOCAB, 2, 8, state=3, chosen_by="nothing"),
    "mixtral": lambda: Llama(**SIZES, **LLAMA, experts=3),
    "lstm": lambda: SequenceModel("lstm", 8, VOCAB, vocab=VOCAB, layers=2),
}


def text(seed=0, length=CONTEXT, batch=B):
    return jnp.asarray(np.random.default_rng(seed).integers(0, VOCAB, (batch, length)), jnp.int32)


def make(module, *inputs):
    """A network whose parameters are moved off where they start, so that its logits differ."""
    model = from_linen(module)
    params, _ = jax.jit(model.init)(jax.random.key(0), *inputs)
    noise = np.random.default_rng(0)
    return model, jax.tree.map(lambda p: p + 0.5 * noise.standard_normal(p.shape).astype(np.float32), params)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_decoding_with_a_carry_is_decoding_without(name):
    """Logits of pieces are those of the whole text, and greedy texts are the argmax of whole texts, token for token."""
    module = NETWORKS[name]()
    model, params = make(module, text())
    whole = jax.jit(model.apply)
    step, carry, pieces = jax.jit(step_of(model)), module.empty_cache(B), []
    for piece in jnp.split(text(), (5, 6, 7), axis=1):
        logits, carry = step(params, carry, piece)
        pieces.append(logits)
    np.testing.assert_allclose(jnp.concatenate(pieces, axis=1), whole(params, {}, text())[0], rtol=1e-4, atol=1e-4)

    prompts = [text(1).tolist()[0][:3], text(1).tolist()[1][:6]]
    made = continue_texts(
        step_of(model), params, module.empty_cache(B, 9), prompts, jax.random.key(0), tokens=4, how=How(0.0)
    )  # with as few places as that takes
    for prompt, found in zip(prompts, made, strict=True):
        ids = list(prompt)
        for _ in range(4):  # what stands behind cannot matter: no logit depends on a later token
            padded = jnp.asarray([ids + [0] * (CONTEXT - len(ids))] * B)
            ids.append(int(whole(params, {}, padded)[0][0, len(ids) - 1].argmax()))
        assert found == ids[len(prompt) :]


ONE = {"keys": 1, "values": 1}  # the batch's axis, behind that of the layers
MASK = jnp.ones((B, 9), bool).at[0, 6:].set(False)
ENCODERS = {
    "t5": (lambda: T5(VOCAB, 2, 2, 16, 20, 8, buckets=8, furthest=10, context=CONTEXT, divide="nothing"), MASK),
    "transformer": (lambda: Transformer(VOCAB, 1, 2, 8, 12, decoder_layers=2, context=CONTEXT, stack="scan"), MASK),
    "whisper": (lambda: Whisper(VOCAB, 3, 1, 2, 8, 12, places=4, context=CONTEXT, decoder_layers=2), None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_read_once(name):
    """Keys and values of its memory are a carry, masked where the source is padded; greedy targets are those of whole
    passes, with no more places in the cache than they take."""
    module, mask = ENCODERS[name][0](), ENCODERS[name][1]
    given = (text(2, 9), mask) if mask is not None else (jnp.asarray(numbers("sound", B, 3, 8)),)
    model, params = make(module, *given, text())
    carry = jax.jit(lambda params: model.apply(params, {}, *given, 5, method="start")[0])(params)
    assert places(carry) == 5
    how = {"tokens": 5, "how": How(0.0)}
    made = jax.jit(functools.partial(generate, step_of(model), **how))(params, carry, text(3, 1), jax.random.key(0))
    ids, whole = jnp.zeros((B, 6), jnp.int32).at[:, :1].set(text(3, 1)), jax.jit(model.apply)
    for t in range(1, 6):
        ids = ids.at[:, t].set(whole(params, {}, *given, ids)[0][:, t - 1].argmax(-1))
    np.testing.assert_array_equal(made, ids[:, 1:])
    axes = batch_axes(lambda batch: module.empty_cache(batch))
    both = {"keys": 0, "values": 0}
    layers = [{"own": both, "cross": both}] * 2 if module.stack == "unrolled" else {"own": ONE, "cross": ONE}
    assert axes == {"layers": layers, "length": -1} | ({} if mask is None else {"mask": 0})


@pytest.mark.slow
def test_beam_search_over_a_network_is_brute_force():
    """Of the Transformer of 2017, whose carry has an axis of layers before the texts': every text of two tokens."""
    module = ENCODERS["transformer"][0]()
    source, first, tokens = text(2, 9), text(3, 1), 2
    model, params = make(module, source, MASK, text())
    carry = jax.jit(lambda params: model.apply(params, {}, source, MASK, tokens, method="start")[0])(params)
    axes = batch_axes(lambda batch: module.empty_cache(batch))
    run = functools.partial(beam, step_of(model), beams=VOCAB, tokens=tokens)
    made, scores = jax.jit(functools.partial(run, axes=axes))(params, carry, prompt_BL=first)
    second = jnp.tile(jnp.arange(VOCAB, dtype=jnp.int32)[:, None], (B, 1))
    ids = jnp.concatenate([jnp.repeat(first, VOCAB, axis=0), second], axis=1)
    whole = jax.jit(model.apply)(params, {}, jnp.repeat(source, VOCAB, 0), jnp.repeat(MASK, VOCAB, 0), ids)[0]
    log_p = np.asarray(jax.nn.log_softmax(whole)).reshape(B, VOCAB, tokens, VOCAB)
    total = (log_p[:, 0, 0, :, None] + log_p[:, :, 1]).reshape(B, -1) / tokens
    best = np.argsort(-total, axis=1)[:, :3]
    np.testing.assert_array_equal(made[:, :3], np.stack([best // VOCAB, best % VOCAB], axis=-1))
    np.testing.assert_allclose(scores[:, :3], np.take_along_axis(total, best, axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", [*NETWORKS, *ENCODERS])
def test_a_cache_without_room_is_refused(name):
    """By all ways to decode, before the network is asked; of one place more none is.  A state has room for any text."""
    module = NETWORKS[name]() if name in NETWORKS else ENCODERS[name][0]()
    cache, prompts, key = module.empty_cache(B, 6), text(1, 4), lambda: jax.random.key(0)
    ways = (
        lambda cache, tokens: generate(reached, None, cache, prompts, key(), tokens=tokens),
        lambda cache, tokens: jax.eval_shape(
            lambda c: generate(reached, None, c, prompts, key(), tokens=tokens), cache
        ),
        lambda cache, tokens: continue_texts(reached, None, cache, prompts.tolist(), key(), tokens=tokens),
        lambda cache, tokens: beam(reached, None, cache, None, prompts, beams=2, tokens=tokens),
    )
    said = "has 6 places; the prompt and what follows, but for the last token, take 7: make the cache with length=7"
    expected = (Reached, None) if places(cache) is None else (ValueError, said)
    for way in ways:
        with pytest.raises(Reached):
            way(cache, 3)
        with pytest.raises(expected[0], match=expected[1]):
            way(cache, 4)
    if places(cache) is not None:
        with pytest.raises(
            ValueError, match=r"6 places, of which 2 are filled; .* take 5: make the cache with length=7"
        ):
            ways[0]({**cache, "length": 2}, 2)


class Reached(Exception):
    """The step was called."""


def reached(params, carry, tokens_BL):
    raise Reached


@pytest.mark.parametrize("module", [NETWORKS["gpt"](), ENCODERS["whisper"][0]()])
def test_a_cache_is_no_longer_than_the_positions_that_there_are(module):
    with pytest.raises(ValueError, match=f"{CONTEXT + 1} tokens exceed the model's context={CONTEXT}"):
        module.empty_cache(B, CONTEXT + 1)


# A network whose next logits are a table of the last two tokens: everything about it can be enumerated.

TABLE = jnp.asarray(np.random.default_rng(3).normal(0, 1.5, (VOCAB, VOCAB, VOCAB)), jnp.float32)


def table_step(params, carry, tokens_BL):
    """The carry is the token before, of each text: [2, B], so that the batch is not its first axis."""
    before_BL = jnp.concatenate([carry[0][:, None], tokens_BL[:, :-1]], axis=1)
    return params[before_BL, tokens_BL], jnp.stack([tokens_BL[:, -1], carry[0]])


def table_start(batch):
    return jnp.zeros((2, batch), jnp.int32)


def log_p(ids):
    """Of the tokens behind the first one."""
    table = np.asarray(jax.nn.log_softmax(TABLE))
    return sum(table[([0, *ids])[i], ids[i], ids[i + 1]] for i in range(len(ids) - 1))


def best_texts(first, tokens, end, penalty):
    """All texts by enumeration, best first, each filled up with the token that ends it."""
    found = []
    for length in range(1, tokens + 1):
        for ids in itertools.product(range(VOCAB), repeat=length):
            if end in ids[:-1] or (length < tokens and ids[-1] != end):
                continue
            found.append((log_p([first, *ids]) / length**penalty, [*ids, *[end] * (tokens - length)]))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0])
def test_beam_search_is_brute_force(penalty):
    """With as many beams as there are texts of all tokens but the last: the best three and their scores, of each."""
    tokens, end, beams = 3, 4, VOCAB**2
    run = functools.partial(beam, table_step, beams=beams, tokens=tokens, end=(end,), penalty=penalty)
    made, scores = jax.jit(run, static_argnums=2)(TABLE, table_start(2), 1, jnp.asarray([[2], [5]]))
    for row, first in enumerate((2, 5)):
        expected = best_texts(first, tokens, end, penalty)[:3]
        assert made[row, :3].tolist() == [ids for _, ids in expected]
        np.testing.assert_allclose(scores[row, :3], [score for score, _ in expected], rtol=1e-5)


def test_a_narrow_beam_is_the_beam_search_of_the_textbook():
    """Two open texts, kept by their probability so far; texts that end leave the beam."""
    tokens, end, penalty = 6, 4, 1.0
    opened, done = [(0.0, [1])], []
    for t in range(1, tokens + 1):
        longer = sorted(((log_p([*ids, v]), [*ids, v]) for _, ids in opened for v in range(VOCAB)), reverse=True)
        ended = [(p / t**penalty, ids) for p, ids in longer[:4] if ids[-1] == end or t == tokens]
        done, opened = sorted(done + ended, reverse=True)[:2], [one for one in longer if one[1][-1] != end][:2]
    run = functools.partial(beam, table_step, beams=2, tokens=tokens, end=(end,), penalty=penalty)
    made, scores = jax.jit(run, static_argnums=2)(TABLE, table_start(1), 1, jnp.asarray([[1]]))
    for row, (score, ids) in enumerate(done):
        assert made[0, row].tolist() == (ids[1:] + [end] * tokens)[:tokens]
        assert float(scores[0, row]) == pytest.approx(score, rel=1e-5)


def test_axes_of_a_carry_are_found_and_its_rows_taken():
    carry = {"a": jnp.arange(6).reshape(2, 3), "n": jnp.zeros(())}
    axes = batch_axes(lambda batch: {"a": jnp.zeros((2, batch)), "n": jnp.zeros(())})
    assert axes == {"a": 1, "n": -1}
    np.testing.assert_array_equal(rows_of(carry, axes, jnp.asarray([2, 2, 0]))["a"], [[2, 2, 0], [5, 5, 3]])


LOGITS = jnp.asarray([0.3, -0.2, 1.1, 0.9, -0.8, 0.5, 0.0])


def frequencies(how, written, draws=4000):
    """How often each token is drawn from LOGITS after what was written."""
    logits = jnp.tile(LOGITS[None], (draws, 1))
    texts = jnp.tile(jnp.asarray(written + [0] * 2)[None], (draws, 1))
    drawn = jax.jit(functools.partial(choose, how))(logits, jax.random.key(0), texts, len(written))
    return np.bincount(drawn, minlength=VOCAB) / draws


def test_each_way_to_choose_gives_its_distribution():
    """Against probabilities made by hand from the same logits."""
    logits = np.asarray(LOGITS, np.float64)
    p = lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum()
    only = lambda kept: p(np.where(kept, logits, -np.inf))
    order = np.argsort(-logits)
    close = functools.partial(np.testing.assert_allclose, atol=4 * np.sqrt(0.25 / 4000))
    close(frequencies(How(0.5), [1]), p(logits / 0.5))
    close(frequencies(How(top_k=2), [1]), only(np.isin(np.arange(VOCAB), order[:2])))
    reached = np.cumsum(p(logits)[order])
    kept = order[: int(np.argmax(reached >= 0.8)) + 1]
    assert 1 < len(kept) < VOCAB
    close(frequencies(How(top_p=0.8), [1]), only(np.isin(np.arange(VOCAB), kept)))
    close(frequencies(How(known=3), [1]), only(np.arange(VOCAB) < 3))
    seen = np.isin(np.arange(VOCAB), [1, 5])
    less = np.where(seen, np.where(logits > 0, logits / 1.7, logits * 1.7), logits)
    close(frequencies(How(repetition=1.7), [5, 1, 5]), p(less))
    close(frequencies(How(no_repeat=2), [1, 3, 1, 2, 1]), only(~np.isin(np.arange(VOCAB), [2, 3])))
    close(frequencies(How(no_repeat=3), [5, 1, 3, 5, 1]), only(np.arange(VOCAB) != 3))


def test_a_text_ends_where_its_end_comes():
    """Behind it stands the same token, and texts as lists stop with it."""
    start, prompt = table_start(3), jnp.asarray([[1], [2], [5]])
    free = generate(table_step, TABLE, start, prompt, jax.random.key(0), tokens=9, how=How(0.0))
    end = int(free[0, 2])
    run = functools.partial(generate, table_step, tokens=9, how=How(0.0), end=(end,))
    ended = np.asarray(jax.jit(run)(TABLE, start, prompt, jax.random.key(0)))
    for row, whole in zip(ended.tolist(), free.tolist(), strict=True):
        length = whole.index(end) + 1 if end in whole else 9
        assert row == whole[:length] + [end] * (9 - length)
    texts = continue_texts(
        table_step, TABLE, start, prompt.tolist(), jax.random.key(0), tokens=9, how=How(0.0), end=(end,)
    )
    assert texts == [row[: row.index(end) + 1] if end in row else row for row in ended.tolist()]


def test_one_program_serves_all_lengths_of_a_bucket():
    assert [bucket(n) for n in (1, 2, 3, 4, 7, 8, 9)] == [1, 2, 2, 4, 4, 8, 8]
    calls = []

    def counted(params, carry, tokens_BL):
        calls.append(tokens_BL.shape)
        return table_step(params, carry, tokens_BL)

    for lengths in ((4, 6), (5, 7), (4, 8), (7, 5)):
        prompts = [text(n).tolist()[0][:n] for n in lengths]
        made = continue_texts(counted, TABLE, table_start(2), prompts, jax.random.key(0), tokens=3, how=How(0.0))
        for prompt, found in zip(prompts, made, strict=True):
            alone = continue_texts(
                table_step, TABLE, table_start(1), [prompt], jax.random.key(0), tokens=3, how=How(0.0)
            )
            assert [found] == alone
    assert calls == [(2, 4), (2, 1)]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (How(temperature=-1.0), "temperature=-1.0; use 0"),
        (How(top_k=0), "top_k=0; use 1 or more"),
        (How(top_p=0.0), "top_p=0.0; use more than 0"),
        (How(repetition=0.0), "repetition=0.0; use more than 0"),
        (How(no_repeat=-1), "no_repeat=-1; use 0"),
    ],
)
def test_what_cannot_be_chosen_by_is_said(how, said):
    with pytest.raises(ValueError, match=said):
        generate(table_step, TABLE, table_start(1), jnp.asarray([[1]]), jax.random.key(0), tokens=1, how=how)
