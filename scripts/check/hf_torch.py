"""The half of hf.py that needs torch and transformers; hf.py calls it.

    python -m scripts.check.hf_torch draw FOLDER --count 20 --seed 0 [--only CLASS …]
    python -m scripts.check.hf_torch check FOLDER

`draw` writes FOLDER/CLASS/NUMBER/given: a random network of the class, and inputs, outputs and the gradient of a loss
beside it (told.npz).  `check` loads FOLDER/CLASS/NUMBER/saved, which ours wrote, into the same class and compares.
"""

import argparse
import json
import pathlib
import shutil
import sys
import zlib

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

from scripts.check.hf_configs import CONFIGS, UNREAD, Draw, inputs
from scripts.golden.hf import WHOLE, network, said, written

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def loss(outputs, targets):
    """Cross-entropy of logits over the last axis; of BertModel the mean square; both as hf.py has them."""
    if len(outputs) > 1:
        return sum(x.square().mean() for x in outputs)
    logits = outputs[0].reshape(-1, outputs[0].shape[-1])
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets))


def rewritten(folder, d):
    """config.json as other versions write it: without fields that have the class's default, with older names."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    plain = getattr(transformers, config["architectures"][0]).config_class().to_dict()
    for name, value in list(config.items()):
        if name in plain and plain[name] == value and name not in ("model_type",) and d.yes:
            del config[name]
    rope = config.get("rope_parameters")
    if rope and d.yes:
        config["rope_theta"] = rope.pop("rope_theta")
        del config["rope_parameters"]
        if rope.get("rope_type") != "default":
            config["rope_scaling"] = rope
    file.write_text(json.dumps(config))


def gradients(made, outputs, targets, folder):
    """Of every tensor that the class trains, by the names that it writes."""
    fixed = {name for name, _ in made.named_buffers()}
    fixed |= {name for name, p in made.named_parameters() if not p.requires_grad}
    made.zero_grad()
    loss(outputs, targets).backward()
    for p in made.parameters():
        p.data = torch.zeros_like(p) if p.grad is None else p.grad
    for buffer in made.buffers():
        buffer.zero_()
    return {name: x for name, x in written(made, folder).items() if name not in fixed}


def one(architecture, number, seed, folder):
    """Whether the class takes what was drawn."""
    d = Draw(seed, number, zlib.crc32(architecture.encode()))
    config = CONFIGS[architecture](d)
    given = inputs(architecture, d, config)
    folder.mkdir(parents=True)
    try:
        network(architecture, config, folder)
        rewritten(folder, d)
        made = getattr(transformers, architecture).from_pretrained(folder).eval()
        outputs = said(made, given)
    except Exception as error:
        shutil.rmtree(folder)
        return f"{type(error).__name__}: {str(error).splitlines()[0][:110] if str(error) else ''}"
    if not all(x.isfinite().all() for x in outputs):
        shutil.rmtree(folder)
        return "its outputs are not finite"
    targets = d.rng.integers(0, outputs[0].shape[-1], outputs[0][..., 0].numel())
    found = {f"out/{i}": x.detach().numpy() for i, x in enumerate(outputs)}
    found |= {f"in/{i}/{name}": x for i, (name, x) in enumerate(given.items())}
    scratch = folder.with_name("gradient")
    scratch.mkdir()
    found |= {f"grad/{name}": x for name, x in gradients(made, outputs, targets, scratch).items()}
    shutil.rmtree(scratch)
    np.savez(folder.with_name("told.npz"), targets=targets, **found)
    return ""


def draw(folder, count, seed, only):
    for architecture in only or CONFIGS:
        refused, number = [], 0
        while number < count:
            why = one(
                architecture, 1000 * len(refused) + number, seed, folder / architecture / f"{number:03}" / "given"
            )
            if why:
                refused.append(why)
                if len(refused) > 3 * count:
                    sys.exit(f"{architecture} refuses what is drawn: {refused[-1]}")
                continue
            number += 1
        print(
            f"{architecture}: {count} drawn; the class refused {len(refused)} more", *sorted(set(refused)), sep="\n  "
        )


def check(folder):
    """A line for each folder that the class does not load, or says other numbers with."""
    for told in sorted(folder.glob("*/*/told.npz")):
        place, stored = told.parent / "saved", np.load(told)
        if not place.is_dir():
            continue
        try:
            made, info = getattr(transformers, told.parent.parent.name).from_pretrained(place, output_loading_info=True)
            given = {name.split("/")[2]: stored[name] for name in stored.files if name.startswith("in/")}
            with torch.no_grad():
                outputs = [x.numpy() for x in said(made.eval(), given)]
            away = max(
                float(np.abs(x - stored[f"out/{i}"]).max() / np.abs(stored[f"out/{i}"]).max())
                for i, x in enumerate(outputs)
            )
            lost = {name: sorted(found)[:3] for name, found in info.items() if found}
            same = not (set(load_file(place / WHOLE)) ^ set(load_file(told.parent / "given" / WHOLE))) - UNREAD
            wrong = f"loaded with {lost}" if lost else "" if same else "its tensors have other names"
        except Exception as error:
            away, wrong = float("inf"), f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        (told.parent / "checked.json").write_text(json.dumps({"away": away, "wrong": wrong}))


if __name__ == "__main__":
    flags = argparse.ArgumentParser()
    flags.add_argument("what", choices=["draw", "check"])
    flags.add_argument("folder", type=pathlib.Path)
    flags.add_argument("--count", type=int, default=20)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--only", nargs="*")
    options = flags.parse_args()
    if options.what == "draw":
        draw(options.folder, options.count, options.seed, options.only)
    else:
        check(options.folder)
