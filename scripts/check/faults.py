"""Damages every file of a work folder and of the data cache, and gives the command again.

    python -m scripts.check.faults [--json FILE] [--only "data cache/*" "finished/record.json"]

A small GPT on a text file is trained once undisturbed; then copies of its work folder, stopped between two checkpoints
and finished, and of the data cache lose one file each: cut in half, one bit flipped, emptied, replaced by other JSON,
deleted.  The command again must end with the undisturbed run's parameters, log, copies and record, bit for bit, or say
one sentence.  Prints file, damage, outcome; exits with 1 after a traceback or another result.
"""

import argparse
import collections
import contextlib
import fnmatch
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.support.runs import Listening, same_arrays
from train import configs
from train.devices import runtime
from train.loop import train
from train.signals import Interrupted

STEPS, EVERY, STOP = 80, 20, 55
PAGE = "shakespeare_gpt"
CHANGES = {"steps": STEPS, "batch_size": 4, "log_every": 5, "eval.every": 30, "eval.batch_size": 32}
CHANGES |= {"checkpoint.every": EVERY, "checkpoint.keep": 2, "checkpoint.best": False, "schedule.warmup": 5}
CHANGES |= {"model.layers": 1, "model.width": 8, "model.heads": 2, "model.context": 16, "data.context": 16}
CHANGES |= {"cpu_devices": 1, "model.vocab": 64, "writers": ("csv", "tensorboard")}
COMPARED = ("metrics.jsonl", "metrics.csv", "config.json")
CLOCKS = ("name", "wall_seconds", "compile_seconds", "git_commit")

DAMAGES: dict[str, Callable[[pathlib.Path], object]] = {
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a bit flipped": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "emptied": lambda path: path.write_bytes(b""),
    "other JSON": lambda path: path.write_bytes(b'{"step": 1, "other": [2]}\n'),
    "deleted": lambda path: path.unlink(),
}


def flipped(content: bytes) -> bytes:
    """With one bit of the byte in the middle changed."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :] if content else b"x"


class Outcome(NamedTuple):
    folder: str  # "stopped", "finished", "data cache"
    file: str
    damage: str
    what: str  # "equal", "sentence", "TRACEBACK", "DIFFERENT"
    said: str


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--json", metavar="FILE", help="writes a line for each trial there")
    flags.add_argument(
        "--only", metavar="PATTERN", nargs="+", default=["*"], help="of folder/file, as the table names them"
    )
    options = flags.parse_args()
    runtime.set_up()
    found = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as files:
        log = files.enter_context(open(options.json, "w")) if options.json else None
        for outcome in trials(pathlib.Path(name), options.only):
            found.append(outcome)
            print(f"{outcome.folder:<11} {outcome.file:<62} {outcome.damage:<14} {outcome.what:<10} {outcome.said}")
            sys.stdout.flush()
            if log:
                log.write(json.dumps(outcome._asdict()) + "\n")
                log.flush()
    counts = collections.Counter(outcome.what for outcome in found)
    print(f"{len(found)} trials: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}")
    return 1 if counts["TRACEBACK"] or counts["DIFFERENT"] else 0


def trials(root: pathlib.Path, only: list[str]) -> Iterator[Outcome]:
    text = root / "text.txt"
    text.write_text("".join(chr(32 + i * i % 60) for i in range(4000)))
    os.environ["ISOFLOP_DATA"] = str(root / "data")
    whole, stopped = root / "whole", root / "stopped"
    again(whole, text)
    with contextlib.suppress(Interrupted):
        again(stopped, text, Listening(STOP, quiet=True))
    for folder, template in (("data cache", root / "data"), ("finished", whole), ("stopped", stopped)):
        for file in files_of(template):
            # Nobody reads a finished run's checkpoints when the command is given again; who does checks them then.
            unread = folder == "finished" and file.parts[0] == "checkpoints"
            if unread or not any(fnmatch.fnmatch(f"{folder}/{file}", pattern) for pattern in only):
                continue
            for damage in DAMAGES:
                trial = root / "trial"
                shutil.copytree(template, trial / "folder")
                DAMAGES[damage](trial / "folder" / file)
                os.environ["ISOFLOP_DATA"] = str(root / "data")
                workdir = trial / "folder"
                if folder == "data cache":
                    os.environ["ISOFLOP_DATA"] = str(workdir)
                    workdir = pathlib.Path(shutil.copytree(stopped, trial / "stopped"))
                yield Outcome(folder, str(file), damage, *outcome_of(workdir, whole, text, folder != "finished"))
                shutil.rmtree(trial)


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def again(workdir: pathlib.Path, text: pathlib.Path, display: Listening | None = None) -> None:
    changes = {**CHANGES, "data.path": text}
    page = configs.load(PAGE)
    train(
        configs.config_of(page, [f"{key}={value}" for key, value in changes.items()]),
        workdir,
        display or Listening(quiet=True),
    )


def outcome_of(workdir: pathlib.Path, whole: pathlib.Path, text: pathlib.Path, arrays: bool) -> tuple[str, str]:
    heard, errors = Listening(quiet=True), io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            again(workdir, text, heard)
    except (ValueError, OSError) as error:  # what the front door says without a traceback
        what = "sentence" if str(error) and "\n" not in str(error) else "TRACEBACK"
        return what, str(error).replace("\n", "⏎")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "TRACEBACK", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})".replace("\n", "⏎")
    said = [line for line in (*heard.said, *errors.getvalue().splitlines()) if "damage" in line or "not what" in line]
    said += [line for line in heard.said if "cannot be read" in line or "not readable" in line or "made again" in line]
    return "equal" if same(workdir, whole, arrays) else "DIFFERENT", "; ".join(dict.fromkeys(said))


def same(workdir: pathlib.Path, whole: pathlib.Path, arrays: bool) -> bool:
    records = [json.loads((folder / "record.json").read_text()) for folder in (workdir, whole)]
    plain = [{key: value for key, value in record.items() if key not in CLOCKS} for record in records]
    equal = all((workdir / file).read_bytes() == (whole / file).read_bytes() for file in COMPARED)
    return equal and plain[0] == plain[1] and (not arrays or same_arrays(workdir, whole))


if __name__ == "__main__":
    sys.exit(main())
