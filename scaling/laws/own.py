"""The reader's own law: a formula that is parsed, or a Python file with one `Law` that its user hands over."""

import dataclasses
import functools
import inspect
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from scaling.laws import dimensions, evaluate
from scaling.laws.api import Law, Param, measured
from scaling.laws.formula import Formula, Name, Node, Product, Sum, names, parse
from scaling.laws.lazy import jnp
from train.code import execute
from train.errors import UserError, suggest

INPUTS = {
    "N": "n", "D": "d", "C": "c", "U": "u", "P": "p", "x": "x", "L": "loss", "loss": "loss", "lr": "lr",
    "batch": "batch", "s_min": "s_min", "c_min": "c_min",
}  # fmt: skip
OUTPUTS = {
    "L": "loss", "loss": "loss", "error": "error", "accuracy": "accuracy", "lr": "lr", "batch": "batch",
    "added_loss": "added_loss",
}  # fmt: skip
RESERVED = ("level", "method", "draws")  # keys of fit.json beside a constant's interval
STARTS = 256  # at most


@functools.cache
def from_formula(text: str) -> Law:
    """The law of a formula such as "L = E + A / N^alpha + B / D^beta".

    `INPUTS` are the names that stand for columns; every other name is a parameter.  A parameter is positive, and fitted
    as its logarithm, unless it stands somewhere in an exponent or in the argument of exp or sigmoid: then it may have
    either sign.  Starting points spread over signs and orders of magnitude; units come from `dimensions`, and a column
    whose unit they do not explain is fitted as it is.
    """
    formula = parse(text)
    output = _output(formula)
    found = list(names(formula.right))
    read = {name.text for name, _ in found}
    inputs = dict.fromkeys(symbol for symbol, column in INPUTS.items() if symbol in read and column != output)
    kinds: dict[str, str] = {}
    for name, exponent in found:
        if name.text in inputs:
            continue
        if name.text in (*RESERVED, *INPUTS, *OUTPUTS):
            raise UserError(f"formula, character {name.at}: {name.text!r} cannot be a parameter; rename it")
        kinds[name.text] = "real" if exponent or kinds.get(name.text) == "real" else "positive"
    _complete(formula, inputs, kinds)
    columns = {symbol: INPUTS[symbol] for symbol in inputs}
    space = "linear" if output in ("error", "accuracy") else "log"
    tree, order = formula.right, (*kinds, *inputs)

    def predict(theta: Any, *x: Any, xp: Any = jnp) -> Any:
        values = dict(zip(order, (*theta, *x), strict=True))
        return (evaluate.value if space == "linear" else evaluate.log)(tree, values, kinds, xp)

    linear, floor = _amplitudes(tree, kinds) if space == "log" else ((), None)
    law = Law(
        name="formula",
        equation=" ".join(text.split()),
        source="the reader's own formula; "
        + "; ".join(
            f"{word}: {', '.join(some)}"
            for kind, word in (("positive", "positive"), ("real", "of either sign"))
            if (some := [name for name, k in kinds.items() if k == kind])
        ),
        inputs=tuple(columns.values()),
        params=tuple(Param(name, kind) for name, kind in kinds.items()),
        predict=predict,
        starts=_starts(kinds, linear),
        output=output,
        space=space,
        linear=linear,
        floor=floor,
        formula=text,
    )
    return _with_units(law, tree, columns, functools.partial(predict, xp=np))


def _output(formula: Formula) -> str:
    if formula.left is None:
        return "loss"
    if formula.left.text not in OUTPUTS:
        raise UserError(
            f"formula, character {formula.left.at}: {formula.left.text!r} is nothing that a law predicts"
            f"{suggest(formula.left.text, OUTPUTS)}"
        )
    return OUTPUTS[formula.left.text]


def _complete(formula: Formula, inputs: Mapping[str, None], kinds: Mapping[str, str]) -> None:
    """Refuses a formula without inputs or parameters, and one whose left side lists other inputs."""
    if not inputs:
        raise UserError(
            f"the formula {formula.text!r} reads no column; names of columns are {', '.join(INPUTS)}, and "
            f"{', '.join(kinds) or 'nothing'} would be parameters"
        )
    if not kinds:
        raise UserError(f"the formula {formula.text!r} has no parameter to fit")
    listed = [name.text for name in formula.given]
    for name in formula.given:
        if name.text not in inputs:
            raise UserError(
                f"formula, character {name.at}: {name.text!r} is listed on the left and read nowhere on the right"
            )
    left_out = [name for name in inputs if name not in listed]
    if listed and left_out:
        raise UserError(f"the formula reads {', '.join(left_out)}, which its left side does not list")


# What a fit needs beside the formula.


def _amplitudes(tree: Node, kinds: Mapping[str, str]) -> tuple[tuple[str, ...], str | None]:
    """Parameters that the formula is a sum over, one a term, where it is such a sum; and the one that stands alone."""
    terms = tree.terms if isinstance(tree, Sum) else ((1, tree),)
    uses = [name.text for name, _ in names(tree)]
    found, alone = [], []
    for sign, term in terms:
        factors = term.factors if isinstance(term, Product) else ((1, term),)
        free = [
            factor.text
            for over, factor in factors
            if over > 0 and isinstance(factor, Name) and kinds.get(factor.text) == "positive"
            if uses.count(factor.text) == 1
        ]
        if sign < 0 or not free or not evaluate.positive(term, kinds):
            return (), None
        found.append(free[0])
        alone += free if isinstance(term, Name) else []
    return tuple(found), alone[0] if len(alone) == 1 and len(terms) > 1 else None


def _starts(kinds: Mapping[str, str], linear: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
    """An even sequence in as many dimensions as there are parameters that variable projection does not solve for.

    Exponents take both signs, two of three positive, of sizes .03 to 1.5; others e^-3 to e^3 of a typical value.
    """
    free = [name for name in kinds if name not in linear]
    ratio = 2.0  # the root of x^(k + 1) = x + 1: its powers are the steps of an even sequence in k dimensions
    for _ in range(60):
        ratio = (1.0 + ratio) ** (1.0 / (len(free) + 1))
    count = min(STARTS, 24 * 2 ** len(free))
    even = (0.5 + np.arange(1, count + 1)[:, None] * ratio ** -np.arange(1.0, len(free) + 1)) % 1.0
    columns = {name: np.zeros(count) for name in linear}
    for name, u in zip(free, even.T, strict=True):
        if kinds[name] == "positive":
            columns[name] = 6.0 * u - 3.0
        else:
            size = np.where(u < 1 / 3, 3 * u, 1.5 * u - 0.5)
            columns[name] = np.where(u < 1 / 3, -1.0, 1.0) * 0.03 * 50.0**size
    return tuple(map(tuple, np.stack([columns[name] for name in kinds], 1).tolist()))


def _with_units(law: Law, tree: Node, columns: Mapping[str, str], predict: Callable[..., Any]) -> Law:
    """`law` with the units of its parameters; a column is left uncentred where they do not make the law closed."""
    powers: dict[str, dict[str, Any]] = {name: {} for name in law.names}
    units: dict[str, str | None] = {}
    for column in (*law.inputs, law.output):
        if column == law.output and law.space != "log":
            continue
        try:
            found = dimensions.powers(tree, columns, column, 1.0 if column == law.output else 0.0)
            alone = _of_units(law, {name: {column: power} for name, power in found.items()})
            if not _closed(alone, column, predict):
                raise dimensions.Inconsistent
        except dimensions.Inconsistent:
            units[column] = None
            continue
        for name, power in found.items():
            powers[name][column] = power
    return dataclasses.replace(_of_units(law, powers), units=units)


def _of_units(law: Law, powers: Mapping[str, Mapping[str, Any]]) -> Law:
    return dataclasses.replace(law, params=tuple(p._replace(powers=powers.get(p.name, {})) for p in law.params))


def _closed(law: Law, column: str, predict: Callable[..., Any]) -> bool:
    """Does a change of the column's unit leave every prediction where it was?  Tried at some starting points."""
    theta = np.asarray(law.starts)[:16]
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (len(law.inputs), 1, 5))
    shift = {column: 0.7}
    with np.errstate(all="ignore"):
        before = predict(theta.T[..., None], *x) + shift.get(law.output, 0.0)
        moved = [v + shift.get(name, 0.0) for name, v in zip(law.inputs, x, strict=True)]
        after = predict(law.rescale(theta, shift).T[..., None], *moved)
        known = np.isfinite(before) & np.isfinite(after)
        return bool(known.any() and np.abs(after - before)[known].max() < 1e-9)


# A law in a file, and a law again from what fit.json holds.


def from_file(path: str | pathlib.Path) -> Law:
    """The one `Law` of a Python file.  The file is executed: it is code that its user hands over."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"--law-file {path} does not exist; it is a Python file with one scaling.laws.Law")
    try:
        module = execute(path, "own_law", f"--law-file {path}")
    except UserError:
        raise
    except Exception as error:
        line = next((f.lineno for f in reversed(inspect.trace()) if f.filename == str(path)), None)
        line = error.lineno if isinstance(error, SyntaxError) else line
        at = f", line {line}" if line else ""
        raise UserError(f"--law-file {path}{at}: {type(error).__name__}: {error}") from error
    # Laws that the file only imports, to build on them, are not its own.
    from scaling.laws import LAWS

    known = {id(law) for law in LAWS.values()}
    laws = {name: v for name, v in vars(module).items() if isinstance(v, Law) and id(v) not in known}
    if len({id(v) for v in laws.values()}) != 1:
        raise UserError(
            f"--law-file {path} must hold one Law of its own; it holds {', '.join(laws) or 'none'}: `name = Law(...)`"
        )
    law = next(iter(laws.values()))
    # The solver gives one array a parameter; a file may compute with all of them as one.
    predict = lambda theta, *logs: law.predict(jnp.asarray(theta), *logs)
    return dataclasses.replace(law, file=str(path), predict=predict)


def again(found: Mapping[str, Any], file: str | pathlib.Path | None = None) -> Law:
    """The law that fit.json holds, in the space that it was fitted in."""
    law = _named(found, file)
    return measured(law) if found["space"] == law.output else law


def _named(found: Mapping[str, Any], file: str | pathlib.Path | None) -> Law:
    """The law that fit.json names.  Of a law in a file it is asked for again: reading fit.json executes nothing."""
    from scaling.laws import LAWS

    if found.get("formula"):
        return from_formula(found["formula"])
    if found.get("law_file"):
        if file is None:
            raise UserError(
                f"this fit is of the law {found['law']!r} in {found['law_file']}; give that file again, with --law-file"
            )
        law = from_file(file)
        if law.name != found["law"] or set(law.names) != set(found["params"]):
            raise UserError(f"--law-file {file} holds {law.name!r}, which is not the {found['law']!r} that was fitted")
        return law
    law = LAWS[found["law"]]
    return law.of_groups(tuple(found["groups"])) if law.of_groups else law
