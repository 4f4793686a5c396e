"""Decoding: one token after the other from any network that offers a step and a carry.

    step(params, carry, tokens_BL) -> logits_BLV, carry

A carry is what the network knows of the text so far: a cache of keys and values, a recurrent state, an encoder's
memory.  `generate` draws, `beam` searches, `continue_texts` takes prompts of different lengths.

Shapes: B batch, L length of the prompt, T = L + tokens, V vocabulary, K beams.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from models.api import Model
from models.parts.transformer import places

Step = Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]
NEVER = -1e30  # the logit of a token that is not to be chosen; of two such the differences are finite


def step_of(model: Model) -> Step:
    """The step of a model whose network has a method `step(carry, tokens)`; of a model always the same function."""
    return stepping(model.apply)


@functools.lru_cache(maxsize=16)
def stepping(apply: Callable) -> Step:
    return lambda params, carry, tokens: apply(params, {}, carry, tokens, method="step")[0]


class How(NamedTuple):
    """How a token is chosen from its logits.

    Drawn are ids below `known`, or all: a vocabulary may be rounded up beyond what the tokenizer can decode.
    """

    temperature: float = 1.0  # 0 is the likeliest
    top_k: int | None = None  # among the k likeliest only (Fan et al. 2018)
    top_p: float | None = None  # among the likeliest whose probabilities reach p (Holtzman et al. 2020)
    repetition: float = 1.0  # above 1: tokens that occurred are less likely (Keskar et al. 2019)
    no_repeat: int = 0  # so many tokens in a row occur once at most (Paulus et al. 2018); 0 is off
    known: int | None = None


PLAIN = How()


def check(how: How) -> None:
    said = {
        f"temperature={how.temperature}; use 0 (the likeliest) or more": not 0 <= how.temperature < float("inf"),
        f"top_k={how.top_k}; use 1 or more, or None": how.top_k is not None and how.top_k < 1,
        f"top_p={how.top_p}; use more than 0 and at most 1, or None": how.top_p is not None and not 0 < how.top_p <= 1,
        f"repetition={how.repetition}; use more than 0; 1 changes nothing": how.repetition <= 0,
        f"no_repeat={how.no_repeat}; use 0 (off) or more": how.no_repeat < 0,
    }
    for sentence, wrong in said.items():
        if wrong:
            raise ValueError(sentence)


def check_room(carry: Any, tokens: int) -> None:
    """Refuses a cache with fewer places than `tokens` more ones take: it would be written over without a word.

    Within a program only the places are known, and how many of them are filled is not: none are where decoding begins.
    """
    if (room := places(carry)) is None:
        return
    filled = 0 if isinstance(carry["length"], jax.core.Tracer) else int(carry["length"])
    if filled + tokens > room:
        said = f"the cache has {room} places" + (f", of which {filled} are filled" if filled else "")
        raise ValueError(
            f"{said}; the prompt and what follows, but for the last token, take {tokens}: make the cache with "
            f"length={filled + tokens} or more (empty_cache, start), or decode fewer tokens"
        )


def choose(
    how: How, logits_BV: Float[Array, "b v"], key: jax.Array, text_BT: Int[Array, "b t"], length: Any
) -> Int[Array, " b"]:
    """The next token of each text, of which the first `length` tokens are there."""
    logits_BV = logits_BV[:, : how.known]
    if how.repetition != 1:
        less = jnp.where(logits_BV > 0, logits_BV / how.repetition, logits_BV * how.repetition)
        logits_BV = jnp.where(occurred(text_BT, length, logits_BV.shape[1]), less, logits_BV)
    if how.no_repeat:
        logits_BV = jnp.where(would_repeat(text_BT, length, how.no_repeat, logits_BV.shape[1]), NEVER, logits_BV)
    if how.temperature < jnp.finfo(jnp.float32).tiny:  # 0, or a number that is 0 on the device
        return largest(logits_BV)
    if how.temperature < 1e-3:  # the quotients would overflow; their differences count
        logits_BV = logits_BV - logits_BV.max(-1, keepdims=True)
    logits_BV = logits_BV / how.temperature
    if how.top_k is not None and how.top_k < logits_BV.shape[1]:
        least = jax.lax.top_k(logits_BV, how.top_k)[0][:, -1:]
        logits_BV = jnp.where(logits_BV < least, NEVER, logits_BV)
    if how.top_p is not None and how.top_p < 1:
        logits_BV = jnp.where(within(logits_BV, how.top_p), logits_BV, NEVER)
    return largest(logits_BV + jax.random.gumbel(key, logits_BV.shape, logits_BV.dtype))


def largest(x_BV: Float[Array, "b v"]) -> Int[Array, " b"]:
    """`argmax` of each row.  A loop with an argmax XLA's CPU backend compiles as one function: slow products."""
    return jax.lax.top_k(x_BV, 1)[1][:, 0]


def occurred(text_BT: Int[Array, "b t"], length: Any, vocab: int) -> Bool[Array, "b v"]:
    """Which tokens stand in the first `length` of each text."""
    there = (jnp.arange(text_BT.shape[1]) < length)[None] & (text_BT < vocab)
    rows = jnp.arange(len(text_BT))[:, None]
    return jnp.zeros((len(text_BT), vocab), bool).at[rows, jnp.where(there, text_BT, vocab)].set(True, mode="drop")


def would_repeat(text_BT: Int[Array, "b t"], length: Any, n: int, vocab: int) -> Bool[Array, "b v"]:
    """Which tokens would end a row of n tokens that is there already."""
    B, T = text_BT.shape
    start_S = jnp.arange(T - n + 1)
    same_BS = (start_S + n - 1 < length)[None] & jnp.ones((B, 1), bool)
    for j in range(n - 1):
        last_B1 = jax.lax.dynamic_slice_in_dim(text_BT, jnp.maximum(length - n + 1 + j, 0), 1, axis=1)
        same_BS &= (text_BT[:, j : j + T - n + 1] == last_B1) & (length >= n)
    ends_BS = jnp.where(same_BS, text_BT[:, n - 1 :], vocab)
    return jnp.zeros((B, vocab), bool).at[jnp.arange(B)[:, None], ends_BS].set(True, mode="drop")


def within(logits_BV: Float[Array, "b v"], p: float) -> Bool[Array, "b v"]:
    """The likeliest tokens, as few as have probability p together."""
    order_BV = jnp.argsort(-logits_BV, axis=-1)
    sorted_BV = jax.nn.softmax(jnp.take_along_axis(logits_BV, order_BV, axis=-1), axis=-1)
    before_BV = jnp.cumsum(sorted_BV, axis=-1) - sorted_BV
    rows = jnp.arange(len(logits_BV))[:, None]
    return jnp.zeros(logits_BV.shape, bool).at[rows, order_BV].set(before_BV < p)


def generate(
    step: Step,
    params: Any,
    carry: Any,
    prompt_BL: Int[Array, "b l"],
    key: jax.Array,
    *,
    tokens: int,
    how: How = PLAIN,
    end: tuple[int, ...] = (),
    lengths_B: Int[Array, " b"] | None = None,
    shared: int | None = None,
) -> Int[Array, "b tokens"]:
    """`tokens` more tokens after each prompt; behind a token of `end`, the first of `end` again and again.

    Row b of the prompts has `lengths_B[b]` tokens and is padded behind them; at least the first `shared` tokens are
    there in all.  Those are one call of the step; so is every further token: a longer prompt's own, or a chosen one.
    """
    check(how)
    B, L = prompt_BL.shape
    shared = L if shared is None else shared
    check_room(carry, shared + tokens - 1)
    lengths_B = jnp.full((B,), L) if lengths_B is None else lengths_B
    # As numbers: the check for reused keys takes every key of a loop for used once the first is.
    keys = jax.random.key_data(jax.random.split(key, L - shared + tokens))
    empty = jnp.full((B, tokens), (end or (0,))[0], prompt_BL.dtype)
    text_BT = jnp.concatenate([prompt_BL, empty], axis=1)
    enders = jnp.asarray(end or (-1,), prompt_BL.dtype)

    def put(t: Any, logits_BV: jax.Array, text_BT: jax.Array, done_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        chosen_B = choose(how, logits_BV, jax.random.wrap_key_data(keys[t - shared]), text_BT, t)
        chosen_B = jnp.where(done_B, enders[0], chosen_B.astype(text_BT.dtype))
        chosen_B = jnp.where(t < lengths_B, text_BT[:, t], chosen_B)
        ended_B = (t >= lengths_B) & jnp.isin(chosen_B, enders) | (t + 1 >= lengths_B + tokens)
        return text_BT.at[:, t].set(chosen_B), done_B | ended_B

    def one(loop: tuple) -> tuple:
        t, carry, text_BT, done_B = loop
        logits, carry = step(params, carry, jax.lax.dynamic_slice_in_dim(text_BT, t - 1, 1, axis=1))
        return (t + 1, carry, *put(t, logits[:, -1], text_BT, done_B))

    logits, carry = step(params, carry, prompt_BL[:, :shared])
    first = put(shared, logits[:, -1], text_BT, jnp.zeros((B,), bool))
    if L - shared + tokens > 1:
        _, _, text_BT, _ = jax.lax.while_loop(lambda loop: ~loop[3].all(), one, (shared + 1, carry, *first))
    else:
        text_BT = first[0]
    return jnp.take_along_axis(text_BT, lengths_B[:, None] + jnp.arange(tokens)[None], axis=1)


@functools.lru_cache(maxsize=16)
def program(step: Step) -> Callable:
    return jax.jit(functools.partial(generate, step), static_argnames=("tokens", "how", "end", "shared"))


def bucket(length: int) -> int:
    """1, 2, 4, 8, …: the largest that is no longer."""
    return 1 << (length.bit_length() - 1)


def continue_texts(
    step: Step,
    params: Any,
    carry: Any,
    prompts: Sequence[Sequence[int]],
    key: jax.Array,
    *,
    tokens: int,
    how: How = PLAIN,
    end: tuple[int, ...] = (),
) -> list[list[int]]:
    """What follows each prompt: `tokens` ids, or fewer where one of `end` comes, which is the last.

    A program is compiled for each pair of length buckets: the power of two below the shortest prompt, and the one at or
    above the longest.  `carry` is that of an empty text, for as many texts as there are prompts.
    """
    lengths = [len(ids) for ids in prompts]
    if not lengths or min(lengths) < 1 or tokens < 1:
        raise ValueError(f"prompts of {lengths} tokens and tokens={tokens}; each needs 1 or more")
    check_room(carry, max(lengths) + tokens - 1)
    longest = bucket(2 * max(lengths) - 1)
    padded = jnp.asarray([[*ids, *[0] * (longest - len(ids))] for ids in prompts], jnp.int32)
    made = program(step)(
        params, carry, padded, key, tokens=tokens, how=how, end=end, lengths_B=jnp.asarray(lengths),
        shared=bucket(min(lengths)),
    )  # fmt: skip
    return [cut(row, end) for row in jax.device_get(made).tolist()]


def cut(ids: list[int], end: tuple[int, ...]) -> list[int]:
    """Up to the first token of `end`, which stays."""
    return next((ids[: i + 1] for i, token in enumerate(ids) if token in end), ids)


def batch_axes(start: Callable[[int], Any]) -> Any:
    """The batch's axis of every array of a carry, found from its shapes at two sizes; -1 where there is none."""
    one, two = (jax.eval_shape(lambda batch=batch: start(batch)) for batch in (1, 2))
    differ = lambda a, b: next((i for i, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)) if m != n), -1)
    return jax.tree.map(differ, one, two)


def rows_of(carry: Any, axes: Any, rows: jax.Array) -> Any:
    """The carry of these rows of the batch."""
    return jax.tree.map(lambda x, axis: x if axis < 0 else jnp.take(x, rows, axis=axis), carry, axes)


def beam(
    step: Step,
    params: Any,
    carry: Any,
    axes: Any,
    prompt_BL: Int[Array, "b l"],
    *,
    beams: int,
    tokens: int,
    end: tuple[int, ...] = (),
    penalty: float = 1.0,
    known: int | None = None,
) -> tuple[Int[Array, "b k tokens"], Float[Array, "b k"]]:
    """The best texts that a search with `beams` open ends finds, best first, and their scores.

    A score is log p / length^penalty, the length up to and with the token of `end`; behind it stands that token.  With
    as many beams as there are texts of tokens - 1 the search is exhaustive.  `axes` are those of `batch_axes`.
    """
    if beams < 1 or tokens < 1 or penalty < 0:
        raise ValueError(f"beams={beams}, tokens={tokens}, penalty={penalty}; use 1, 1 and 0 or more")
    check_room(carry, prompt_BL.shape[1] + tokens - 1)
    B, K = len(prompt_BL), beams
    filler, enders = (end or (0,))[0], jnp.asarray(end or (-1,))
    logits, carry = step(params, carry, prompt_BL)
    carry = rows_of(carry, axes, jnp.repeat(jnp.arange(B), K))
    log_p = lambda logits: jax.nn.log_softmax(logits[:, -1, :known].astype(jnp.float32))
    V = log_p(logits).shape[-1]
    texts = jnp.full((B, K, tokens), filler, prompt_BL.dtype)

    def expand(
        t: Any, log_p_BKV: jax.Array, open_BK: jax.Array, open_BKT: jax.Array, done_BK: jax.Array, done_BKT: Any
    ):
        """The best 2 K ways to go on: of those some end, and the K best of the others stay open."""
        total = (open_BK[:, :, None] + log_p_BKV).reshape(B, -1)
        best_BC, index_BC = jax.lax.top_k(total, min(K * (len(end) + 1), K * V))
        parent_BC, token_BC = index_BC // V, (index_BC % V).astype(open_BKT.dtype)
        text_BCT = jnp.take_along_axis(open_BKT, parent_BC[:, :, None], axis=1).at[:, :, t].set(token_BC)
        ends_BC = jnp.isin(token_BC, enders) | (t + 1 >= tokens)
        scored_BC = jnp.where(ends_BC, best_BC, NEVER) / (t + 1.0) ** penalty
        done_BK, kept = jax.lax.top_k(jnp.concatenate([done_BK, scored_BC], axis=1), K)
        done_BKT = jnp.take_along_axis(jnp.concatenate([done_BKT, text_BCT], axis=1), kept[:, :, None], axis=1)
        open_BK, kept = top_padded(jnp.where(ends_BC, NEVER, best_BC), K)
        pick = lambda x: jnp.take_along_axis(x, kept.reshape(B, K, *(1,) * (x.ndim - 2)), axis=1)
        return open_BK, pick(text_BCT), done_BK, done_BKT, pick(parent_BC)

    def one(loop: tuple) -> tuple:
        t, carry, open_BK, open_BKT, *done = loop
        tokens_N1 = jax.lax.dynamic_slice_in_dim(open_BKT, t - 1, 1, axis=2).reshape(B * K, 1)
        logits, carry = step(params, carry, tokens_N1)
        *after, parent_BK = expand(t, log_p(logits).reshape(B, K, V), open_BK, open_BKT, *done)
        rows = (jnp.arange(B)[:, None] * K + parent_BK).ravel()
        return (t + 1, rows_of(carry, axes, rows), *after)

    def goes_on(loop: tuple) -> jax.Array:
        """An open text can only lose probability; its best score is that of its longest form."""
        t, _, open_BK, _, done_BK, _ = loop
        return (t < tokens) & (open_BK[:, 0] / float(tokens) ** penalty > done_BK[:, -1]).any()

    nothing = jnp.full((B, K), NEVER)
    first = jnp.broadcast_to(log_p(logits)[:, None], (B, K, V))
    one_open = nothing.at[:, 0].set(0.0)  # all K are the same text: one goes on
    *start, _ = expand(0, first, one_open, texts, nothing * 2, texts)
    loop = jax.lax.while_loop(goes_on, one, (1, carry, *start))
    return loop[5], loop[4]


def top_padded(scores_BC: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The k largest and where they stand; where there are fewer than k, impossible ones."""
    short = max(k - scores_BC.shape[1], 0)
    best, where = jax.lax.top_k(jnp.pad(scores_BC, ((0, 0), (0, short)), constant_values=2 * NEVER), k)
    return best, jnp.minimum(where, scores_BC.shape[1] - 1)
