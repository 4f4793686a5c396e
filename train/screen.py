"""Standard output and error that never end a run: a reader that went away, a closed terminal, letters it lacks."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

GONE = (errno.EPIPE, errno.EIO)  # the reader ended (`| head`), the terminal was closed


class Lasting:
    """A text stream whose errors are not its writer's: after the first one it writes to nowhere."""

    def __init__(self, stream: Any):
        self.stream, self.lost = stream, None
        with contextlib.suppress(AttributeError, OSError, ValueError):
            if stream.errors == "strict":  # a letter that the encoding lacks is written as "?"
                stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        self._try(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, call: Any, *args: str) -> None:
        try:
            call(*args)
        except OSError as error:
            self.lost = self.lost or error
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())  # what is still buffered goes there too
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Makes both streams `Lasting`, and says at the end what was lost to anything but a reader that went away."""
    before = sys.stdout, sys.stderr
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:  # started with it closed: no file of the run may get its number
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                if nowhere != number:
                    os.dup2(nowhere, number)
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open as long as the process
        setattr(sys, name, Lasting(getattr(sys, name)))
    output, errors = sys.stdout, sys.stderr
    try:
        yield
    finally:
        output.flush()
        lost = output.lost
        if lost and lost.errno not in GONE:
            print(f"warning: not all of the output could be written ({lost.strerror})", file=errors)
        errors.flush()
        sys.stdout, sys.stderr = (now or new for now, new in zip(before, (output, errors), strict=True))
