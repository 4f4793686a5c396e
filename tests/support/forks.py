"""`python -m train …`, forked from a process that has imported JAX and train/: a start for less processor time.

The child is a process of its own, with a number of its own, that any signal reaches.
"""

import contextlib
import multiprocessing
import multiprocessing.process
import os
import pathlib
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable

from tests.support.processes import ROOT

PRELOADED = ["train.loop", "train.curves", "train.score", "orbax.checkpoint", "tensorboardX"]


def nothing() -> None:
    pass


class Training:
    """Such a process, by the methods of `subprocess.Popen` that checks need; `first` is called before it trains."""

    def __init__(self, line: list[str], first: Callable[[], object] = nothing):
        forks = multiprocessing.get_context("forkserver")
        forks.set_forkserver_preload(PRELOADED)
        self.said = tempfile.TemporaryDirectory()
        self.files = [pathlib.Path(self.said.name) / name for name in ("output", "errors")]
        for path in self.files:
            path.touch()
        self.process = forks.Process(target=train, args=(line, [str(path) for path in self.files], first))
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Of a process that a signal ended the negative number of the signal."""
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.kill(self.pid, number)

    def printed(self) -> tuple[str, str]:
        """Output and errors until now."""
        output, errors = (path.read_text() for path in self.files)
        return output, errors

    def communicate(self) -> tuple[str, str]:
        self.process.join()
        return self.printed()


def train(line: list[str], said: list[str], first: Callable[[], object]) -> None:
    os.chdir(ROOT)
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    for each, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        signal.signal(each, handler)  # ignored in the background and under nohup
    sys.argv = ["train", *line]
    first()
    runpy.run_module("train", run_name="__main__", alter_sys=True)
