"""Tables as people write them: shapes of JSON, marks between cells, units, compression."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scripts.check.logs.runs import RUNS, ends, put, table


def text(name: str, make: Callable[[], str]) -> Callable[[pathlib.Path], None]:
    return lambda path: put(path / name, make())


def packed(name: str, pack: Callable[[bytes], bytes], make: Callable[[], str]) -> Callable[[pathlib.Path], None]:
    return lambda path: (path / name).write_bytes(pack(make().encode())) and None


def zstd(data: bytes) -> bytes:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


def spaced(mark: str, ruler: str = "") -> str:
    rows = [[*ends()[0]], *([*map(str, row.values())] for row in ends())]
    out = [mark.join(row) for row in rows]
    out = [f"| {row} |" for row in out] if ruler else out
    return "\n".join([out[0], ruler, *out[1:]] if ruler else out) + "\n"


def column(name: str) -> list[Any]:
    return [row[name] for row in ends()]


def number(row: dict[str, Any], n: float = 1.0, d: float = 1.0) -> list[str]:
    """n, d and the loss with every digit, in units of `n` and `d`."""
    return [repr(row["n_params"] / n), repr(row["tokens"] / d), repr(row["val_loss"])]


def units(header: str, change: Callable[[float, float, float], Sequence[Any]]) -> str:
    """A table whose names stand in `header`, by semicolons, and whose cells are `change` of n, d and the loss."""
    mark = ";" if header.endswith(";") else ","
    names = header.strip(";").split("; ")
    rows = [change(row["n_params"], row["tokens"], row["val_loss"]) for row in ends()]
    return table([dict(zip(names, row, strict=True)) for row in rows], mark)


MILLIONS: Callable[[float, float, float], Sequence[Any]] = lambda n, d, loss: (n / 1e6, d / 1e9, loss)
UNITS: dict[str, tuple[str, Callable[[float, float, float], Sequence[Any]]]] = {
    "(M), [B]": ("N (M); D [B]; L", MILLIONS),
    "_millions": ("params_millions; tokens_billions; loss", MILLIONS),
    "(10^6), (×10⁹)": ("Params (10^6); Tokens (×10⁹); CE", MILLIONS),
    "1e6": ("params (1e6); tokens (x1e9); xent", MILLIONS),
    "53.3M": ("params; tokens; nll", lambda n, d, loss: (f"{n / 1e6!r}M", f"{d / 1e9!r}B", loss)),
    "1,234,567": ("params; tokens; loss", lambda n, d, loss: (f"{n:,}", f"{d:,}", loss)),
    "decimal commas": ("params; tokens; loss;", lambda *row: [repr(v).replace(".", ",") for v in row]),
    "1 234 567": (
        "params; tokens; loss",
        lambda n, d, loss: (f"{n:,}".replace(",", "\xa0"), f"{d:,}".replace(",", "\u202f"), f"{loss!r} ± 0.01"),
    ),
    "1.5×10⁹": ("params; tokens; loss", lambda n, d, loss: (f"{n / 1e6!r}×10⁶", f"{d / 1e9!r} x 10^9", loss)),
    "perplexity": ("params; tokens; val_ppl", lambda n, d, loss: (n, d, float(np.exp(loss)))),
    "compute_budget": ("parameters; compute_budget; loss", lambda n, d, loss: (n, 6.0 * n * d, loss)),
}


def shape(kind: str) -> str:
    rows = ends()
    by_column = {name: column(name) for name in rows[0]}
    made = {
        "runs": {"project": "x", "runs": rows},
        "of runs": {r["name"]: {k: r[k] for k in r if k != "name"} for r in rows},
        "of lists": by_column,
        "columns": {n: {str(i): v for i, v in enumerate(vs)} for n, vs in by_column.items()},
        "index": {str(i): row for i, row in enumerate(rows)},
        "records": rows,
        "split": {"columns": [*rows[0]], "index": [*range(len(rows))], "data": [[*row.values()] for row in rows]},
        "table": {"schema": {"fields": [{"name": n} for n in rows[0]]}, "data": rows},
    }
    return json.dumps(made[kind])


def curves() -> str:
    made = [
        {
            "name": r.name,
            "config": {"n_params": r.n},
            "history": [{"step": row["step"], "tokens": row["tokens"], "val_loss": row["loss"]} for row in r.rows],
        }
        for r in RUNS
    ]
    return json.dumps(made)


def arrow_file(path: pathlib.Path) -> None:
    import pyarrow

    made = pyarrow.Table.from_pylist(ends())
    with pyarrow.OSFile(str(path / "runs.arrow"), "wb") as sink, pyarrow.ipc.new_file(sink, made.schema) as out:
        out.write_table(made)


def in_memory(path: pathlib.Path) -> Any:
    import pyarrow

    return pyarrow.Table.from_pylist(ends())
