"""Turns {"name": "gpt:GPT", ...} into an object.  The callee's signature is the schema; there is no other."""

import importlib
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

from train import code
from train.errors import UserError, suggest
from train.schema import LINEN_FIELDS, SCALARS, check_choice, choices, element, fitted, options


def resolve(package: str, name: str, key: str = "") -> Callable:
    """`module:symbol` of `package`, or a symbol of `package` itself: resolve("models", "gpt:GPT") is models.gpt.GPT.

    The module may also be outside the project (train/code.py).
    """
    module_name, _, symbol = name.rpartition(":")
    said = f"config.{key}.name={name!r}" if key else f"name={name!r}"
    module = code.module_of(package, module_name, said) if module_name else importlib.import_module(package)
    target = getattr(module, symbol, None)
    if callable(target):
        return target
    if not module_name and not public(module):
        known = ", ".join(code.modules(module))
        raise UserError(f"{said} is half a name; write module:symbol, with a module of {known}")
    where = module_name if module_name.endswith(".py") else module.__name__
    raise UserError(f"{said}: {where} has no {symbol!r}{suggest(symbol, public(module))}")


def public(module: types.ModuleType) -> list[str]:
    """What a config may name in `module`: its own functions and classes, or all of them for a package of a library."""
    own = lambda f: getattr(f, "__module__", "").split(".")[0] == module.__name__.split(".")[0]
    names = [n for n, f in vars(module).items() if not n.startswith("_") and callable(f) and own(f)]
    here = [n for n in names if getattr(vars(module)[n], "__module__", "") == module.__name__]
    return here or names


def build(
    package: str, spec: Mapping[str, Any], key: str, offer: Mapping[str, Any] = types.MappingProxyType({}), **given: Any
) -> Any:
    """Calls what `spec["name"]` names with the rest of `spec`, after checking names and types against its signature.

    `key` is where the spec stands in the config, for the error; `given` are arguments that the config does not set,
    and `offer` those of them that the callee is free not to take.
    """
    kwargs = {k: v for k, v in dict(spec).items() if k != "name"}
    if "name" not in spec:
        raise UserError(f"config.{key} has no `name`; give one, for example config.{key}.name='module:symbol'")
    target = resolve(package, spec["name"], key)
    parameters = {n: p for n, p in inspect.signature(target).parameters.items() if n not in LINEN_FIELDS}
    given |= {name: value for name, value in offer.items() if name in parameters}
    allowed = set(parameters) - set(given)
    for name in kwargs:
        if name not in allowed:
            raise UserError(f"config.{key}.{name}: {spec['name']} has no {name!r}{suggest(name, allowed)}")
        if kwargs[name] is None:
            continue
        kwargs[name] = fitted(parameters[name].annotation, kwargs[name])
        check_type(f"config.{key}.{name}", kwargs[name], parameters[name].annotation)
    kwargs = {name: value for name, value in kwargs.items() if value is not None}  # None is unset: the default
    missing = [
        n
        for n, p in parameters.items()
        if p.default is p.empty and n not in {*kwargs, *given} and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    if missing:
        raise UserError(f"config.{key} needs {', '.join(missing)}: {spec['name']} has no default for it")
    return target(**plain(kwargs), **given)


def plain(value: Any) -> Any:
    """Lists of a config become tuples, which networks can hash."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    return tuple(plain(v) for v in value) if isinstance(value, list | tuple) else value


def check_type(key: str, value: Any, annotation: Any) -> None:
    """Compares plain values with plain annotations; leaves the rest (arrays, callables, optax's own) alone."""
    if annotation is inspect.Parameter.empty or isinstance(annotation, str) or annotation is Any:
        return
    if element(annotation) and isinstance(value, list | tuple):
        for part in value:
            check_type(key, part, element(annotation))
        return
    if choices(annotation):
        check_choice(key, value, annotation)
        return
    kinds = (tuple,) if element(annotation) else options(annotation)
    if not all(kind in SCALARS or kind is tuple for kind in kinds):
        return
    if type(value) not in {accepted for kind in kinds for accepted in SCALARS.get(kind, ())}:
        want = " or ".join(kind.__name__ for kind in kinds)
        raise UserError(f"{key}={value!r} is {type(value).__name__}; it takes {want}")
