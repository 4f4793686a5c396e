"""A formula as a reader writes it, parsed into a tree.  Nothing in it is ever executed.

sum     = product {("+" | "-") product}
product = power {("*" | "/") power}
power   = ["-" | "+"] power | atom [("^" | "**") power]
atom    = number | name | function "(" sum {"," sum} ")" | "(" sum ")" | "[" sum "]"
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from train.errors import UserError

FUNCTIONS = {"exp": 1, "log": 1, "ln": 1, "sqrt": 1, "sigmoid": 1, "min": 2, "max": 2}  # name -> arguments
CONSTANTS = {"e": math.e, "pi": math.pi}
LONGEST, DEEPEST = 2000, 25  # characters; levels of brackets and signs
TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*∞?)|(?P<sign>\*\*|[-+*/^(),\[\]=])"
)
SAME = str.maketrans({"−": "-", "·": "*", "×": "*", "÷": "/", "{": "(", "}": ")"})


class Number(NamedTuple):
    value: float


class Name(NamedTuple):
    text: str
    at: int  # character of the formula, from 1


class Call(NamedTuple):
    function: str
    arguments: tuple["Node", ...]


class Sum(NamedTuple):
    terms: tuple[tuple[int, "Node"], ...]  # (1 or -1, term)


class Product(NamedTuple):
    factors: tuple[tuple[int, "Node"], ...]  # (1 or -1, factor): -1 divides


class Power(NamedTuple):
    base: "Node"
    exponent: "Node"


Node = Number | Name | Call | Sum | Product | Power


class Token(NamedTuple):
    kind: str  # "number", "name", "sign" or "end"
    text: str
    at: int


class Formula(NamedTuple):
    """`left` = `right`; `given` are the arguments that the left side lists, if it lists any."""

    text: str
    left: Name | None
    given: tuple[Name, ...]
    right: Node


def parse(text: str) -> Formula:
    """Raises UserError with the character at which the formula stops making sense."""
    if len(text) > LONGEST:
        raise UserError(f"the formula has {len(text):,} characters; the longest that is read has {LONGEST:,}")
    reader = _Reader(text)
    left, given = None, ()
    if any(token.text == "=" for token in reader.tokens):
        left = reader.name("the quantity that the formula predicts, as L")
        if reader.take("("):
            given = (reader.name("an input"),)
            while reader.take(","):
                given = (*given, reader.name("an input"))
            reader.expect(")")
        reader.expect("=")
    right = reader.sum(0)
    if reader.next.kind != "end":
        raise reader.error(f"{reader.next.text!r} cannot follow here; write * between factors")
    return Formula(text, left, given, right)


def tokens(text: str) -> Iterator[Token]:
    plain, at = text.translate(SAME), 0
    while at < len(plain):
        if plain[at].isspace():
            at += 1
            continue
        match = TOKEN.match(plain, at)
        if match is None:
            raise UserError(f"formula, character {at + 1}: {text[at]!r} means nothing here ({mark(text, at + 1)})")
        yield Token(str(match.lastgroup), match[0], at + 1)
        at = match.end()
    yield Token("end", "its end", len(text) + 1)


def mark(text: str, at: int) -> str:
    """The formula with a pointer before the character `at`."""
    return f"{text[: at - 1].rstrip()} ▸ {text[at - 1 :].lstrip()}".strip()


class _Reader:
    """Where the reading is."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.index = text, list(tokens(text)), 0

    @property
    def next(self) -> Token:
        return self.tokens[self.index]

    def error(self, what: str) -> UserError:
        return UserError(f"formula, character {self.next.at}: {what} ({mark(self.text, self.next.at)})")

    def take(self, *texts: str) -> str:
        """The next token, if it is one of `texts`; else ""."""
        if self.next.kind != "sign" or self.next.text not in texts:
            return ""
        self.index += 1
        return self.tokens[self.index - 1].text

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.error(f"{text!r} is missing before {self.next.text!r}")

    def name(self, what: str) -> Name:
        token = self.next
        if token.kind != "name":
            raise self.error(f"here stands {token.text!r}, not {what}")
        self.index += 1
        return Name(token.text, token.at)

    def chain(self, part: Callable[[int], Node], signs: tuple[str, str], depth: int) -> list[tuple[int, Node]]:
        found = [(1, part(depth))]
        while sign := self.take(*signs):
            found.append((1 if sign == signs[0] else -1, part(depth)))
        return found

    def sum(self, depth: int) -> Node:
        terms = self.chain(self.product, ("+", "-"), depth)
        return terms[0][1] if len(terms) == 1 else Sum(tuple(terms))

    def product(self, depth: int) -> Node:
        factors = self.chain(self.power, ("*", "/"), depth)
        return factors[0][1] if len(factors) == 1 else Product(tuple(factors))

    def power(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise self.error(f"more than {DEEPEST} brackets and signs lie within each other")
        if sign := self.take("-", "+"):
            inner = self.power(depth + 1)
            if sign == "+":
                return inner
            return Number(-inner.value) if isinstance(inner, Number) else Sum(((-1, inner),))
        base = self.atom(depth + 1)
        return Power(base, self.power(depth + 1)) if self.take("^", "**") else base

    def atom(self, depth: int) -> Node:
        token = self.next
        for opening, closing in (("(", ")"), ("[", "]")):
            if self.take(opening):
                inner = self.sum(depth)
                self.expect(closing)
                return inner
        if token.kind == "number":
            self.index += 1
            return Number(float(token.text))
        name = self.name("a number, a name or a bracket")
        if self.next.text != "(":
            return Number(CONSTANTS[name.text]) if name.text in CONSTANTS else name
        if name.text not in FUNCTIONS:
            raise self.error(
                f"{name.text!r} is no function; functions are {', '.join(FUNCTIONS)}. Write * between factors"
            )
        self.expect("(")
        arguments = [self.sum(depth)]
        while self.take(","):
            arguments.append(self.sum(depth))
        self.expect(")")
        if len(arguments) != FUNCTIONS[name.text]:
            raise self.error(f"{name.text} takes {FUNCTIONS[name.text]} argument(s), not {len(arguments)}")
        return Call("log" if name.text == "ln" else name.text, tuple(arguments))


def names(node: Node, exponent: bool = False) -> Iterator[tuple[Name, bool]]:
    """Every name in order, and whether it stands in an exponent or in the argument of exp or sigmoid."""
    match node:
        case Name():
            yield node, exponent
        case Call(function, arguments):
            for argument in arguments:
                yield from names(argument, exponent or function in ("exp", "sigmoid"))
        case Sum(parts) | Product(parts):
            for _, part in parts:
                yield from names(part, exponent)
        case Power(base, power):
            yield from names(base, exponent)
            yield from names(power, True)
