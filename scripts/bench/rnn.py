"""Time of a recurrent layer's train step beside PyTorch eager, alternating on the same machine.

    uv run python -m scripts.bench.rnn --torch /path/to/python/with/torch [--cell lstm] [--rounds 12]

One layer of 256 on 128 steps of 256 numbers, batch 32: outputs, gradient of the mean of their squares, and a step of
plain gradient descent.  Each round makes five steps on either side; the ratio is the median of the rounds' ratios.
"""

import argparse
import functools
import json
import os
import sys
import time
from collections.abc import Callable

from scripts.bench.step import ROOT, compare

SIZES = {"width": 256, "length": 128, "batch": 32}
STEPS = 5


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--torch", metavar="PYTHON", help="a Python with torch and numpy, to be timed too")
    flags.add_argument("--cell", default="lstm", help="lstm, gru, rnn or rnn_relu")
    flags.add_argument("--rounds", type=int, default=12)
    flags.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = flags.parse_args()
    if options.serve:
        return serve(options.cell)
    sides = {"isoflop": [sys.executable, __file__, "--serve", f"--cell={options.cell}"]}
    if options.torch:
        sizes = [f"--{name}={size}" for name, size in {**SIZES, "threads": os.cpu_count()}.items()]
        sides["torch"] = [
            options.torch,
            str(ROOT / "scripts" / "golden" / "torch_rnn.py"),
            f"--cell={options.cell}",
            *sizes,
        ]
    compare(sides, options.rounds, STEPS)


def serve(cell: str) -> None:
    """For each number read from stdin, makes as many steps and prints their seconds."""
    import jax

    step = stepper(cell)
    print(json.dumps(f"isoflop, jax {jax.__version__}"), flush=True)
    for line in sys.stdin:
        print(json.dumps([step() for _ in range(int(line))]), flush=True)


def stepper(cell: str) -> Callable[[], float]:
    """Makes a step at each call and returns its seconds."""
    import jax

    from models.rnn import Recurrent
    from train.devices import mesh, runtime

    B, L, H = SIZES["batch"], SIZES["length"], SIZES["width"]
    runtime.set_up()
    network = Recurrent(cell, H)
    x_BLF = jax.random.normal(jax.random.key(0), (B, L, H))
    params = network.init(jax.random.key(1), x_BLF)

    def loss(params, x_BLF):
        return (network.apply(params, x_BLF)[0] ** 2).mean()

    @functools.partial(jax.jit, compiler_options=mesh.compiler_options(mesh.make_mesh()))
    def update(params, x_BLF):
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params, x_BLF))

    def step() -> float:
        nonlocal params
        start = time.perf_counter()
        params = jax.block_until_ready(update(params, x_BLF))
        return time.perf_counter() - start

    return step


if __name__ == "__main__":
    main()
