"""Every config page, shrunk until it trains in seconds: for tests and checks over all of them.

Random images of the same shape are used instead of sets that have to be downloaded.
"""

import pathlib
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from train import configs

PAGES = configs.pages(pathlib.Path("configs"))
STEPS = 6

# At most this of whatever a page sets.
SMALL = {
    "steps": STEPS,
    "batch_size": 8,
    "log_every": 2,
    "cpu_devices": 1,
    "schedule": {"warmup": 2},
    "eval": {"every": 4, "batch_size": 64, "train_records": 16},
    "data": {
        "context": 16,
        "train_tokens": 4096,
        "valid_tokens": 512,
        "train": 256,
        "valid": 64,
        "vocab": 256,
        "side": 16,
        "length": 16,
        "blanks": 8,
        "lookback": 16,
        "rows": 200,
        "size": 64,
    },
    "model": {
        "depth": 18,
        "vocab": 256,
        "context": 16,
        "layers": 1,
        "heads": 2,
        "width": 16,
        "hidden": 16,
        "blocks": 1,
        "halvings": 1,
        "cycles": 1,
    },
}

TEXT = "".join(chr(32 + i * i % 60) for i in range(3000))
TABLES = {  # 300 rows in the shape of the table that a page is for
    "series:table": lambda data: [f"hour,{data.target}", *(f"h{i},{i * i % 24}" for i in range(300))],
    **{
        f"tables:{kind}": lambda data: [f"{'FIM'[i % 3]},{'.5,' * 7}{i * i % 24}" for i in range(300)]
        for kind in ("regression", "table")
    },
}


def small(page: pathlib.Path, folder: pathlib.Path) -> ConfigDict:
    """The page's config, shrunk; text that it wants from a file is written to `folder`."""
    config = configs.load(str(page)).get_config()
    shrink(config, SMALL)
    config.mesh.update({"data": -1, "fsdp": 1, "tensor": 1})  # a page may be made for more devices than there are
    if str(config.data.get("dataset", "")).startswith("isoflop_"):
        config.data.valid = "valid[:1]" if config.data.name.startswith("text:") else "valid[:64]"
    elif config.data.name == "arrays:columns":
        shown = {"side": config.data.get("size", 32), "classes": 10, "train": 256, "valid": 64}
        config.data = ConfigDict({"name": "random:images", **shown})
    pose(config, folder)
    return config


def pose(config: ConfigDict, folder: pathlib.Path) -> None:
    """Writes to `folder` something in the shape of the file or folder that the page reads, and lets it read that."""
    if config.data.name == "images:folder":
        image_folder(folder / "images")
        config.data.path = str(folder / "images")
    elif "path" in config.data:
        table = TABLES.get(config.data.name)
        file = folder / ("input.csv" if table else "input.txt")
        file.write_text("\n".join(table(config.data)) if table else TEXT)
        config.data.path = str(file)


def image_folder(folder: pathlib.Path) -> None:
    """Coloured noise in two classes that do not differ, 64 images to train on and 32 held out."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 32), ("test", 16)):
        for label in ("cat", "dog"):
            place = folder / split / label
            place.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(place / f"{i:02}.png")


def shrink(section: Any, limits: dict[str, Any]) -> None:
    for name, limit in limits.items():
        if isinstance(limit, dict):
            parts = section.get(name, {})
            for part in [parts, *(p for p in parts.values() if hasattr(p, "items"))]:  # and of every player
                shrink(part, limit)
        elif type(section.get(name)) is int:
            section[name] = limit if section[name] < 0 else min(section[name], limit)  # 0 is off, -1 chosen by the run
