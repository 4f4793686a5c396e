"""Places in a tree of arrays as text: what patterns of a config are matched with, and what tables name."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from train.errors import UserError


def name(path: tuple) -> str:
    """`.params['a'][0]` as params/a/0, so that a named field and a key of a stored dict read alike."""
    return "/".join(str(getattr(p, "key", getattr(p, "name", getattr(p, "idx", p)))) for p in path)


def leaves(tree: Any) -> dict[str, Any]:
    """Every leaf by its name, in the order of the tree."""
    return {name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def replaced(tree: Any, given: Mapping[str, Any]) -> Any:
    """The tree with the leaves that are `given` by name."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: given.get(name(path), leaf), tree)


def pattern(key: str, text: str) -> re.Pattern[str]:
    """A regular expression of the config; `key` is where it stands."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(f"{key}={text!r} is no regular expression ({error}); correct it") from None


def alike(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that differ in numbers only, together: "stack/block_*/up/kernel" → the names of all blocks."""
    found: dict[str, list[str]] = {}
    for each in names:
        found.setdefault(re.sub(r"(?<=[_/])\d+", "*", each), []).append(each)
    return {key if len(some) > 1 else some[0]: some for key, some in found.items()}


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names for a sentence: those that differ in numbers only once."""
    shown = list(alike(names))
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
