"""The owner of a work folder in a bucket: as train/owner.py has it, with conditional writes in place of files.

Objects `.owner.N`, of which only one process can create the next.  The owner writes its own anew every ten seconds,
and copies its files; one whose object was written by nobody for a minute is dead.
"""

import contextlib
import json
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

from train import owner
from train.bucket import Copy, Lost, address_of
from train.errors import UserError
from train.owner import KINDS, NAME, Owner, Process, busy, place, started, this_process


def owner_of(folder: pathlib.Path) -> Owner:
    """Of a folder here, or in the bucket that it is a copy of."""
    address = address_of(folder)
    return BucketOwner(Copy(folder, address)) if address else Owner()


class BucketOwner(Owner):
    def __init__(self, copy: Copy):
        super().__init__()
        self.copy, self.generation, self.lost = copy, 0, False
        self.heard = 0.0  # when the bucket last took a sign of life, on the monotonic clock

    def take(self, folder: pathlib.Path, say: Callable[[str], None]) -> None:
        """Owns the folder, and has its files as they are now; or raises a `UserError` that names who does."""
        while not self.number:
            last = max(self.numbers(), default=0)
            if last:
                self.refuse_living(last, say)
            generation = self.copy.write(f"{NAME}{last + 1}", self.text(0), 0)
            if generation is not None:
                self.generation, self.folder, self.number = generation, folder, last + 1
        self.heard = time.monotonic()
        for older in self.numbers():
            if older < self.number:
                self.copy.remove(f"{NAME}{older}")
        self.copy.fetch()
        threading.Thread(target=self.beat, daemon=True).start()
        self.check()

    def text(self, beat: int) -> bytes:
        return json.dumps({**this_process(self.token)._asdict(), "beat": beat}).encode()

    def numbers(self) -> list[int]:
        found = [name.removeprefix(NAME) for name in self.copy.listed() if name.startswith(NAME)]
        return [int(number) for number in found if number.isdecimal()]

    def beat(self) -> None:
        beats = 0
        while not self.ended.wait(owner.BEAT) and not self.lost:
            beats += 1
            try:
                found = self.copy.write(f"{NAME}{self.number}", self.text(beats), self.generation)
                if found is None:
                    self.lost = True
                    return
                self.generation, self.heard = found, time.monotonic()
                self.copy.send()
            except Lost:
                self.lost = True
            except (UserError, OSError):  # tried again; `mine` asks when it has failed for long
                continue

    def mine(self) -> bool:
        if not self.number:
            return True
        if not self.lost and time.monotonic() - self.heard > owner.PATIENCE / 2:
            self.lost = max(self.numbers(), default=0) != self.number
        return not self.lost

    def check(self) -> None:
        if not self.mine():
            raise Lost(f"another process has taken over {self.copy.address} meanwhile; this one stopped")

    def flush(self) -> None:
        if self.number:
            self.check()
            self.copy.send()

    def follow(self) -> None:
        self.copy.fetch()

    def release(self) -> None:
        """Safe to call again.  What cannot be copied now is in the bucket up to the last copy, which is enough."""
        self.ended.set()
        if self.number and not self.lost:
            with contextlib.suppress(UserError, OSError):
                self.copy.send()
                self.copy.remove(f"{NAME}{self.number}")
        self.number = 0

    def refuse_living(self, number: int, say: Callable[[str], None]) -> None:
        """Returns when owner `number` is dead or gone; raises where it lives."""
        before = self.copy.read(f"{NAME}{number}")
        who = process(before)
        if who is not None and who.place == place():
            if who.started and started(who.pid) == who.started:
                raise busy(self.copy.address, who)
            return
        deadline, told = time.monotonic() + owner.PATIENCE, False
        while before is not None and time.monotonic() < deadline:
            if not told:
                name = f"process {who.pid} on {who.host}" if who else "a process"
                say(
                    f"{name} was training in {self.copy.address}; waiting up to {owner.PATIENCE:g} s for a sign of life"
                )
                told = True
            time.sleep(min(5.0, owner.PATIENCE / 10))
            now = self.copy.read(f"{NAME}{number}")
            if now is None:
                return
            if now[1] != before[1]:
                raise busy(self.copy.address, process(now))


def process(found: tuple[bytes, int] | None) -> Process | None:
    try:
        facts: dict[str, Any] = json.loads(found[0]) if found else {}
        return Process(*(facts[name] for name in KINDS))
    except (ValueError, KeyError, TypeError):
        return None
