"""What a scaling law is: one value, whose prediction is a pure JAX function of free coordinates and logs of columns.

P parameters of the law.  Any leading shape of theta broadcasts against any shape of the columns.
"""

import dataclasses
import functools
import itertools
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from scaling.laws.lazy import Array, jax, jit, jnp
from train.errors import UserError, suggest

Params = Mapping[str, Any]  # published name -> number, or an array with one entry per bootstrap draw
Powers = Mapping[str, "int | float | str | Power"]


class Power(NamedTuple):
    """The power of a column in a parameter's unit: constant + slope * exponent, or slope / exponent."""

    constant: float
    slope: float = 0.0
    exponent: str = ""  # the parameter it depends on; "" for a plain number
    inverse: bool = False

    @classmethod
    def parse(cls, power: "int | float | str | Power") -> "Power":
        """A number, or a parameter's name as in "alpha", "-alpha", "2 alpha", "1 - alpha", "1/alpha"."""
        if isinstance(power, Power):
            return power
        if not isinstance(power, str):
            return cls(float(power))
        for prefix, constant, slope in (("1 - ", 1.0, -1.0), ("1/", 0.0, 1.0), ("-", 0.0, -1.0), ("2 ", 0.0, 2.0)):
            if power.startswith(prefix):
                return cls(constant, slope, power.removeprefix(prefix), prefix == "1/")
        return cls(0.0, 1.0, power)

    def __str__(self) -> str:
        """As `parse` reads it, where it reads such a power."""
        if not self.exponent:
            return f"{self.constant:g}"
        if self.inverse:
            return f"{self.slope:g}/{self.exponent}"
        slope = {1.0: "", -1.0: "-"}.get(self.slope, f"{self.slope:g} ") + self.exponent
        return slope if not self.constant else f"({self.constant:g} + {slope})".replace("+ -", "- ")

    def value(self, named: Mapping[str, Any]) -> Any:
        """Of published parameters; a plain number where it depends on none."""
        if not self.exponent:
            return self.constant
        value = named[self.exponent]
        with np.errstate(divide="ignore"):
            return self.slope / value if self.inverse else self.constant + self.slope * value


class Param(NamedTuple):
    """A parameter as published, its unit, and how it is fitted.

    `powers` gives the unit: column -> power, a number or the name of the exponent that it is ("alpha", "-q",
    "1/alpha_N").  A change of a column's unit then changes the parameter and no prediction.
    """

    name: str
    kind: str  # "positive": fitted as its log; "real": as it is; "log": is itself the log of something
    powers: Powers = types.MappingProxyType({})
    meaning: str = ""

    @property
    def parsed(self) -> dict[str, Power]:
        return _parsed(tuple(self.powers.items()))

    @property
    def exponents(self) -> set[str]:
        """Parameters that occur in the unit."""
        return {power.exponent for power in self.parsed.values() if power.exponent}

    @property
    def unit(self) -> str:
        """As a reader writes it: 'loss · n^alpha'."""
        return " · ".join(column if power == 1 else f"{column}^{power}" for column, power in self.powers.items())


@functools.cache
def _parsed(powers: tuple[tuple[str, int | float | str | Power], ...]) -> dict[str, Power]:
    return {column: Power.parse(power) for column, power in powers}


def positive(name: str, meaning: str = "", **powers: Any) -> Param:
    return Param(name, "positive", powers, meaning)


def real(name: str, meaning: str = "", **powers: Any) -> Param:
    return Param(name, "real", powers, meaning)


def logarithm(name: str, meaning: str = "", **powers: Any) -> Param:
    return Param(name, "log", powers, meaning)


@dataclasses.dataclass(frozen=True, eq=False)  # eq=False: hashed by identity, so a law can be a static argument of jit
class Law:
    """A law in free coordinates theta: logs of positive parameters, the others as they are.

    `predict(theta, *logs of inputs)` is the log of the output (the output itself where `space` is "linear"), and is
    what is fitted.  A law is closed under changes of unit, so the fit sees each column as the log of its ratio to its
    geometric mean: that takes the Hessian's condition number from 1e11 to 1e3 for Chinchilla's law, and lets one grid
    of `starts` serve data of any size and unit.
    """

    name: str
    equation: str
    source: str
    inputs: tuple[str, ...]  # columns the law reads, in the order `predict` takes them
    params: tuple[Param, ...]
    predict: Callable[..., Array]  # (theta, *log inputs) -> log output; theta unpacks along its first axis
    starts: tuple[tuple[float, ...], ...]  # theta in centred coordinates; entries of `linear` are solved for
    output: str = "loss"
    space: str = "log"
    linear: tuple[str, ...] = ()  # positive parameters that the output is a sum over: variable projection
    units: Mapping[str, str | None] = types.MappingProxyType({})  # column -> the column whose unit it shares, or None
    levels: Mapping[str, int] = types.MappingProxyType({})  # distinct values an input needs; 3 where it is not named
    delta: float = 1e-3  # where the Huber loss turns linear if nothing else is asked; inf: least squares
    floor: str | None = None  # the parameter that is left of the output as every input grows
    ceiling: str | None = None  # the parameter that the output comes to as the inputs vanish
    same_as: str = ""  # what this law is in other letters, as `fit.select` calls it
    logs: "Law | None" = None  # this law in log space, where `measured` has put it into the output's own
    formula: str = ""  # the reader's own text that the law was made from
    file: str = ""  # the reader's own file that it is in
    groups: tuple[str, ...] = ()  # labels of the input "group", in the order in which the law numbers them from 1
    of_groups: Callable[[tuple[str, ...]], "Law"] | None = None  # this law for other labels
    derived: Mapping[str, Callable[[Params], Any]] = types.MappingProxyType({})
    exponents: tuple[str, str] | None = None  # of N and of D, where N_opt ~ C^(second / (first + second))
    optimum: Callable[..., dict[str, Any]] | None = None  # (theta, log C) -> logs of n, d, loss; None: by search
    typical: Mapping[str, tuple[float, float]] = types.MappingProxyType({})  # what published fits have shown

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(param.name for param in self.params)

    @property
    def trades(self) -> bool:
        """Does the law trade parameters against tokens, so that compute has a best split?"""
        return self.output == "loss" and {"n", "d"} <= set(self.inputs)

    @property
    def splits(self) -> bool:
        """Does it trade nothing else, so that compute alone decides the best split?"""
        return self.trades and len(self.inputs) == 2

    @property
    def headline(self) -> str:
        """The constant that tables of choices follow: an exponent of the law, where it has one.

        Laws that split compute are followed by the exponent of their best size instead (`influence.read`).
        """
        return next((p.name for p in self.params if p.kind == "real"), self.params[0].name)

    def natural(self, values: Any) -> Any:
        """What `predict` returns, as the output is measured."""
        return np.exp(values) if self.space == "log" else values

    def response(self, measured: Any) -> np.ndarray:
        """The measured output in the space of the fit: the inverse of `natural`."""
        measured = np.asarray(measured, np.float64)
        return np.log(measured) if self.space == "log" else measured

    @property
    def in_logs(self) -> "Law":
        """The law whose `predict` is in logs, if it has one: what optima are found with."""
        return self.logs or self

    def index(self, name: str) -> int:
        if name not in self.names:
            raise UserError(f"{self.name} has no parameter {name!r}{suggest(name, self.names)}")
        return self.names.index(name)

    def free(self, params: Params) -> np.ndarray:
        """theta [..., P] of published parameters."""
        missing = set(self.names) - set(params)
        if missing:
            raise UserError(f"{self.name} needs {sorted(missing)} too; its parameters are {list(self.names)}")
        with np.errstate(all="ignore"):
            values = [np.log(params[p.name]) if p.kind == "positive" else params[p.name] for p in self.params]
        return np.stack(np.broadcast_arrays(*(np.asarray(v, np.float64) for v in values)), -1)

    def published(self, theta: Any) -> dict[str, Any]:
        """Published parameters of theta [..., P]; beyond the range of float64 they are inf or 0."""
        with np.errstate(over="ignore"):
            parts = zip(self.params, np.moveaxis(np.asarray(theta, np.float64), -1, 0), strict=True)
            return {p.name: np.exp(v) if p.kind == "positive" else v for p, v in parts}

    def rescale(self, theta: Any, units: Mapping[str, float], sign: float = 1.0) -> np.ndarray:
        """theta [..., P] of columns in other units: `units` are logs of what one new unit is of an old one.

        From centred coordinates to raw ones with the logs of the geometric means; with `sign` -1 the way back.
        """
        theta = np.array(theta, np.float64)
        named = self.published(theta)  # a power that is an exponent is its value, whatever is fitted of it
        shifts = [
            sum(power.value(named) * units.get(column, 0.0) for column, power in param.parsed.items()) * sign
            for param in self.params
        ]
        for i, (param, shift) in enumerate(zip(self.params, shifts, strict=True)):
            if param.powers:
                theta[..., i] = theta[..., i] * np.exp(shift) if param.kind == "real" else theta[..., i] + shift
        return theta

    def at(self, theta: Any, *logs: Any) -> np.ndarray:
        """log output (or output, where `space` is "linear") of theta [..., P] at logs of the inputs, which broadcast.

        Float64, whatever precision the process trains in.  Logs, so that a resample whose exponents ran off overflows
        nowhere.
        """
        theta = np.moveaxis(np.asarray(theta, np.float64), -1, 0)
        given = [*theta, *(np.asarray(x, np.float64) for x in logs)]
        shape = np.broadcast_shapes(*(v.shape for v in given))
        given = [np.broadcast_to(v, shape).flat for v in given]  # copied block by block
        size = math.prod(shape)
        block = next((block for block in BLOCKS if size <= block), BLOCKS[-1])
        out = np.empty(size)
        with jax.enable_x64(True):
            for i in range(0, size, block):
                part = [np.resize(v[i : i + block], block) for v in given]
                found = _evaluate(self.predict, np.stack(part[: len(theta)]), *part[len(theta) :])
                out[i : i + block] = np.asarray(found)[: size - i]
        return out.reshape(shape)

    def __call__(self, params: Params, *inputs: Any) -> Any:
        """The output itself, of published parameters and inputs as they are measured."""
        logs = (np.log(np.asarray(x, np.float64)) for x in inputs)
        return np.asarray(self.natural(self.at(self.free(params), *logs)))


def best_split(of_n: str, of_d: str) -> dict[str, Callable[[Params], Any]]:
    """Exponents a of N_opt ~ C^a and b of D_opt ~ C^b, where loss falls as N^-`of_n` and D^-`of_d` in separate terms.

    At the optimum the two terms' slopes are equal, so a = of_d / (of_n + of_d) and b = 1 - a.
    """
    return {"a": lambda p: p[of_d] / (p[of_n] + p[of_d]), "b": lambda p: p[of_n] / (p[of_n] + p[of_d])}


@functools.cache
def measured(law: Law) -> Law:
    """`law` compared with the output itself instead of its logarithm: residuals are then nats, where it is a loss."""
    if law.space != "log":
        return law
    return dataclasses.replace(
        law, space="linear", logs=law, predict=lambda theta, *logs: jnp.exp(law.predict(theta, *logs))
    )


BLOCKS = (1 << 8, 1 << 12, 1 << 16)  # predictions evaluated together: few shapes are few programs to compile
_evaluate = jit(lambda predict, theta, *logs: predict(theta, *logs), static_argnums=0)


def grid(*values: Any) -> tuple[tuple[float, ...], ...]:
    """Starting points: every combination of the values of each parameter."""
    return tuple(itertools.product(*values))


def log_sum(*logs: Array) -> Array:
    """log(e^a + e^b + …) without overflow; the largest is only a shift, so no derivative goes through it."""
    largest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, logs))
    return largest + jnp.log(functools.reduce(jnp.add, (jnp.exp(v - largest) for v in logs)))
