"""How often rules without learning find the answers of the page answers_bert.

    uv run python -m scripts.score.answers

words    the part that is asked for, of the sentence that shares most words with the question; of equal ones the first
place    the span that is the commonest answer to questions of that kind, among 100,000 stories
"""

from collections import Counter

import numpy as np

from data import answers


def main() -> None:
    dataset = answers.answers()
    held, known = dataset.valid.gather(np.arange(2_000)), dataset.train.gather(np.arange(100_000))
    kind = lambda x_BL: x_BL[:, 1]  # a question begins with its kind
    commonest = {
        k: Counter(map(tuple, known["y"][kind(known["x"]) == k].tolist())).most_common(1)[0][0]
        for k in np.unique(kind(known["x"]))
    }
    placed = np.array([commonest[k] for k in kind(held["x"])])
    shared = np.array([by_words([answers.WORDS[i] for i in row if i]) for row in held["x"]])
    for name, said in (("words", shared), ("place", placed)):
        print(f"{name:<6} exact_match {(said == held['y']).all(1).mean():.4f}")


def by_words(text: list[str]) -> tuple[int, int]:
    """First and last token of the answer, as who takes a sentence for a bag of words has it."""
    question = {answers.PAST.get(word, word) for word in text[: text.index("[sep]")]}
    found = answers.phrases(text)
    overlap = [len(question & set(text[spans[0][0] : spans[-1][1] + 1])) for spans in found]
    spans = found[int(np.argmax(overlap))]
    if text[1] == "where":
        return spans[2]
    mine = [span for span in spans[:2] if text[span[1]] not in question]
    return (mine or spans)[0]


if __name__ == "__main__":
    main()
