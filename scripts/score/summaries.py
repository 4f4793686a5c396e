"""How good summaries are: a run's of the page summary_t5, beside those of rules without learning.

    uv run python -m scripts.score.summaries [--workdir runs/summary_t5]

lead     a copy of the first sentence that tells of a player
ends     the first that is named beat the last, and the place as it is
exact    the share of summaries that are right word for word
overlap  the mean of 2 · shared words / words of both
"""

import argparse
import pathlib
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from data import summaries

AT_ONCE = 250  # reports


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--workdir", type=pathlib.Path, help="default: the rules alone")
    options = flags.parse_args()
    dataset = summaries.summaries()
    batch = dataset.valid.gather(np.arange(len(dataset.valid)))
    reports, true = ([dataset.tokenizer.decode(row).strip() for row in batch[side]] for side in "xy")
    told = {"lead": list(map(lead, reports)), "ends": list(map(ends, reports))}
    if options.workdir:
        told["run"] = written(options.workdir, reports)
    for name, lines in told.items():
        exact = np.mean([line == right for line, right in zip(lines, true, strict=True)])
        shared = np.mean([overlap(line.split(), right.split()) for line, right in zip(lines, true, strict=True)])
        print(f"{name:<6} exact {exact:.4f}   overlap {shared:.4f}")


def written(workdir: pathlib.Path, reports: Sequence[str]) -> list[str]:
    from train import saved
    from train.devices import runtime
    from train.translation import translated

    runtime.set_up(1)
    run = saved.load(workdir)
    parts = (reports[i : i + AT_ONCE] for i in range(0, len(reports), AT_ONCE))
    return [line for part in parts for line in translated(run, part, tokens=9)]


def lead(report: str) -> str:
    """Of a player: the place and the weather may stand before."""
    return re.findall(r"the \w+ came \w+", report)[0]


def ends(report: str) -> str:
    winner, *_, loser = re.findall(r"the (\w+) came", report)
    (place,) = re.findall(r"played in the (\w+)", report)
    return f"the {winner} beat the {loser} in the {place}"


def overlap(a: Sequence[str], b: Sequence[str]) -> float:
    """F1 of words (ROUGE-1: Lin 2004)."""
    return 2 * (Counter(a) & Counter(b)).total() / (len(a) + len(b))


if __name__ == "__main__":
    main()
