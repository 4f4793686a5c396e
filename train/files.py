"""Files that are written whole: a crash leaves the old file or the new one, never half of one."""

import os
import pathlib
import tempfile

from train.errors import UserError


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


def settle_home() -> None:
    """Gives a user without a home directory (a number that no password file knows) one among the temporary files.

    Compiled programs and data are cached there, so it must be the user's own: it carries the number, and is checked.
    """
    try:
        pathlib.Path.home()
    except RuntimeError:
        folder = pathlib.Path(tempfile.gettempdir()) / f"isoflop-{os.getuid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            own = folder.stat().st_uid == os.getuid() and not folder.is_symlink()
        except OSError:
            own = False
        if not own:
            raise UserError(f"this user has no home directory, and {folder} cannot be used; set HOME") from None
        os.environ["HOME"] = str(folder)
