"""Advice is given once: sentences that differ only in their numbers say the same to a reader."""

import re
from collections.abc import Iterable

NUMBER = re.compile(r"[-+−]?\d[\d.,]*(?:e[-+]?\d+)?|\binf\b|\bnan\b|∞")


def once(sentences: Iterable[str]) -> list[str]:
    """`sentences` in order, each word for word once."""
    return list(dict.fromkeys(sentences))


def further(sentences: Iterable[str], said: Iterable[str]) -> list[str]:
    """Those of `sentences` whose advice was not `said`, with whatever numbers."""
    known = {_kind(sentence) for sentence in said}
    return [sentence for sentence in once(sentences) if _kind(sentence) not in known]


def _kind(sentence: str) -> str:
    """The sentence without its numbers."""
    return NUMBER.sub("#", sentence)
