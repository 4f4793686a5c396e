"""Cloud Storage in memory, with generations, as much of it as train/bucket.py uses, and its libraries' exceptions."""

import sys
import threading
import types
from collections.abc import Callable
from typing import Any

MODULES = {
    "google.api_core.exceptions": ("NotFound", "Forbidden", "Unauthorized", "PreconditionFailed", "RetryError"),
    "google.auth.exceptions": ("RefreshError", "TransportError"),
}


def exceptions() -> dict[str, types.ModuleType]:
    """Modules in place of those that may not be installed here."""
    made = {}
    for name, words in MODULES.items():
        parent, _, last = name.rpartition(".")
        module, package = types.ModuleType(name), types.ModuleType(parent)
        base = type("GoogleAPICallError", (Exception,), {})
        for word in words:
            setattr(module, word, type(word, (base,), {}))
        module.GoogleAPICallError = module.GoogleAuthError = base  # all that a library raises
        setattr(package, last, module)
        made |= {parent: package, name: module}
    return made


class Storage:
    """A client of one server."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.clock, self.log = 0, []
        self.lock = threading.Lock()
        self.before: Callable[[str, str], None] = lambda verb, name: None  # may raise
        self.after: Callable[[str, str], None] = lambda verb, name: None

    def bucket(self, name: str) -> "Bucket":
        return Bucket(self, name)

    def list_blobs(self, bucket: str, prefix: str, retry: Any) -> list["Blob"]:
        self.before("list", prefix)
        names = sorted(name for of, name in self.objects if of == bucket and name.startswith(prefix))
        return [Blob(self, bucket, name) for name in names]

    def names(self, prefix: str) -> set[str]:
        return {name.removeprefix(prefix) for _, name in self.objects if name.startswith(prefix)}


class Bucket:
    def __init__(self, storage: Storage, name: str):
        self.storage, self.name = storage, name

    def blob(self, name: str) -> "Blob":
        return Blob(self.storage, self.name, name)

    def get_blob(self, name: str, retry: Any) -> "Blob | None":
        self.storage.before("get", name)
        return self.blob(name) if (self.name, name) in self.storage.objects else None


class Blob:
    def __init__(self, storage: Storage, bucket: str, name: str):
        self.storage, self.key, self.name = storage, (bucket, name), name
        self.generation = storage.objects.get(self.key, (b"", 0))[1]

    def exists(self, retry: Any) -> bool:
        self.storage.before("get", self.name)
        return self.key in self.storage.objects

    def download_as_bytes(self, retry: Any) -> bytes:
        self.storage.before("get", self.name)
        found = self.storage.objects.get(self.key)
        if found is None or self.generation not in (0, found[1]):  # it was listed, and written or removed since
            raise sys.modules["google.api_core.exceptions"].NotFound("404")
        return found[0]

    def upload_from_string(self, content: bytes, if_generation_match: int, retry: Any) -> None:
        self.storage.before("put", self.name)
        with self.storage.lock:
            if self.storage.objects.get(self.key, (b"", 0))[1] != if_generation_match:
                raise sys.modules["google.api_core.exceptions"].PreconditionFailed("412")
            self.storage.clock += 1
            self.generation = self.storage.clock
            self.storage.objects[self.key] = (content, self.generation)
        self.storage.log.append(f"put {self.name}")
        self.storage.after("put", self.name)

    def delete(self, retry: Any, if_generation_match: int | None = None) -> None:
        self.storage.before("delete", self.name)
        with self.storage.lock:
            there = self.storage.objects.get(self.key)
            if there is None:
                raise sys.modules["google.api_core.exceptions"].NotFound("404")
            if if_generation_match not in (None, there[1]):
                raise sys.modules["google.api_core.exceptions"].PreconditionFailed("412")
            del self.storage.objects[self.key]
        self.storage.log.append(f"delete {self.name}")
