"""Trains what a config file describes.

    python -m train                                     lists the experiments
    python -m train --config configs/text_gpt.py --config.model.width=256 --workdir runs/x

The same command again goes on where the run stopped.
"""

import pathlib
import sys

from train.cli import parser, report_errors


def main(argv: list[str]) -> None:
    flags = parser("python -m train", __doc__ or "")
    flags.add_argument("--config", metavar="FILE", help="the experiment; without it: a list of them")
    flags.add_argument("--config.KEY", metavar="VALUE", dest="_", help="changes one of its values")
    flags.add_argument("--workdir", metavar="DIR", help="where everything of the run goes")
    flags.add_argument("--profile", metavar="STEP", type=int, default=-1, help="trace ten steps from STEP on")
    flags.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, where several make one run")
    flags.add_argument("--processes", metavar="N", type=int, help="how many; found out on Cloud TPU, Slurm, Open MPI")
    flags.add_argument("--process", metavar="I", type=int, help="which of them this is, from 0")
    options = flags.parse(argv)

    from train import configs

    if options.config is None:
        print(f"experiments (python -m train --config FILE --workdir DIR):\n{configs.describe(configs.FOLDER)}")
        return
    if options.workdir is None:
        flags.error("--workdir is missing: name a folder for the run, such as --workdir runs/x")
    config = configs.config_of(configs.load(options.config), options.overrides)

    from train import hosts, mesh, record
    from train.loop import train

    mesh.set_up(config.cpu_devices)
    place = hosts.seat(options.coordinator, options.processes, options.process)
    hosts.join(place, {"config": record.config_hash(config), "code": record.git_commit(), **record.versions()})
    train(config, pathlib.Path(options.workdir), profile=options.profile)


if __name__ == "__main__":
    report_errors(main, sys.argv[1:])
