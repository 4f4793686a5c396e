"""Tasks and data of networks that read: hidden tokens, word order, pictures and captions, experts.

Shapes: B batch, L length, V vocabulary.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import captions, reviews
from models.api import Model, from_linen
from models.bag import Bag
from models.bert import Bert
from scripts.score import masked as score
from train.tasks.masked import hidden, masked
from train.tasks.match import match

V = 7


def test_hidden_tokens_are_a_share_and_shown_in_three_ways():
    x = jnp.asarray(np.random.default_rng(0).integers(0, V, (400, 50)), jnp.int32)
    chosen, shown = hidden(x, jax.random.key(0), V, 0.15, 0.8, 0.1)
    assert float(chosen.mean()) == pytest.approx(0.15, abs=0.01)
    np.testing.assert_array_equal(shown[~chosen], x[~chosen])
    blank, same = shown[chosen] == V, shown[chosen] == x[chosen]
    assert float(blank.mean()) == pytest.approx(0.8, abs=0.02)
    assert float(same.mean()) == pytest.approx(0.1 + 0.1 / V, abs=0.02)
    assert int(jnp.bincount(shown[chosen & (shown != V)], length=V).min()) > 0


def test_the_loss_is_of_hidden_tokens_alone():
    """By hand from what the network is shown: a stand-in whose logits are a table of that token."""
    table = jnp.asarray(np.random.default_rng(1).normal(size=(V + 1, V + 1)), jnp.float32)
    seen = []
    params = {"table": table}
    model = Model(lambda key, x: (params, {}), lambda p, s, x, key, train: (seen.append(x) or p["table"][x], s))
    x = jnp.asarray(np.random.default_rng(0).integers(0, V, (6, 9)), jnp.int32)
    mask = jnp.ones((6, 9)).at[:, 5:].set(0)
    found, (_, metrics) = masked(model, V, rate=0.5).loss(params, {}, {"x": x, "mask": mask}, jax.random.key(3), True)
    hide_key, _ = jax.random.split(jax.random.key(3))
    chosen, shown = hidden(x, hide_key, V, 0.5, 0.8, 0.1)
    np.testing.assert_array_equal(seen[0], shown)
    own = np.take_along_axis(np.asarray(jax.nn.log_softmax(table[shown])), np.asarray(x)[..., None], 2)[..., 0]
    counts = np.asarray(chosen) * np.asarray(mask) > 0
    assert float(found) == pytest.approx(-own[counts].mean(), rel=1e-5)
    assert metrics["loss"][1] == counts.sum()
    with pytest.raises(ValueError, match=r"one for the blank: set --config.model.vocab=9"):
        masked(model, V + 1).loss(params, {}, {"x": x}, jax.random.key(3), True)


def test_the_posterior_of_hidden_tokens_is_that_of_all_texts():
    """Messages from both sides against the sum over all texts of three tokens and all choices of hidden ones."""
    states, rng = 3, np.random.default_rng(0)
    table, shown = rng.dirichlet(np.ones(states), size=states), np.array([[states, 1, 0], [2, states, states]])
    start = rng.dirichlet(np.ones(states))
    made = score.posterior(table, start, shown)
    chosen_shows = lambda x, s: score.BLANK if s == states else score.OTHER / states + (0.1 if x == s else 0)
    shows = lambda x, s: score.RATE * chosen_shows(x, s) + (1 - score.RATE) * (x == s)
    for row, place in itertools.product(range(2), range(3)):
        expected = np.zeros(states)
        for x in itertools.product(range(states), repeat=3):
            p = start[x[0]] * table[x[0], x[1]] * table[x[1], x[2]]
            for t in range(3):
                p *= (chosen_shows if t == place else shows)(x[t], shown[row, t])
            expected[x[place]] += p
        np.testing.assert_allclose(made[row, place], expected / expected.sum(), rtol=1e-6)


def decoded(row):
    return " ".join(reviews.WORDS[i] for i in row if i).removeprefix("[cls] ")


def verdict(text):
    """By reading: of each sentence the clause behind "but" or behind a comma after "although", or before "although"."""
    praises = []
    for sentence in text.rstrip(" .").split(" . "):
        first, second = sentence.split(" , ")
        weighs = first if second.startswith("although") else second
        praises.append(weighs.split()[-1] in reviews.GOOD)
    return int(sum(praises) > len(praises) / 2)


def test_reviews_say_what_their_order_says():
    batch = reviews.reviews().train.gather(np.arange(500))
    texts = [decoded(row) for row in batch["x"]]
    assert [verdict(text) for text in texts] == batch["y"].tolist()
    assert {text.count(" .") for text in texts} == {1, 3}
    assert len(set(texts)) > 450


def test_a_bag_of_words_tells_nothing():
    """Turned round, a review has the same words and the other verdict; a network of bags gives both the same logits."""
    noise = (
        np.random.default_rng(0).integers(0, 2**63, (200, 1 + reviews.SENTENCES * reviews.NUMBERS)).astype(np.uint64)
    )
    turned = noise.copy()
    turned[:, 1 :: reviews.NUMBERS] ^= np.uint64(1)
    one, other = reviews.drawn(noise), reviews.drawn(turned)
    np.testing.assert_array_equal(np.sort(one["x"], 1), np.sort(other["x"], 1))
    np.testing.assert_array_equal(one["y"], 1 - other["y"])
    model = from_linen(Bag(len(reviews.WORDS), 2, 8))
    params, _ = model.init(jax.random.key(0), jnp.asarray(one["x"]))
    logits = [model.apply(params, {}, jnp.asarray(each["x"]))[0] for each in (one, other)]
    np.testing.assert_allclose(*logits, atol=1e-5)


def test_padding_is_seen_by_no_token():
    """Of BERT with `padding`: wider padding leaves the logits as they are, and so does a mask that says the same."""
    network = Bert(V, 1, 2, 8, 12, 12, head="class", padding=0)
    model, x = from_linen(network), jnp.asarray([[1, 3, 2, 0, 0], [1, 2, 2, 5, 4]], jnp.int32)
    params, _ = jax.jit(model.init)(jax.random.key(0), x)
    apply = jax.jit(model.apply)
    logits = apply(params, {}, x)[0]
    np.testing.assert_allclose(apply(params, {}, jnp.pad(x, ((0, 0), (0, 4))))[0], logits, atol=1e-5)
    plain = jax.jit(from_linen(network.clone(padding=None)).apply)
    np.testing.assert_allclose(plain(params, {}, x, x != 0)[0], logits, atol=1e-6)


def test_captions_say_what_the_picture_shows():
    """The colours that they name are there, each on its own side of the middle."""
    batch = captions.captions(noise=0).train.gather(np.arange(200))
    sides = {"left": (2, 0), "right": (2, 1), "above": (1, 0), "below": (1, 1)}  # axis, and whether beyond the middle
    for picture, row in zip(batch["x"], batch["text"], strict=True):
        words = [captions.WORDS[i] for i in row if i]
        assert words[-1] == captions.END
        (_, first_size, first_colour, _, where), (second_colour,) = words[:5], words[-3:-2]
        axis, beyond = sides[where]
        for colour, is_beyond in ((first_colour, beyond), (second_colour, 1 - beyond)):
            shown = np.abs(picture - np.array(captions.COLOURS[colour], np.float32)).max(-1) < 1e-3
            assert shown.any()
            if first_colour != second_colour:
                middle = np.argwhere(shown).mean(0)[axis - 1]
                assert (middle > 15.5) == is_beyond
        if first_colour != second_colour:
            area = (np.abs(picture - np.array(captions.COLOURS[first_colour], np.float32)).max(-1) < 1e-3).sum()
            assert (area > 70) == (first_size == "large")
    repeated = len(batch["text"]) - len(np.unique(batch["text"], axis=0))
    assert repeated < 15


def test_matching_is_between_nothing_and_log_b():
    """Of logits that say nothing the loss is log B; of perfect ones 0; records of mask 0 are no choice."""
    B = 8
    logits = {"nothing": jnp.zeros((B, B)), "all": 50 * jnp.eye(B), "one": 50 * jnp.eye(B).at[0, 0].set(0)}
    model = Model(lambda key, text, x: (None, {}), lambda params, state, text, x, key, train: (params["logits"], state))
    batch = {"x": jnp.zeros((B, 2)), "text": jnp.zeros((B, 3), jnp.int32)}
    loss = lambda name, **more: match(model).loss(
        {"logits": logits[name]}, {}, {**batch, **more}, jax.random.key(0), False
    )
    nothing, (_, told) = loss("nothing")
    assert float(nothing) == pytest.approx(math.log(B))
    assert float(told["retrieval"][0]) == 1, "of equal ones the first counts"
    perfect, (_, told) = loss("all")
    assert float(perfect) == pytest.approx(0, abs=1e-5)
    assert float(told["retrieval"][0]) == B
    half, (_, told) = loss("nothing", mask=jnp.ones(B).at[4:].set(0))
    assert float(half) == pytest.approx(math.log(B / 2))
    assert told["loss"][1] == B / 2
    assert float(loss("one")[0]) == pytest.approx(math.log(B) / B, rel=1e-4)
