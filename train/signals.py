"""SIGTERM (preemption), SIGHUP (a closed terminal), Ctrl-C ask the loop to stop; it saves, the next start goes on."""

import contextlib
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from train.errors import UserError

AGAIN = 1.0  # seconds from which on a further signal is another one
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: run the same command again


class Interrupted(UserError):
    """The run was asked to stop, and everything is saved."""


def say_at_once() -> None:
    """From a handler: nothing that could be in the middle of a print, and no screen that could end the run."""
    with contextlib.suppress(OSError):
        os.write(2, "saving …\n".encode())


class Interrupt:
    """While it is open, a first SIGTERM, SIGHUP or SIGINT only sets `requested`; a later one ends the process as usual.

    What comes within a second is the first once more: a parent that is killed and a group that is ended both send one.

    SIGHUP stays ignored where it was (`nohup`).
    With several processes (`agree`, JAX's preemption service, which hears SIGTERM itself) all stop at the same step,
    whichever of them was asked.
    """

    def __init__(self, agree: Callable[[int], bool] | None = None) -> None:
        self.requested, self.agree = False, agree
        self.heard = 0.0  # when the first came, on the monotonic clock
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            heard = [signal.SIGINT] if self.agree else [signal.SIGTERM, signal.SIGINT]
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                heard.append(signal.SIGHUP)
            for number in heard:
                self.before[number] = signal.signal(number, self.note)
        return self

    def at(self, step: int) -> bool:
        """Whether to stop after `step`; to be asked at every step."""
        if self.agree:
            self.requested = self.agree(step)
        return self.requested

    def note(self, number: int, frame: Any) -> None:
        if not self.heard:
            self.heard, self.requested = time.monotonic(), True
            say_at_once()
            if self.agree:
                os.kill(os.getpid(), signal.SIGTERM)
        elif time.monotonic() - self.heard > AGAIN:
            signal.signal(number, self.before[number])
            os.kill(os.getpid(), number)

    def __exit__(self, *_: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def interrupted(self, step: int, steps: int, workdir: pathlib.Path) -> Interrupted:
        return Interrupted(f"stopped at step {step} of {steps} and saved in {workdir}; the same command goes on")
