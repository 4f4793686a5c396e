"""Answers as spans: the loss and the chosen span by brute force, and stories in which only the order of words tells."""

import csv
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import answers
from models.api import Model
from scripts.score.answers import by_words
from tests.support.runs import untrained
from train import predict, saved
from train.errors import UserError
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


@pytest.mark.slow
def test_answers_of_files_are_those_of_the_arrays(tmp_path, capsys, monkeypatch):
    """A question and its story as text give the tokens of the data, and the answer its words."""
    run = untrained("answers_bert", tmp_path)
    monkeypatch.setattr(saved, "load", lambda workdir, code, step: run)
    batch, files = run.experiment.dataset.train.gather(np.arange(3)), []
    for i, row in enumerate(batch["x"]):
        text = " ".join(answers.WORDS[k] for k in row if answers.WORDS[k][0] != "[")
        files.append(tmp_path / f"{i}.txt")
        files[i].write_text(text.replace(" ?", "?\n").capitalize())
    predict.main(["--workdir", str(tmp_path), *map(str, files)])
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    told = run.predict(batch["x"])
    assert [(int(row["first"]), int(row["last"])) for row in found] == list(zip(told.first, told.last, strict=True))
    spans = [row[a : b + 1] for row, a, b in zip(batch["x"], told.first, told.last, strict=True)]
    assert [row["answer"] for row in found] == [" ".join(answers.WORDS[k] for k in span) for span in spans]
    files[0].write_text("Who met the wizard? The wizard met the king in the park.")
    with pytest.raises(UserError, match=r"0.txt: 'wizard' is no word of the run's stories; they have \., \?, the"):
        predict.main(["--workdir", str(tmp_path), str(files[0])])
    files[0].write_text("The doctor met the king.")
    with pytest.raises(UserError, match=r"0.txt: no question; write it before the story"):
        predict.main(["--workdir", str(tmp_path), str(files[0])])
