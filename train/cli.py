"""What the front doors share: flags, and errors as sentences."""

import argparse
import errno
import itertools
import os
import pathlib
import re
import resource
import sys
import threading
from collections.abc import Callable
from typing import Any

from train import bucket, screen
from train.errors import UserError, suggest
from train.files import settle_home
from train.signals import EXIT_INTERRUPTED, Interrupted

READS_BUCKETS = ("--workdir", "DIR")  # flags that take gs://BUCKET/NAME
GRACE = 5.0  # seconds for which the end of a command waits for threads after an error


class Parser(argparse.ArgumentParser):
    """Argparse whose errors are `UserError`s with a suggestion, and which collects `--config.KEY=VALUE`."""

    def error(self, message: str):
        raise UserError(f"{message}; see --help")

    def parse(self, argv: list[str]) -> argparse.Namespace:
        overrides, rest = [], []
        for before, item in itertools.pairwise(["", *argv]):
            if item.startswith("--config."):
                overrides.append(item.removeprefix("--config."))
            elif before.startswith("--config.") and "=" not in before and not item.startswith("-"):
                overrides[-1] += f"={item}"
            else:
                rest.append(item)
        options, unknown = self.parse_known_args([item for item in rest if item != "--traceback"])
        if unknown:
            known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
            raise UserError(f"{unknown[0]} is not an option of {self.prog}{suggest(unknown[0].split('=')[0], known)}")
        options.overrides = overrides
        return options


def parser(prog: str, description: str) -> Parser:
    made = Parser(prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--traceback", action="store_true", help="show where an error came from")
    made.allow_abbrev = False
    return made


def of_a_run(flags: Parser, checkpoint: bool = True) -> None:
    """Adds the flags of a verb that reads a run: its folder, which checkpoint, and code from outside this project."""
    flags.add_argument("--workdir", metavar="DIR", required=True, help="a run's folder, finished or not")
    if checkpoint:
        flags.add_argument("--best", action="store_true", help="from the checkpoint of the lowest held-out loss")
        flags.add_argument("--step", metavar="N", type=int, help="from the checkpoint of this step; default: the last")
    flags.add_argument(
        "--code", metavar="MODULE:SYMBOL", action="append", default=[], help="of the run's config, outside this project"
    )


def read_of_a_run(flags: Parser, argv: list[str]) -> argparse.Namespace:
    """What was given, where it fits together."""
    options = flags.parse(argv)
    if options.overrides:
        raise UserError(f"--config.{options.overrides[0]}: the config is the run's own; train again to change it")
    if getattr(options, "best", False) and options.step is not None:
        raise UserError("--best and --step name two checkpoints; give one of them")
    return options


def moved(old: str, new: str) -> None:
    """The end of a command that has another name now."""
    report_errors(lambda _: Parser(prog=new).error(f"{old} is now {new}"), sys.argv[1:])


def run_command(main: Callable[[list[str]], int | None], argv: list[str]) -> None:
    """`report_errors` at the end of a process.  After an error, threads are waited for no longer than `GRACE`.

    Those of a checkpoint that could not be written wait for each other for minutes.
    """
    code: Any = 1
    try:
        report_errors(main, argv)
    except SystemExit as end:
        code = end.code
        raise
    finally:
        if code and any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
            last = threading.Timer(GRACE, os._exit, [code])
            last.daemon = True
            last.start()


def report_errors(main: Callable[[list[str]], int | None], argv: list[str]) -> None:
    """Runs `main` and exits: 0, 2 after a sentence about what went wrong, 75 when stopped with everything saved."""
    with screen.lasting():
        run_and_exit(main, argv)


def run_and_exit(main: Callable[[list[str]], int | None], argv: list[str]) -> None:
    try:
        settle_home()
        sys.exit(main(argv) or 0)
    except Interrupted as error:
        print(bucket.named(str(error)), file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (ValueError, OSError) as error:
        if "--traceback" in argv or not str(error):
            raise
        text = str(error) if isinstance(error, UserError) else too_many(error) or f"{error} (--traceback shows where)"
        print(f"error: {bucket.named(text)}", file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def too_many(error: Exception) -> str:
    """A sentence where `error` says that no more files may be open, else nothing."""
    if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
        return ""
    where = f", {error.filename} among them" if error.filename else ""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"this process needs more open files{where}, and may have {allowed}; allow more (`ulimit -n 4096`)"


def folder(flag: str, text: str) -> pathlib.Path:
    """The folder that a flag names, or a copy here of one in a bucket.

    ~ is the home directory, also where no shell expands it (`--workdir=~/x`).
    """
    if not text.strip():
        raise UserError(f"{flag} is empty; name a folder, such as {flag} runs/x")
    if bucket.is_address(text) and flag in READS_BUCKETS:
        return bucket.local(text)
    if re.match(r"\w+:/", text):
        raise UserError(f"{flag} {text} is an address and no folder; mount it, and name the folder")
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"{flag} {text}: there is no such home directory; write the whole path, or set HOME") from None
