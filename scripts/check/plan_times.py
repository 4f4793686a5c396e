"""How soon a plan says its first figures, and ends, for every page.

    uv run python -m scripts.check.plan_times [--topology v5e:2x4] [--first] [PAGE ...]

Each is planned by a process of its own, from its start: seconds until the first figures, and until the end, each also
of the processors (which others do not lengthen); whether it fits, how long a step takes, and the estimate of its memory
over what XLA plans for.  With --first a plan is ended at its first figures.  Exits with 1 where these took longer than
20 s, of the clock and of the processors, or where a plan ended in a traceback.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import NamedTuple

from train import configs

LIMIT = 20.0


def main(argv: list[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("pages", nargs="*", metavar="PAGE", default=[p.stem for p in configs.pages(configs.FOLDER)])
    flags.add_argument("--topology", metavar="KIND:SHAPE")
    flags.add_argument("--first", action="store_true", help="end each plan at its first figures")
    options = flags.parse_args(argv)
    failed = 0
    head = ("page", "first figures, s", "of processors", "end, s", "of processors", "parameters", "FLOPs a step")
    print(f"| {' | '.join(head)} | fits | step | memory, estimate / XLA |")
    print("|---|--:|--:|--:|--:|--:|--:|---|--:|--:|", flush=True)
    for page in options.pages:
        where = ["--topology", options.topology] if options.topology else []
        plan = timed([sys.executable, "-m", "train", "plan", "--config", page, "--json", *where], options.first)
        failed += "Traceback" in plan.errors or (plan.first is not None and min(plan.first) > LIMIT)
        last_line = plan.errors.strip().split("\n")[-1].strip()
        cells = figures(json.loads(plan.output)) if plan.code == 0 else last_line
        clocks = [f"{value:.1f}" for value in (*(plan.first or ()), *plan.end)]
        print(f"| {page} | {' | '.join(clocks if plan.first else ['', '', *clocks])} | {cells} |", flush=True)
    return int(failed > 0)


class Timed(NamedTuple):
    """A plan's process.  Seconds are (of the clock, of the processors)."""

    first: tuple[float, float] | None  # until the first figures, where there were any
    end: tuple[float, float]
    code: int
    output: str
    errors: str


def timed(command: list[str], only_first: bool) -> Timed:
    start, first, lines = time.perf_counter(), None, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            lines.append(line)
            if line.lstrip().startswith("memory") and first is None:
                first = time.perf_counter() - start, spent(process.pid)
                if only_first:
                    process.kill()
        out = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        end = time.perf_counter() - start, used.ru_utime + used.ru_stime
        process.returncode = os.waitstatus_to_exitcode(status)
    return Timed(first, end, process.returncode, out, "".join(lines))


def spent(pid: int) -> float:
    """Seconds of the processors that a process has used so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures(plan: dict) -> str:
    step, xla = plan["step_seconds_estimate"], plan["xla_bytes"]
    shown = "not timed" if step is None else f"{step * 1e3:.3g} ms"
    ratio = f"{plan['estimated_bytes'] / xla:.2f}" if xla else f"{plan['estimated_bytes'] / 1e9:.3g} GB"
    fits = {True: "yes", False: "no", None: "not known"}[plan["fits"]]
    return f"{plan['params_total']:,} | {plan['flops_per_step']:.3g} | {fits} | {shown} | {ratio}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
