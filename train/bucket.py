"""A work folder in a bucket: gs://BUCKET/NAME.

Its files are copied to a temporary folder, which every process has for itself, and the process that owns the folder
copies them back: before each checkpoint, every ten seconds, and at the end.  Checkpoints are written to the bucket
itself, by every host.  A write of a file carries the generation that this process knew last, so that one who has lost
the folder cannot write there.  Google's client tries failed requests again, for two minutes.
"""

import atexit
import concurrent.futures
import contextlib
import functools
import os
import pathlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from train.errors import UserError
from train.files import write_whole

NOTE = ".bucket"  # in the copy: the address of what it is a copy of
SCHEME = "gs://"
ELSEWHERE = ("checkpoints", "claim", "tries.jsonl")  # not copied: used where they are, and of a sweep's queue
STARTS = (".", "damaged_checkpoint_")  # of names that are not copied either
OLD = ("tensorboard/", "profile/")  # written here and copied back, never fetched: nothing reads them
LAST = "record.json"  # says that a run is finished, so it is the last to come and the first to go
SECONDS = 120.0  # for which a request is tried again
AT_ONCE = 16  # requests
COPIES: dict[str, str] = {}  # folder here → address, of this process
REMEDY = "the same command goes on from the last checkpoint"


class Lost(UserError):
    """Another process writes there now."""


def is_address(text: str) -> bool:
    return text.startswith(SCHEME)


def local(place: str | os.PathLike[str]) -> pathlib.Path:
    """A path as it is; of an address the folder here, or the file, with a copy of what is there."""
    text = os.fspath(place)
    return fetched(text.rstrip("/")) if is_address(text) else pathlib.Path(text)


@functools.cache  # once a process
def fetched(address: str) -> pathlib.Path:
    folder = new_folder(address)
    copy = Copy(folder, address)
    if not copy.fetch_file():
        noted(folder, address)
        copy.fetch()
    return folder


def empty(address: str) -> pathlib.Path:
    """A folder here for files of an address, with none of them yet."""
    return noted(new_folder(address), address)


@contextlib.contextmanager
def written(place: str) -> Iterator[pathlib.Path]:
    """A folder to write results to: that of the name, or one here whose files are copied to an address at the end."""
    if not is_address(place):
        yield pathlib.Path(place)
        return
    folder = empty(place.rstrip("/"))
    yield folder
    copy = Copy(folder, place.rstrip("/"))
    for name in copy.names_here():
        content = (folder / name).read_bytes()
        copy.change(name, lambda before, content=content: content)


def new_folder(address: str) -> pathlib.Path:
    bucket, name = parts(address)
    root = pathlib.Path(tempfile.mkdtemp(prefix="isoflop-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root / "gs:" / bucket / name


def noted(folder: pathlib.Path, address: str) -> pathlib.Path:
    folder.mkdir(parents=True)
    write_whole(folder / NOTE, address)
    COPIES[str(folder)] = address
    return folder


def named(text: str) -> str:
    """What is said to a person, with addresses in place of the folders of their copies."""
    for folder, address in COPIES.items():
        text = text.replace(folder, address)
    return text


def parts(address: str) -> tuple[str, str]:
    bucket, _, name = address.removeprefix(SCHEME).partition("/")
    if not bucket or not name.strip("/"):
        raise UserError(f"{address} names no folder in a bucket; write gs://BUCKET/NAME")
    return bucket, name.strip("/")


def address_of(folder: pathlib.Path) -> str:
    """Where the copy `folder` is one of, or a folder in such a copy; empty of any other folder."""
    for above in (folder, *folder.parents):
        if (above / NOTE).is_file():
            inside = folder.relative_to(above).as_posix()
            return (above / NOTE).read_text() + ("" if inside == "." else f"/{inside}")
    return ""


def checkpoints(folder: pathlib.Path) -> Any:
    """The folder of a run's checkpoints: a pathlib.Path, or in a bucket an epath.Path."""
    address = address_of(folder)
    if not address:
        return folder / "checkpoints"
    from etils import epath

    client()  # says what is missing
    return epath.Path(f"{address}/checkpoints")


def steps_saved(folder: pathlib.Path) -> list[int]:
    """Steps of the checkpoints that a run in that folder could go on from."""
    place = checkpoints(folder)
    return [int(each.name) for each in place.iterdir() if each.name.isdecimal()] if place.exists() else []


class Copy:
    """The files of `folder` and those of `address`, and how one becomes the other."""

    def __init__(self, folder: pathlib.Path, address: str):
        self.folder, self.address = folder, address
        self.bucket, self.prefix = parts(address)
        self.known: dict[str, int] = {}  # name → generation in the bucket
        self.sent: dict[str, tuple[int, int]] = {}  # name → time and size here, when it was the same there
        self.lock = threading.Lock()

    def blob(self, name: str) -> Any:
        return client().bucket(self.bucket).blob(f"{self.prefix}/{name}")

    def listed(self) -> dict[str, int]:
        """All names below the address, with their generations."""
        with told(self.address):
            found = client().list_blobs(self.bucket, prefix=f"{self.prefix}/", retry=retry())
            return {blob.name.removeprefix(f"{self.prefix}/"): blob.generation for blob in found}

    def copies(self, name: str) -> bool:
        if not name or name.endswith(("/", ".part")):
            return False
        return not any(part in ELSEWHERE or part.startswith(STARTS) for part in name.split("/"))

    def fetch_file(self) -> bool:
        """Whether the address is that of a file, which is then here."""
        with told(self.address):
            blob = client().bucket(self.bucket).blob(self.prefix)
            if not blob.exists(retry=retry()):
                return False
            self.folder.parent.mkdir(parents=True)
            write_whole(self.folder, blob.download_as_bytes(retry=retry()))
        return True

    def fetch(self) -> None:
        """Makes the folder the same as the bucket."""
        with self.lock:
            there = {name: at for name, at in self.listed().items() if self.copies(name)}
            wanted = [name for name in there if not name.startswith(OLD) and there[name] != self.known.get(name)]
            with told(self.address), concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                came = list(pool.map(self.fetch_one, wanted))
            gone = {name for name, here in zip(wanted, came, strict=True) if not here}
            there = {name: generation for name, generation in there.items() if name not in gone}
            wanted = [name for name in wanted if name not in gone]
            for name in self.names_here():
                if name not in there:
                    (self.folder / name).unlink(missing_ok=True)
            self.known = there
            self.sent = {name: self.stamp(name) for name in wanted} | {
                name: stamp for name, stamp in self.sent.items() if name in there and name not in wanted
            }

    def fetch_one(self, name: str) -> bool:
        """False where it was removed since it was listed."""
        content = content_of(self.blob(name))
        if content is None:
            return False
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
        return True

    def names_here(self) -> list[str]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(name for path in found if self.copies(name := path.relative_to(self.folder).as_posix()))

    def stamp(self, name: str) -> tuple[int, int]:
        found = (self.folder / name).stat()
        return found.st_mtime_ns, found.st_size

    def send(self) -> None:
        """Makes the bucket the same as the folder; raises `Lost` where another has written meanwhile."""
        with self.lock:
            here = self.names_here()
            for name in sorted(set(self.sent) - set(here), key=lambda name: name != LAST):
                self.remove(name)
            changed = [name for name in here if self.sent.get(name) != self.stamp(name)]
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self.send_one, [name for name in changed if name != LAST]))
            if LAST in changed:
                self.send_one(LAST)

    def send_one(self, name: str) -> None:
        stamp = self.stamp(name)
        generation = self.write(name, (self.folder / name).read_bytes(), self.known.get(name, 0))
        if generation is None:
            raise Lost(f"another process has written {self.address}/{name} meanwhile; this one stopped")
        self.known[name], self.sent[name] = generation, stamp

    def write(self, name: str, content: bytes, generation: int) -> int | None:
        """Writes over `generation`, 0 where there is to be none; the new one, None where there is another."""
        from google.api_core.exceptions import PreconditionFailed

        blob = self.blob(name)
        with told(self.address):
            try:
                blob.upload_from_string(content, if_generation_match=generation, retry=retry())
                return blob.generation
            except PreconditionFailed:
                pass
            # An answer that got lost looks the same: then what is there is ours.
            found = client().bucket(self.bucket).get_blob(blob.name, retry=retry())
            same = found is not None and found.download_as_bytes(retry=retry()) == content
            return found.generation if found is not None and same else None

    def read(self, name: str) -> tuple[bytes, int] | None:
        """Content and generation; None where there is none."""
        from google.api_core.exceptions import NotFound

        with told(self.address):
            try:
                found = client().bucket(self.bucket).get_blob(f"{self.prefix}/{name}", retry=retry())
                return found and (found.download_as_bytes(retry=retry()), found.generation)
            except NotFound:
                return None

    def change(self, name: str, changed: Callable[[bytes], bytes]) -> int:
        """Writes what `changed` makes of what is there, as often as others write meanwhile; the new generation."""
        while True:
            found = self.read(name)
            before, generation = found or (b"", 0)
            if (made := self.write(name, changed(before), generation)) is not None:
                return made

    def remove_only(self, name: str, generation: int) -> bool:
        """Removes what is there if that is of `generation`; of several that try, one hears True."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with told(self.address):
            try:
                self.blob(name).delete(if_generation_match=generation, retry=retry())
                return True
            except (NotFound, PreconditionFailed):
                return False

    def remove(self, name: str) -> None:
        from google.api_core.exceptions import NotFound

        with told(self.address), contextlib.suppress(NotFound):
            self.blob(name).delete(retry=retry())
        self.known.pop(name, None)
        self.sent.pop(name, None)


def content_of(blob: Any) -> bytes | None:
    """What an object holds; None where it was removed, or written anew, since it was listed."""
    from google.api_core.exceptions import NotFound

    try:
        return blob.download_as_bytes(retry=retry())
    except NotFound:
        return None


@functools.cache
def client() -> Any:
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks another server for the kind of bucket
    try:
        import gcsfs  # noqa: F401 - what etils.epath, and Orbax with it, reads and writes gs:// with
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import storage
    except ImportError as error:
        raise UserError(f"gs:// needs {error.name}, which is not installed; run `uv sync --extra gcs`") from None
    try:
        return storage.Client()
    except DefaultCredentialsError:
        raise UserError(
            "there are no credentials for gs:// here: run `gcloud auth application-default login`, or set "
            "GOOGLE_APPLICATION_CREDENTIALS"
        ) from None
    except OSError as error:
        raise UserError(f"no Google Cloud project is known ({error}); set GOOGLE_CLOUD_PROJECT") from None


def retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(SECONDS)


@contextlib.contextmanager
def told(address: str) -> Iterator[None]:
    """What a bucket refuses, and what no try gets through, as a sentence."""
    client()
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from requests import exceptions as web

    bucket = f"gs://{parts(address)[0]}"
    try:
        yield
    except api.NotFound:
        raise UserError(f"there is no bucket {bucket}: gcloud storage buckets create {bucket}") from None
    except api.Forbidden as error:
        raise UserError(
            f"{bucket} may not be used with these credentials ({first_line(error)}); ask for the role "
            "roles/storage.objectAdmin on it"
        ) from None
    except auth.TransportError as error:
        raise unreachable(address, error) from None
    except (api.Unauthorized, auth.GoogleAuthError) as error:
        raise UserError(
            f"the login for {bucket} is over ({first_line(error)}): gcloud auth application-default login; then "
            f"{REMEDY}"
        ) from None
    except (api.GoogleAPICallError, api.RetryError, web.RequestException) as error:
        raise unreachable(address, error) from None


def unreachable(address: str, error: Exception) -> UserError:
    return UserError(f"{address} could not be reached for {SECONDS:g} s ({first_line(error)}); {REMEDY}")


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:160] or type(error).__name__
