"""A work folder has one owner: the process that trains in it.

Owners are numbered files `.owner.N`; the highest number owns, and only the one who creates N + 1 (which the file system
grants to one process) takes over from N.  On the owner's own host it is dead when its process is gone; elsewhere, when
its time stamp has not changed for a minute of the observer's clock, whatever the clocks of the two show.
"""

import contextlib
import json
import os
import pathlib
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from train.errors import UserError
from train.files import read_json

BEAT = 10.0  # seconds between two time stamps of an owner
PATIENCE = 60.0  # seconds without a new one after which an owner on another host is dead
NAME = ".owner."
PROC = pathlib.Path("/proc")


class Process(NamedTuple):
    """A process of some host, told apart from a later one of the same number by when it started."""

    pid: int
    host: str
    place: str  # where process numbers mean the same: a boot of a kernel, and its namespace of processes
    started: str  # the kernel's clock; empty for a process that is gone
    token: str


KINDS = {"pid": int, "host": str, "place": str, "started": str, "token": str}


class Owner:
    """This process as the owner of one folder; owns nothing until `take`."""

    def __init__(self) -> None:
        self.folder, self.number, self.token = pathlib.Path(), 0, secrets.token_hex(8)
        self.ended = threading.Event()

    def take(self, folder: pathlib.Path, say: Callable[[str], None]) -> None:
        """Owns `folder`, or raises a `UserError` that names who does.  May wait a minute for a sign of life."""
        while not self.number:
            last = max(numbers(folder), default=0)
            if last:
                refuse_living(folder, last, say)
            with contextlib.suppress(FileExistsError):  # another was quicker: look who
                create(folder / f"{NAME}{last + 1}", json.dumps(this_process(self.token)._asdict()))
                self.folder, self.number = folder, last + 1
        for older in numbers(folder):
            if older < self.number:
                (folder / f"{NAME}{older}").unlink(missing_ok=True)
        threading.Thread(target=self.beat, daemon=True).start()
        self.check()

    def beat(self) -> None:
        while not self.ended.wait(BEAT):
            with contextlib.suppress(OSError):  # never makes the file anew: another may have removed it
                os.utime(self.folder / f"{NAME}{self.number}")

    def mine(self) -> bool:
        """Whether this process may write; always where it is not the one that owns."""
        if not self.number:
            return True
        owner = read(self.folder / f"{NAME}{self.number}")
        return owner is not None and owner.token == self.token and max(numbers(self.folder)) == self.number

    def check(self) -> None:
        """Before every write."""
        if not self.mine():
            other = read(self.folder / f"{NAME}{max(numbers(self.folder), default=0)}")
            who = f"process {other.pid} on {other.host}" if other else "another process"
            raise UserError(f"{who} has taken over {self.folder} meanwhile; this one stopped before it wrote there")

    def flush(self) -> None:
        """What is written here is where others see it; of a bucket only then (train/bucket_owner.py)."""

    def follow(self) -> None:
        """Sees what the owner has written, on another host."""

    def release(self) -> None:
        """Safe to call again."""
        self.ended.set()
        if self.number and self.mine():
            (self.folder / f"{NAME}{self.number}").unlink(missing_ok=True)
        self.number = 0


def numbers(folder: pathlib.Path) -> list[int]:
    found = [name.removeprefix(NAME) for name in os.listdir(folder) if name.startswith(NAME)]
    return [int(number) for number in found if number.isdecimal()]


def create(path: pathlib.Path, text: str) -> None:
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)


def read(path: pathlib.Path) -> Process | None:
    """None where there is no such file, or half of one."""
    try:
        found = read_json(path, KINDS, "")
        return Process(*(found[name] for name in KINDS))
    except (OSError, ValueError):
        return None


def this_process(token: str) -> Process:
    return Process(os.getpid(), socket.gethostname(), place(), started(os.getpid()), token)


def place() -> str:
    try:
        return f"{(PROC / 'sys/kernel/random/boot_id').read_text().strip()} {os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def started(pid: int) -> str:
    """When a process of this host started; empty where it is gone, or dead and only not waited for."""
    try:
        state, *rest = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if state in "ZX" else rest[18]
    except (OSError, ValueError, IndexError):
        pass
    if PROC.is_dir():
        return ""
    with contextlib.suppress(ProcessLookupError):  # a system without /proc
        with contextlib.suppress(PermissionError):
            os.kill(pid, 0)
        return "running"
    return ""


def refuse_living(folder: pathlib.Path, number: int, say: Callable[[str], None]) -> None:
    """Returns when owner `number` is dead or gone; raises where it lives."""
    path = folder / f"{NAME}{number}"
    owner = read(path)
    if owner is None and stamp(path) is not None:
        time.sleep(0.2)  # it may be about to write
        owner = read(path)
    if owner is not None and owner.place == place():
        if owner.started and started(owner.pid) == owner.started:
            raise busy(folder, owner)
        return
    before, deadline, told = stamp(path), time.monotonic() + PATIENCE, False
    while before is not None and time.monotonic() < deadline:
        if not told:
            who = f"process {owner.pid} on {owner.host}" if owner else "a process"
            say(f"{who} was training in {folder}; waiting up to {PATIENCE:g} s for a sign of life")
            told = True
        time.sleep(min(1.0, PATIENCE / 10))
        now = stamp(path)
        if now is None:
            return
        if now != before:
            raise busy(folder, read(path))


def stamp(path: pathlib.Path) -> Any:
    """The time stamp of a file, by opening it: network file systems then ask the server."""
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


class Busy(UserError):
    """Another process trains in the folder."""


def busy(folder: pathlib.Path | str, owner: Process | None) -> Busy:
    who = f"process {owner.pid} on {owner.host}" if owner else "another process"
    return Busy(f"{who} is training here ({folder}); wait for its end, stop it, or use another --workdir")
