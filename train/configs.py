"""Config files: loading one by its path, and changing its values from the command line.

A config is a Python file with `get_config()`, which returns an ml_collections ConfigDict of plain typed values.
"""

import ast
import functools
import pathlib
import re
import sys
import zlib
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from train.code import execute
from train.errors import UserError, suggest
from train.schema import WORDS, arguments, literal, typed_as

FOLDER = pathlib.Path("configs")
BASE = str(pathlib.Path(__file__).parents[1] / "configs" / "base.py")


def load(path: str) -> Any:
    """The config file as a module: a path, or the name of a page in any folder of configs/."""
    file = pathlib.Path(path)
    if not file.is_file():
        known = {page.stem: page for page in pages(FOLDER)}
        if path not in known:
            others = map(str, known.values()) if file.suffix else known
            raise UserError(f"--config {path}: there is no such file or page{suggest(path, others)}")
        file = known[path]
    name = f"config_{file.stem}_{zlib.crc32(str(file.absolute()).encode()):08x}"  # two folders may have an equal page
    try:
        return execute(file, name, f"--config {path}")
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"--config {path} fails when loaded: {type(error).__name__}: {error}") from error


def config_of(module: Any, overrides: list[str], reads: bool = True) -> ConfigDict:
    """`get_config()` with `key=value` strings applied, locked.  What only plans and `reads` no data needs no path."""
    config = checked(module)
    pairs = []
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals:
            raise UserError(f"--config.{key} has no value; write --config.{key}=VALUE")
        pairs.append((key, text))
    for key, text in sorted(pairs, key=lambda pair: not pair[0].endswith(".name")):  # names first: they say what fits
        override(config, key, text)
    if reads or config.data.get("path", "") is not None:
        check_file(module, config)
    return config.lock()


def check_file(module: Any, config: ConfigDict) -> None:
    """Refuses a page without the file that it reads, and says where that comes from."""
    path = config.data.get("path", "")
    if path is None:
        raise UserError("config.data.path is not set: name your file or folder, --config.data.path=PATH")
    if not path or pathlib.Path(path).expanduser().exists() or path != module.get_config().data.get("path"):
        return
    origin = origin_of(pathlib.Path(module.__file__))
    get = f"  Get it: {origin}.  Or" if origin else "  Get it, or"
    raise UserError(
        f"{module.__file__} reads {path!r}, which is not in {pathlib.Path.cwd()} and comes with no clone.{get} name a "
        "file of your own, --config.data.path=PATH"
    )


def origin_of(page: pathlib.Path) -> str:
    """Where the data of a page come from that a clone lacks: the line "Get" of its docstring."""
    doc = ast.get_docstring(ast.parse(page.read_bytes())) or ""
    found = re.search(r"^Get +(.*(?:\n {12}.*)*)", doc, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


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
    base = load(BASE).base()
    check_plain(path, config)
    missing = sorted(set(base) - set(config))
    if missing:
        raise UserError(f"--config {path} lacks {', '.join(missing)}; begin get_config() with configs/base.py's base()")
    check_base(base, config)
    return config


def check_plain(path: str, config: ConfigDict, key: str = "config") -> None:
    """Refuses functions and classes: a page holds plain values, which a run can save."""
    for name, value in config.items():
        here = f"{key}.{name}"
        if isinstance(value, ConfigDict):
            check_plain(path, value, here)
        elif callable(value):
            called = getattr(value, "__name__", type(value).__name__)
            raise UserError(
                f"--config {path}: {here} is {called}, a function or a class; a page holds plain values: write its "
                f"name, such as 'module:{called}' or 'path.py:{called}'"
            )


def check_base(base: ConfigDict, config: ConfigDict, key: str = "config") -> None:
    """Refuses a page that gives what every experiment has another type; lists count as tuples.

    In a section with a name the signature that it names decides, in train/build.py.
    """
    for name, value in base.items():
        here = f"{key}.{name}"
        if "name" in base and name != "name" and name in config:
            continue
        if name not in config:
            raise UserError(f"{here} is missing; base() of configs/base.py sets it to {value!r}")
        if isinstance(value, ConfigDict) and isinstance(config[name], ConfigDict):
            check_base(value, config[name], here)
        elif isinstance(config[name], list) and isinstance(value, tuple):
            continue
        else:
            typed(here, config[name], value)


@functools.cache  # once a process: every job of a sweep changes the same name
def say_once(line: str) -> None:
    print(line, file=sys.stderr)


def override(config: ConfigDict, key: str, value: Any, say: Callable[[str], None] = say_once) -> None:
    """Sets `key` ("model.width") to a value, or to what a string from the command line says; None unsets.

    What a section's `name` takes is what its annotations say, whatever the page holds there.
    """
    *folders, name = key.split(".")
    if key.startswith("augment."):
        switch(config, key.split(".")[1], value if len(folders) == 1 else True)
        if len(folders) == 1:
            return
    section = config
    for i, folder in enumerate(folders):
        if folder not in section or not isinstance(section[folder], ConfigDict):
            where = ".".join(["config", *folders[:i]])
            raise UserError(f"config.{key}: {where} has no section {folder!r}{suggest(folder, section_names(section))}")
        section = section[folder]
    now = section.get(name)
    where = ".".join(folders)
    named = "name" in section or folders[:1] in (["augment"], ["init"])
    takes = arguments(where, section.get("name")) if named and name != "name" else None
    with section.ignore_type():
        if isinstance(now, ConfigDict):
            typed(f"config.{key}", value, now)
        elif takes is not None and name in takes:
            section[name] = typed_as(f"config.{key}", value, takes[name], now)
        elif takes is not None and value in (None, "None") and name not in section:
            raise UserError(f"config.{key}: {section.get('name', where)} has no {name!r}{suggest(name, takes)}")
        elif named and (name not in section or now is None or value in (None, "None")):
            # Its signature decides, in train/build.py.
            section[name] = literal(value) if isinstance(value, str) else value
        elif name in section:
            section[name] = typed(f"config.{key}", value, now)
        else:
            raise UserError(f"config.{key}: there is no such value{suggest(name, list(section))}")
    if name == "name" and value != now:
        drop_untaken(section, where, say)


def switch(config: ConfigDict, name: str, value: Any) -> None:
    """Adds an augmentation, as the function says unless its options follow, or takes it away."""
    from train.augment import ORDER  # with JAX

    if name not in ORDER:
        raise UserError(f"config.augment.{name} is no augmentation{suggest(name, ORDER)}")
    wanted = literal(value) if isinstance(value, str) else value
    if wanted is True or wanted == {}:
        config.augment[name] = config.augment.get(name, ConfigDict())
    elif wanted is False or wanted is None or wanted == "None":
        config.augment = {each: part for each, part in config.augment.items() if each != name}
    else:
        raise UserError(
            f"config.augment.{name}={value}: it takes True or False; its options have flags of their own, such as "
            "--config.augment.crop.padding=4"
        )


def drop_untaken(section: ConfigDict, key: str, say: Callable[[str], None]) -> None:
    """Removes the page's values that what the section now names does not take, and says so."""
    takes = arguments(key, section.name)
    left = [] if takes is None else [name for name in section if name != "name" and name not in takes]
    for name in left:
        del section[name]
    if left:
        say(f"config.{key}.name={section.name}: it takes no {', '.join(left)}, which the page sets; left out")


def typed(key: str, value: Any, now: Any) -> Any:
    """`value` as the type of `now`, which the config has there."""
    kind = type(now)
    if isinstance(now, ConfigDict):
        raise UserError(f"{key} is a section; set one of its values: {', '.join(f'{key}.{name}' for name in now)}")
    parsed = literal(value) if isinstance(value, str) and kind is not str else value
    if kind is float and type(parsed) is int:
        parsed = float(parsed)
    if kind is int and type(parsed) is float and parsed.is_integer() and isinstance(value, str) and "e" in value:
        parsed = int(parsed)  # --config.steps=1e4
    if kind is tuple and parsed is not None and not isinstance(parsed, tuple):
        parsed = tuple(parsed) if isinstance(parsed, list) else (parsed,) if parsed != "" else ()
    if type(parsed) is not kind:
        raise UserError(f"{key}={value}: it takes {WORDS.get(kind, kind.__name__)}, as {now!r}")
    return parsed


def section_names(section: ConfigDict) -> list[str]:
    return [name for name in section if isinstance(section[name], ConfigDict)]


def pages(folder: pathlib.Path) -> list[pathlib.Path]:
    """The experiments in a folder and the folders in it."""
    return sorted(p for p in folder.rglob("*.py") if p.stem not in ("base", "__init__"))


def describe(folder: pathlib.Path) -> str:
    """One line for each experiment: the first line of its docstring.  The files are read, not run."""
    rows = [(str(page), first_line(page)) for page in pages(folder)]
    if not rows:
        raise UserError(f"there are no configs in {folder.absolute()}; run from the root of the project")
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {line}" for name, line in rows)


def first_line(page: pathlib.Path) -> str:
    try:
        doc = ast.get_docstring(ast.parse(page.read_bytes()))
    except SyntaxError as error:
        return f"(does not parse: {error})"
    return (doc or "(no docstring)").split("\n")[0]
