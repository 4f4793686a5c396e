"""Logs as TensorBoard, launchers and codebases of language models write them, a function each."""

import json
import pathlib
from collections.abc import Callable, Sequence

from scripts.check.logs.runs import BPB, RUNS, lines, put, table


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
        rows.append(
            {"run": f"runs/{r.name}", "params": r.n, "tokens": r.rows[-1]["tokens"], "step": r.rows[-1]["step"]}
        )
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
