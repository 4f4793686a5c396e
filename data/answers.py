"""Generated stories with a question whose answer is a part of the story.  B stories, L tokens.

    [cls] whom did the doctor thank ? [sep] the old pilot thanked the doctor in the garden . the sailor met the baker in
    the dark cellar . the doctor thanked the young farmer in the kitchen . the doctor met the king in the park .

A story has four sentences.  In one the person of the question does what the question says, in one the same is done to
that person, in one there is that person with another verb, in one that verb with other people.  Their order is random.

Who sees each sentence as a bag of words cannot tell the first two apart: where whoever does and whoever is done to are
exchanged in every sentence, all bags stay as they are, and the answer is in the other sentence.  Both stories are
equally likely, so such a rule is right once in two at best.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int32, UInt64

from data import texts, tokenize
from data.sequences import check, generated
from data.source import Batch, Dataset

PEOPLE = [
    "doctor",
    "pilot",
    "sailor",
    "baker",
    "farmer",
    "king",
    "singer",
    "teacher",
    "hunter",
    "tailor",
    "nurse",
    "monk",
]
PLACES = [
    "garden",
    "kitchen",
    "cellar",
    "park",
    "tower",
    "market",
    "forest",
    "station",
    "harbour",
    "library",
    "barn",
    "chapel",
]
VERBS = {"thanked": "thank", "met": "meet", "saw": "see", "helped": "help", "heard": "hear", "paid": "pay"}
PAST = {base: past for past, base in VERBS.items()}
QUALITIES = ["old", "young", "dark", "bright", "small", "tall"]
KINDS = ("who", "whom", "where")
WORDS = ("[pad]", "[cls]", "[sep]", ".", "?", "the", "in", "did", "somebody", *KINDS, *PEOPLE, *PLACES, *VERBS,
         *VERBS.values(), *QUALITIES)  # fmt: skip
SENTENCES, PHRASE = 4, 3  # and words of the longest phrase, "the old doctor"
LENGTH = 1 + 7 + 1 + SENTENCES * (3 * PHRASE + 3)  # tokens, with the longest question
NUMBERS = 6 + 4 + 2 + 1 + 1 + SENTENCES * (1 + 2 * 3)  # random ones of a story
SMALLEST = {"train": 256, "valid": 64}  # at which pages are tested


def answers(*, train: int = 1_000_000, valid: int = 2_000, seed: int = 0) -> Dataset:
    """x int32 [L]: "[cls]" (1), a question, "[sep]" (2), a story, and zeros behind.

    y int32 [2]: the numbers of the answer's first and last token.
    """
    check(train, valid, SENTENCES, least=1)
    made = generated(functools.partial(drawn), NUMBERS, train, valid, seed, 0)
    known = tokenize.load("json", tokenize.of_words(WORDS, unknown=WORDS[0]))
    return made._replace(words=len(WORDS), entropy=0.0, tokenizer=known)


def read(tokenizer: tokenize.Tokenizer, raw: bytes, length: int) -> Int32[np.ndarray, " L"]:
    """A text as the network reads it: a question to its "?", then the story."""
    ids, mark = tokenizer.encode(raw), WORDS.index("?")
    if (ids == 0).any():
        strange = texts.words(raw)[int(np.argmax(ids == 0))]
        raise ValueError(f"{strange!r} is no word of the run's stories; they have {', '.join(WORDS[3:])}")
    if mark not in ids:
        raise ValueError('no question; write it before the story, and a "?" behind it')
    end = int(np.argmax(ids == mark)) + 1
    made = [WORDS.index("[cls]"), *ids[:end], WORDS.index("[sep]"), *ids[end:]]
    if len(made) > length:
        raise ValueError(f"question and story have {len(made) - 2} words; this run reads {length - 2} at most")
    return np.array(made + [0] * (length - len(made)), np.int32)


def drawn(noise_BN: UInt64[np.ndarray, "B N"]) -> Batch:
    stories = [story(iter(map(int, row))) for row in noise_BN]
    number = {word: i for i, word in enumerate(WORDS)}
    x = [[number[word] for word in words] + [0] * (LENGTH - len(words)) for words, _ in stories]
    return {"x": np.array(x, np.int32), "y": np.array([span for _, span in stories], np.int32)}


def story(noise: Iterator[int]) -> tuple[list[str], tuple[int, int]]:
    """The words of a question and its story, and where the answer is."""
    doer, person, done_to, friend, *others = some(PEOPLE, 6, noise)
    places, (verb, other_verb) = some(PLACES, SENTENCES, noise), some(tuple(VERBS), 2, noise)
    with_friend = (person, friend) if next(noise) % 2 else (friend, person)
    pairs = [(doer, person), (person, done_to), with_friend, tuple(others)]
    verbs = [verb, verb, other_verb, verb]
    kind = KINDS[next(noise) % len(KINDS)]
    words = ["[cls]", *asked(kind, person, verb), "[sep]"]
    sentence, part = {"who": (0, 0), "whom": (1, 1), "where": (1, 2)}[kind]
    found = (0, 0)
    for i in some(range(SENTENCES), SENTENCES, noise):
        phrases = [phrase(noun, noise) for noun in (*pairs[i], places[i])]
        between = [[], [verbs[i]], ["in"]]
        for j in range(3):
            words += between[j]
            if (i, j) == (sentence, part):
                found = len(words), len(words) + len(phrases[j]) - 1
            words += phrases[j]
        words += ["."]
    return words, found


def asked(kind: str, person: str, verb: str) -> list[str]:
    if kind == "who":
        return ["who", verb, "the", person, "?"]
    return [kind, "did", "the", person, VERBS[verb], *["somebody"] * (kind == "where"), "?"]


def phrase(noun: str, noise: Iterator[int]) -> list[str]:
    """Every second one tells a quality."""
    has, which = next(noise) % 2, next(noise) % len(QUALITIES)
    return ["the", *[QUALITIES[which]] * has, noun]


def some(pool: Sequence, count: int, noise: Iterator[int]) -> list:
    """`count` different ones in random order."""
    left = list(pool)
    return [left.pop(next(noise) % len(left)) for _ in range(count)]


def phrases(text: Sequence[str]) -> list[list[tuple[int, int]]]:
    """First and last token of the three phrases of each sentence of a story, in order."""
    ends = {*PEOPLE, *PLACES}
    begin = text.index("[sep]") + 1
    starts = [i for i, word in enumerate(text) if word == "the" and i >= begin]
    spans = [(i, next(j for j in range(i, len(text)) if text[j] in ends)) for i in starts]
    return [spans[i : i + 3] for i in range(0, len(spans), 3)]
