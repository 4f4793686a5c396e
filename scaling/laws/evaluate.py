"""What the tree of a formula says: in logs wherever a part is positive whatever its parameters are.

`xp` is JAX's NumPy, or NumPy itself, which asks for no JAX.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

from scaling.laws.api import log_sum
from scaling.laws.formula import Call, Name, Node, Number, Power, Product, Sum
from scaling.laws.lazy import jnp

Values = Mapping[str, Any]  # name -> its log, where it is an input or a positive parameter; else its value
Kinds = Mapping[str, str]


def positive(node: Node, kinds: Kinds) -> bool:
    """Is `node` positive whatever the parameters are?"""
    match node:
        case Number(number):
            return number > 0
        case Name(text):
            return kinds.get(text) != "real"
        case Call("exp" | "sigmoid"):
            return True
        case Call("log"):
            return False
        case Call(_, parts):
            return all(positive(part, kinds) for part in parts)
        case Sum(terms):
            return all(sign > 0 and positive(term, kinds) for sign, term in terms)
        case Product(factors):
            return all(positive(factor, kinds) for _, factor in factors)
        case Power(base, _):
            return positive(base, kinds)
    raise AssertionError(node)


def log(node: Node, values: Values, kinds: Kinds, xp: Any) -> Any:
    """The logarithm of `node`: nan where it is negative."""
    if not positive(node, kinds):
        return xp.log(value(node, values, kinds, xp))
    match node:
        case Number(number):
            return math.log(number)
        case Name(text):
            return values[text]
        case Call("exp", (inner,)):
            return value(inner, values, kinds, xp)
        case Call("sigmoid", (inner,)):
            return -xp.logaddexp(0.0, -value(inner, values, kinds, xp))
        case Call("sqrt", (inner,)):
            return 0.5 * log(inner, values, kinds, xp)
        case Call(function, parts):
            return functools.reduce(
                xp.minimum if function == "min" else xp.maximum, (log(part, values, kinds, xp) for part in parts)
            )
        case Sum(terms):
            logs = [xp.asarray(log(term, values, kinds, xp)) for _, term in terms]
            return log_sum(*logs) if xp is jnp else functools.reduce(xp.logaddexp, logs)
        case Product(factors):
            return sum(sign * log(factor, values, kinds, xp) for sign, factor in factors)
        case Power(base, exponent):
            return value(exponent, values, kinds, xp) * log(base, values, kinds, xp)
    raise AssertionError(node)


def value(node: Node, values: Values, kinds: Kinds, xp: Any) -> Any:
    """`node` itself, of any sign."""
    if isinstance(node, Number):
        return xp.asarray(node.value)
    if positive(node, kinds):
        return xp.exp(log(node, values, kinds, xp))
    match node:
        case Name(text):
            return values[text]
        case Call("log", (inner,)):
            return log(inner, values, kinds, xp)
        case Call("sqrt", (inner,)):
            return xp.sqrt(value(inner, values, kinds, xp))
        case Call(function, parts):
            return functools.reduce(
                xp.minimum if function == "min" else xp.maximum, (value(part, values, kinds, xp) for part in parts)
            )
        case Sum(terms):
            return sum(sign * value(term, values, kinds, xp) for sign, term in terms)
        case Product(factors):
            found = 1.0
            for sign, factor in factors:
                one = value(factor, values, kinds, xp)
                found = found * one if sign > 0 else found / one
            return found
        case Power(base, Number(exponent)) if exponent.is_integer():
            return value(base, values, kinds, xp) ** int(exponent)
        case Power(base, exponent):
            return value(base, values, kinds, xp) ** value(exponent, values, kinds, xp)
    raise AssertionError(node)
