"""The sources of data as they describe themselves: every function of this folder that makes a `Dataset`.

A new source is listed by being there: its signature gives the options, its docstring what they do.
"""

import difflib
import importlib
import inspect
import pkgutil
import textwrap
import types
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import numpy as np

import data
from data.source import Dataset

PLAIN = {str, int, float, bool, type(None)}  # what a config holds
PREPARING = "builders"  # the module that registers sets with TensorFlow Datasets, which takes seconds to import


class Source(NamedTuple):
    name: str  # as a config names it, "tables:table"
    kind: Literal["path", "dataset", "arrays", ""]  # what it reads
    make: Callable[..., Dataset]

    def brief(self) -> str:
        """What it is, and its options with their defaults."""
        first = inspect.cleandoc(self.make.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        options = ", ".join(written(each) for each in inspect.signature(self.make).parameters.values())
        lines = textwrap.wrap(first, 110) + textwrap.wrap(options, 110, initial_indent="  ", subsequent_indent="  ")
        return "\n".join(lines)

    def whole(self) -> str:
        """Everything that it says, with the type of each option."""
        options = [f"  {written(each, typed=True)}" for each in inspect.signature(self.make).parameters.values()]
        return "\n".join([self.name, "", inspect.cleandoc(self.make.__doc__ or ""), "", "Options:", *options])


def sources() -> list[Source]:
    """In the order of the modules' names, then as they stand in the file."""
    modules = [each.name for each in pkgutil.iter_modules(data.__path__) if not each.name.startswith("_")]
    return [source for name in modules if name != PREPARING for source in of_module(name)]


def find(name: str) -> Source:
    known = {source.name: source for source in sources()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?  " if near else ""
        raise ValueError(f"there is no source {name}; {hint}There are {', '.join(known)}")
    return known[name]


def of_module(name: str) -> list[Source]:
    module = importlib.import_module(f"data.{name}")
    own = [f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__]
    found = []
    for make in own:
        kind = kind_of(make)
        if not make.__name__.startswith("_") and kind is not None:
            found.append(Source(f"{name}:{make.__name__}", kind, make))
    return found


def kind_of(make: Callable) -> Literal["path", "dataset", "arrays", ""] | None:
    """What a source reads; None of what is none."""
    signature = inspect.signature(make)
    if signature.return_annotation is not Dataset:
        return None
    parameters = signature.parameters.values()
    required = [each for each in parameters if each.default is each.empty]
    if required and all(each.annotation is np.ndarray for each in required):
        return "arrays"
    if not all(is_plain(each.annotation) for each in parameters):
        return None
    names = [each.name for each in parameters]
    return "path" if "path" in names else "dataset" if "dataset" in names else ""


def is_plain(annotation: Any) -> bool:
    """Whether a config can hold it."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, tuple):
        return all(is_plain(each) for each in get_args(annotation) if each is not Ellipsis)
    return origin is Literal or annotation in PLAIN


def written(parameter: inspect.Parameter, typed: bool = False) -> str:
    """An option with its default; where it is chosen from a list, or `typed`, with what it may be."""
    choices = get_args(parameter.annotation) if get_origin(parameter.annotation) is Literal else ()
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    may_be = "|".join(map(repr, choices)) if choices else name_of(parameter.annotation) if typed else ""
    if typed:
        return f"{parameter.name}: {may_be}{default and f' = {parameter.default!r}'}"
    return f"{parameter.name}{default}{f' ({may_be})' if may_be else ''}"


def name_of(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
