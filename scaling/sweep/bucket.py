"""The queue of a sweep in a bucket: as scaling/sweep/queue.py has it, for any number of launches on any hosts.

Objects have the names that files have there.  A claim is created by a write that succeeds only where there is none, and
changed or removed only by who knows its generation; so of several workers one has a job.  Every process has a folder
for itself, into which it copies what it needs of the others' objects, every few seconds.
"""

import concurrent.futures
import contextlib
import json
import pathlib
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from scaling.sweep.design import Job
from scaling.sweep.queue import Claim, Queue, read_claim
from train import bucket
from train.bucket import AT_ONCE, Copy, address_of, local, told
from train.errors import UserError
from train.files import as_line, write_whole

READ = re.compile(r"plan\.json|runs/[^/]+/(claim|tries\.jsonl|record\.json|config\.json|metrics\.jsonl)")
POLL = 3.0  # seconds between two looks at the bucket


def queue_class(workdir: pathlib.Path) -> type[Queue]:
    return BucketQueue if address_of(workdir) else Queue


def queue_of(workdir: pathlib.Path, launch: str | None = None) -> Queue:
    """The queue of a sweep that has a plan, in a folder or in the bucket of which that is a copy."""
    return queue_class(workdir)(workdir, launch)


class Mirror(Copy):
    """What the queue reads, as it is in the bucket.  Nothing is written from here."""

    def copies(self, name: str) -> bool:
        return READ.fullmatch(name) is not None

    def fetch(self) -> None:
        with told(self.address):
            found = bucket.client().list_blobs(self.bucket, prefix=f"{self.prefix}/", retry=bucket.retry())
            there = {name: blob for blob in found if self.copies(name := blob.name.removeprefix(f"{self.prefix}/"))}
            wanted = [name for name, blob in there.items() if blob.generation != self.known.get(name)]
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda name: self.fetch_blob(name, there[name]), wanted))
        for name in set(self.known) - set(there):
            (self.folder / name).unlink(missing_ok=True)
            del self.known[name]

    def fetch_blob(self, name: str, blob: Any) -> None:
        """An object of the generation that was listed; one that was written meanwhile comes the next time."""
        content = bucket.content_of(blob)
        if content is not None:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
            self.known[name] = blob.generation


class BucketQueue(Queue):
    def __init__(self, workdir: pathlib.Path, launch: str | None = None, plan: Mapping[str, Any] | None = None):
        self.mirror, self.looked = Mirror(workdir, address_of(workdir)), float("-inf")
        (workdir / "runs").mkdir(exist_ok=True)
        self.refresh(now=True)
        super().__init__(workdir, launch, plan)

    @property
    def place(self) -> str:
        return self.mirror.address

    @property
    def logs(self) -> pathlib.Path:
        return self.workdir / "logs" / self.launch[:8]

    def folder(self, job: Job) -> pathlib.Path:
        """A copy of the run's own, which its owner keeps up (train/bucket_owner.py)."""
        return local(f"{self.mirror.address}/runs/{job.name}")

    def refresh(self, now: bool = False) -> None:
        if now or time.monotonic() - self.looked > POLL:
            self.mirror.fetch()
            self.looked = time.monotonic()

    def publish(self, name: str) -> None:
        content = (self.workdir / name).read_bytes()
        self.mirror.change(name, lambda before: content)

    def claim(self, job: Job) -> Claim:
        return BucketClaim(self, job)

    def drop(self, job: Job, holder: dict[str, Any]) -> bool:
        name = f"runs/{job.name}/claim"
        try:
            same = read_claim(self.workdir / name)["id"] == holder["id"]
        except FileNotFoundError:
            return False
        return same and self.mirror.remove_only(name, self.mirror.known[name])

    def fail(self, job: Job, reason: str, died: bool = False) -> None:
        row = {"launch": self.launch, "reason": reason, "died": died, "id": uuid.uuid4().hex}
        self.mirror.change(f"runs/{job.name}/tries.jsonl", lambda before: before + as_line(row).encode())
        self.refresh(now=True)


class BucketClaim(Claim):
    """An object that only one worker can create.  `generation` is that of its last sign of life."""

    def __init__(self, of: BucketQueue, job: Job):
        super().__init__(of, job)
        self.mirror, self.name = of.mirror, f"runs/{job.name}/claim"
        self.beats, self.generation = 0, 0

    def content(self) -> bytes:
        return json.dumps({**self.holder(), "beat": self.beats}).encode()

    def make(self) -> bool:
        self.generation = self.mirror.write(self.name, self.content(), 0) or 0
        return self.generation > 0

    def mine(self) -> bool:
        return self.generation > 0

    def beat(self) -> bool:
        """A failed request is no loss of the job: where another has it, the run's own files refuse this process."""
        self.beats += 1
        try:
            found = self.mirror.write(self.name, self.content(), self.generation)
        except UserError:
            return True
        self.generation = found or 0
        return found is not None

    def release(self) -> None:
        if self.mine():
            with contextlib.suppress(UserError):  # then others find it silent
                self.mirror.remove_only(self.name, self.generation)
            self.generation = 0
