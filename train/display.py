"""The screen of a run: a live line where there is a terminal, plain lines where there is none."""

import sys
import time
from typing import Any

from train.bucket import named
from train.numbers import clock, metric
from train.writer import Values


class Display:
    """`say` prints a line; `progress` shows where the run is.  `quiet` shows nothing (sweeps have their own table)."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.last = 0.0
        self.live: Any = None
        self.bar: Any = None

    def start(self, first_step: int, steps: int) -> None:
        if self.quiet or not sys.stdout.isatty():
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self.live = Progress(*columns)
        self.bar = self.live.add_task("", total=steps, completed=first_step)
        self.live.start()

    def say(self, line: str) -> None:
        if self.quiet:
            return
        line = named(line)
        if self.live:
            self.live.console.print(line, markup=False, highlight=False)
        else:
            print(line, flush=True)

    def progress(self, step: int, steps: int, values: Values, speed: Values, unit: str) -> None:
        """Values of the last logged step, and the speed since the one before."""
        work = f"MFU {speed['mfu']:.1%}" if "mfu" in speed else metric(speed["flops_per_second"], "FLOP/s")
        memory = f"  {metric(speed['memory_bytes'], 'B')}" if "memory_bytes" in speed else ""
        rate = f"{metric(speed['units_per_second'], f'{unit}s/s')}  {work}{memory}"
        shown = "  ".join(f"{k} {v:.4g}" for k, v in values.items() if k in ("loss", "accuracy", "skipped"))
        line = f"{shown}  lr {values['lr']:.3g}  {rate}  data wait {speed['data_wait']:.1%}"
        if self.live:
            self.live.update(self.bar, completed=step, description=line)
        elif not self.quiet and (time.monotonic() - self.last > 2 or step == steps):
            self.last = time.monotonic()
            left = clock((steps - step) * speed["seconds_per_step"])
            self.say(f"step {step:>{len(str(steps))}}/{steps}  {line}  ETA {left}")

    def close(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None
