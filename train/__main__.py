"""Trains what a config file describes.

    python -m train                                     lists the experiments
    python -m train --config configs/text/text_gpt.py --config.model.width=256 --workdir runs/x
    python -m train --config configs/text/text_gpt.py --plan                       what it would cost on this machine
    python -m train --config configs/text/gpt_1b.py --plan --topology v5e:16x16    and on TPUs that are not here
    python -m train --zoo                               every network with what it reached, beside the published
    python -m train --zoo --workdir runs/zoo            trains them all, and writes what they reached into their pages

The same command again goes on where the run stopped.
"""

if __name__ == "__main__":
    from train import children, leaving

    leaving.begin()  # before the other imports
    children.settle()

import argparse
import json
import pathlib
import sys
import types

from train.cli import folder, parser, report_errors
from train.errors import UserError


def main(argv: list[str]) -> None:
    flags = parser("python -m train", __doc__ or "")
    flags.add_argument("--config", metavar="FILE", help="the experiment; without it: a list of them")
    flags.add_argument("--config.KEY", metavar="VALUE", dest="_", help="changes one of its values")
    flags.add_argument("--workdir", metavar="DIR", help="where everything of the run goes")
    flags.add_argument("--profile", metavar="STEP", type=int, default=-1, help="trace ten steps from STEP on")
    flags.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, where several make one run")
    flags.add_argument("--processes", metavar="N", type=int, help="how many; found out on Cloud TPU, Slurm, Open MPI")
    flags.add_argument("--process", metavar="I", type=int, help="which of them this is, from 0")
    flags.add_argument("--plan", action="store_true", help="what the run will cost, before it trains")
    flags.add_argument("--topology", metavar="KIND:SHAPE", help="plan for these TPUs, such as v5e:2x4 (extra tpu)")
    flags.add_argument("--fit", action="store_true", help="change accumulation, remat, mesh, batch until it fits them")
    flags.add_argument("--zoo", action="store_true", help="all networks and their results; with --workdir: anew")
    flags.add_argument("--json", action="store_true", help="the plan as one JSON object")
    options = flags.parse(argv)

    from train import configs

    workdir = None if options.workdir is None else folder("--workdir", options.workdir)
    if options.zoo:
        if options.config is not None:
            flags.error("--zoo is of all pages; leave --config out")
        return zoo(workdir)
    if options.config is None:
        print(f"experiments (python -m train --config FILE --workdir DIR):\n{configs.describe(configs.FOLDER)}")
        return
    plan_only = [name for name in ("topology", "fit", "json") if getattr(options, name)]
    if plan_only and not options.plan:
        flags.error(f"--{plan_only[0]} belongs to --plan")
    if options.plan:
        plan(options, configs)
        return
    if workdir is None:
        flags.error("--workdir is missing: name a folder for the run, such as --workdir runs/x")
    config = configs.config_of(configs.load(options.config), options.overrides)

    from train import leaving, record
    from train.devices import clusters, rollcall, runtime
    from train.loop import train

    runtime.set_up(config.cpu_devices)
    place = clusters.seat(options.coordinator, options.processes, options.process)
    rollcall.join(place, {"config": record.config_hash(config), "code": record.git_commit(), **record.versions()})
    leaving.end()
    train(config, workdir, profile=options.profile)


def zoo(workdir: pathlib.Path | None) -> None:
    from train import configs, leaving
    from train import zoo as pages

    leaving.end()

    if workdir is not None:
        failed = pages.refresh(configs.FOLDER, workdir, lambda line: print(line, flush=True))
        pages.write_readme(pages.entries(configs.FOLDER))
        if failed:
            raise UserError(f"not trained: {', '.join(failed)}; the same command goes on with them alone")
    print(pages.table(pages.entries(configs.FOLDER)))


def plan(options: argparse.Namespace, configs: types.ModuleType) -> None:
    import jax

    from train.cost import plan as plans
    from train.devices import runtime
    from train.writer import finite

    if options.fit and not options.topology:
        raise UserError("--fit needs --topology KIND:SHAPE: on this machine there is nothing to choose")
    config = configs.config_of(configs.load(options.config), options.overrides)
    if options.topology:
        jax.config.update("jax_platforms", "cpu")  # libtpu is here to compile; no chip is
    runtime.set_up(config.cpu_devices)
    say = lambda line: print(line, file=sys.stderr, flush=True)
    if options.fit:
        made = plans.fit(config, options.topology, say)
    else:
        made = plans.elsewhere(config, options.topology) if options.topology else plans.here(config)
    print(json.dumps(finite(plans.as_json(made))) if options.json else plans.table(made))


if __name__ == "__main__":
    report_errors(main, sys.argv[1:])
