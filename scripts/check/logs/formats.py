"""Every format by its name, and whether what is read of it is what was written."""

import bz2
import gzip
import pathlib

import numpy as np

from scaling.logs import readers, records
from scripts.check.logs import codebases, tables, trackers
from scripts.check.logs.runs import BPB, RUNS, Writer, ends, history, lines, table

WRITERS: dict[str, Writer] = {
    "HF trainer_state": Writer(trackers.trainer_state, 1e-12),
    "HF all_results": Writer(trackers.all_results, 1e-12, ends=True),
    "Lightning": Writer(trackers.lightning),
    "Keras CSVLogger": Writer(trackers.keras),
    "W&B runs table": Writer(trackers.wandb_table, ends=True),
    "W&B history": Writer(trackers.wandb_history),
    "W&B Parquet": Writer(trackers.wandb_parquet),
    "W&B chart and table": Writer(trackers.wandb_chart(True), ends=True),
    "W&B chart without bounds": Writer(trackers.wandb_chart(False), ends=True),
    "MLflow CSV": Writer(trackers.mlflow_csv, ends=True),
    "mlruns": Writer(trackers.mlruns),
    "TensorBoard, plain": Writer(codebases.tensorboard("n_params", "tokens", "val_loss"), 1e-6),
    "TensorBoard, Levanter": Writer(
        codebases.tensorboard("parameter_count", "throughput/total_tokens", "eval/loss", ["train/loss"]), 1e-6
    ),
    "TensorBoard, MaxText": Writer(codebases.maxtext, 1e-6),
    "TensorBoard, Megatron": Writer(codebases.megatron, 1e-6, ends=True),
    "TensorBoard, hparams": Writer(codebases.hparams, 1e-6),
    "Ray Tune": Writer(codebases.ray),
    "Hydra": Writer(codebases.hydra, ends=True),
    "nanoGPT console": Writer(codebases.nanogpt, 1e-3),
    "nanochat console": Writer(codebases.nanochat, 1e-5, unit=BPB, given={"loss": "validation bpb"}),
    "nanochat results.csv": Writer(codebases.nanochat_results, 1e-14, ends=True, unit=BPB),
    "OLMo": Writer(codebases.olmo),
    "Aim": Writer(trackers.aim),
    "Comet": Writer(trackers.comet),
    "Marin": Writer(codebases.marin, ends=True),
    "OLMo-core": Writer(codebases.olmo_core),
    "plain CSV": Writer(tables.text("a.csv", lambda: table(ends())), ends=True),
    "JSON lines": Writer(tables.text("a.jsonl", lambda: lines(history()))),
    "JSON with histories": Writer(tables.text("a.json", tables.curves)),
    **{
        f"JSON {kind}": Writer(tables.text("a.json", lambda kind=kind: tables.shape(kind)), ends=True)
        for kind in ("runs", "of runs", "of lists", "columns", "index", "records", "split", "table")
    },
    "csv.gz": Writer(tables.packed("a.csv.gz", gzip.compress, lambda: table(ends())), ends=True),
    "csv.bz2": Writer(tables.packed("a.csv.bz2", bz2.compress, lambda: table(ends())), ends=True),
    "jsonl.zst": Writer(tables.packed("a.jsonl.zst", tables.zstd, lambda: lines(history()))),
    "comments": Writer(tables.text("a.csv", lambda: "# a sheet\n# of 2025\n" + table(ends())), ends=True),
    "sep=;": Writer(tables.text("a.csv", lambda: "sep=;\n" + table(ends(), ";")), ends=True),
    "title row": Writer(tables.text("a.csv", lambda: "Scaling runs,,,\n,,,\n" + table(ends())), ends=True),
    "trailing commas": Writer(
        tables.text("a.csv", lambda: table(ends()).replace("\r\n", ",\n").replace(",\n", "\n", 1)), ends=True
    ),
    "pipes": Writer(tables.text("a.txt", lambda: tables.spaced(" | ")), ends=True),
    "Markdown": Writer(tables.text("a.txt", lambda: tables.spaced(" | ", "|---|---:|---|:--|")), ends=True),
    "spaces": Writer(tables.text("a.txt", lambda: tables.spaced("  ")), ends=True),
    "one space": Writer(tables.text("a.dat", lambda: tables.spaced(" ")), ends=True),
    "Arrow": Writer(tables.arrow_file, ends=True),
    "a table at hand": Writer(tables.in_memory, ends=True),
    **{
        name: Writer(tables.text("a.csv", lambda how=how: tables.units(*how)), 1e-14, ends=True)
        for name, how in tables.UNITS.items()
    },
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
