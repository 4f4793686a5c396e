"""The same 25 runs in every format that is read; and what becomes of files that are damaged.

    python -m scripts.check.logs                      every format: rows, seconds
    python -m scripts.check.logs --mutations 5000     of each format so many damaged files: cut, flipped, doubled
    python -m scripts.check.logs --rows 1000000       one CSV of so many rows: seconds and memory

Exits with 1 where a row is wrong, a damaged file ends in anything but rows or a sentence, or one takes over 10 s.
"""

import argparse
import bz2
import csv
import gzip
import io
import json
import pathlib
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from scaling.logs import readers, records
from train.errors import UserError

SIZES = np.geomspace(1e7, 8e8, 5).round(-3)
TOKENS = np.geomspace(2e8, 2e10, 5).round(-3)
STEPS = 6
BPB = 0.3  # bits per byte of a nat per token, for the formats that write those


class Run(NamedTuple):
    name: str
    n: int
    lr: float
    rows: list[dict[str, float]]  # step, tokens, train, loss


def runs() -> list[Run]:
    """25 runs of six steps on L = 1.7 + 400 / N^.34 + 900 / D^.30."""
    made = []
    for i, (n, d) in enumerate((n, d) for n in SIZES.tolist() for d in TOKENS.tolist()):
        rows = []
        for k in range(1, STEPS + 1):
            tokens = round(d / STEPS) * k
            loss = 1.7 + 400 / n**0.34 + 900 / tokens**0.30
            rows.append({"step": 100 * k, "tokens": tokens, "train": loss + 0.02, "loss": loss})
        made.append(Run(f"run-{i}", int(n), 1e-3 / (1 + i), rows))
    return made


RUNS = runs()


class Writer(NamedTuple):
    """One format."""

    write: Callable[[pathlib.Path], Any]  # writes below an empty folder; what to read where it is not that folder
    tolerance: float = 0.0  # relative, of n, d and loss, that the format stores
    ends: bool = False  # it holds the last row of each run only
    unit: float = 1.0  # of the loss
    given: dict[str, str] = {}  # noqa: RUF012  the columns that a user has to name


def put(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def table(rows: Sequence[dict[str, Any]], mark: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), delimiter=mark)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def ends(**more: str) -> list[dict[str, Any]]:
    """A row a run."""
    return [
        {"name": r.name, "n_params": r.n, "tokens": r.rows[-1]["tokens"], "val_loss": r.rows[-1]["loss"]} for r in RUNS
    ]


def history(step: str = "step", n: str = "n_params", d: str = "tokens", loss: str = "val_loss", run: str = "run_id"):
    return [
        {run: r.name, step: row["step"], n: r.n, d: row["tokens"], loss: row["loss"]} for r in RUNS for row in r.rows
    ]


# Tools, a function each.


def trainer_state(path: pathlib.Path) -> None:
    for r in RUNS:
        entries: list[dict[str, float]] = []
        for row in r.rows:
            seen = {"epoch": row["step"] / 600, "num_input_tokens_seen": row["tokens"], "step": row["step"]}
            entries += [{**seen, "loss": row["train"], "grad_norm": 1.0}, {**seen, "eval_loss": row["loss"]}]
        total = 6.0 * r.n * r.rows[-1]["tokens"]
        entries.append(
            {
                "epoch": 1.0,
                "step": 600,
                "total_flos": total,
                "train_loss": 4.0,
                "train_runtime": 9.0,
                "num_input_tokens_seen": r.rows[-1]["tokens"],
            }
        )
        state = {"best_metric": None, "global_step": 600, "log_history": entries, "total_flos": total}
        for step in (300, 600):
            put(path / r.name / f"checkpoint-{step}/trainer_state.json", json.dumps(state, indent=2))
        put(path / r.name / "config.json", json.dumps({"n_layer": 4, "model_type": "gpt2"}))


def all_results(path: pathlib.Path) -> None:
    for r in RUNS:
        end = r.rows[-1]
        found = {
            "eval_loss": end["loss"],
            "total_flos": 6.0 * r.n * end["tokens"],
            "num_input_tokens_seen": end["tokens"],
        }
        put(path / r.name / "all_results.json", json.dumps({**found, "train_loss": 4.0}))
        put(path / r.name / "eval_results.json", json.dumps({"eval_loss": end["loss"]}))


def lightning(path: pathlib.Path) -> None:
    for r in RUNS:
        rows: list[dict[str, float]] = []
        for row in r.rows:
            step = row["step"] - 1
            rows += [
                {"epoch": 0, "lr-AdamW": r.lr, "step": step},
                {"step": step, "tokens_seen": row["tokens"], "train_loss": 4.0},
                {"step": step, "val_loss": row["loss"]},
            ]
        names = ["epoch", "lr-AdamW", "step", "tokens_seen", "train_loss", "val_loss"]
        folder = path / r.name / "version_0"
        put(folder / "metrics.csv", table([{name: row.get(name, "") for name in names} for row in rows]))
        put(folder / "hparams.yaml", f"n_params: {r.n}\nlr: {r.lr}\nname: !!python/object:a.B {{}}\n")


def keras(path: pathlib.Path) -> None:
    for r in RUNS:
        rows = [
            {"epoch": i, "loss": row["train"], "n_params": r.n, "tokens": row["tokens"], "val_loss": row["loss"]}
            for i, row in enumerate(r.rows)
        ]
        put(path / f"{r.name}.csv", table(rows, ";"))


def wandb_table(path: pathlib.Path) -> None:
    rows = [
        {
            "Name": r.name,
            "State": "finished",
            "Notes": "-",
            "Tags": "",
            "Created": "2025-05-01T10:00:00.000Z",
            "num_params": r.n,
            "tokens": r.rows[-1]["tokens"],
            "val/loss": r.rows[-1]["loss"],
        }
        for r in RUNS
    ]
    bad = [
        {**rows[i], "Name": f"bad-{state}", "State": state, "val/loss": "NaN" if i else 9.0}
        for i, state in enumerate(("crashed", "failed", "running", "killed"))
    ]
    put(path / "table.csv", table(rows[:7] + bad + rows[7:]))


def wandb_history(path: pathlib.Path) -> None:
    rows = []
    for row in history("_step", "parameter_count", "throughput/total_tokens", "eval/loss"):
        first = {
            **row,
            "eval/loss": None,
            "_step": row["_step"] - 50,
            "throughput/total_tokens": row["throughput/total_tokens"] / 2,
        }
        rows += [first, {**row, "parameter_count": None, "_timestamp": 1.7e9 + row["_step"]}]
    put(path / "history.jsonl", lines(rows))


def wandb_parquet(path: pathlib.Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = history("_step", "parameter_count", "throughput/total_tokens", "eval/loss")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path / "history.parquet")


def wandb_chart(bounds: bool) -> Callable[[pathlib.Path], None]:
    def write(path: pathlib.Path) -> None:
        rows = []
        for k in range(STEPS):
            row: dict[str, Any] = {"Step": RUNS[0].rows[k]["step"]}
            for r in RUNS:
                for side in ("", "__MIN", "__MAX") if bounds else ("",):
                    row[f"{r.name} - val/loss{side}"] = r.rows[k]["loss"]
            rows.append(row)
        put(path / "chart.csv", table(rows))
        put(
            path / "table.csv",
            table(
                [
                    {
                        "Name": r.name,
                        "State": "finished",
                        "num_params": r.n,
                        "tokens": r.rows[-1]["tokens"],
                        "_step": 600,
                        "lr": r.lr,
                    }
                    for r in RUNS
                ]
            ),
        )

    return write


def mlflow_csv(path: pathlib.Path) -> None:
    rows = [
        {
            "run_id": f"{i:032x}",
            "status": "FINISHED",
            "metrics.val_loss": r.rows[-1]["loss"],
            "metrics.train_loss": 4.0,
            "params.n_params": r.n,
            "params.tokens": r.rows[-1]["tokens"],
            "tags.mlflow.runName": r.name,
        }
        for i, r in enumerate(RUNS)
    ]
    put(path / "runs.csv", table(rows))


def mlruns(path: pathlib.Path) -> None:
    for i, r in enumerate(RUNS):
        folder = path / "mlruns/1" / f"{i:032x}"
        put(folder / "meta.yaml", "artifact_uri: x\nstatus: 3\nlifecycle_stage: active\n")
        put(folder / "params/n_params", str(r.n))
        put(folder / "tags/mlflow.runName", "the same name")
        for name, key in (("val/loss", "loss"), ("tokens_seen", "tokens")):
            text = "".join(f"17000000{row['step']} {row[key]!r} {row['step']}\n" for row in r.rows)
            put(folder / "metrics" / name, text)
    put(path / "mlruns/1/meta.yaml", "artifact_location: x\nexperiment_id: 1\nname: a\n")


def tensorboard(n: str, d: str, loss: str, others: Sequence[str] = ()) -> Callable[[pathlib.Path], None]:
    def write(path: pathlib.Path) -> None:
        from tensorboardX import SummaryWriter

        for r in RUNS:
            with SummaryWriter(str(path / r.name)) as events:
                events.add_scalar(n, r.n, 0)
                for row in r.rows:
                    for tag, value in (
                        (loss, row["loss"]),
                        (d, row["tokens"]),
                        *((other, row["train"]) for other in others),
                    ):
                        events.add_scalar(tag, value, row["step"])

    return write


def maxtext(path: pathlib.Path) -> None:
    from tensorboardX import SummaryWriter

    for r in RUNS:
        with SummaryWriter(str(path / r.name)) as events:
            events.add_text("num_model_parameters", str(r.n), 0)
            for row in r.rows:
                events.add_scalar("learning/loss", row["train"], row["step"])
                events.add_scalar("learning/total_weights", r.rows[0]["tokens"] / 100, row["step"])
                events.add_scalar("evaluation/avg_loss", row["loss"], row["step"])


def megatron(path: pathlib.Path) -> None:
    """It says neither N nor tokens, so a table beside it does."""
    from tensorboardX import SummaryWriter

    rows = []
    for r in RUNS:
        with SummaryWriter(str(path / "runs" / r.name)) as events:
            for row in r.rows:
                for tag, value in (
                    ("lm-loss-training/lm loss", row["train"]),
                    ("lm-loss-validation/lm loss validation", row["loss"]),
                ):
                    events.add_scalar(tag, value, row["step"])
                    events.add_scalar(f"{tag} vs samples", value, int(row["tokens"]) // 2048)
        rows.append({"run": f"runs/{r.name}", "params": r.n, "tokens": r.rows[-1]["tokens"], "step": 600})
    put(path / "sizes.csv", table(rows))


def hparams(path: pathlib.Path) -> None:
    from tensorboardX import SummaryWriter

    for i, r in enumerate(RUNS):
        with SummaryWriter(str(path / r.name)) as events:
            for row in r.rows:
                events.add_scalar("val_loss", row["loss"], row["step"])
                events.add_scalar("tokens", row["tokens"], row["step"])
            events.add_hparams(
                {"n_params": r.n, "lr": r.lr}, {"hparam/val_loss": r.rows[-1]["loss"]}, name=f"17000{i}.1"
            )


def ray(path: pathlib.Path) -> None:
    for i, r in enumerate(RUNS):
        folder = path / "train_2025" / f"train_{i:05}_n={r.n}"
        rows = [
            {
                "val_loss": row["loss"],
                "tokens": row["tokens"],
                "training_iteration": k,
                "done": False,
                "trial_id": f"{i:05}",
                "config": {"n_params": r.n, "lr": r.lr},
            }
            for k, row in enumerate(r.rows, 1)
        ]
        put(folder / "result.json", lines(rows))
        put(folder / "progress.csv", table([{**row, "config": "", "config/n_params": r.n} for row in rows]))
        put(folder / "params.json", json.dumps({"n_params": r.n, "lr": r.lr}))
    put(path / "train_2025/experiment_state-2025.json", json.dumps({"trial_data": [["{}", "{}"]], "runner_data": {}}))


def hydra(path: pathlib.Path) -> None:
    for i, r in enumerate(RUNS):
        folder = path / "multirun/2025-05-01/10-00-00" / str(i)
        put(folder / ".hydra/overrides.yaml", f"- model.n_params={r.n}\n")
        put(folder / ".hydra/config.yaml", f"model:\n  n_params: {r.n}\nlr: {r.lr}\n")
        put(folder / "train.log", "[2025-05-01 10:00:00,1][__main__][INFO] - start\n")
        put(folder / "results.json", json.dumps({"val_loss": r.rows[-1]["loss"], "tokens_seen": r.rows[-1]["tokens"]}))


def nanogpt(path: pathlib.Path) -> None:
    for r in RUNS:
        text = f"tokens per iteration will be: {r.rows[0]['tokens'] // 100:,}\nnumber of parameters: {r.n / 1e6:.2f}M\n"
        for row in r.rows:
            text += f"step {row['step']}: train loss {row['train']:.4f}, val loss {row['loss']:.4f}\n"
            text += f"iter {row['step']}: loss {row['train']:.4f}, time 1099.34ms, mfu 15.34%\n"
        put(path / r.name / "train.log", text)


def nanochat(path: pathlib.Path) -> None:
    for r in RUNS:
        text = f"Number of parameters: {r.n:,}\n"
        text += f"Total batch size {r.rows[0]['tokens'] // 100:,} => gradient accumulation steps: 1\n"
        for row in r.rows:
            text += f"step {row['step']:05}/00600 (16.67%) | loss: {row['train']:.6f} | lrm: 1.00 | "
            text += "dt: 310.22ms | tok/sec: 1,690,123\n"
            text += f"Step {row['step']:05} | Validation bpb: {row['loss'] * BPB:.6f}\n"
        put(path / f"{r.name}.log", text)


def nanochat_results(path: pathlib.Path) -> None:
    rows = [
        {
            "flops_budget": "1e18",
            "depth": 8,
            "num_params": r.n,
            "tokens_trained": r.rows[-1]["tokens"],
            "val_bpb": r.rows[-1]["loss"] * BPB,
        }
        for r in RUNS
    ]
    put(path / "results.csv", table(rows))


def olmo(path: pathlib.Path) -> None:
    for r in RUNS:
        rows = [
            {
                "": i,
                "_step": row["step"],
                "num_params": r.n,
                "train/CrossEntropyLoss": row["train"],
                "throughput/total_tokens": row["tokens"],
                "eval/c4_en-validation/CrossEntropyLoss": row["loss"],
            }
            for i, row in enumerate(r.rows)
        ]
        put(path / f"{r.name}.csv", table(rows))


def aim(path: pathlib.Path) -> None:
    rows = [
        {
            "run.hash": f"h{r.name}",
            "run.name": r.name,
            "metric.name": name,
            "context.subset": "val" * (name == "loss"),
            "step": row["step"],
            "value": r.n if name == "n_params" else row[name],
        }
        for r in RUNS
        for row in r.rows
        for name in ("loss", "tokens", "n_params")
    ]
    put(path / "metrics.csv", table(rows))


def comet(path: pathlib.Path) -> None:
    rows = [
        {
            "experimentKey": r.name,
            "metricName": name,
            "metricValue": r.n if name == "params" else row[key],
            "step": row["step"],
            "timestamp": 1700000000000 + i,
        }
        for r in RUNS
        for row in r.rows
        for i, (name, key) in enumerate((("val_loss", "loss"), ("tokens", "tokens"), ("params", "")))
    ]
    put(path / "metrics.json", json.dumps(rows))


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
        "split": {"columns": [*rows[0]], "index": [*range(25)], "data": [[*row.values()] for row in rows]},
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


def marin(path: pathlib.Path) -> None:
    rows = [
        {
            "config": {"model": {"hidden": 64}, "lr": r.lr},
            "summary": {
                "parameter_count": r.n,
                "eval/loss": r.rows[-1]["loss"],
                "throughput/total_tokens": r.rows[-1]["tokens"],
                "_step": 600,
            },
        }
        for r in RUNS
    ]
    for r, row in zip(RUNS, rows, strict=True):
        put(path / r.name / "tracker_metrics.jsonl", json.dumps(row) + "\n")


def olmo_core(path: pathlib.Path) -> None:
    for r in RUNS:
        rows = [
            {
                "step": row["step"],
                "metrics": {
                    "train/CE loss": row["train"],
                    "throughput/total tokens": row["tokens"],
                    "eval/lm/c4_en-validation/CE loss": row["loss"],
                    "num_params": r.n,
                },
            }
            for row in r.rows
        ]
        put(path / r.name / "metrics.jsonl", lines(rows))


def arrow_file(path: pathlib.Path) -> None:
    import pyarrow

    made = pyarrow.Table.from_pylist(ends())
    with pyarrow.OSFile(str(path / "runs.arrow"), "wb") as sink, pyarrow.ipc.new_file(sink, made.schema) as out:
        out.write_table(made)


def in_memory(path: pathlib.Path) -> Any:
    import pyarrow

    return pyarrow.Table.from_pylist(ends())


WRITERS: dict[str, Writer] = {
    "HF trainer_state": Writer(trainer_state, 1e-12),
    "HF all_results": Writer(all_results, 1e-12, ends=True),
    "Lightning": Writer(lightning),
    "Keras CSVLogger": Writer(keras),
    "W&B runs table": Writer(wandb_table, ends=True),
    "W&B history": Writer(wandb_history),
    "W&B Parquet": Writer(wandb_parquet),
    "W&B chart and table": Writer(wandb_chart(True), ends=True),
    "W&B chart without bounds": Writer(wandb_chart(False), ends=True),
    "MLflow CSV": Writer(mlflow_csv, ends=True),
    "mlruns": Writer(mlruns),
    "TensorBoard, plain": Writer(tensorboard("n_params", "tokens", "val_loss"), 1e-6),
    "TensorBoard, Levanter": Writer(
        tensorboard("parameter_count", "throughput/total_tokens", "eval/loss", ["train/loss"]), 1e-6
    ),
    "TensorBoard, MaxText": Writer(maxtext, 1e-6),
    "TensorBoard, Megatron": Writer(megatron, 1e-6, ends=True),
    "TensorBoard, hparams": Writer(hparams, 1e-6),
    "Ray Tune": Writer(ray),
    "Hydra": Writer(hydra, ends=True),
    "nanoGPT console": Writer(nanogpt, 1e-3),
    "nanochat console": Writer(nanochat, 1e-5, unit=BPB, given={"loss": "validation bpb"}),
    "nanochat results.csv": Writer(nanochat_results, 1e-14, ends=True, unit=BPB),
    "OLMo": Writer(olmo),
    "Aim": Writer(aim),
    "Comet": Writer(comet),
    "Marin": Writer(marin, ends=True),
    "OLMo-core": Writer(olmo_core),
    "plain CSV": Writer(text("a.csv", lambda: table(ends())), ends=True),
    "JSON lines": Writer(text("a.jsonl", lambda: lines(history()))),
    "JSON with histories": Writer(text("a.json", curves)),
    **{
        f"JSON {kind}": Writer(text("a.json", lambda kind=kind: shape(kind)), ends=True)
        for kind in ("runs", "of runs", "of lists", "columns", "index", "records", "split", "table")
    },
    "csv.gz": Writer(packed("a.csv.gz", gzip.compress, lambda: table(ends())), ends=True),
    "csv.bz2": Writer(packed("a.csv.bz2", bz2.compress, lambda: table(ends())), ends=True),
    "jsonl.zst": Writer(packed("a.jsonl.zst", zstd, lambda: lines(history()))),
    "comments": Writer(text("a.csv", lambda: "# a sheet\n# of 2025\n" + table(ends())), ends=True),
    "sep=;": Writer(text("a.csv", lambda: "sep=;\n" + table(ends(), ";")), ends=True),
    "title row": Writer(text("a.csv", lambda: "Scaling runs,,,\n,,,\n" + table(ends())), ends=True),
    "trailing commas": Writer(
        text("a.csv", lambda: table(ends()).replace("\r\n", ",\n").replace(",\n", "\n", 1)), ends=True
    ),
    "pipes": Writer(text("a.txt", lambda: spaced(" | ")), ends=True),
    "Markdown": Writer(text("a.txt", lambda: spaced(" | ", "|---|---:|---|:--|")), ends=True),
    "spaces": Writer(text("a.txt", lambda: spaced("  ")), ends=True),
    "one space": Writer(text("a.dat", lambda: spaced(" ")), ends=True),
    "Arrow": Writer(arrow_file, ends=True),
    "a table at hand": Writer(in_memory, ends=True),
    **{name: Writer(text("a.csv", lambda how=how: units(*how)), 1e-14, ends=True) for name, how in UNITS.items()},
}


def expected(writer: Writer) -> np.ndarray:
    """[rows, 3] of n, d and loss, sorted."""
    rows = [
        (r.n, row["tokens"], row["loss"] * writer.unit)
        for r in RUNS
        for row in (r.rows[-1:] if writer.ends else r.rows)
    ]
    return ordered(np.array(rows, np.float64))


def ordered(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort((rows[:, 1], rows[:, 0].round()))]


def rows_of(runs: records.Runs) -> np.ndarray:
    return ordered(np.stack([runs.columns[role] for role in ("n", "d", "loss")], axis=1))


def wrong(writer: Writer, folder: pathlib.Path) -> str:
    """What is not as it was written; "" where all is."""
    given = writer.write(folder)
    found = records.assign(readers.read([folder if given is None else given]), given=writer.given)
    rows, known = rows_of(found), expected(writer)
    if rows.shape != known.shape:
        return f"{len(rows)} rows instead of {len(known)}: {found.said} {found.dropped[:2]}"
    if np.unique(found.run).size != len(RUNS):
        return f"{np.unique(found.run).size} runs instead of {len(RUNS)}: {found.mapping['run']}"
    off = np.abs(rows / known - 1).max(0)
    return f"n, d, loss are off by {off}" if (off > writer.tolerance).any() else ""


# Damage.


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, some bytes flipped or inserted, or lines doubled, swapped or lost."""
    kind, size = int(rng.integers(6)), max(len(content), 1)
    if kind == 0:
        return content[: int(rng.integers(size))]
    if kind in (1, 2):
        data = bytearray(content)
        for at in rng.integers(size, size=int(rng.integers(1, 8))).tolist():
            data[at : at + 1] = bytes([int(rng.integers(256))]) if kind == 1 else b"\x00"
        return bytes(data)
    if kind == 3:
        at, marks = int(rng.integers(size)), (b'"', b",", b"\n", b"{", b"]", b"NaN", b"1e999", b"\xff\xfe", b"9" * 400)
        return content[:at] + marks[int(rng.integers(len(marks)))] + content[at:]
    parts = content.split(b"\n")
    a, b = rng.integers(len(parts), size=2).tolist()
    parts[a:a] = parts[b : b + int(rng.integers(1, 20))]
    return b"\n".join(parts if kind == 4 else parts[:a] + parts[b:])


def outcome(path: pathlib.Path) -> str:
    """ "rows", "a sentence", or what is wrong."""
    start = time.monotonic()
    try:
        records.assign(readers.read([path]))
        end = "rows"
    except UserError as error:
        end = "a sentence" if "\n" not in str(error) and len(str(error)) < 5000 else f"no sentence: {error!s:.300}"
    except Exception:
        end = traceback.format_exc()
    return end if time.monotonic() - start < 10 else f"{time.monotonic() - start:.0f} s"


def mutate(name: str, count: int, seed: int) -> dict[str, int]:
    """How `count` damaged folders of one format end; prints those that end badly."""
    rng = np.random.default_rng((seed, *name.encode()))
    ends: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        if WRITERS[name].write(folder) is not None:
            return ends
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for extra in files[12:]:  # a folder of a few runs is read as one of many, and faster
            extra.unlink()
        files = files[:12]
        for _ in range(count):
            file = files[int(rng.integers(len(files)))]
            before = file.read_bytes()
            file.write_bytes(damaged(before, rng))
            end = outcome(folder if rng.random() < 0.7 else file)
            if end not in ("rows", "a sentence"):
                print(f"{name}: {file.name}: {end}")
                pathlib.Path(f"{tempfile.gettempdir()}/damaged-{file.name}").write_bytes(file.read_bytes())
                end = "BAD"
            ends[end] = ends.get(end, 0) + 1
            file.write_bytes(before)
    return ends


def many_rows(rows: int) -> None:
    """Reads one CSV of curves of a thousand runs, and prints seconds and memory."""
    with tempfile.TemporaryDirectory() as made:
        path = pathlib.Path(made) / "many.csv"
        rng, steps = np.random.default_rng(0), rows // 1000
        with open(path, "w", encoding="utf-8") as file:
            file.write("run_id,step,n_params,tokens,val_loss,lr,optimizer\n")
            for run in range(1000):
                n, noise = int(1e7 * 1.005**run), np.exp(0.002 * rng.standard_normal(steps))
                for k in range(steps):
                    loss = (1.7 + 400 / n**0.34 + 900 / (1e6 * (k + 1)) ** 0.3) * noise[k]
                    file.write(f"run-{run},{k + 1},{n},{1000000 * (k + 1)},{loss:.6f},0.001,adamw\n")
        start = time.process_time()
        found = readers.read([path])
        read = time.process_time() - start
        runs = records.assign(found)
        took, memory = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{len(runs.where)} rows, {path.stat().st_size / 1e6:.0f} MB: read {read:.1f} CPU s, columns and runs "
              f"{took - read:.1f} CPU s, {memory:.2f} GB")  # fmt: skip


def main(argv: Sequence[str]) -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--mutations", type=int, default=0, metavar="N")
    flags.add_argument("--rows", type=int, default=0, metavar="N")
    flags.add_argument("--only", nargs="*", default=[], metavar="FORMAT")
    flags.add_argument("--seed", type=int, default=0)
    options = flags.parse_args(argv)
    names = [name for name in WRITERS if not options.only or name in options.only]
    if options.rows:
        many_rows(options.rows)
        return 0
    bad = 0
    for name in names:
        start = time.process_time()
        if options.mutations:
            ends = mutate(name, options.mutations, options.seed)
            text, failed = ", ".join(f"{count} {end}" for end, count in sorted(ends.items())), "BAD" in ends
        else:
            with tempfile.TemporaryDirectory() as made:
                text = wrong(WRITERS[name], pathlib.Path(made))
            failed = bool(text)
        print(f"{name:<28} {time.process_time() - start:7.2f} s  {text or 'as written'}", flush=True)
        bad += failed
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(names)} formats, {bad} wrong, {memory:.2f} GB")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
