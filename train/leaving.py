"""Ctrl-C while the imports run.  Nothing has begun that could be saved, so the process ends at once.

Imports little, since it comes before the other imports.
"""

import os
import signal
from typing import Any

BEFORE = signal.getsignal(signal.SIGINT)


def at_once(number: int, frame: Any) -> None:
    """An exception would come up as a traceback through the imports, or as an ImportError of a half-loaded library."""
    os.write(2, b"interrupted before the start\n")
    os._exit(128 + number)


def begin() -> None:
    if BEFORE is signal.default_int_handler:  # not where Ctrl-C is ignored
        signal.signal(signal.SIGINT, at_once)


def end() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt again, which `report_errors` and `Interrupt` hear."""
    if signal.getsignal(signal.SIGINT) is at_once:
        signal.signal(signal.SIGINT, BEFORE)
