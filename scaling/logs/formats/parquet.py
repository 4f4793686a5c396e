"""Parquet and Arrow tables.  Table: anything with Arrow's stream interface, as pandas and polars have."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from scaling.logs.arrow import columns_of
from scaling.logs.formats import LIMIT, File, Format, raw
from scaling.logs.shapes import logs
from scaling.logs.table import Log, Refusal, Unreadable


def read(file: File) -> Iterator[Log | Refusal]:
    import pyarrow
    import pyarrow.parquet

    try:
        if file.head.startswith(b"PAR1"):
            opened = pyarrow.parquet.ParquetFile(file.path)
            cells = opened.metadata.num_rows * opened.metadata.num_columns
            if cells > LIMIT / 8:  # a few bytes can stand for millions of equal cells
                raise Unreadable(f"holds {cells:.3g} cells, more than {LIMIT / 8:.3g}; keep fewer columns or rows")
            table = opened.read()
        else:
            table = pyarrow.ipc.open_file(pyarrow.BufferReader(raw(file.path))).read_all()
            table.validate(full=True)
        yield from of_table(table, str(file.path))
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise Unreadable(str(error).partition("\n")[0][:300]) from None


def of_table(table: Any, origin: str) -> Iterator[Log | Refusal]:
    """The logs of an Arrow table."""
    import pyarrow

    for _ in range(20):  # structs in structs; deeper ones stay text
        if not any(pyarrow.types.is_struct(field.type) for field in table.schema):
            break
        table = table.flatten()
    yield from logs(columns_of(table), np.arange(1, 1 + table.num_rows), origin)


FORMAT = Format("Parquet (.parquet)", lambda file: file.head.startswith((b"PAR1", b"ARROW1")), read)
