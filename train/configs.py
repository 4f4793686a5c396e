"""Config files: loading one by its path, and changing its values from the command line.

A config is a Python file with `get_config()`, which returns an ml_collections ConfigDict of plain typed values.
"""

import ast
import importlib.util
import pathlib
from typing import Any

from ml_collections import ConfigDict

from train.errors import UserError, suggest

FOLDER = pathlib.Path("configs")
BASE = str(pathlib.Path(__file__).parents[1] / "configs" / "base.py")


def load(path: str) -> Any:
    """The config file as a module."""
    file = pathlib.Path(path)
    if not file.is_file():
        others = [str(p) for p in pages(FOLDER)]
        raise UserError(f"--config {path}: there is no such file{suggest(path, others)}")
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"--config {path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"--config {path} fails when loaded: {type(error).__name__}: {error}") from error
    return module


def config_of(module: Any, overrides: list[str]) -> ConfigDict:
    """`get_config()` with `key=value` strings applied, locked."""
    config = checked(module)
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals:
            raise UserError(f"--config.{key} has no value; write --config.{key}=VALUE")
        override(config, key, text)
    return config.lock()


def checked(module: Any) -> ConfigDict:
    """What `get_config()` of a config file returns, if it has all that every experiment has."""
    path = module.__file__
    if not hasattr(module, "get_config"):
        raise UserError(f"--config {path} has no get_config(); see configs/base.py for what one holds")
    try:
        config = module.get_config()
    except Exception as error:
        reason = str(error).strip("\"'").replace("\\n", "; ").replace("\n", "; ")
        raise UserError(f"--config {path}: get_config() fails with {type(error).__name__}: {reason}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"--config {path}: get_config() returns {type(config).__name__}; return the ConfigDict of base()"
        )
    missing = sorted(set(load(BASE).base()) - set(config))
    if missing:
        raise UserError(f"--config {path} lacks {', '.join(missing)}; begin get_config() with configs/base.py's base()")
    return config


def override(config: ConfigDict, key: str, value: Any) -> None:
    """Sets `key` ("model.width") to a value, or to what a string from the command line says."""
    *folders, name = key.split(".")
    section = config
    for i, folder in enumerate(folders):
        if folder not in section or not isinstance(section[folder], ConfigDict):
            where = ".".join(["config", *folders[:i]])
            raise UserError(f"config.{key}: {where} has no section {folder!r}{suggest(folder, section_names(section))}")
        section = section[folder]
    if name in section:
        section[name] = typed(f"config.{key}", value, section[name], section.get_type(name))
    elif "name" in section:
        # The page does not set it, but what the section names may take it: its signature decides, in train/build.py.
        section[name] = literal(value) if isinstance(value, str) else value
    else:
        raise UserError(f"config.{key}: there is no such value{suggest(name, list(section))}")


def typed(key: str, value: Any, now: Any, kind: type) -> Any:
    """`value` as the type the config has there."""
    if isinstance(now, ConfigDict):
        raise UserError(f"{key} is a section; set one of its values: {', '.join(f'{key}.{name}' for name in now)}")
    parsed = literal(value) if isinstance(value, str) and kind is not str else value
    if kind is float and type(parsed) is int:
        parsed = float(parsed)
    if kind is int and type(parsed) is float and parsed.is_integer() and isinstance(value, str) and "e" in value:
        parsed = int(parsed)  # --config.steps=1e4
    if kind is tuple and not isinstance(parsed, tuple):
        parsed = tuple(parsed) if isinstance(parsed, list) else (parsed,) if parsed != "" else ()
    if type(parsed) is not kind:
        wanted = {"bool": "True or False", "int": "a whole number", "float": "a number"}.get(
            kind.__name__, kind.__name__
        )
        raise UserError(f"{key}={value}: it takes {wanted}, as {now!r}")
    return parsed


def literal(text: str) -> Any:
    """A Python literal, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text, text)


def section_names(section: ConfigDict) -> list[str]:
    return [name for name in section if isinstance(section[name], ConfigDict)]


def pages(folder: pathlib.Path) -> list[pathlib.Path]:
    """The experiments in a folder."""
    return sorted(p for p in folder.glob("*.py") if p.stem not in ("base", "__init__"))


def describe(folder: pathlib.Path) -> str:
    """One line for each experiment: the first line of its docstring.  The files are read, not run."""
    rows = [(str(page), first_line(page)) for page in pages(folder)]
    if not rows:
        raise UserError(f"there are no configs in {folder.absolute()}; run from the root of the project")
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {line}" for name, line in rows)


def first_line(page: pathlib.Path) -> str:
    try:
        doc = ast.get_docstring(ast.parse(page.read_text()))
    except SyntaxError as error:
        return f"(does not parse: {error})"
    return (doc or "(no docstring)").split("\n")[0]
