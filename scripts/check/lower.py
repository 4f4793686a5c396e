"""Does the train step of every config page lower for CUDA and TPU, without either at hand?

    uv run python -m scripts.check.lower [PAGE ...]

Prints each page with its seconds; exits with a traceback where one does not lower.  Tests do so once for every network,
source of data and task.
"""

import pathlib
import sys
import tempfile
import time

from tests.support.lowering import lower
from tests.support.small import PAGES
from train.devices import runtime


def main(names: list[str]) -> None:
    runtime.set_up()
    for page in PAGES:
        if names and page.stem not in names:
            continue
        since = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            lower(page, pathlib.Path(folder), ["cuda", "tpu"])
        print(f"{page.stem:<30} {time.monotonic() - since:>6.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
