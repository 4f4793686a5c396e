"""Finds the module that a config names: in the project, anywhere in the environment, or in a file.

"gpt:GPT" of section `model` is models/gpt.py; "my.networks:Net" is a module that Python can import from where you are;
"path/to/mine.py:Net" is a file.  What is not the project's own runs only where its user has named it: on the command
line or in a page, not in the config that a run has saved.
"""

import importlib
import importlib.util
import pathlib
import pkgutil
import sys
import types
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from train.errors import UserError, suggest

PROJECT = ("configs", "data", "models", "scaling", "train", "flax", "optax")  # and the libraries that names come from


def module_of(package: str, name: str, said: str) -> types.ModuleType:
    """The module `name` of `package` (of its parent, where it is no package), or one outside the project."""
    home = home_of(package)
    if name.endswith(".py"):
        return load(pathlib.Path(name).expanduser(), said)
    path = f"{home}.{name}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not path.startswith(error.name):
            raise
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
    except (TypeError, ValueError):  # no name of a module: "." or "a..b"
        pass
    raise UserError(f"{said}: there is no {path}{suggest(name, modules(importlib.import_module(home)))}")


def home_of(package: str) -> str:
    return package if hasattr(importlib.import_module(package), "__path__") else package.rpartition(".")[0]


def modules(package: types.ModuleType) -> list[str]:
    return [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]


def load(file: pathlib.Path, said: str) -> types.ModuleType:
    """The file as a module, once a process."""
    if not file.is_file():
        raise UserError(f"{said}: there is no file {file} in {pathlib.Path.cwd()}")
    name = f"code_{file.stem}_{zlib.crc32(str(file.absolute()).encode()):08x}"
    try:
        return sys.modules.get(name) or execute(file, name, str(file))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{said}: {file} fails when loaded: {type(error).__name__}: {error}") from error


def execute(file: pathlib.Path, name: str, said: str) -> types.ModuleType:
    """Runs a file as the module `name`.  What it raises comes through, and the module is then not known."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"{said} is no Python file; its name must end in .py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def is_outside(package: str, name: str) -> bool:
    """Whether module:symbol `name` is code that is not the project's; imports none of it."""
    module = name.rpartition(":")[0]
    if not module:
        return False
    if module.endswith(".py"):
        return True
    top, *_ = module.split(".")
    home = importlib.import_module(home_of(package))
    return top not in modules(home) and top not in PROJECT


def check_saved(config: Mapping[str, Any], given: Iterable[str] = ()) -> None:
    """Refuses a saved config that names code outside the project, unless its user has `given` that name."""
    from train.schema import PACKAGES

    given = set(given)
    for key, name in names(config):
        package = PACKAGES.get(key.partition(".")[0], "train.optim")
        if name not in given and is_outside(package, name):
            raise UserError(
                f"config.{key}.name={name!r} is code outside this project, which a saved config does not run; "
                f"if you trust it, add --code {name}"
            )


def names(config: Mapping[str, Any], key: str = "") -> Iterator[tuple[str, str]]:
    """Every section with a name, and the name."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from names(value, f"{key}.{name}" if key else name)
        elif name == "name" and key and isinstance(value, str):
            yield key, value
