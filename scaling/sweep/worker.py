"""Takes jobs of a sweep until none is left.  Any number of workers, on any hosts that share the folder:

python -m scaling.sweep.worker runs/sweep
"""

import pathlib
import sys
import time
from typing import Any

from train import children
from train.cli import parser, report_errors

PAUSE = 0.5  # seconds until a worker without a job looks again: one of another may become free


def main(argv: list[str]) -> None:
    flags = parser("python -m scaling.sweep.worker", __doc__ or "")
    flags.add_argument("workdir", metavar="DIR", help="of the sweep")
    options = flags.parse(argv)

    from train.devices import runtime

    runtime.set_up()
    work(pathlib.Path(options.workdir))


def work(workdir: pathlib.Path) -> None:
    """One job after the other in this process, which keeps JAX and what it has compiled."""
    from scaling.sweep.queue import Queue
    from train.signals import Interrupted

    queue = Queue(workdir)
    while not queue.finished():
        claim = queue.take()
        if claim is None:
            time.sleep(PAUSE)
            continue
        with claim.held():
            try:
                run(queue, claim.job)
            except Interrupted:
                raise
            except Exception as error:
                reason = str(error).strip().split("\n")[0] or type(error).__name__
                queue.fail(claim.job, reason)
                print(f"failed: {claim.job.name}: {reason}", flush=True)


def run(queue: Any, job: Any) -> None:
    from scaling.sweep.design import with_overrides
    from train import configs
    from train.display import Display
    from train.loop import train

    config = with_overrides(configs.config_of(configs.load(queue.config), queue.overrides), job.overrides)
    train(config, queue.runs / job.name, Display(quiet=True))


if __name__ == "__main__":
    children.settle()
    report_errors(main, sys.argv[1:])
