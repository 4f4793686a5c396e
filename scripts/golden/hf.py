"""Public classes of networks, under a Python with torch and transformers: golden numbers for tests/test_pretrained.py.

    PYTHONPATH=. /path/to/python/with/torch scripts/golden/hf.py make tests/golden
    python -m scripts.golden.hf_saved FOLDER                       # with ours: every golden's network, saved by us
    PYTHONPATH=. /path/to/python/with/torch scripts/golden/hf.py check FOLDER tests/golden

`make` builds small networks of odd configurations, fills them with `scripts.golden.tensor` and keeps what they say:
configs, outputs, and of some the gradient of a loss (a number for each tensor: its product with `numbers`).
`check` loads the folders that we saved into the same classes, and compares.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import torch
import transformers

from scripts.golden import numbers, tensor
from scripts.golden.hf_cases import CASES, inputs_of

transformers.logging.set_verbosity_error()


def network(architecture, config):
    made = getattr(transformers, architecture)
    network = made(made.config_class(**config)).eval()
    network.load_state_dict({name: torch.tensor(tensor(name, *x.shape)) for name, x in owned(network).items()}, False)
    network.tie_weights()
    return network


def owned(network):
    """Every tensor that save_pretrained writes: tied ones once."""
    seen, found = set(), {}
    for name, x in sorted(network.state_dict(keep_vars=True).items(), key=lambda pair: not_tied(network, pair[0])):
        if id(x) not in seen:
            found[name] = x
        seen.add(id(x))
    return dict(sorted(found.items()))


def not_tied(network, name):
    tied = getattr(network, "_tied_weights_keys", None) or {}
    return name in tied, name


def outputs(network, inputs):
    with torch.no_grad():
        return [x.numpy() for x in said(network, inputs)]


def said(network, inputs):
    out = network(**{name: torch.tensor(x) for name, x in inputs.items()})
    if type(network).__name__ == "BertModel":
        return out.last_hidden_state, out.pooler_output
    return (out.logits_per_text if type(network).__name__ == "CLIPModel" else out.logits,)


def gradients(network, inputs):
    """Of the mean of sin over all outputs."""
    network.zero_grad()
    sum(torch.sin(x).mean() for x in said(network, inputs)).backward()
    return {name: float((p.grad.numpy() * numbers(f"probe {name}", *p.shape)).sum()) for name, p in owned_grad(network)}


def owned_grad(network):
    return [(name, p) for name, p in owned(network).items() if getattr(p, "grad", None) is not None]


def make(folder, only):
    for architecture, cases in CASES.items():
        if only and architecture not in only:
            continue
        kept, told = {}, {}
        for case, (config, shape) in cases.items():
            made, inputs = network(architecture, config), inputs_of(shape)
            shapes = {name: list(x.shape) for name, x in owned(made).items()}
            told[case] = {"config": as_saved(made), "shapes": shapes}
            if case == "plain":
                told[case]["gradients"] = gradients(made, inputs)
            for i, x in enumerate(outputs(made, inputs)):
                kept[f"{case}/{i}"] = x
        kept["told"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
        np.savez_compressed(folder / f"hf_{architecture}.npz", **kept)
        print(architecture, len(cases), (folder / f"hf_{architecture}.npz").stat().st_size)


def as_saved(network):
    config = json.loads(network.config.to_json_string(use_diff=False))
    return {**config, "architectures": [type(network).__name__]}


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
