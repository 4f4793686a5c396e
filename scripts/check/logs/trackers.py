"""Logs as trainers and trackers of experiments write them, a function each."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from scripts.check.logs.runs import RUNS, history, lines, put, table


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
        for k in range(len(RUNS[0].rows)):
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
                        "_step": r.rows[-1]["step"],
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
