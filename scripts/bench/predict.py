"""How long `python -m train predict` takes beside the evaluation of the same inputs, which it has in memory.

    uv run python -m scripts.bench.predict [--rows 1000000] [--images 10000] [--rounds 5]

Both sides in turn, in one process, compiled before: a table of nine columns, read from CSV and written as CSV and JSON,
and PNG files of 28 × 28 pixels, these also beside the score of the same files, `train score`.  Then how much memory a
prediction of all takes beside one of a tenth of them, and how long the first prediction of a new process takes.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from configs.base import base
from data.source import Columns
from train import predict, score
from train.devices import mesh, runtime
from train.display import Display
from train.labelled import Labelled, standard
from train.loop import train
from train.saved import Saved, load

PNG_SIDE, COLUMNS = 28, 8


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 1_000_000), ("images", 10_000), ("rounds", 5)):
        flags.add_argument(f"--{name}", type=int, default=default)
    options = flags.parse_args()
    runtime.set_up()
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        tables(place, options.rows, options.rounds)
        images(place, options.images, options.rounds)
        cold(place)


def tables(place: pathlib.Path, rows: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(10, 3, (rows, COLUMNS))
    y = values @ rng.normal(size=COLUMNS) + rng.normal(size=rows)
    table = np.concatenate([values, y[:, None]], axis=1)
    head = ",".join("abcdefghy"[: COLUMNS + 1])
    for name, count in (("train.csv", 5000), ("some.csv", rows // 10), ("all.csv", rows)):
        np.savetxt(place / name, table[:count], delimiter=",", fmt="%.6g", header=head, comments="")
    run = made(place / "table", {"name": "tables:regression", "path": str(place / "train.csv")}, "forecast:forecast",
               {"name": "mlp:MLP", "classes": 1, "width": 64})  # fmt: skip
    scales = run.experiment.dataset.scales
    x, y = standard(values, scales["x"]), standard(y[:, None], scales["y"])
    source = Columns(x=x, y=y, naive=np.zeros_like(y))
    for ending in ("csv", "jsonl"):
        told = lambda name, out=place / f"said.{ending}": predict.write(predict.answers(run, [place / name]), out)
        compare(f"{rows:,} rows → {ending}", run, source, lambda told=told: told("all.csv"), rounds)
    memory(f"{rows // 10:,} rows", lambda: told("some.csv"), lambda: told("all.csv"))


def images(place: pathlib.Path, count: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (count, PNG_SIDE, PNG_SIDE, 1), np.uint8)
    y = rng.integers(0, 2, count).astype(np.int32)
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        for split in ("new", *["some"] * (i < count // 10), *["train", "valid"] * (i < 64)):
            file = place / "set" / split / f"c{label}" / f"{i:06d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(file)
    for name, model in (("lenet", {"name": "lenet:LeNet5"}), ("resnet", {"name": "resnet:ResNet", "blocks": 1})):
        data = {"name": "images:folder", "path": str(place / "set"), "channels": 1}
        run = made(place / name, data, "supervised:classify", {**model, "classes": 2})

        def told(split: str = "new", run: Saved = run) -> None:
            predict.write(predict.answers(run, [place / "set" / split]), place / "said.csv")

        compare(f"{count:,} images → csv, {name}", run, Columns(x=x, y=y), told, rounds)
        scored(run, place / "set" / "new", told, rounds)
        memory(f"{count // 10:,} images", lambda: told("some"), told)


def scored(run: Saved, files: pathlib.Path, told: Callable[[], None], rounds: int) -> None:
    evaluate = score.evaluation(run, run.config.eval.batch_size, mesh.make_mesh())
    beside("one pass of `score` over the same files", lambda: evaluate(Labelled(run, [files])), told, rounds)


def memory(few: str, some: Callable[[], None], whole: Callable[[], None]) -> None:
    grown = [runtime.grown(each) or 0 for each in (some, whole)]
    print(f"memory at the peak: {grown[0] / 1e6:.0f} MB for {few}, {grown[1] / 1e6:.0f} MB for all", flush=True)


def made(workdir: pathlib.Path, data: dict, task: str, model: dict) -> Saved:
    config = base()
    config.update(data=data, model=model, task={"name": task}, optim={"name": "adamw", "learning_rate": 1e-3})
    config.update(steps=10, batch_size=32, writers=())
    train(config, workdir, Display(quiet=True))
    return load(workdir)


def compare(what: str, run: Saved, source: Columns, told: Callable[[], None], rounds: int) -> None:
    evaluate = score.evaluation(run, run.config.eval.batch_size, mesh.make_mesh())
    beside(f"{what}: evaluation", lambda: evaluate(source), told, rounds)


def beside(what: str, other: Callable[[], object], told: Callable[[], None], rounds: int) -> None:
    other(), told()
    both = [(timed(other), timed(told)) for _ in range(rounds)]
    ratios = sorted(b[0] / a[0] for a, b in both)
    (a, a_cpu), (b, b_cpu) = (map(statistics.median, zip(*times, strict=True)) for times in zip(*both, strict=True))
    print(
        f"{what} {a:.2f} s ({a_cpu:.2f} CPU s), predict {b:.2f} s ({b_cpu:.2f} CPU s); "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} of {rounds})",
        flush=True,
    )


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of this process on all processors."""
    start, busy = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - busy


def cold(place: pathlib.Path) -> None:
    """One image by a process of its own: from the command to its end."""
    one = next((place / "set" / "new").rglob("*.png"))
    command = [sys.executable, "-m", "train", "predict", "--workdir", str(place / "lenet"), str(one)]
    call = lambda: subprocess.run(command, check=True, capture_output=True, cwd=pathlib.Path(__file__).parents[2])
    before = os.times()
    times = [timed(call)[0] for _ in range(3)]
    busy = sum(os.times()[2:4]) - sum(before[2:4])  # of children that have ended
    print(
        "the first prediction of a new process:",
        json.dumps([round(t, 2) for t in times]),
        f"s, {busy / 3:.2f} CPU s each",
    )


if __name__ == "__main__":
    main()
