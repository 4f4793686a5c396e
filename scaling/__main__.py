"""Scaling laws of the runs you make.

    python -m scaling demo                                          trains two dozen small GPTs and fits their law
    python -m scaling sweep --config configs/scaling_demo.py --workdir runs/sweep
    python -m scaling fit runs/sweep --out runs/sweep               law, intervals, held-out error, report.html

Every command goes on where it stopped when it is given again.
"""

import argparse
import os
import pathlib
import sys

from train.cli import Parser, parser, report_errors

# Written out, since the modules that hold them import NumPy and JAX and --help should not; a test compares them.
LAWS = ("chinchilla", "kaplan_n", "kaplan_d")
COUNTS = ("params_total", "params_non_embedding", "params_active")


def main(argv: list[str]) -> None:
    flags = parser("python -m scaling", __doc__ or "")
    commands = flags.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser, required=True)
    for name, add, text in (
        ("demo", add_demo, "sweep, fit and report in one go, on text that comes with the packages"),
        ("sweep", add_sweep, "make the runs of a config's sweep()"),
        ("fit", add_fit, "fit the laws to runs and write the report"),
    ):
        add(commands.add_parser(name, help=text, description=text, allow_abbrev=False))
    options = flags.parse(argv)
    {"demo": demo, "sweep": sweep, "fit": fit}[options.command](options)


def add_demo(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--workdir", metavar="DIR", default="runs/demo", help="default: runs/demo")
    flags.add_argument(
        "--workers", metavar="N", type=int, default=os.cpu_count(), help="processes; default: one a core"
    )


def add_sweep(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--config", metavar="FILE", required=True, help="a config with a sweep()")
    flags.add_argument("--workdir", metavar="DIR", required=True, help="one folder a run goes below it")
    flags.add_argument(
        "--workers", metavar="N", type=int, default=os.cpu_count(), help="processes; default: one a core"
    )
    flags.add_argument("--dry-run", action="store_true", help="only list the runs and their cost")


def add_fit(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "runs", metavar="RUNS", nargs="+", help="work folders of runs or sweeps, or JSON lines of records"
    )
    flags.add_argument("--out", metavar="DIR", required=True, help="where report.html, fit.json and plots go")
    flags.add_argument("--law", choices=LAWS, default=LAWS[0], help=f"default: {LAWS[0]}")
    flags.add_argument(
        "--count", choices=COUNTS, default=COUNTS[0], help=f"the record's field that counts as N; default: {COUNTS[0]}"
    )
    flags.add_argument(
        "--delta",
        metavar="X",
        type=float,
        default=1e-3,
        help="where the Huber loss on log loss turns linear; inf for least squares; default: 1e-3",
    )


def demo(options: argparse.Namespace) -> None:
    options.config, options.dry_run, options.out = "configs/scaling_demo.py", False, options.workdir
    options.runs, options.law, options.count, options.delta = [options.workdir], LAWS[0], COUNTS[0], 1e-3
    sweep(options)
    fit(options)


def sweep(options: argparse.Namespace) -> None:
    from scaling import design
    from scaling.sweep import check
    from scaling.sweep import sweep as run
    from train import configs

    module = configs.load(options.config)
    config = configs.config_of(module, options.overrides)
    jobs = design.jobs(module, config)
    total = sum(job.flops for job in jobs)
    print(
        f"{len(jobs)} runs, {total:.2e} FLOP (6 N D) on {options.workers} processes, in {options.workdir}", flush=True
    )
    if options.dry_run:
        print("\n".join(f"  {job.name:<16} {job.flops:.2e} FLOP  {job.overrides}" for job in jobs))
        return
    outcome = run(
        options.config,
        jobs,
        pathlib.Path(options.workdir),
        workers=options.workers,
        say=print,
        overrides=options.overrides,
    )
    check(outcome, pathlib.Path(options.workdir))


def fit(options: argparse.Namespace) -> None:
    from scaling import records, report
    from scaling.analyse import analyse
    from train import mesh

    mesh.set_up()
    found = records.load(options.runs)
    analysis = analyse(found.rows, dropped=found.dropped, law=options.law, count=options.count, delta=options.delta)
    report.write(options.out, analysis)
    print(report.summary(analysis, pathlib.Path(options.out)))


if __name__ == "__main__":
    report_errors(main, sys.argv[1:])
