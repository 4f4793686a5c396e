"""What a user can mend is said in a sentence: the value, the choices, the remedy."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A sentence for the person at the terminal; the front doors print it without a traceback and exit with 2."""


class NonFiniteError(UserError):
    """Training produced a NaN or an infinity."""


def suggest(name: object, choices: Iterable[str]) -> str:
    """'; did you mean X?' where something is close, then every choice."""
    choices = sorted(choices)
    near = difflib.get_close_matches(str(name), choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"{hint} It takes: {', '.join(choices)}" if choices else hint
