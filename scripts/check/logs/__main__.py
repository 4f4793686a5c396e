"""The same 25 runs in every format that is read; and what becomes of files that are damaged.

    python -m scripts.check.logs                      every format: rows, seconds
    python -m scripts.check.logs --mutations 5000     of each format so many damaged files: cut, flipped, doubled
    python -m scripts.check.logs --rows 1000000       tables of so many rows, and a fit of them: seconds, memory

Exits with 1 where a row is wrong, a damaged file ends in anything but rows or a sentence, or one takes over 10 s.
"""

import argparse
import math
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence

from scripts.check.logs.damage import contained, memory
from scripts.check.logs.formats import WRITERS, wrong
from scripts.check.logs.size import SHAPES, large


def main(argv: Sequence[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--mutations", type=int, default=0, metavar="N")
    flags.add_argument("--rows", type=int, default=0, metavar="N")
    flags.add_argument("--seconds", type=float, default=math.inf, metavar="S", help="of CPU, at most, of one format")
    flags.add_argument("--only", nargs="*", default=[], metavar="FORMAT")
    flags.add_argument("--seed", type=int, default=0)
    options = flags.parse_args(argv)
    unknown = [name for name in options.only if name not in (*WRITERS, *SHAPES)]
    if unknown:
        flags.error(f"no format is called {unknown[0]!r}; there are {', '.join([*WRITERS, *SHAPES])}")
    names = [name for name in WRITERS if not options.only or name in options.only]
    if options.rows:
        return large(options.rows, options.only or [*SHAPES])
    if options.mutations:
        return damage(names, options.mutations, options.seed, options.seconds)
    bad = 0
    for name in names:
        start = time.process_time()
        with tempfile.TemporaryDirectory() as made:
            text = wrong(WRITERS[name], pathlib.Path(made))
        print(f"{name:<28} {time.process_time() - start:7.2f} s  {text or 'as written'}", flush=True)
        bad += bool(text)
    print(f"{len(names)} formats, {bad} wrong, {memory():.2f} GB")
    return int(bad > 0)


def damage(names: Sequence[str], count: int, seed: int, seconds: float) -> int:
    """The table of damaged files, a row a format."""
    print(f"{'format':<28} {'trials':>7} {'read':>7} {'refused':>7} {'bad':>4} {'CPU s':>7} {'GB':>5}")
    made = []
    for name in names:
        found = contained(name, count, seed, seconds)
        read, refused, bad = (found.ends.get(end, 0) for end in ("rows", "a sentence", "BAD"))
        made.append((read + refused + bad, read, refused, bad, found.seconds))
        print(
            f"{name:<28} {made[-1][0]:>7} {read:>7} {refused:>7} {bad:>4} {made[-1][4]:>7.1f} {found.memory:>5.2f}",
            flush=True,
        )
    trials, read, refused, bad, spent = map(sum, zip(*made, strict=True))
    print(f"{len(names)} formats, {trials} trials, {read} read, {refused} refused, {bad} bad, {spent:.0f} s")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
