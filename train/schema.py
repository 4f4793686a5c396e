"""What a section of a config takes: the annotations of the function or network that it names, and no others."""

import ast
import inspect
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from train.errors import UserError, suggest

PACKAGES = {"data": "data", "model": "models", "task": "train.tasks", "schedule": "train.optim.schedules"}
EVERY_OPTIMIZER = {"learning_rate": float, "clip": float, "decay": Literal["matrices", "all"], "l1": float, "l2": float}
EVERY_OPTIMIZER |= {"match": str}  # of a group of parameters
EVERY = {"optim": EVERY_OPTIMIZER, "model": {"lora": Mapping}}  # train/experiment.py makes the adapters of any network
INIT = {"from": str, "match": str, "rename": tuple[tuple[str, str], ...], "step": int | str}  # of train/init.py
INIT |= {"missing": Literal["refuse", "leave"], "misshapen": Literal["refuse", "leave", "reshape"]}
LINEN_FIELDS = {"parent", "name", "self"}
SCALARS = {int: (int,), float: (float, int), bool: (bool,), str: (str,), type(None): (type(None),)}
WORDS = {bool: "True or False", int: "a whole number", float: "a number", tuple: "values between commas"}


def arguments(key: str, name: Any) -> dict[str, Any] | None:
    """{argument: annotation} of what `name` names in section `key` ("model.critic"); None where it names nothing."""
    from train.build import resolve  # with JAX, which a list of the experiments does without

    root, _, last = key.partition(".")
    if root == "init":
        return dict(INIT)
    if root == "optim" and name == "frozen":
        return {"match": str}
    try:
        if root == "optim":
            from train.optim.chain import optimizers

            callee = resolve(optimizers().get(name, "train.optim.optimizers"), name)
        elif root == "augment":
            callee = resolve("train.augment", last)
        else:
            callee = resolve(PACKAGES[root], name)
    except (UserError, KeyError, TypeError, AttributeError):  # `build` says later what is wrong with the name
        return None
    parameters = inspect.signature(callee).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    found = {n: p.annotation for n, p in parameters.items() if n not in LINEN_FIELDS}
    return {**found, **EVERY.get(root, {})}


def options(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def choices(annotation: Any) -> tuple[Any, ...]:
    """The values of `Literal["a", "b"]`, also beside None; else none."""
    return tuple(value for kind in options(annotation) if get_origin(kind) is Literal for value in get_args(kind))


def check_choice(key: str, value: Any, annotation: Any) -> None:
    """Refuses what is none of the choices of a `Literal`."""
    known = choices(annotation)
    if known and not any(type(value) is type(each) and value == each for each in known):
        raise UserError(f"{key}={value!r}{suggest(value, map(str, known))}")


def element(annotation: Any) -> Any:
    """X of tuple[X, ...], where X is a number, a word or a truth; else None."""
    args = get_args(annotation)
    is_row = get_origin(annotation) is tuple and len(args) == 2 and args[1] is Ellipsis
    return args[0] if is_row and args[0] in SCALARS else None


def said(kinds: tuple[Any, ...]) -> str:
    return " or ".join(WORDS.get(kind, kind.__name__) for kind in kinds if kind is not type(None))


def fitted(annotation: Any, value: Any) -> Any:
    """`value` as the annotation writes it: a single value as a tuple of one, a whole number as a float."""
    one, kinds = element(annotation), options(annotation)
    if type(value) is int and float in kinds and all(kind in SCALARS and kind is not int for kind in kinds):
        return float(value)
    return (value,) if one and not isinstance(value, list | tuple | Mapping | None) else value


def typed_as(key: str, value: Any, annotation: Any, now: Any) -> Any:
    """`value`, a string of the command line or a value, as the annotation says; None unsets.

    Annotations wider than plain types (arrays, schedules) take any number where the page holds one: `now`.
    """
    kinds = options(annotation)
    known = choices(annotation)
    is_text = isinstance(value, str) and not ({int, float} & set(kinds) and is_number(literal(value)))
    is_word = value in known or (str in kinds and is_text and (isinstance(now, str) or kinds == (str,)))
    parsed = literal(value) if isinstance(value, str) and not is_word else value
    if parsed is None or value == "None":
        return None
    if known:
        check_choice(key, parsed, annotation)
        return parsed
    if type(parsed) is float and parsed.is_integer() and "e" in str(value) and int in kinds and float not in kinds:
        parsed = int(parsed)  # --config.model.width=1e4
    if all(kind in SCALARS for kind in kinds):
        if type(parsed) not in {accepted for kind in kinds for accepted in SCALARS[kind]}:
            raise UserError(f"{key}={value}: it takes {said(kinds)}")
        return fitted(annotation, parsed)
    if float in kinds and is_number(now):
        if not is_number(parsed):
            raise UserError(f"{key}={value}: it takes a number, as {now!r}")
        return float(parsed) if type(now) is float else parsed
    return fitted(annotation, parsed)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def literal(text: str) -> Any:
    """A Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text, text)
