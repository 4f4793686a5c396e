"""Numbers as people write them: in cells ("53.3M", "1,234,567", "2.53 ± 0.01") and in headers ("FLOPs (1e18)").

R rows.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from scaling.logs.table import ABSENT, MISSING, number

FACTORS = {
    **dict.fromkeys(("k", "thousand", "thousands"), 1e3), **dict.fromkeys(("m", "mn", "million", "millions"), 1e6),
    **dict.fromkeys(("b", "g", "bn", "billion", "billions"), 1e9),
    **dict.fromkeys(("t", "tn", "trillion", "trillions"), 1e12), "%": 1e-2,
}  # fmt: skip
COUNTED = r"(?:tokens?|tok|params?|parameters?|flop[s/]*|examples?|steps?)"
CELL = re.compile(
    rf"([+-]?[\d.,'_\s]*\d[\d.,'_\s]*?(?:e[+-]?\d+)?)\s*(?:[x*·⋅×]\s*10\s*\^?\s*[({{]?([+-]?\d+)[)}}]?)?\s*"
    rf"(%|[a-z]{{0,9}}?)\s*{COUNTED}?",
    re.I,
)
POWER = re.compile(r"10\s*\^\s*[({]?([+-]?\d+)[)}]?")
ERROR = re.compile(r"\s*(?:±|\+/-|\+-).*$|(?<=\d)\(\d+\)$")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")


class Numbers(NamedTuple):
    """A column of texts as numbers."""

    values: np.ndarray  # float64 [R]; NaN where the text is no number
    ways: list[str]  # what was taken as what, for a sentence


def spelled(values: Iterable[Any]) -> Numbers:
    """The numbers that texts say [R].

    A comma is read by the whole column: "1,650" beside "962" has thousands, beside "4,92708" a decimal comma; where
    neither is clear, and beside numbers of more digits without one, the cell is not read.
    """
    cells = list(values)
    texts = {v: plain(v) for v in dict.fromkeys(v for v in cells if isinstance(v, str))}
    comma = commas([text for text, _ in texts.values()], [v for v in cells if isinstance(v, int | float)])
    ways: dict[str, str] = {}
    known = {text: cell(*texts[text], comma, ways) for text in texts}
    out = [known[v] if isinstance(v, str) else number(v) for v in cells]
    return Numbers(np.array([math.nan if v is None else v for v in out], np.float64), list(ways.values()))


def common(text: str) -> str:
    """In common letters and signs: "10⁶" is "10^6", a non-breaking space a space."""
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda found: "^" + found[0].translate(SUPERSCRIPTS), text)
    return unicodedata.normalize("NFKC", text).replace("−", "-").strip()


def plain(text: str) -> tuple[str, bool]:
    """A cell in common letters, and whether an error was left out of it."""
    text = common(text).lstrip("~≈").strip()
    value = ERROR.sub("", text)
    return value, value != text


def commas(texts: Sequence[str], others: Sequence[Any]) -> str:
    """What a comma alone is in a column: "thousands", "decimal", or "" where nothing tells."""
    parts = [m[1].strip() for text in texts if (m := CELL.fullmatch(text))]
    alone = [re.sub(r"e[+-]?\d+$", "", part.lstrip("+-")) for part in parts if "," in part and "." not in part]
    if not alone:
        return "thousands"
    grouped = [re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+", part) for part in alone]
    if not all(grouped):
        return "" if any(part.count(",") > 1 for part in alone) else "decimal"
    bare = [v for part in parts if "," not in part and (v := number(part)) is not None] + [v for v in others if v == v]
    if any(part.count(",") > 1 for part in alone) or all(abs(v) < 1000 for v in bare):
        return "thousands"
    return ""


def cell(text: str, error: bool, comma: str, ways: dict[str, str]) -> float | None:
    """The number of one cell, None where it is none; adds to `ways`, kind -> words."""
    if text.lower() in MISSING:
        return ABSENT
    if (value := number(text)) is not None:
        if error:
            ways["error"] = f"{text!r} without its ± part"
        return value
    if power := POWER.fullmatch(text):
        return float(f"1e{power[1]}")
    found = CELL.fullmatch(text)
    if not found:
        return None
    mantissa = digits(found[1].strip(), comma)
    factor = FACTORS.get(found[3].lower()) if found[3] else 1.0
    if mantissa is None or factor is None or len(found[2] or "") > 4:
        return None
    value = mantissa * factor * (float(f"1e{found[2]}") if found[2] else 1.0)
    if error:
        ways["error"] = f"{text!r} without its ± part"
    if found[3]:
        ways.setdefault(found[3], f"{text!r} as {value:g}")
    elif not found[2]:
        ways.setdefault("separators", f"{text!r} as {value:.12g}")
    return value


def digits(text: str, comma: str) -> float | None:
    """A mantissa with separators: thousands by spaces, apostrophes, underscores, commas or points; one decimal mark."""
    sign, text, exponent = re.fullmatch(r"([+-]?)(.*?)(e[+-]?\d+)?", text, re.I | re.S).groups()  # type: ignore
    for mark in (r"\s", "'", "_"):
        if re.search(mark, text):
            if not re.fullmatch(rf"\d{{1,3}}(?:{mark}\d{{3}})+(?:[.,]\d+)?", text):
                return None
            text = re.sub(mark, "", text)
    if "," in text and "." in text:
        group, point = (",", ".") if text.rfind(",") < text.rfind(".") else (".", ",")
    elif "," in text:
        group, point = (",", ".") if comma == "thousands" else (".", ",") if comma == "decimal" else ("", "")
    else:
        group, point = (".", ",") if text.count(".") > 1 else (",", ".")
    if not group or not re.fullmatch(
        rf"(?:\d{{1,3}}(?:{re.escape(group)}\d{{3}})+|\d*)(?:{re.escape(point)}\d*)?", text
    ):
        return None
    return number(f"{sign}{text.replace(group, '').replace(point, '.')}{exponent or ''}")


# Units in headers.


def unit(name: str) -> tuple[str, float] | None:
    """What is before the unit at the end of a column's name, and the unit: "Tokens (B)" is ("tokens", 1e9).

    `name` is in small letters.  Known are (M), [B], "in millions", "_millions", "x1e9", (1e18), (10^6), (×10⁶).
    """
    name = common(name)
    word = re.search(r"(?:[(\[]\s*(?:in )?|(?<=\w\w)[ _/-](?:in[ _-])?|\bin )([a-z]+)\s*[)\]]?$", name)
    if word and word[1] in FACTORS:
        return name[: word.start()], FACTORS[word[1]]
    inside = re.search(rf"[(\[]\s*(?:in )?([a-z]+)\s+{COUNTED}\s*[)\]]$", name)
    if inside and inside[1] in FACTORS:
        return name[: inside.start()], FACTORS[inside[1]]
    power = re.search(
        r"(?:[(\[]\s*(?:in )?|[ _,]\s*(?:in )?)?[x×*·/÷]?\s*(?:(\d(?:\.\d*)?e\+?\d+)|10\s*\^\s*\(?\+?(\d+)\)?)"
        rf"\s*{COUNTED}?\s*[)\]]?$", name,
    )  # fmt: skip
    if power and power.start() and (factor := float(power[1] or f"1e{power[2][:3]}")) < 1e30:
        return name[: power.start()], factor
    return None
