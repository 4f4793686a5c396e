"""Public classes of networks, under a Python with torch and transformers: golden numbers for tests/test_pretrained.py.

    PYTHONPATH=. /path/to/python/with/torch scripts/golden/hf.py make tests/golden
    python -m scripts.golden.hf_saved FOLDER                       # with ours: every golden's network, saved by us
    PYTHONPATH=. /path/to/python/with/torch scripts/golden/hf.py check FOLDER tests/golden

`make` builds small networks of odd configurations, fills them with `tensor` (tests/support/golden.py) and keeps
what they say: configs, outputs, and of some the gradient of a loss (of each tensor its product with `numbers`).
`check` loads the folders that we saved into the same classes, and compares.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

from scripts.golden.hf_cases import CASES, inputs_of
from tests.support.golden import numbers, tensor

WHOLE = "model.safetensors"
transformers.logging.set_verbosity_error()


def network(architecture, config, folder):
    """With a `tensor` for each name that the class writes, which may be others than its modules have."""
    made = getattr(transformers, architecture)
    saved = written(made(made.config_class(**config)), folder)
    save_file({name: tensor(name, *x.shape) for name, x in saved.items()}, folder / WHOLE, {"format": "pt"})
    return made.from_pretrained(folder).eval(), {name: list(x.shape) for name, x in saved.items()}


def written(network, folder):
    network.save_pretrained(folder)
    return load_file(folder / WHOLE)


def outputs(network, inputs):
    with torch.no_grad():
        return [x.numpy() for x in said(network, inputs)]


def said(network, inputs):
    out = network(**{name: torch.tensor(x) for name, x in inputs.items()})
    if type(network).__name__ == "BertModel":
        return out.last_hidden_state, out.pooler_output
    return (out.logits_per_text if type(network).__name__ == "CLIPModel" else out.logits,)


def gradients(network, inputs, folder):
    """Of the mean of sin over all outputs, each tensor's product with `numbers`; parameters become their gradients.

    Tensors that the class does not train are left out.
    """
    network.zero_grad()
    sum(torch.sin(x).mean() for x in said(network, inputs)).backward()
    for p in network.parameters():
        p.data = torch.zeros_like(p) if p.grad is None else p.grad
    for buffer in network.buffers():
        buffer.zero_()
    found = written(network, folder)
    return {n: float((g * numbers(f"probe {n}", *g.shape)).sum()) for n, g in found.items() if g.any()}


def make(golden, only):
    for architecture, cases in CASES.items():
        if only and architecture not in only:
            continue
        kept, told = {}, {}
        for case, (config, shape) in cases.items():
            with tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                made, shapes = network(architecture, config, folder)
                told[case] = {"config": json.loads((folder / "config.json").read_text()), "shapes": shapes}
                for i, x in enumerate(outputs(made, inputs_of(shape))):
                    kept[f"{case}/{i}"] = x
                if case == "plain":
                    told[case]["gradients"] = gradients(made, inputs_of(shape), folder)
        kept["told"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
        np.savez_compressed(golden / f"hf_{architecture}.npz", **kept)
        print(architecture, len(cases), (golden / f"hf_{architecture}.npz").stat().st_size)


def check(folder, golden):
    worst = 0.0
    for place in sorted(folder.glob("*/*")):
        architecture, case = place.parent.name, place.name
        stored = np.load(golden / f"hf_{architecture}.npz")
        made = getattr(transformers, architecture).from_pretrained(place).eval()
        for i, x in enumerate(outputs(made, inputs_of(CASES[architecture][case][1]))):
            away = np.abs(x - stored[f"{case}/{i}"]).max() / np.abs(stored[f"{case}/{i}"]).max()
            worst = max(worst, away)
            if not away <= 1e-6:
                sys.exit(f"{place}: differs by {away:.1e} of the largest")
    print(f"{len(list(folder.glob('*/*')))} folders give the same; the largest difference is {worst:.1e}")


if __name__ == "__main__":
    flags = argparse.ArgumentParser()
    flags.add_argument("what", choices=["make", "check"])
    flags.add_argument("folders", nargs="+", type=pathlib.Path)
    flags.add_argument("--only", nargs="*")
    options = flags.parse_args()
    if options.what == "make":
        make(options.folders[0], options.only)
    else:
        check(*options.folders)
