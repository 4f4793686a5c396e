"""What cannot be read, and what to give instead."""

from collections.abc import Iterator

from scaling.logs.formats import File, Format
from scaling.logs.table import Log, Refusal

REMEDY = "save the table with named columns, as df.to_csv('runs.csv') or df.to_parquet('runs.parquet')"
ARRAY = (
    "an array without names of columns, which cannot say what N, D and the loss are; " + REMEDY +
    ", or pass it from Python: readers.from_table({'n': a[:, 0], 'd': a[:, 1], 'loss': a[:, 2]})"
)  # fmt: skip
KINDS = {
    b"\x93NUMPY": ARRAY,
    b"\x80": f"a pickle, which would be executed when read; {REMEDY}",
    b"PK\x03\x04": f"a spreadsheet or zip archive; {REMEDY}, or unpack it",
    b"\x89HDF": f"an HDF5 file; {REMEDY}",
    b"SQLite format 3": f"a database; {REMEDY}",
    b"\xd0\xcf\x11\xe0": f"an old spreadsheet; {REMEDY}",
    b"\x1f\x8b": "packed twice; unpack it",
}


def kind(file: File) -> str | None:
    found = next((text for magic, text in KINDS.items() if file.head.startswith(magic)), None)
    if found is None and file.head[257:262] == b"ustar":
        return "a tar archive; unpack it and give the folder"
    return found


def read(file: File) -> Iterator[Log | Refusal]:
    yield Refusal(str(file.path), kind(file) or "")


FORMAT = Format("", lambda file: kind(file) is not None, read)
