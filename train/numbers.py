"""Numbers as people read them.  A number is rounded first and worded second: 999.9 to three digits is 1,000, not 1e+03.

What is not a number prints as a dash, what is infinite as ∞.
"""

import math
from typing import SupportsFloat

WORDS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))  # of counts: trillion, billion, million, thousand
PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))  # of units
NONE = "–"
Number = SupportsFloat | None  # None is a number that is missing


def digits(value: Number, count: int = 3) -> str:
    """`count` significant digits: 2,270 or 62.2 or 0.0143; a power of ten below 0.001 and from a million on."""
    number = known(value)
    if isinstance(number, str):
        return number
    number = rounded(number, count)
    if number and not 1e-3 <= abs(number) < 1e6:
        return power(number, count)
    places = max(0, count - 1 - math.floor(math.log10(abs(number)))) if number else 0
    return f"{number:,.{places}f}"


def si(value: Number) -> str:
    """Counts in words, to three digits, and FLOPs as powers, to two: 12B, 1.5M, 999, 1e18, 1.7e19."""
    number = known(value)
    if isinstance(number, str):
        return number
    if abs(number) >= 1e13:
        return short(power(number, 2))
    number = rounded(number, 3)
    if number and abs(number) < 1e-3:
        return short(power(number, 3))
    return in_unit(number, WORDS, "")


def metric(value: Number, unit: str = "") -> str:
    """Three digits and the prefix of a unit: 1.23 MFLOP, 4.68 GB, 512 B."""
    number = known(value)
    if isinstance(number, str):
        return f"{number} {unit}".rstrip()
    number = rounded(number, 3)
    if number and not 1e-3 <= abs(number) < 1e21:
        return f"{power(number, 3)} {unit}".rstrip()
    return f"{in_unit(number, PREFIXES, ' ')}{unit}".rstrip()


def seconds(value: Number) -> str:
    """How long something takes, in the unit that people use: 0.0143 s, 62.2 s, 12.5 min, 3.0 h, 2.1 days."""
    number = known(value)
    if isinstance(number, str):
        return f"{number} s"
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if number >= 2 * size:
            return f"{number / size:,.1f} {name}"
    return f"{digits(number)} s"


def clock(value: Number) -> str:
    """The seconds that are left, as minutes and seconds: 2:05; a question mark where nobody knows."""
    number = known(value)
    if isinstance(number, str):
        return "?"
    minutes, rest = divmod(max(0, round(number)), 60)
    return f"{minutes}:{rest:02d}"


def percent(value: Number, places: int = 2) -> str:
    """A signed change: +8.99% of 0.0899; three digits from ten times on; what rounds to nothing has no sign."""
    number = known(value)
    if isinstance(number, str):
        return number if number == NONE else f"{number}%"
    if abs(number) >= 10:
        return f"{'+' * (number > 0)}{digits(100 * number)}%"
    shown = f"{number:+.{places}%}"
    return shown if any(digit in shown for digit in "123456789") else shown[1:]


def interval(low: Number, high: Number, count: int = 3) -> str:
    """[0.466, 0.471]; in words where a bound is not a number, since dashes in brackets say nothing."""
    if NONE in (known(low), known(high)):
        return "no interval"
    return f"[{digits(low, count)}, {digits(high, count)}]"


def known(value: Number) -> float | str:
    """`value` as a float, or the text of what is missing, not a number or infinite."""
    number = math.nan if value is None else float(value)
    if math.isnan(number):
        return NONE
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    return number


def rounded(value: float, count: int) -> float:
    """`value` to `count` significant digits."""
    return float(f"{value:.{count - 1}e}")


def power(value: float, count: int) -> str:
    """A power of ten: 1.68e-5, without the sign and zeros of an exponent that say nothing."""
    mantissa, exponent = f"{value:.{count - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def short(text: str) -> str:
    """1.50e-5 as 1.5e-5, and 1.0e18 as 1e18."""
    mantissa, exponent = text.split("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{exponent}"


def in_unit(value: float, units: tuple[tuple[float, str], ...], space: str) -> str:
    """A rounded `value` in the largest of `units` that it reaches."""
    size, name = next((unit for unit in units if abs(value) >= unit[0]), (1.0, ""))
    return f"{value / size:.4g}{space}{name}"  # .3g would write 1,000 as 1e+03
