"""A process that another one of this project starts: its share of the cores, and an end together with its parent.

Imports little: a child looks at its parent before it imports anything heavy.
"""

import ctypes
import os
import signal

SHARE = "ISOFLOP_SHARE"  # the variable that tells a process which of how many on its host it is, and its parent
PR_SET_PDEATHSIG = 1


def as_child(index: int, count: int) -> dict[str, str]:
    """The environment of a new process, number `index` of `count` on this host, that calls `settle`."""
    return {**os.environ, SHARE: f"{index}/{count}/{os.getpid()}"}


def settle() -> None:
    """In a process that was started with `as_child`: its share of the cores; and SIGTERM, so that it saves, should the
    one that started it be killed.  A process whose parent is gone already ends at once.  Elsewhere nothing.

    The process does so itself, since what Python runs between fork and exec may deadlock where JAX has threads.
    """
    told = os.environ.pop(SHARE, None)
    if told is None:
        return
    index, count, parent = map(int, told.split("/"))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # looked at after the request, so that no moment is between the two
        os.write(2, b"the process that started this one is gone; ended before the start\n")
        os._exit(128 + signal.SIGTERM)
    own_cores(index, count)


def own_cores(index: int, count: int) -> None:
    """Gives this process, number `index` of `count` on the host, its share of the cores."""
    available = sorted(os.sched_getaffinity(0))
    share = max(1, len(available) // count)
    os.sched_setaffinity(0, {available[(index * share + i) % len(available)] for i in range(share)})
