"""Answers as spans: the loss and the chosen span by brute force, and stories in which only the order of words tells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import answers
from models.api import Model
from scripts.score.answers import by_words
from train.tasks.span import span

B, L = 5, 7


def test_loss_and_spans_are_those_of_brute_force():
    """Of all spans of tokens that are there, in which nothing stands behind the third-last place."""
    rng = np.random.default_rng(0)
    scores, x = rng.standard_normal((B, L, 2)).astype(np.float32), np.ones((B, L), np.int32)
    x[:, -2:], scores[:, -1] = 0, 9.0  # the best score of all is that of a place where no token is
    y = np.array([[0, 1], [2, 2], [1, 3], [4, 4], [0, 4]], np.int32)
    mask = np.array([1, 1, 1, 1, 0], np.float32)
    model = Model(lambda key, x: ({}, {}), lambda params, state, x, **_: (params["scores"], state))
    batch = {"x": jnp.asarray(x), "y": jnp.asarray(y), "mask": jnp.asarray(mask)}
    params = {"scores": jnp.asarray(scores)}
    found, (_, metrics) = jax.jit(span(model).loss, static_argnums=4)(params, {}, batch, jax.random.key(0), False)

    p = np.exp(scores[:, : L - 2]) / np.exp(scores[:, : L - 2]).sum(1, keepdims=True)
    own = np.array([[p[b, y[b, side], side] for side in (0, 1)] for b in range(B)])
    assert float(found) == pytest.approx(-np.log(own[:4]).mean(), rel=1e-5)
    pairs = [(i, j) for i in range(L - 2) for j in range(i, L - 2)]
    best = [max(pairs, key=lambda ij, b=b: p[b, ij[0], 0] * p[b, ij[1], 1]) for b in range(B)]
    sets = [(set(range(i, j + 1)), set(range(y[b, 0], y[b, 1] + 1))) for b, (i, j) in enumerate(best)]
    f1 = [2 * len(a & c) / (len(a) + len(c)) for a, c in sets]
    value = {name: float(total / weight) for name, (total, weight) in metrics.items()}
    assert value["f1"] == pytest.approx(np.mean(f1[:4]))
    assert value["exact_match"] == np.mean([a == c for a, c in sets[:4]])


def test_stories_answer_their_question_by_the_order_of_words():
    """A reader who knows the grammar finds each answer; one who takes sentences for bags of words every second."""
    batch = answers.answers().train.gather(np.arange(500))
    guessed = 0
    for row, (first, last) in zip(batch["x"], batch["y"], strict=True):
        text = [answers.WORDS[i] for i in row if i]
        kind, mark = text[1], text.index("?")
        person = next(word for word in text[2:mark] if word in answers.PEOPLE)
        (verb,) = {answers.PAST.get(word, word) for word in text[2:mark]} & set(answers.VERBS)
        does = [
            spans
            for spans in answers.phrases(text)
            if text[spans[0][1] + 1] == verb and text[spans[0 if kind != "who" else 1][1]] == person
        ]
        assert [spans[{"who": 0, "whom": 1, "where": 2}[kind]] for spans in does] == [(first, last)]
        guessed += by_words(text) == (first, last)
    assert guessed / 500 == pytest.approx(0.5, abs=0.08)
