"""One network of many layers, compiled in several ways: what each costs, and that all compute the same.

    uv run python -m scripts.bench.stack [--config configs/text/text_gpt.py] [--layers 12] [--rounds 12]

The ways are a stack that is unrolled or scanned, what is recomputed in the backward pass, and the precision.  Each is
compiled in a process of its own without XLA's cache; then they take turns of five steps.  Losses are those of the
second step, which the gradient of the first has moved.  --only names some of the ways.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

WAYS = list(itertools.product(("unrolled", "scan"), ("none", "dots", "full"), ("float32", "bfloat16")))
STEPS = 5


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--config", default="configs/text/text_gpt.py")
    flags.add_argument("--layers", type=int, default=12)
    flags.add_argument("--rounds", type=int, default=12)
    flags.add_argument("--only", nargs="*", default=[], metavar="CHOICE", help="such as scan, full, bfloat16")
    flags.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = flags.parse_args()
    if options.serve:
        return serve(options.config, options.layers, *options.serve)
    ways = [way for way in WAYS if set(options.only) <= set(way)]
    print(f"{options.config}, {options.layers} layers; CPU seconds are of all threads")
    ways_of = f"{'stack':<10}{'remat':<7}{'precision':<10}"
    print(f"{ways_of}{'loss':>11}{'compile s':>11}{'CPU s':>8}{'step ms':>9}{'CPU ms':>8}")
    command = [sys.executable, "-m", "scripts.bench.stack", "--config", options.config, "--layers", str(options.layers)]
    servers, compiled = [], []
    for way in ways:  # one after the other: a compilation takes all cores
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        servers.append(subprocess.Popen([*command, "--serve", *way], **pipes))
        compiled.append(read(servers[-1]))
    rounds = [[turn(server) for server in servers] for _ in range(options.rounds + 1)][1:]  # the first warms up
    for way, found, times in zip(ways, compiled, zip(*rounds, strict=True), strict=True):
        wall, used = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
        words = (
            f"{way[0]:<10}{way[1]:<7}{way[2]:<10}{found['loss']:>11.7f}{found['seconds']:>11.2f}{found['used']:>8.2f}"
        )
        print(f"{words}{wall:>9.1f}{used:>8.0f}", flush=True)
    for server in servers:
        server.communicate()


def turn(server: subprocess.Popen) -> list[float]:
    """Seconds a step of a few steps, of the clock and of the processors."""
    assert server.stdin
    server.stdin.write("go\n")
    server.stdin.flush()
    return read(server)


def read(server: subprocess.Popen) -> Any:
    assert server.stdout
    return json.loads(server.stdout.readline())


def serve(path: str, layers: int, stack: str, remat: str, precision: str) -> None:
    """Compiles, says what it cost, and makes a few steps for each line it reads."""
    import numpy as np

    from scripts.bench.step import Bare, load
    from train.devices.mesh import compiling_elsewhere

    changes = {"model.layers": layers, "model.remat": remat, "precision": precision}
    with tempfile.TemporaryDirectory() as folder:
        bare, unrolled = (
            Bare(load(path, pathlib.Path(folder), **changes, **{"model.stack": one})) for one in (stack, "unrolled")
        )
    params = stacked(unrolled.state.params, layers) if stack == "scan" else unrolled.state.params
    bare.state = bare.state.replace(params=params)  # all ways begin with the same numbers
    inputs = [(bare.batch(step), bare.key, np.float32(bare.experiment.schedule(step))) for step in range(2)]
    wall, used = time.perf_counter(), time.process_time()
    with compiling_elsewhere():
        bare.program.compile(bare.state, *inputs[0])
    found = {"seconds": time.perf_counter() - wall, "used": time.process_time() - used}
    for arguments in inputs:
        bare.state, metrics = bare.program(bare.state, *arguments)
    print(json.dumps(found | {"loss": float(metrics["loss"][0] / metrics["loss"][1])}), flush=True)
    for _ in sys.stdin:
        used, wall = time.process_time(), bare.seconds(STEPS)
        print(json.dumps([wall, (time.process_time() - used) / STEPS]), flush=True)


def stacked(params: Any, layers: int) -> Any:
    """The parameters of an unrolled stack in the form of a scanned one: those of its blocks as one array."""
    import jax
    import jax.numpy as jnp

    blocks = (params["stack"][f"block_{i}"] for i in range(layers))
    return {**params, "stack": {"blocks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)}}


if __name__ == "__main__":
    main()
