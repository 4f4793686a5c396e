"""What the cells of a column say: numbers, dates, and how messages show them."""

import datetime
from typing import Any

import numpy as np

from scaling.logs.numbers import spelled
from scaling.logs.table import absent, missing


def measured(values: np.ndarray, role: str = "") -> np.ndarray:
    """float64 [rows], NaN where there is no number.  Dates, where `t` is asked for, are days since 1970."""
    if values.dtype == np.float64:
        return values
    found = spelled(values.tolist()).values
    if role == "t":
        days = [day(v) if isinstance(v, str) else None for v in values.tolist()]
        return np.array([x if d is None else d for x, d in zip(found, days, strict=True)], np.float64)
    return found


def day(text: str) -> float | None:
    try:
        return float((datetime.date.fromisoformat(text[:10]) - datetime.date(1970, 1, 1)).days)
    except (TypeError, ValueError):
        return None


def has_numbers(values: np.ndarray, role: str) -> bool:
    return bool(np.isfinite(measured(values, role)).any())


def distinct(values: np.ndarray) -> str:
    """The first ten values that are there."""
    return ", ".join(map(shown, [*dict.fromkeys(values[~missing(values)].tolist())][:10]))


def shown(value: Any) -> str:
    """A cell as messages show it."""
    if value is None or (isinstance(value, float) and absent(np.array([value]))[0]):
        return "missing"
    if isinstance(value, str) and len(value) > 80:
        value = f"{value[:77]}..."
    return f"{value:g}" if isinstance(value, float) else repr(value)
