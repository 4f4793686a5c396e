"""Where the time of a train step goes on this CPU, by kind of operation.

    uv run python -m scripts.bench.breakdown [gpt mlp resnet18 lstm …] [--steps 20]

The steps are those of step.py (gpt), zoo.py and rnn.py (lstm, gru, …); ms a step of one device, mean of the devices.
Products and convolutions go on after the call that began them: what no operation takes within a step is the last one's.
`exchange` adds up the gradients of several devices and includes waiting for the slower one; `idle` is between steps.
"""

import argparse
import bisect
import collections
import glob
import pathlib
import re
import statistics
import tempfile
from collections.abc import Callable

import jax

from scripts.bench import rnn, zoo
from scripts.bench.step import Bare, load

GPT = "configs/text/shakespeare_gpt.py"
KINDS = {  # of operation, by how their names begin
    "products": r"dot",
    "convolutions": r"conv(?!ert)",
    "exchange": r"all-|reduce-scatter|collective",
    "sums": r"ynn|wrapped_reduce|reduce",
    "copies": r"copy|.*(copy|transpose)\w*_fusion|.*concatenate",
    "elementwise": r"",
}
OPERATION = re.compile(r"(?!while|call|conditional)[a-z][\w-]*(\.\w+)*")  # not what holds others


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("networks", nargs="*", default=["gpt", "mlp", "resnet18", "lstm"], metavar="NETWORK")
    flags.add_argument("--steps", type=int, default=20)
    options = flags.parse_args()
    print(f"| network | step, ms | {' | '.join(KINDS)} | idle |\n|{'---|' * (len(KINDS) + 3)}")
    for name in options.networks:
        step = stepper(name)
        times = [step() for _ in range(options.steps + 5)][5:]
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                traced = sum(step() for _ in range(options.steps)) / options.steps
            (file,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
            spent = kinds(jax.profiler.ProfileData.from_file(file))
        shown = [spent[kind] / options.steps * 1e3 for kind in KINDS]
        told = " | ".join(f"{ms:.1f}" for ms in [statistics.median(times) * 1e3, *shown, traced * 1e3 - sum(shown)])
        print(f"| {name} | {told} |", flush=True)


def stepper(name: str) -> Callable[[], float]:
    if name != "gpt" and name not in zoo.NETWORKS:
        return rnn.stepper(name)
    with tempfile.TemporaryDirectory() as folder:
        bare = Bare(zoo.config_of(name) if name in zoo.NETWORKS else load(GPT, pathlib.Path(folder)))
    return lambda: bare.seconds(1)


def kinds(profile: jax.profiler.ProfileData) -> collections.Counter[str]:
    """Seconds by kind; the mean of the devices, each of which has a thread of its own where there are several."""
    lines = [line for plane in profile.planes for line in plane.lines]
    calls = sorted(e.start_ns for line in lines for e in line.events if e.name.startswith("PjitFunction"))
    lines = [line for line in lines if line.name.startswith("tf_XLAEigen")]
    found = [[(e.start_ns, e.end_ns, e.name) for e in line.events if OPERATION.fullmatch(e.name)] for line in lines]
    if not any(name.startswith("all-reduce") for events in found for _, _, name in events):
        found = [[event for events in found for event in events]]  # one device, whose operations change threads
    spent: collections.Counter[str] = collections.Counter()
    for events in found:
        end, product = 0.0, "idle"
        for start, stop, name in sorted(events):
            if start > end > 0 and bisect.bisect(calls, start) == bisect.bisect(calls, end):
                spent[product] += (start - end) / 1e9 / len(found)
            kind = next(kind for kind, pattern in KINDS.items() if re.match(pattern, name))
            product = kind if kind in ("products", "convolutions") else product
            spent[kind] += max(0.0, stop - max(start, end)) / 1e9 / len(found)
            end = max(end, stop)
    return spent


if __name__ == "__main__":
    main()
