"""Time of a train step of GCN on Cora beside PyTorch eager, alternating on the same machine.

    uv run python -m scripts.bench.graphs --path cora.npz --torch /path/to/python/with/torch [--rounds 12]

The step is the one of configs/graphs/cora_gcn.py; PyTorch's has sparse products, and --inputs dense multiplies the
words as a dense matrix.  On a machine that others use too, PyTorch is fastest with --threads 1.  Each round makes ten
steps on either side; the ratio is the median of the rounds' ratios.
"""

import argparse
import os
import pathlib
import sys

from scripts.bench.step import ROOT, Bare, answer, compare, load

STEPS = 10


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--path", required=True, help="Cora, as data/graphs.py reads it")
    flags.add_argument("--torch", metavar="PYTHON", help="a Python with torch and numpy, to be timed too")
    flags.add_argument("--inputs", choices=["sparse", "dense"], default="sparse", help="of PyTorch's first product")
    flags.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    flags.add_argument("--rounds", type=int, default=12)
    flags.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = flags.parse_args()
    path = pathlib.Path(options.path).expanduser().absolute()
    if options.serve:
        return answer(Bare(load("configs/graphs/cora_gcn.py", path.parent, **{"data.path": path})))
    sides = {"isoflop": [sys.executable, __file__, "--serve", "--path", str(path)]}
    if options.torch:
        yardstick = [str(ROOT / "scripts" / "bench" / "torch_gcn.py"), "--path", str(path)]
        sides["torch"] = [options.torch, *yardstick, f"--inputs={options.inputs}", f"--threads={options.threads}"]
    compare(sides, options.rounds, STEPS)


if __name__ == "__main__":
    main()
