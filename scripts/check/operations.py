"""Ends this process by a signal at a chosen moment: in the midst of an operation on a file, or at a function's call.

It imports nothing that training imports, so that it can come first.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.utime")
WRITES = os.O_WRONLY | os.O_RDWR


def kill_at(count: int, folder: str, names: tuple[str, ...] = ("",)) -> None:
    """SIGKILL at operation number `count`, from 1, on a file of `folder` whose path holds one of `names`.

    A file is opened to be written, renamed, removed, …: the kill comes just before.  Of a write only the first half is
    left.  The last line of the errors then says which operation it was.  Bytes that no Python code writes (arrays of a
    checkpoint) are not among them, nor is TensorBoard's copy of the log, which is most of what is written.
    """
    left, sizes = count, {}

    def operation(what: str, path: Any, torn: Any = None) -> None:
        nonlocal left
        path = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if not path.startswith(folder) or "tensorboard" in path or not any(name in path for name in names):
            return
        left -= 1
        if left == 0:
            if torn is not None:
                torn.flush()
                before, after = sizes.get(id(torn), 0), os.fstat(torn.fileno()).st_size
                os.truncate(torn.fileno(), before + (after - before) // 2)
            os.write(2, f"killed: {what} {os.path.relpath(path, folder)}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(event: str, values: tuple) -> None:
        if event in EVENTS and not (event == "open" and not (isinstance(values[2], int) and values[2] & WRITES)):
            operation(event, values[0])

    def written(frame: FrameType, event: str, function: Any) -> None:
        if event in ("c_call", "c_return") and getattr(function, "__name__", "") == "write":
            file = getattr(function, "__self__", None)
            path = getattr(file, "name", None)
            if not isinstance(path, str | os.PathLike) or not os.fsdecode(path).startswith(folder):
                return
            if event == "c_call":
                sizes[id(file)] = os.fstat(file.fileno()).st_size
            else:
                operation("half of a write to", path, file)

    sys.addaudithook(audited)
    threading.setprofile(written)
    sys.setprofile(written)


def send_at(number: int, file: str, function: str) -> None:
    """Signal `number` when this thread first calls `function` of a file whose path ends with `file`."""

    def called(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == function and code.co_filename.endswith(file):
            sys.setprofile(None)
            os.kill(os.getpid(), number)

    sys.setprofile(called)
