"""What the loop costs on top of the bare jitted step, and how long it waits for data.

    uv run python -m scripts.bench.loop [--config configs/text/shakespeare_gpt.py] [--rounds 100]

One process trains through the loop (data, checks, logs, writers) and stops at every tenth step, when it logs, to make
the same steps in a bare `for` on batches that are in place: the same numbers, since a step's time depends on them.
Machines drift, so the overhead is the median of the ratios of neighbours; its standard error is given with it.
"""

import argparse
import pathlib
import statistics
import tempfile
import time

from train.display import Display

CHUNK, PAUSE = 10, 0.2  # steps; seconds


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--config", default="configs/text/shakespeare_gpt.py")
    flags.add_argument("--rounds", type=int, default=100)
    options = flags.parse_args()

    from scripts.bench.step import Bare, load
    from train.loop import train

    with tempfile.TemporaryDirectory() as folder:
        config = load(options.config, pathlib.Path(folder), steps=(options.rounds + 2) * CHUNK, log_every=CHUNK)
        alternating = Alternating(Bare(config))
        train(config, pathlib.Path(folder) / "run", alternating)
    rounds = alternating.rounds[1:]  # the first holds the first calls
    ratios = [loop / bare - 1 for loop, bare, _ in rounds]
    error = 1.2533 * statistics.stdev(ratios) / len(ratios) ** 0.5  # of a median, were the ratios Gaussian
    loop, bare = (statistics.median(r[side] for r in rounds) * 1e3 for side in (0, 1))
    wait = statistics.median(waited / loop for loop, _, waited in rounds)
    print(f"{options.config}: {len(rounds)} rounds; loop {loop:.2f} ms a step, bare {bare:.2f} ms (medians)")
    print(f"overhead {statistics.median(ratios):+.1%} ± {error:.1%}, data wait {wait:.2%}")


class Alternating(Display):
    """Hears from the loop at each logged step, and then makes the bare steps."""

    def __init__(self, bare):
        super().__init__(quiet=True)
        self.bare, self.rounds, self.since = bare, [], None

    def progress(self, step, steps, values, speed, unit):
        import jax

        jax.block_until_ready(jax.live_arrays())  # the step after the logged one: CHUNK steps are done since `since`
        loop = self.since and (time.perf_counter() - self.since) / CHUNK
        time.sleep(PAUSE)  # either side begins on a machine that has rested as long
        bare = self.bare.seconds(CHUNK)
        if loop:
            self.rounds.append((loop, bare, speed["data_wait"] * speed["seconds_per_step"]))
        time.sleep(PAUSE)
        self.since = time.perf_counter()


if __name__ == "__main__":
    main()
