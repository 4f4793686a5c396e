"""What networks say of inputs: a task returns one of these from its `predict`, with arrays of the device.

Read back (train/predict.py), arrays are NumPy's and `names` are the data's.  N inputs, K classes, P boxes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

MANY = 10  # classes, of more a row tells the likeliest
TOP = 5
LEAST = 0.2  # score of a box that a row tells of
Row = dict[str, Any]


class Classes(NamedTuple):
    """One of K classes for each input, or for each of its tokens or pixels."""

    probabilities: Any  # [N, ..., K]
    names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return self.probabilities.shape[-1]

    @property
    def best(self) -> np.ndarray:
        """The names of the likeliest classes, [N, ...]."""
        return np.array(self.names)[np.argmax(self.probabilities, -1)]

    def rows(self) -> Iterator[Row]:
        if self.probabilities.ndim == 2:
            return map(self.of_input, self.probabilities)
        return map(self.of_pixels if self.probabilities.ndim == 4 else self.of_tokens, self.best, self.probabilities)

    def of_input(self, p_K: np.ndarray) -> Row:
        best = int(p_K.argmax())
        row: Row = {"class": self.names[best], "probability": float(p_K[best])}
        if len(p_K) <= MANY:
            return row | {f"p:{name}": p for name, p in zip(self.names, p_K.tolist(), strict=True)}
        for rank, k in enumerate(np.argsort(-p_K, kind="stable")[1:TOP], 2):
            row |= {f"class_{rank}": self.names[k], f"probability_{rank}": float(p_K[k])}
        return row

    def of_tokens(self, best: np.ndarray, p: np.ndarray) -> Row:
        return {"class": " ".join(best.ravel()), "probability": float(p.max(-1).prod())}

    def of_pixels(self, best_HW: np.ndarray, p: np.ndarray) -> Row:
        return {f"share:{name}": float((best_HW == name).mean()) for name in self.names}


class Numbers(NamedTuple):
    """Numbers for each input; read back they are in the data's own units."""

    values: Any  # [N, ...]
    names: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row]:
        flat = self.values.reshape(len(self.values), -1)
        stem = self.names[0] if self.names else "y"
        names = [stem] if flat.shape[1] == 1 else [f"{stem}+{i + 1}" for i in range(flat.shape[1])]
        return (dict(zip(names, line, strict=True)) for line in flat.tolist())


class Labels(NamedTuple):
    """As many classes as there are in each input, in order."""

    path: Any  # [N, T]: the class of every frame; repeats are one, and class 0 is none
    names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Not known: of each frame only the likeliest class is left."""
        return 0

    @property
    def best(self) -> list[list[str]]:
        before = np.pad(self.path[:, :-1], ((0, 0), (1, 0)))
        begins = (self.path != 0) & (self.path != before)
        return [[self.names[k] for k in line[new]] for line, new in zip(self.path, begins, strict=True)]

    def rows(self) -> Iterator[Row]:
        return ({"labels": " ".join(labels)} for labels in self.best)


class Boxes(NamedTuple):
    """Objects: left, top, right, bottom as shares of the image, and the score of each box as each class."""

    corners: Any  # [N, P, 4]
    scores: Any  # [N, K, P]; 0 where another box of the class stands for it
    names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return self.scores.shape[1]

    def rows(self) -> Iterator[Row]:
        for corners_P4, scores_KP in zip(self.corners, self.scores, strict=True):
            classes, boxes = np.nonzero(scores_KP >= LEAST)
            order = np.argsort(-scores_KP[classes, boxes], kind="stable")
            found = [
                {"class": self.names[k], "score": float(scores_KP[k, p]), "box": [float(v) for v in corners_P4[p]]}
                for k, p in zip(classes[order], boxes[order], strict=True)
            ]
            yield {"objects": found}


class Texts(NamedTuple):
    """How likely a language model finds texts: of each its tokens but the first, given those before."""

    tokens: Any  # [N]: how many were predicted
    log_likelihood: Any  # [N]: nats, a sum
    bits_per_byte: Any  # [N]
    names: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row]:
        for tokens, likelihood, bits in zip(self.tokens, self.log_likelihood, self.bits_per_byte, strict=True):
            per_token = float(likelihood) / int(tokens)
            yield {
                "tokens": int(tokens),
                "log_likelihood": float(likelihood),
                "nats_per_token": -per_token,
                "bits_per_byte": float(bits),
            }


Prediction = Classes | Numbers | Labels | Boxes | Texts


def joined(parts: list[Prediction]) -> Prediction:
    """One prediction of all the inputs of several."""
    first = parts[0]
    arrays = {k: np.concatenate([getattr(p, k) for p in parts]) for k in first._fields if k != "names"}
    return first._replace(**arrays)
