"""A corpus in a bucket (gs://…), copied once to $ISOFLOP_DATA/buckets and read from there.

The copy is named by the corpus's meta data, which hold sizes and fingerprint of every file, so that a corpus that was
written anew is copied anew.  Of several processes on a machine one copies; one that was stopped goes on.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from data import cache
from data.documents import as_path

CHUNK = 1 << 24  # bytes read at once


def is_address(path: str) -> bool:
    return "://" in path


def copied(address: str) -> Path:
    """The folder here with the whole corpus."""
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks another server for the kind of bucket
    try:
        there = as_path(address.rstrip("/"))
        try:
            text = (there / "meta.json").read_text()
        except FileNotFoundError:
            raise ValueError(
                f"{address} holds no whole corpus: write one with python -m data tokenize SOURCES --out DIR, and copy "
                f"it there with gcloud storage cp -r DIR/* {address}"
            ) from None
        return _copy(there, address, text)
    except ImportError as error:
        raise ValueError(f"{address} needs gcsfs ({error}); run `uv sync --extra gcs`") from None
    except (ValueError, OSError):
        raise
    except Exception as error:  # of Google's and of HTTP's libraries
        reason = str(error).strip().split("\n")[0][:200]
        raise ValueError(f"{address} could not be read: {type(error).__name__}: {reason}") from error


def _copy(there: Any, address: str, text: str) -> Path:
    folder = cache.root() / "buckets" / hashlib.sha256(text.encode()).hexdigest()[:16]
    if (folder / "meta.json").exists():
        return folder
    sizes = json.loads(text)["bytes"]
    with cache.writable(cache.root()), cache.lock(folder.parent / f"{folder.name}.lock"):
        if (folder / "meta.json").exists():
            return folder  # another process was faster
        folder.mkdir(exist_ok=True)
        print(f"copying {address}, {sum(sizes.values()) / 1e6:,.1f} MB, to {folder}", file=sys.stderr, flush=True)
        for name, size in sizes.items():
            path = folder / name
            if path.exists() and path.stat().st_size == size:
                continue
            part = folder / f"{name}.part"
            with (there / name).open("rb") as source, part.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK)
            part.replace(path)
        part = folder / "meta.json.part"
        part.write_text(text)
        part.replace(folder / "meta.json")
    return folder
