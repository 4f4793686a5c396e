"""How much memory reading a public checkpoint takes at its peak: a Llama folder of about 1 GB, made for it.

    nice -n 10 python -m scripts.check.load_memory [--gigabytes 1]

Each row is a process of its own: `models.pretrained.load`, the same in bfloat16, and `config.init` from that folder up
to the state before step 0 (an optimizer that keeps nothing, so that the state is the parameters).  The peak is what the
process holds more than before it reads (VmHWM).  Exits with 1 where a peak reaches two copies.
"""

import argparse
import gc
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable

import jax
import numpy as np

from models import pretrained
from models.api import from_linen
from models.llama import Llama
from models.weights import llama, tensors

GIB = 2**30
SIZES = {"vocab": 32_000, "heads": 16, "width": 2048, "inner": 5504, "context": 1024}


def made(folder: pathlib.Path, layers: int) -> pathlib.Path:
    """A folder as the class would write it, of several files."""
    network = Llama(layers=layers, **SIZES)
    shapes = jax.eval_shape(from_linen(network).init, jax.random.key(0), *llama.example(network))[0]
    sizes = pretrained.flat({"params": shapes})
    listing = []
    for row in llama.rows(network):
        for name, x in zip(row.theirs, row.out(np.broadcast_to(np.float32(0), sizes[row.ours])), strict=True):
            make = lambda shape=x.shape: np.random.default_rng(0).standard_normal(shape, np.float32)
            listing.append(tensors.Saved(name, np.dtype(np.float32), x.shape, make))
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(llama.config(network)))
    tensors.write(folder, listing, 400_000_000)
    return folder


def status(name: str) -> int:
    """Bytes: VmRSS, what the process holds; VmHWM, the most that it held."""
    return 1024 * int(re.findall(rf"{name}:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[0])


def load(folder: pathlib.Path, dtype: str) -> object:
    return jax.block_until_ready(pretrained.load(folder, dtype=dtype)[1])


def begin(folder: pathlib.Path) -> Callable[[], object]:
    from train import configs, init
    from train.devices import mesh
    from train.experiment import build_experiment
    from train.program import initial_state

    page = configs.load("markov_llama").get_config()
    network = pretrained.examine(folder).model.network
    page.model.update(layers=network.layers, **SIZES)
    page.model.update(kv_heads=None, head_norm="none")
    page.data.train_tokens = page.data.valid_tokens = 2000
    page.optim = {"name": "sgd", "learning_rate": 0.1}
    page.init.update({"from": str(folder)})
    experiment = build_experiment(page.lock())
    batch = {name: np.zeros(x.shape, x.dtype) for name, x in experiment.batch.items()}

    def start() -> object:
        with tempfile.TemporaryDirectory() as work:
            workdir, devices = pathlib.Path(work), mesh.alone()
            planned = init.plan(experiment, workdir)
            assert planned is not None
            given = init.given(planned, experiment, devices, workdir)[0]
            return jax.block_until_ready(initial_state(experiment, devices, jax.random.key(0), batch, given))

    return start


def measure(folder: pathlib.Path, what: str) -> None:
    calls: dict[str, Callable[[], Callable[[], object]]] = {
        "load": lambda: lambda: load(folder, "float32"),
        "load in bfloat16": lambda: lambda: load(folder, "bfloat16"),
        "config.init": lambda: begin(folder),
    }
    call = calls[what]()
    gc.collect()
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    kept = call()
    print(json.dumps({"peak": status("VmHWM") - before, "kept": status("VmRSS") - before}))
    del kept


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--gigabytes", type=float, default=1.0)
    flags.add_argument("--measure", nargs=2, metavar=("FOLDER", "WHAT"), help=argparse.SUPPRESS)
    options = flags.parse_args()
    if options.measure:
        return measure(pathlib.Path(options.measure[0]), options.measure[1])
    layer = 4 * (4 * SIZES["width"] ** 2 + 3 * SIZES["width"] * SIZES["inner"])
    ends = 8 * SIZES["vocab"] * SIZES["width"]
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = made(pathlib.Path(scratch) / "given", max(1, round((options.gigabytes * GIB - ends) / layer)))
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        largest = max(4 * int(np.prod(one.shape)) for one in tensors.entries(folder).values())
        print(f"{size / GIB:.2f} GiB in {len(list(folder.glob('*.safetensors')))} files; largest {largest / GIB:.2f}")
        for what in ("load", "load in bfloat16", "config.init"):
            call = [sys.executable, "-m", "scripts.check.load_memory", "--measure", str(folder), what]
            done = subprocess.run(call, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            found = json.loads(done.stdout.splitlines()[-1])
            copies = found["peak"] / (size / 2 if "bfloat16" in what else size)
            bad += copies >= 2
            print(
                f"{what:<18} peak {found['peak'] / GIB:.2f} GiB, {copies:.2f} copies; keeps {found['kept'] / GIB:.2f}"
            )
    sys.exit(int(bad > 0))


if __name__ == "__main__":
    main()
