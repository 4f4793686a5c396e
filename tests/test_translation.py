"""Lines made of lines: the rules of the data, the loss by hand, and exact matches that greedy decoding confirms."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import rewriting, summaries
from models.api import from_linen
from models.decode import How, program, step_of
from models.t5 import T5
from models.transformer import Transformer
from tests.support.runs import untrained
from train import saved
from train.errors import UserError
from train.sample import sample
from train.tasks.translate import begun, sources, translate

MEANT = {  # every word with every fault, and what it should be
    rewriting.faulty(word, kind, place, letter): word
    for word in rewriting.WORDS
    for kind in range(4)
    for place in range(len(word))
    for letter in range(25)
} | {word: word for word in rewriting.WORDS}


def summed(report: str) -> str:
    """The space is that before the end."""
    player = lambda rank: re.findall(rf"the (\w+) came {rank} \.", report)
    (winner,), (loser,), (place,) = player("first"), player("last"), re.findall(r"played in the (\w+)", report)
    return f"the {winner} beat the {loser} in the {place} "


RULES = {
    "reversal": (lambda: rewriting.reversal(length=5), lambda line: line[::-1]),
    "addition": (lambda: rewriting.addition(digits=3), lambda line: f"{sum(map(int, line.split('+'))):04}"),
    "correction": (rewriting.correction, lambda line: " ".join(MEANT[word] for word in line.split())),
    "summaries": (summaries.summaries, summed),
}


@pytest.mark.parametrize("name", RULES)
def test_lines_follow_their_rule(name):
    """Each ends with a new line, zeros behind; splits differ; a record is a function of its number."""
    make, rule = RULES[name]
    dataset = make()
    batch = dataset.train.gather(np.arange(200))
    written = {}
    for side in ("x", "y"):
        assert batch[side].dtype == np.int32
        lines = [dataset.tokenizer.decode(row) for row in batch[side]]
        assert all(line.rstrip("\0").count("\n") == 1 and line.rstrip("\0").endswith("\n") for line in lines)
        written[side] = [line.split("\n")[0] for line in lines]
    assert [rule(line) for line in written["x"]] == written["y"]
    assert len(set(written["x"])) > 150
    assert not np.array_equal(dataset.valid.gather(np.arange(200))["x"], batch["x"])
    np.testing.assert_array_equal(dataset.train.gather(np.array([150, 7]))["y"], batch["y"][[150, 7]])


def test_no_fault_makes_two_words_alike():
    """So a line can always be corrected; and a fault is one: a letter less, one more, another, or two exchanged."""
    faults = {
        word: {rewriting.faulty(word, k, i, c) for k in range(4) for i in range(len(word)) for c in range(25)}
        for word in rewriting.WORDS
    }
    assert sum(len(some) for some in faults.values()) == len(set().union(*faults.values()))
    assert not set(rewriting.WORDS) & set().union(*faults.values())
    wrong = (
        rewriting.faulty("planet", 3, 1, 0),
        rewriting.faulty("planet", 0, 5, 0),
        rewriting.faulty("planet", 1, 0, 0),
    )
    assert wrong == ("palnet", "plane", "pplanet")


V, B = 9, 6
NETWORKS = {
    "transformer": lambda: Transformer(V, 1, 2, 8, 12, context=8),
    "t5": lambda: T5(V, 1, 2, 8, 12, 4, buckets=8, furthest=10, context=8, divide="nothing"),
}


def lines(seed, length):
    """Tokens from 2 on, the end (1) at a place of its own in each row, zeros behind."""
    rng = np.random.default_rng(seed)
    ids, count = rng.integers(2, V, (B, length - 1)), rng.integers(1, length, (B, 1))
    return jnp.asarray(rewriting.ended(ids, count))


def made(name, seed=0):
    model = from_linen(NETWORKS[name]())
    x, y = lines(1, 6), lines(2, 7)
    task = translate(model, V)
    params, _ = jax.jit(task.init)(jax.random.key(0), {"x": x, "y": y})
    noise = np.random.default_rng(seed)
    params = jax.tree.map(lambda p: p + 0.3 * noise.standard_normal(p.shape).astype(np.float32), params)
    return model, task, params, {"x": x, "y": y}


@pytest.mark.slow
def test_what_stands_behind_a_line_does_not_count():
    """The loss is the mean over tokens up to each end; wider padding of source and target changes nothing."""
    model, task, params, batch = made("transformer")
    loss = jax.jit(lambda batch: task.loss(params, {}, batch, jax.random.key(1), False))
    found, (_, metrics) = loss(batch)
    logits, _ = jax.jit(model.apply)(params, {}, batch["x"], batch["x"] != 0, begun(batch["y"]))
    own = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), np.asarray(batch["y"])[..., None], 2)[..., 0]
    assert float(found) == pytest.approx(-own[np.asarray(batch["y"]) != 0].mean(), rel=1e-5)
    assert metrics["loss"][1] == (batch["y"] != 0).sum()
    wider = {name: jnp.pad(ids, ((0, 0), (0, 3))) for name, ids in batch.items()}
    assert float(loss(wider)[0]) == pytest.approx(float(found), rel=1e-5)
    masked = {**batch, "mask": jnp.zeros(B).at[2].set(1.0)}
    alone = -own[2][np.asarray(batch["y"][2]) != 0].mean()
    assert float(loss(masked)[0]) == pytest.approx(alone, rel=1e-5)


@pytest.mark.slow
def test_exact_matches_are_those_of_greedy_decoding():
    """Of targets that are what decoding writes all match; of those with one wrong token none."""
    model, task, params, batch = made("t5")
    carry = jax.jit(functools.partial(model.apply, method="start"))(params, {}, *sources(batch["x"]))[0]
    start = jnp.zeros((B, 1), jnp.int32)
    written = program(step_of(model))(params, carry, start, jax.random.key(0), tokens=7, how=How(0.0), end=(1,))
    after_end = jnp.cumsum(written == 1, axis=1) - (written == 1) > 0
    target = jnp.where(after_end, 0, written)
    score = jax.jit(lambda y: task.loss(params, {}, {**batch, "y": y}, jax.random.key(1), False)[1][1]["exact_match"])
    usable = float((target != 0).any(1).sum())  # a network may write the filler itself, which counts nowhere
    assert score(target) == (usable, usable)
    wrong = target.at[::2, 0].set(2 + (target[::2, 0] - 1) % (V - 2))
    matches, count = score(wrong)
    assert count == B
    assert matches <= B / 2


@pytest.mark.slow
def test_a_line_is_translated_by_the_command(tmp_path, monkeypatch):
    """What the command writes is what the network of the run finds likeliest, token for token; of every line."""
    run = untrained("reversal_transformer", tmp_path)
    noise = np.random.default_rng(0)
    moved = jax.tree.map(lambda p: p + 0.3 * noise.standard_normal(p.shape).astype(np.float32), run.params)
    run = dataclasses.replace(run, params=moved)
    monkeypatch.setattr(saved, "load", lambda workdir, code, step: run)
    monkeypatch.setattr(saved, "config_of", lambda workdir, code: run.config)
    monkeypatch.setattr(saved, "data_of", lambda workdir: run.experiment.dataset)
    nothing, line = sample(tmp_path, "ab", tokens=3, temperature=None, seed=0)
    assert nothing == ""
    tokenizer = run.experiment.dataset.tokenizer
    x = jnp.asarray(tokenizer.encode(b"ab\n"))[None].astype(jnp.int32)
    model, ids = from_linen(Transformer(**{k: v for k, v in run.config.model.items() if k != "name"})), [0, 0, 0]
    apply = jax.jit(model.apply)
    for t in range(3):
        logits, _ = apply(run.params, {}, *sources(x), jnp.asarray([ids]))
        ids = [*ids[: t + 1], int(logits[0, t].argmax()), *ids[t + 2 :]]
    assert line == tokenizer.decode(ids[1:]).split("\n")[0].replace("\0", "")
    assert sample(tmp_path, "ab\nab", tokens=3, temperature=None, seed=0) == ("", f"{line}\n{line}")
    with pytest.raises(UserError, match=r"no such character in the training text: 'Ω'.*; write the line with"):
        sample(tmp_path, "Ω", tokens=3, temperature=None, seed=0)
    with pytest.raises(UserError, match="makes lines of lines, or of sounds; give it one with --prompt"):
        sample(tmp_path, None, tokens=3, temperature=None, seed=0)
