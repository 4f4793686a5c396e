"""Random configurations of every public class against the reference library: logits, gradients, and folders back.

    nice -n 10 python -m scripts.check.hf --python /path/to/python/with/torch [--count 20] [--seed 0] [--only CLASS …]

For each network that hf_torch.py draws: our logits are its logits (1e-4 of the largest); the gradient of one training
step is its gradient, tensor by tensor (1e-4 of its norm); what we save has the same bytes, and the reference library
loads it and gives the same logits.  Exits with 1 where one differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from models import pretrained
from models.api import Model
from models.weights import tensors
from scripts.check.hf_configs import UNREAD

BOUND = 1e-4


def loss(outputs: Any, targets: jax.Array) -> jax.Array:
    """As hf_torch.py has it."""
    if isinstance(outputs, tuple):
        return sum(jnp.square(x).mean() for x in outputs)
    logits = outputs.reshape(-1, outputs.shape[-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


def run(model: Model, params: Any, state: Any, inputs: list[jax.Array], targets: jax.Array | None) -> tuple[Any, Any]:
    """Outputs, and the gradient where there are targets."""

    def scored(params: Any) -> tuple[jax.Array, Any]:
        outputs, _ = model.apply(params, state, *inputs)
        return jnp.zeros(()) if targets is None else loss(outputs, targets), outputs

    if targets is None:
        (_, outputs), grads = jax.jit(scored)(params), None
    else:
        grads, outputs = jax.jit(jax.grad(scored, has_aux=True))(params)
    return outputs if isinstance(outputs, tuple) else (outputs,), grads


def compared(place: pathlib.Path, trains: bool) -> dict[str, float]:
    """How far logits and gradients are away, and how many tensors come back as other bytes."""
    told, given = np.load(place / "told.npz"), place / "given"
    model, params, state = pretrained.load(given)
    names = sorted(name for name in told.files if name.startswith("in/"))
    inputs = [jnp.asarray(told[n], jnp.int32 if told[n].dtype.kind == "i" else jnp.float32) for n in names]
    outputs, grads = run(model, params, state, inputs, jnp.asarray(told["targets"]) if trains else None)
    away = max(
        float(np.abs(x - told[f"out/{i}"]).max() / np.abs(told[f"out/{i}"]).max()) for i, x in enumerate(outputs)
    )
    pretrained.save(place / "saved", model, params, state)
    ours, theirs = (tensors.entries(folder) for folder in (place / "saved", given))
    same = lambda name: tensors.read(ours[name]).tobytes() == tensors.read(theirs[name]).tobytes()
    changed = [name for name in set(theirs) - UNREAD if name not in ours or not same(name)]
    gradient = gradients_away(model, grads, told) if trains else 0.0
    return {"logits": away, "gradient": gradient, "bytes": float(len(changed))}


def gradients_away(model: Model, grads: Any, told: Any) -> float:
    """The largest difference of a tensor's gradient by its norm, or by a thousandth of the largest tensor's."""
    ours = pretrained.flat({"params": grads}, of=np.asarray)
    theirs = {name.removeprefix("grad/"): told[name] for name in told.files if name.startswith("grad/")}
    least = 1e-3 * max(float(np.linalg.norm(x)) for x in theirs.values())  # a key's bias has a gradient of 0
    least = max(least, float(np.finfo(np.float32).tiny))  # and so has all of a classifier of one class
    family, worst = pretrained.families()[model.config["architectures"][0]], 0.0
    for row in family.rows(model.network):
        for name, x in zip(row.theirs, row.out(ours[row.ours]) if row.ours in ours else (), strict=False):
            if name in theirs and name not in UNREAD:
                norm = float(np.linalg.norm(theirs[name]))
                worst = max(worst, float(np.linalg.norm(x - theirs[name])) / max(norm, least))
    return worst


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--python", required=True, help="a Python that has torch and transformers")
    flags.add_argument("--count", type=int, default=20)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--only", nargs="*")
    flags.add_argument("--gradients", type=int, default=1, help="of each so-manieth network")
    flags.add_argument(
        "--folder", type=pathlib.Path, help="where networks are kept; one that is there is not drawn anew"
    )
    options = flags.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or pathlib.Path(scratch)
        theirs = [options.python, "-m", "scripts.check.hf_torch"]
        call = lambda *words: subprocess.run([*theirs, *map(str, words)], check=True)
        only = ["--only", *options.only] if options.only else []
        if not any(folder.glob("*/*/told.npz")):
            call("draw", folder, "--count", options.count, "--seed", options.seed, *only)
        found: dict[pathlib.Path, dict[str, float] | str] = {}
        for told in sorted(folder.glob("*/*/told.npz")):
            if options.only and told.parent.parent.name not in options.only:
                continue
            try:
                found[told.parent] = compared(told.parent, int(told.parent.name) % options.gradients == 0)
            except ValueError as error:
                found[told.parent] = str(error)
        call("check", folder)
        sys.exit(report(found))


def report(found: dict[pathlib.Path, dict[str, float] | str]) -> int:
    """A line for each class, and one for each network that differs."""
    bad = 0
    for architecture in sorted({place.parent.name for place in found}):
        worst, wrong = {"logits": 0.0, "gradient": 0.0, "bytes": 0.0, "back": 0.0}, []
        for place, one in found.items():
            if place.parent.name != architecture:
                continue
            if isinstance(one, str):
                wrong.append(f"  {place.name}: {one}")
                continue
            back = json.loads((place / "checked.json").read_text())
            numbers = {**one, "back": back["away"]}
            worst = {name: max(x, numbers[name]) for name, x in worst.items()}
            if (
                back["wrong"]
                or numbers["bytes"]
                or any(not numbers[n] <= BOUND for n in ("logits", "gradient", "back"))
            ):
                said = ", ".join(f"{name} {x:.1e}" for name, x in numbers.items())
                wrong.append(f"  {place.name}: {said} {back['wrong']}")
        count = sum(place.parent.name == architecture for place in found)
        said = ", ".join(f"{name} {x:.1e}" for name, x in worst.items() if name != "bytes")
        print(f"{architecture}: {count - len(wrong)} of {count} agree; at most {said}", *wrong, sep="\n")
        bad += len(wrong)
    return int(bad > 0)


if __name__ == "__main__":
    main()
