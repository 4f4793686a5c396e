"""The units of a formula's parameters, from the rule that all terms of a sum have one unit.

The power of one column in a unit is a polynomial in the exponents: alpha of n in A, where A / N^alpha is a loss.
"""

from collections.abc import Mapping

from scaling.laws import api
from scaling.laws.formula import Call, Name, Node, Number, Power, Product, Sum, names

Monomial = tuple[tuple[str, int], ...]  # (("alpha", 1), ("beta", -1)) is alpha / beta; () is 1
Polynomial = dict[Monomial, float]
ONE: Monomial = ()


class Inconsistent(Exception):
    """No units make the terms of every sum alike, or none that a parameter of a law can have."""


def powers(node: Node, inputs: Mapping[str, str], column: str, target: float) -> dict[str, float | api.Power]:
    """Parameter -> the power of `column` in its unit, where `node` has `column` to the power `target`.

    `inputs` are names in the formula -> columns.  Raises Inconsistent.
    """
    solver = _Solver(inputs, column)
    solver.assign(node, {ONE: target} if target else {})
    return {name: _power(unit) for name, unit in solver.units.items() if unit}


def _power(unit: Polynomial) -> float | api.Power:
    """As a law's parameter writes it: a number, number + slope * exponent, or slope / exponent."""
    rest = {monomial: v for monomial, v in unit.items() if monomial != ONE}
    if not rest:
        return unit[ONE]
    ((monomial, slope),) = rest.items() if len(rest) == 1 else (((), 0.0),)
    if len(monomial) == 1 and monomial[0][1] == 1:
        return api.Power(unit.get(ONE, 0.0), slope, monomial[0][0])
    if len(monomial) == 1 and monomial[0][1] == -1 and ONE not in unit:
        return api.Power(0.0, slope, monomial[0][0], True)
    raise Inconsistent


def _add(a: Polynomial, b: Polynomial, sign: int = 1) -> Polynomial:
    total = {monomial: a.get(monomial, 0.0) + sign * b.get(monomial, 0.0) for monomial in {*a, *b}}
    return {monomial: v for monomial, v in total.items() if abs(v) > 1e-12}


def _times(a: Polynomial, b: Polynomial, sign: int = 1) -> Polynomial:
    """a b, or a / b with `sign` -1, where b is then a single term."""
    if sign < 0 and len(b) != 1:
        raise Inconsistent
    total: Polynomial = {}
    for left, x in a.items():
        for right, y in b.items():
            counts = dict(left)
            for name, power in right:
                counts[name] = counts.get(name, 0) + sign * power
            monomial = tuple(sorted((name, power) for name, power in counts.items() if power))
            total = _add(total, {monomial: x * y**sign})
    return total


class _Solver:
    """Units [parameter -> power of one column] that have been found."""

    def __init__(self, inputs: Mapping[str, str], column: str) -> None:
        self.inputs, self.column = inputs, column
        self.units: dict[str, Polynomial] = {}

    def number(self, node: Node) -> Polynomial:
        """An exponent as a polynomial in parameters."""
        match node:
            case Number(value):
                return {ONE: value} if value else {}
            case Name(text) if text not in self.inputs:
                return {((text, 1),): 1.0}
            case Sum(terms):
                total: Polynomial = {}
                for sign, term in terms:
                    total = _add(total, self.number(term), sign)
                return total
            case Product(factors):
                total = {ONE: 1.0}
                for sign, factor in factors:
                    total = _times(total, self.number(factor), sign)
                return total
        raise Inconsistent

    def unit(self, node: Node) -> Polynomial | None:
        """Of a part whose parameters all have units; else None."""
        match node:
            case Number():
                return {}
            case Name(text) if text in self.inputs:
                return {ONE: 1.0} if self.inputs[text] == self.column else {}
            case Name(text):
                return self.units.get(text)
            case Call("sqrt", (inner,)):
                found = self.unit(inner)
                return None if found is None else _times(found, {ONE: 0.5})
            case Call("min" | "max", parts):
                return next((u for u in map(self.unit, parts) if u is not None), None)
            case Call():
                return {}
            case Sum(terms):
                return next((u for u in (self.unit(term) for _, term in terms) if u is not None), None)
            case Product(factors):
                total: Polynomial = {}
                for sign, factor in factors:
                    if (found := self.unit(factor)) is None:
                        return None
                    total = _add(total, found, sign)
                return total
            case Power(base, exponent):
                found = self.unit(base)
                return found if not found else _times(found, self.number(exponent))
        raise Inconsistent

    def assign(self, node: Node, target: Polynomial) -> None:
        """Gives the parameters of `node` units with which its own is `target`."""
        match node:
            case Name(text) if text not in self.inputs:
                if _add(self.units.setdefault(text, target), target, -1):
                    raise Inconsistent
            case Number() | Name():
                if _add(self.unit(node) or {}, target, -1):
                    raise Inconsistent
            case Call("sqrt", (inner,)):
                self.assign(inner, _times(target, {ONE: 2.0}))
            case Call("min" | "max", parts):
                for part in parts:
                    self.assign(part, target)
            case Call(_, (inner,)):
                self.assign(inner, {})
                if target:
                    raise Inconsistent
            case Sum(terms):
                for _, term in terms:
                    self.assign(term, target)
            case Product(factors):
                self._product(factors, target)
            case Power(base, exponent):
                for name, _ in names(exponent):
                    self.assign(name, {})
                known = self.unit(base)
                if known is None:
                    known = _times(target, self.number(exponent), -1) if target else {}
                self.assign(base, known)
                if _add(_times(known, self.number(exponent)) if known else {}, target, -1):
                    raise Inconsistent

    def _product(self, factors: tuple[tuple[int, Node], ...], target: Polynomial) -> None:
        """One factor without a unit takes what the others leave; of several, the first parameter does."""
        unknown = [part for part in factors if self.unit(part[1]) is None]
        main = next((part for part in unknown if isinstance(part[1], Name)), unknown[0] if unknown else None)
        for part in factors:
            if part is not main:
                self.assign(part[1], self.unit(part[1]) or {})
                target = _add(target, self.unit(part[1]) or {}, -part[0])
        if main:
            self.assign(main[1], target if main[0] > 0 else _times(target, {ONE: -1.0}))
        elif target:
            raise Inconsistent
