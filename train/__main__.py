"""Trains what a config file describes; a verb before the flags does something else.

    python -m train                                     lists the experiments
    python -m train --config text_gpt --config.model.width=256 --workdir runs/x
    python -m train plan --config text_gpt              what it would cost on this machine
    python -m train predict --workdir runs/x FILES      what it says of new images, rows, series, text
    python -m train score --workdir runs/x DATA         what it is worth on labelled data; default: its held-out split
    python -m train sample --workdir runs/x             what it generates: text, lines of lines, pictures, games
    python -m train export --workdir runs/x --out DIR   its weights as Hugging Face's classes read them, or StableHLO
    python -m train compare runs/*                      runs beside each other: what differs, what they reached
    python -m train supervise --processes 2 -- --config text_gpt --workdir runs/x     starts again what was killed
    python -m train zoo                                 every network with what it reached, beside the published

`python -m train VERB --help` says what a verb takes.  The same command again goes on where the run stopped.
"""

if __name__ == "__main__":
    from train import leaving

    leaving.begin()  # before the other imports

    from train import children

    children.settle()

import importlib
import sys

from train.cli import Parser, folder, parser, run_command
from train.errors import UserError, suggest

VERBS = {  # each a module with `main(argv)`, loaded when it is asked for
    "compare": "train.compare",
    "export": "train.export",
    "plan": "train.cost.door",
    "predict": "train.predict",
    "sample": "train.sample",
    "score": "train.score",
    "supervise": "train.devices.supervise",
    "zoo": "train.zoo",
}
FORMER = {"--plan": "plan --config FILE", "--zoo": "zoo"}  # flags that are verbs now
FORMER |= {flag: f"plan --config FILE {flag}" for flag in ("--topology", "--fit", "--json")}


def main(argv: list[str]) -> None:
    if argv and not argv[0].startswith("-"):
        verb(argv[0], argv[1:])
    else:
        train(argv)


def verb(name: str, argv: list[str]) -> None:
    if name not in VERBS:
        raise UserError(f"python -m train {name}: there is no such verb{suggest(name, VERBS)}")
    from train import leaving

    module = importlib.import_module(VERBS[name])
    leaving.end()
    module.main(argv)


def train(argv: list[str]) -> None:
    for item in argv:
        if item.split("=")[0] in FORMER:
            raise UserError(f"{item} is no flag of training; write python -m train {FORMER[item.split('=')[0]]}")
    options = flags().parse(argv)

    from train import configs

    workdir = None if options.workdir is None else folder("--workdir", options.workdir)
    if options.config is None:
        print(f"experiments (python -m train --config FILE --workdir DIR):\n{configs.describe(configs.FOLDER)}")
        return
    if workdir is None:
        raise UserError("--workdir is missing: name a folder for the run, such as --workdir runs/x; see --help")
    config = configs.config_of(configs.load(options.config), options.overrides)

    from train import leaving, loop, record
    from train.devices import clusters, rollcall, runtime

    runtime.set_up(config.cpu_devices)
    place = clusters.seat(options.coordinator, options.processes, options.process)
    rollcall.join(place, {"config": record.config_hash(config), "code": record.git_commit(), **record.versions()})
    leaving.end()
    loop.train(config, workdir, profile=options.profile)


def flags() -> Parser:
    flags = parser("python -m train", __doc__ or "")
    flags.add_argument("--config", metavar="FILE", help="the experiment, or its name; without it: a list of them")
    flags.add_argument("--config.KEY", metavar="VALUE", dest="_", help="changes one of its values")
    flags.add_argument("--workdir", metavar="DIR", help="where everything of the run goes")
    flags.add_argument("--profile", metavar="STEP", type=int, default=-1, help="trace ten steps from STEP on")
    flags.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, where several make one run")
    flags.add_argument("--processes", metavar="N", type=int, help="how many; found out on Cloud TPU, Slurm, Open MPI")
    flags.add_argument("--process", metavar="I", type=int, help="which of them this is, from 0")
    return flags


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
