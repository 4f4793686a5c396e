"""Compiles training for TPU slices that are not here, and prints what the compiler and a roofline say of them.

    uv run --extra tpu python -m scripts.check.topologies [PAGE ...] [--table pages|sizes|scaling] [--json FILE]

pages     every config page for v5e:2x4
sizes     the large pages on the slices that they are meant for
scaling   GPT 1.3 B, 4 rows of 2,048 tokens a chip, from 16 to 256 chips, parameters split 32 ways at most (the last
          row: over all chips); and what theory says is sent
Exits with 1 where a page does not compile.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import jax

from tests.support.small import PAGES
from tests.support.standins import stand_in
from train import configs
from train.cost.plan import Plan, elsewhere
from train.cost.show import as_json
from train.devices import mesh, runtime
from train.errors import UserError

GiB = 2**30
LARGE = ("gpt_124m", "gpt_1b", "gpt_7b", "resnet_25m")
SIZES = [
    ("gpt_124m", "v5e:2x4", {}),
    ("gpt_1b", "v5e:16x16", {}),
    ("gpt_1b", "v5p:8x8x8", {}),
    ("gpt_7b", "v5e:16x16", {}),
    ("gpt_7b", "v5p:8x8x8", {"accumulate": 1}),
    ("resnet_25m", "v5e:2x4", {}),
]
# What fits eight chips of 16 GiB, and divides by eight.
ON_EIGHT = {
    "cifar_resnet": {"batch_size": 64},  # as many images as pose for it
    "gpt_1b": {"accumulate": 16, "mesh.fsdp": 8},
    "gpt_7b": {
        "batch_size": 8,
        "accumulate": 1,
        "mesh.fsdp": 8,
        "model.remat": "full",
        "model.context": 1024,
        "data.context": 1024,
        "optim.mu_dtype": "bfloat16",
    },
    "perceptron": {"batch_size": 8},
    "shakespeare_gpt": {"batch_size": 16},
    "text_gpt": {"batch_size": 16},
    "xor_mlp": {"batch_size": 8, "data.inputs": 3},
    "xor_perceptron": {"batch_size": 8, "data.inputs": 3},
}
SLICES = ["v5e:4x4", "v5e:4x8", "v5e:8x8", "v5e:8x16", "v5e:16x16"]


def main(argv: list[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--table", choices=["pages", "sizes", "scaling"], default="pages")
    flags.add_argument("pages", nargs="*", metavar="PAGE", help="of the table; without any, all of it")
    flags.add_argument("--json", type=pathlib.Path, help="append the plans to this file, one a line")
    options = flags.parse_args(argv)
    jax.config.update("jax_platforms", "cpu")
    runtime.set_up()
    failed = 0
    print("| config | slice | changes | HBM a chip, GiB | step, ms | products | memory | waited | MFU | sent a step |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for page, topology, changes in rows(options.table):
        if options.pages and page not in options.pages:
            continue
        shown = " ".join(f"{key}={value}" for key, value in changes.items())
        try:
            with tempfile.TemporaryDirectory() as folder:
                made = elsewhere(config_of(page, changes, pathlib.Path(folder)), topology)
            said = made.refused
        except UserError as error:
            said = str(error)
        if said:
            failed += 1
            print(f"| {page} | {topology} | {shown} | {said} |", flush=True)
            continue
        print(line(made, page, topology, shown), flush=True)
        if options.table == "scaling":
            print(f"  theory: {theory(made) / 1e9:.3f} GB sent, compiled {sent(made) / 1e9:.3f}", flush=True)
        if options.json:
            with open(options.json, "a") as file:
                file.write(json.dumps({"page": page, "topology": topology, "changes": changes, **as_json(made)}) + "\n")
    return int(failed > 0)


def rows(table: str) -> list[tuple[str, str, dict]]:
    if table == "sizes":
        return SIZES
    if table == "scaling":
        chips = {each: mesh.topology(each).chips for each in SLICES}
        kept = [(each, {"batch_size": 4 * n, "mesh.data": -1, "mesh.fsdp": min(n, 32)}) for each, n in chips.items()]
        all_split = (SLICES[-1], {"batch_size": 4 * chips[SLICES[-1]], "mesh.data": 1, "mesh.fsdp": -1})
        return [("gpt_1b", each, changes) for each, changes in [*kept, all_split]]
    return [(page.stem, "v5e:2x4", ON_EIGHT.get(page.stem, {})) for page in PAGES]


def config_of(page: str, changes: dict, folder: pathlib.Path):
    config = configs.load(page).get_config()
    if config.data.name != "corpus:windows":  # in whose place a plan draws tokens
        stand_in(config, folder)
    config.update_from_flattened_dict(changes)
    return config


def line(made: Plan, page: str, topology: str, shown: str) -> str:
    waited = " + ".join(
        f"{each.kind} {each.bytes / 1e9:.3g} GB × {each.count} ({each.asynchronous / each.count:.0%} async)"
        for each in made.collectives
        if each.bytes > 1e6
    )
    assert made.chip is not None and made.peak_bytes is not None and made.step_seconds is not None  # noqa: PT018
    return (
        f"| {page} | {topology} | {shown} | {made.peak_bytes / GiB:.2f} of {made.chip.memory / GiB:.0f} "
        f"| {made.step_seconds * 1e3:.3g} | {made.compute_seconds * 1e3:.3g} | {made.memory_seconds * 1e3:.3g} "
        f"| {made.waited * 1e3:.2g} | {made.mfu:.0%} | {waited} |"
    )


def sent(made: Plan) -> float:
    return sum(each.bytes for each in made.collectives)


def theory(made: Plan) -> float:
    """Bytes that fsdp has to send, a chip: bfloat16 parameters gathered, their gradients scattered.

    Blocks are gathered twice, once more for the recomputation of the backward pass, all else once.  A gather leaves out
    the chip's own part.  Copies of the split parameters (`data`) then add their gradients up: an all-reduce.  The
    gradients of the vectors that tokens looked up are traded, so that each chip has its part of the width of them all.
    """
    config = made.config
    looked_up = config.batch_size * config.data.context / made.devices * config.model.width
    blocks = {name: size for name, size, _ in made.work.blocks}
    twice = sum(size for name, size in blocks.items() if name.startswith("stack"))
    once = made.work.params_total - twice
    n, copies = made.mesh["fsdp"], made.mesh["data"]
    shards = (n - 1) / n * (3 * twice + 2 * once + looked_up)
    return 2.0 * (shards + 2 * (copies - 1) / copies * (twice + once) / n)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
