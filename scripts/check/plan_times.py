"""How soon a plan says its first figures, and ends, for every page.

    uv run python -m scripts.check.plan_times [--topology v5e:2x4] [PAGE ...]

Each is planned by a process of its own, from its start: seconds until the first figures, until the end, and of the
processors (which others do not lengthen); whether it fits, how long a step takes, and the estimate of its memory over
what XLA plans for.  Exits with 1 where the first figures took longer than 20 s or a plan ended in a traceback.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

from train import configs

LIMIT = 20.0


def main(argv: list[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("pages", nargs="*", metavar="PAGE", default=[p.stem for p in configs.pages(configs.FOLDER)])
    flags.add_argument("--topology", metavar="KIND:SHAPE")
    options = flags.parse_args(argv)
    failed = 0
    head = ("page", "first figures, s", "end, s", "processors, s", "parameters", "FLOPs a step", "fits", "step")
    print(f"| {' | '.join(head)} | memory, estimate / XLA |")
    print("|---|--:|--:|--:|--:|--:|---|--:|--:|", flush=True)
    for page in options.pages:
        where = ["--topology", options.topology] if options.topology else []
        before = spent()
        first, end, code, out, err = timed([sys.executable, "-m", "train", "plan", "--config", page, "--json", *where])
        failed += "Traceback" in err or (first or 0.0) > LIMIT
        cells = figures(json.loads(out)) if code == 0 else err.strip().split("\n")[-1]
        print(
            f"| {page} | {'' if first is None else f'{first:.1f}'} | {end:.1f} | {spent() - before:.1f} | {cells} |",
            flush=True,
        )
    return int(failed > 0)


def timed(command: list[str]) -> tuple[float | None, float, int, str, str]:
    """Seconds until the first figures (None: there were none) and to the end, exit code, output and errors."""
    start, first, lines = time.perf_counter(), None, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            lines.append(line)
            if line.lstrip().startswith("memory") and first is None:
                first = time.perf_counter() - start
        out = process.stdout.read()
    return first, time.perf_counter() - start, process.returncode, out, "".join(lines)


def spent() -> float:
    """Seconds of the processors that ended processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures(plan: dict) -> str:
    step, xla = plan["step_seconds_estimate"], plan["xla_bytes"]
    shown = "not timed" if step is None else f"{step * 1e3:.3g} ms"
    ratio = f"{plan['estimated_bytes'] / xla:.2f}" if xla else f"{plan['estimated_bytes'] / 1e9:.3g} GB"
    fits = {True: "yes", False: "no", None: "not known"}[plan["fits"]]
    return f"{plan['params_total']:,} | {plan['flops_per_step']:.3g} | {fits} | {shown} | {ratio}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
