"""Takes jobs of a sweep until none is left.  Any number of workers, on any hosts that see the folder or bucket:

python -m scaling.sweep.worker runs/sweep
"""

import functools
import pathlib
import sys
import time
from typing import Any

from train import children
from train.cli import parser, run_command

FREED = 60.0  # seconds for which a run's folder may stay another process's, until that is a failure
PAUSE = 0.5  # seconds until a worker without a job looks again: one of another may become free


def main(argv: list[str]) -> None:
    flags = parser("python -m scaling.sweep.worker", __doc__ or "")
    flags.add_argument("workdir", metavar="DIR", help="of the sweep")
    flags.add_argument("--launch", metavar="ID", help="the start that counts failures; default: the latest")
    options = flags.parse(argv)

    from train.devices import runtime

    runtime.set_up()
    work(place(options.workdir), options.launch)


def place(text: str) -> pathlib.Path:
    """The folder of the sweep, or one here for what is read of a sweep in a bucket."""
    from train.bucket import empty, is_address

    return empty(text) if is_address(text) else pathlib.Path(text)


def work(workdir: pathlib.Path, launch: str | None = None) -> None:
    """One job after the other in this process, which keeps JAX and what it has compiled."""
    from scaling.sweep.bucket import queue_of
    from scaling.sweep.queue import EXIT_FULL, full
    from train.signals import Interrupted

    queue = queue_of(workdir, launch)
    while not queue.finished():
        claim = queue.take()
        if claim is None:
            time.sleep(PAUSE)
            continue
        with claim.held():
            try:
                made(queue, claim.job)
            except Interrupted:
                raise
            except Exception as error:
                if sentence := full(error, workdir):
                    print(sentence, flush=True)
                    sys.exit(EXIT_FULL)
                reason = str(error).strip().split("\n")[0] or type(error).__name__
                queue.fail(claim.job, reason)
                print(f"failed: {claim.job.name}: {reason}", flush=True)


def made(queue: Any, job: Any) -> None:
    """Makes a run.  A process that lost its claim to this one may have to notice first, as one that was asleep."""
    from train.owner import Busy

    started = time.monotonic()
    while True:
        try:
            return run(queue, job)
        except Busy:
            if time.monotonic() - started > FREED:
                raise
            time.sleep(PAUSE)


def finite(value: Any) -> Any:
    """A plan's JSON value with its infinities, which JSON lacks."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return float(value) if value in ("Infinity", "-Infinity", "NaN") else value


def run(queue: Any, job: Any) -> None:
    from ml_collections import ConfigDict

    from scaling.sweep.design import with_overrides
    from train import configs
    from train.display import Display
    from train.loop import train

    if job.name in queue.configs:  # the page may have changed since the launch
        config = ConfigDict(finite(queue.configs[job.name]))
    else:
        config = with_overrides(configs.config_of(configs.load(queue.config), queue.overrides), job.overrides)
    train(config, queue.folder(job), Display(quiet=True), kept=programs())


@functools.cache
def programs() -> Any:
    """That this worker has compiled: `Queue.take` prefers the jobs that need them."""
    from train.program import Kept

    return Kept()


if __name__ == "__main__":
    children.settle()
    run_command(main, sys.argv[1:])
