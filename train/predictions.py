"""What networks say of inputs: a task returns one of these from its `predict`, with arrays of the device.

Read back (train/predict.py), arrays are NumPy's and `names` are the data's.  N inputs, K classes, P boxes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

MANY = 10  # classes, of more a row tells the likeliest
TOP = 5
LEAST = 0.2  # score of a box that a row tells of
Row = dict[str, Any]
Cells = dict[str, Sequence[Any] | np.ndarray]  # name of a column → its cell for each input


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

    def cells(self) -> Cells:
        if self.probabilities.ndim == 2:
            return self.of_inputs(self.probabilities)
        if self.probabilities.ndim == 4:
            best_NHW = self.probabilities.argmax(-1)
            return {f"share:{name}": (best_NHW == k).mean((1, 2)) for k, name in enumerate(self.names)}
        likeliest = self.probabilities.max(-1).reshape(len(self.probabilities), -1)
        return {"class": [" ".join(best.ravel()) for best in self.best], "probability": likeliest.prod(1)}

    def of_inputs(self, p_NK: np.ndarray) -> Cells:
        names = np.array(self.names)
        if self.classes <= MANY:
            each = {f"p:{name}": p_NK[:, k] for k, name in enumerate(self.names)}
            return {"class": self.best.tolist(), "probability": p_NK.max(1), **each}
        order_NT = np.argsort(-p_NK, axis=1, kind="stable")[:, :TOP]
        cells: Cells = {}
        for rank, k_N in enumerate(order_NT.T):
            after = f"_{rank + 1}" * (rank > 0)
            cells[f"class{after}"] = names[k_N].tolist()
            cells[f"probability{after}"] = np.take_along_axis(p_NK, k_N[:, None], 1)[:, 0]
        return cells


class Numbers(NamedTuple):
    """Numbers for each input; read back they are in the data's own units."""

    values: Any  # [N, ...]
    names: tuple[str, ...] = ()

    def cells(self) -> Cells:
        flat = self.values.reshape(len(self.values), -1)
        stem = self.names[0] if self.names else "y"
        names = [stem] if flat.shape[1] == 1 else [f"{stem}+{i + 1}" for i in range(flat.shape[1])]
        return dict(zip(names, flat.T, strict=True))


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

    def cells(self) -> Cells:
        return {"labels": [" ".join(labels) for labels in self.best]}


class Boxes(NamedTuple):
    """Objects: left, top, right, bottom as shares of the image, and the score of each box as each class."""

    corners: Any  # [N, P, 4]
    scores: Any  # [N, K, P]; 0 where another box of the class stands for it
    names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return self.scores.shape[1]

    def cells(self) -> Cells:
        return {"objects": list(map(self.objects, self.corners, self.scores))}

    def objects(self, corners_P4: np.ndarray, scores_KP: np.ndarray) -> list[Row]:
        """Those of one image, the best first."""
        classes, boxes = np.nonzero(scores_KP >= LEAST)
        order = np.argsort(-scores_KP[classes, boxes], kind="stable")
        return [
            {"class": self.names[k], "score": float(scores_KP[k, p]), "box": [float(v) for v in corners_P4[p]]}
            for k, p in zip(classes[order], boxes[order], strict=True)
        ]


class Spans(NamedTuple):
    """A part of each text: its first and last token, and how likely that is."""

    first: Any  # [N]
    last: Any  # [N]
    probability: Any  # [N]
    text: Any = ()  # [N]: the words of the part, where the texts are of words
    names: tuple[str, ...] = ()

    def cells(self) -> Cells:
        places: Cells = {"first": self.first, "last": self.last, "probability": self.probability}
        return {"answer": list(self.text), **places} if len(self.text) else places


class Texts(NamedTuple):
    """How likely a language model finds texts or sounds: of each its tokens but the first, given those before."""

    tokens: Any  # [N]: how many were predicted
    log_likelihood: Any  # [N]: nats, a sum
    bits_per_byte: Any  # [N]; NaN for what is no text
    names: tuple[str, ...] = ()

    def cells(self) -> Cells:
        per_token = -self.log_likelihood / self.tokens
        cells: Cells = {"tokens": self.tokens, "log_likelihood": self.log_likelihood, "nats_per_token": per_token}
        return cells if np.isnan(self.bits_per_byte).all() else cells | {"bits_per_byte": self.bits_per_byte}


Prediction = Classes | Numbers | Labels | Boxes | Spans | Texts


def rows(cells: Cells) -> Iterator[Row]:
    """What is told of each input, one after the other."""
    return (dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True))


def joined(parts: list[Prediction]) -> Prediction:
    """One prediction of all the inputs of several."""
    first = parts[0]
    arrays = {k: np.concatenate([getattr(p, k) for p in parts]) for k in first._fields if k != "names"}
    return first._replace(**arrays)
