"""Every config page, shrunk until it trains in seconds: for tests and checks over all of them.

A module of models/, data/ or train/tasks/ that has sizes declares the smallest sensible ones beside its functions:

    SMALLEST = {"layers": 1, "heads": 2, "width": 16}

An option of a page, or its default, becomes at most the number declared; what is no number replaces it.  So a new page
needs no edit here.
"""

import importlib
import inspect
import pathlib
from typing import Any

from ml_collections import ConfigDict

from tests.support.standins import stand_in, without_download
from train import configs
from train.build import resolve

PAGES = configs.pages(pathlib.Path("configs"))
STEPS = 6
RUN = {  # at most this of what a page sets
    "": {"steps": STEPS, "batch_size": 8, "log_every": 2, "cpu_devices": 1},
    "schedule": {"warmup": 2},
    "eval": {"every": 4, "batch_size": 64, "train_records": 16},
}
PACKAGES = {"data": "data", "model": "models", "task": "train.tasks"}  # sections of a config and where they are built


def small(page: pathlib.Path, folder: pathlib.Path) -> ConfigDict:
    """The page's config, shrunk; a file that it wants is written to `folder`."""
    config = configs.load(str(page)).get_config()
    config.mesh.update(
        {"data": -1, "fsdp": 1, "expert": 1, "context": 1, "tensor": 1}
    )  # a page may be made for more devices than there are
    for name, limits in RUN.items():
        section = config[name] if name else config
        for key, most in limits.items():
            section[key] = most if section[key] < 0 else min(section[key], most)  # 0 is off, -1 chosen by the run
    for section, package in PACKAGES.items():
        shrink(config[section], package)
    config.data = without_download(config.data)
    config.init = ConfigDict()  # a run that is not here
    stand_in(config, folder)
    return config


def one_of_each(pages: list[pathlib.Path]) -> list[pathlib.Path]:
    """Pages that have, all together, every network, every source of data and every task that `pages` have."""
    seen, chosen = set(), []
    for page in pages:
        config = configs.load(str(page)).get_config()
        networks = [config.model] if "name" in config.model else config.model.values()
        new = {("model", each.name) for each in networks} | {("data", config.data.name), ("task", config.task.name)}
        if new - seen:
            seen |= new
            chosen.append(page)
    return chosen


def shrink(section: ConfigDict, package: str) -> None:
    """Gives what the section names the smallest sizes that its module declares; so too each player or part in it."""
    if section.get("name"):  # a page may leave its task to the data
        takes = inspect.signature(resolve(package, section.name)).parameters
        for option, least in smallest(package, section.name).items():
            if option in takes:
                value = section.get(option, takes[option].default)
                if smaller(value, least) != value:
                    section[option] = smaller(value, least)
    for part in section.values():
        if isinstance(part, ConfigDict):
            shrink(part, package)


def smallest(package: str, name: str) -> dict[str, Any]:
    """What the module of `name` ("gpt:GPT") declares."""
    module = importlib.import_module(f"{package}.{name.split(':')[0]}")
    return getattr(module, "SMALLEST", {})


def smaller(value: Any, least: Any) -> Any:
    if type(value) is not type(least):  # a share where others have a count, or a size that nobody set
        return value
    return min(value, least) if isinstance(least, int | float) else least


def blobs(**changes: Any) -> ConfigDict:
    """A small perceptron on two clouds that overlap, scored every second step."""
    values = {"steps": 40, "batch_size": 16, "schedule.warmup": 0, "log_every": 1, "model.width": 8, "writers": ()}
    values |= {"eval.every": 2, "eval.patience": 3, "checkpoint.every": 1, **changes}
    config = configs.config_of(configs.load("configs/classics/digits_mlp.py"), [f"{k}={v}" for k, v in values.items()])
    with config.unlocked():
        config.data = {"name": "synthetic:blobs", "classes": 2, "train": 64, "valid": 64}
        config.model.classes = 2
    return config
