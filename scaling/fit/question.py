"""What is asked of rows: a law, the loss that compares it with them, and the parameters that are held."""

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from scaling.laws.api import Law, measured
from train.errors import UserError

SPACES = ("log", "loss")
METHODS = ("residual", "pairs", "cluster")  # of the bootstrap, see fit/intervals.py
LOG_MSE = math.inf  # a Huber loss that is quadratic everywhere: pass as `delta` for least squares


@dataclasses.dataclass(frozen=True)
class Question:
    """One value that every fit, resample, forecast and table of choices carries unchanged.

    `pin` holds published parameters at values; `tie` holds an exponent equal to another (name -> the other).
    """

    law: Law
    # Where the Huber loss of residuals turns linear, inf for least squares.  Not given, it is the law's own: 1e-3
    # (Hoffmann et al. 2022), or inf for step laws.
    delta: float = math.nan
    pin: Mapping[str, float] = types.MappingProxyType({})
    tie: Mapping[str, str] = types.MappingProxyType({})
    space: Literal["log", "loss"] = "log"  # of residuals; "loss": the output itself, and delta is in its unit

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise UserError(f"space is {self.space!r}; residuals are taken in {' or '.join(SPACES)}")
        if self.space == "loss":
            object.__setattr__(self, "law", measured(self.law))
        if math.isnan(self.delta):
            object.__setattr__(self, "delta", self.law.delta)
        if not self.delta > 0:
            raise UserError(
                f"delta is {self.delta:g}; it is a size of residuals, and positive: "
                f"1e-3 as published, inf for least squares"
            )

    @property
    def free(self) -> int:
        """How many parameters are fitted."""
        return len(self.law.params) - len(self.pin) - len(self.tie)

    @property
    def held(self) -> list[str]:
        """What is held, as a reader writes it: "E = 1.69", "beta = alpha"."""
        return [f"{k} = {v:g}" for k, v in self.pin.items()] + [f"{k} = {v}" for k, v in self.tie.items()]

    def constraints(self, units: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Centred coordinates [P] of what is pinned (0 elsewhere), and one column [P, F] a free direction.

        `units` are logs of the columns' geometric means.
        """
        law = self.law
        basis = np.eye(len(law.params))
        for name, other in self.tie.items():
            i, j = law.index(name), law.index(other)
            for param in (law.params[i], law.params[j]):
                if param.powers or name == other or other in self.pin or name in self.pin:
                    raise UserError(f"{name} cannot be tied to {other}: only two exponents that are not pinned can be")
            basis[i, j] = 1.0
        raw = np.zeros(len(law.params))
        for name, value in self.pin.items():
            i = law.index(name)
            if law.params[i].kind == "positive" and not value > 0:
                raise UserError(f"{name} is pinned at {value:g}, but it is positive")
            loose = sorted(law.params[i].exponents - set(self.pin))
            if loose:
                raise UserError(
                    f"{name} has the unit {law.params[i].unit}, so it can be pinned only along with {loose}"
                )
            raw[i] = math.log(value) if law.params[i].kind == "positive" else value
        held = [law.index(name) for name in self.pin]
        base = np.zeros(len(law.params))
        with np.errstate(invalid="ignore"):  # of what is not held, whose exponents are unknown
            base[held] = law.rescale(raw, units, sign=-1.0)[held]
        basis[held] = 0.0
        return base, np.delete(basis, held + [law.index(name) for name in self.tie], axis=1)


class Below(NamedTuple):
    """Where training stops: runs whose `role` is below `most` are fitted, all others are forecast."""

    role: str  # "c": compute, or the law's first input where it knows none; or any column
    most: float


def question(ask: Law | Question) -> Question:
    """A law alone asks with the published loss and holds nothing."""
    return ask if isinstance(ask, Question) else Question(ask)
