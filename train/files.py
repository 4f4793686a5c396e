"""Files that are written whole: a crash leaves the old file or the new one, never half of one."""

import os
import pathlib


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes `content` (text as UTF-8) beside `path` first and renames it, which the file system does at once.

    The name of the part carries the process, so that two processes that write the same file do not share a part.
    """
    path = pathlib.Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    if isinstance(content, str):
        part.write_text(content, encoding="utf-8")
    else:
        part.write_bytes(content)
    part.replace(path)
