"""Decoding with GPT-2 small beside the library transformers, alternating on the same machine: greedy, with a cache.

    uv run python -m scripts.bench.decode --torch /path/to/python/with/torch/and/transformers [--rounds 6]

Both read one folder of random weights and continue the same 32 tokens by 64.  That they choose the same is checked.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from scripts.bench.step import ROOT, compare

PROMPT, TOKENS = 32, 64
YARDSTICK = str(ROOT / "scripts" / "bench" / "torch_decode.py")


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--torch", metavar="PYTHON", help="a Python with torch and transformers")
    flags.add_argument("--rounds", type=int, default=6)
    flags.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    options = flags.parse_args()
    if options.serve:
        return serve(pathlib.Path(options.serve))
    if not options.torch:
        flags.error("--torch PYTHON: both sides read what the library writes")
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "isoflop": [sys.executable, __file__, "--serve", folder],
            "torch": [options.torch, YARDSTICK, folder, f"{PROMPT}", f"{TOKENS}"],
        }
        subprocess.run([*sides["torch"], "--make"], check=True)
        compare(sides, options.rounds, 1)
        ours, theirs = ((pathlib.Path(folder) / f"{side}.json").read_text() for side in sides)
    same = sum(a == b for a, b in zip(json.loads(ours), json.loads(theirs), strict=True))
    print(f"{same} of {TOKENS} tokens are the same")


def serve(folder: pathlib.Path) -> None:
    """For each number read from stdin, decodes as often and prints the seconds."""
    import jax

    from models import decode, pretrained
    from train.devices import runtime

    runtime.set_up()
    model, params, _ = pretrained.load(folder)
    step, prompt = decode.step_of(model), json.loads((folder / "prompt.json").read_text())
    made: list[int] = []

    def seconds() -> float:
        start = time.perf_counter()
        cache = model.network.empty_cache(1, PROMPT + TOKENS)
        how = decode.How(temperature=0)
        (made[:],) = decode.continue_texts(step, params, cache, [prompt], jax.random.key(0), tokens=TOKENS, how=how)
        return time.perf_counter() - start

    print(json.dumps(f"isoflop, jax {jax.__version__}"), flush=True)
    for line in sys.stdin:
        print(json.dumps([seconds() for _ in range(int(line))]), flush=True)
    (folder / "isoflop.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main()
