"""Every network of scripts/golden/hf_cases.py, loaded and saved by us: for `hf.py check`.

python -m scripts.golden.hf_saved FOLDER
"""

import argparse
import json
import pathlib

import numpy as np

from models import pretrained
from models.weights.tensors import Saved, write
from scripts.golden import tensor

GOLDEN = pathlib.Path("tests/golden")


def told(architecture: str) -> dict:
    """What hf.py kept of each case of a class: its config, the shapes of its tensors, gradients."""
    return json.loads(np.load(GOLDEN / f"hf_{architecture}.npz")["told"].tobytes())


def checkpoint(folder: pathlib.Path, architecture: str, case: str) -> pathlib.Path:
    """The folder that the public class would have saved."""
    kept = told(architecture)[case]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(kept["config"]))
    make = lambda name, shape: lambda: tensor(name, *shape)
    write(folder, [Saved(n, make(n, s)().dtype, tuple(s), make(n, s)) for n, s in kept["shapes"].items()], 10**9)
    return folder


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("folder", type=pathlib.Path)
    folder = flags.parse_args().folder
    for file in sorted(GOLDEN.glob("hf_*.npz")):
        architecture = file.stem.removeprefix("hf_")
        for case in told(architecture):
            given = checkpoint(folder.with_name(f"{folder.name}_given") / architecture / case, architecture, case)
            pretrained.save(folder / architecture / case, *pretrained.load(given))


if __name__ == "__main__":
    main()
