"""Predictions of a trained run for new inputs, in the data's own units and the names of its classes.

    python -m train predict --workdir runs/x photos/*.jpg
    python -m train predict --workdir runs/x new.csv --out predictions.csv

What FILES may be depends on what the run learnt from: images (or folders of them), tables with the training table's
columns, series whose last rows are continued, sounds (.wav), texts whose class or likelihood is told, a question and,
behind its "?", the text that answers it; and where it was no language model also arrays, FILE.npy: N inputs in the
data's own units (uint8 is pixels).  Without --out the rows go to the terminal as CSV.
"""

import collections
import concurrent.futures
import contextlib
import functools
import itertools
import math
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from data.source import Batch, Dataset
from train import inputs, lines
from train.cli import folder, of_a_run, parser, read_of_a_run
from train.errors import UserError
from train.files import as_part
from train.predictions import Cells, Labels, Numbers, Prediction, Spans, Texts

if TYPE_CHECKING:
    from train.saved import Saved
    from train.step import Task

ROWS = 8192  # of a table at once, at least: one holds few numbers
Answer = tuple[Cells, Prediction]  # what the row of each input begins with, and what the network says of it


def main(argv: list[str]) -> None:
    flags = parser("python -m train predict", __doc__ or "")
    of_a_run(flags)
    flags.add_argument(
        "files", metavar="FILES", nargs="+", help="images, tables, series, sounds or texts; or arrays, .npy"
    )
    flags.add_argument("--out", metavar="FILE", help="where the rows go: a .csv, or a .jsonl of one object a line")
    options = read_of_a_run(flags, argv)
    out = None if options.out is None else folder("--out", options.out)
    if out is not None and (out.suffix not in (".csv", ".jsonl") or not out.parent.is_dir()):
        raise UserError(f"--out {out}: give it the ending .csv or .jsonl, in a folder that is there")

    from train import saved
    from train.devices import runtime

    runtime.set_up()
    step = "best" if options.best else "last" if options.step is None else options.step
    run = saved.load(folder("--workdir", options.workdir), options.code, step)
    write(answers(run, options.files), out)


def write(answered: Iterable[Answer], out: pathlib.Path | None) -> None:
    """A batch at a time as it comes; a file appears when it is whole."""
    with contextlib.ExitStack() as stack:
        file = sys.stdout
        if out:
            file = stack.enter_context(stack.enter_context(as_part(out)).open("w", newline="", encoding="utf-8"))
        is_json = out is not None and out.suffix == ".jsonl"
        for number, (labels, prediction) in enumerate(answered):
            cells = {**labels, **prediction.cells()}
            if not number and not is_json:
                file.write(lines.csv_header(cells))
            file.write(lines.json_lines(cells) if is_json else lines.csv_lines(cells))


def answers(run: "Saved", given: inputs.Inputs) -> Iterator[Answer]:
    """Predictions, a batch at a time.  Errors of reading are sentences."""
    check(run, given)
    try:
        yield from of_streams(run, inputs.as_paths(given)) if inputs.are_streams(run, given) else of_parts(run, given)
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error


def check(run: "Saved", given: inputs.Inputs) -> None:
    task = run.config.task.name
    if run.experiment.task.predict is None:
        raise UserError(
            f"the task of this run, {task}, predicts nothing of a single input; tasks of classes, numbers, pixels, "
            "boxes and labels do, and language models"
        )
    if not isinstance(given, pathlib.Path) and not len(given):
        raise UserError("there is no input to predict from; give one or more")
    data = run.experiment.dataset
    if (data.tokenizer and data.unit == "token") and not (
        isinstance(given, str | pathlib.Path) or all(isinstance(one, str | pathlib.Path) for one in given)
    ):
        raise UserError("this run learnt from text; name files of text")


def batch_size(run: "Saved") -> int:
    """config.eval.batch_size, of rows of a table more, and as many more as the devices share evenly."""
    from train.devices import mesh

    count, size = mesh.make_mesh().devices.size, run.config.eval.batch_size
    return -(-(max(size, ROWS) if run.is_table else size) // count) * count


def of_parts(run: "Saved", given: inputs.Inputs) -> Iterator[Answer]:
    """Reads parts on a thread while the device works on the one before, and the one before that is written."""
    size, dtype, waiting = batch_size(run), run.experiment.batch["x"].dtype, None
    for part in ahead(inputs.parts(run, given, size)):
        made = run.program(padded({"x": part.x.astype(dtype, copy=False)}, size))
        if waiting:
            yield in_own_units(run.experiment.dataset, *waiting)
        waiting = part, made
    if waiting:
        yield in_own_units(run.experiment.dataset, *waiting)


def ahead(parts: Iterator[inputs.Part], most: int = 2) -> Iterator[inputs.Part]:
    """The same parts; a thread makes `most` of them before they are asked for."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        waiting = collections.deque(pool.submit(next, parts, None) for _ in range(most))
        while (part := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, parts, None))
            yield part
    finally:
        pool.shutdown(cancel_futures=True)


def of_streams(run: "Saved", files: list[pathlib.Path]) -> Iterator[Answer]:
    """The windows of many files share a batch."""
    size, nats, read = batch_size(run), np.zeros(len(files)), np.zeros(len(files), np.int64)
    for some in itertools.batched(inputs.windows(run, files), size):
        batch = {name: np.concatenate([window.batch[name] for window in some]) for name in some[0].batch}
        for window, value in zip(some, np.asarray(run.likelihood(padded(batch, size)), np.float64), strict=False):
            nats[window.file] += value
            read[window.file] += 1
            if read[window.file] == window.windows:
                bits = nats[window.file] / window.tokens / window.bytes_per_token / math.log(2)
                said = Texts(np.array([window.tokens]), np.array([-nats[window.file]]), np.array([bits]))
                yield {"file": [str(files[window.file])]}, said


def padded(batch: Batch, size: int) -> Batch:
    """`size` inputs, the last one repeated, so that every batch has the shape that is compiled."""
    count = len(batch["x"])
    if count == size:
        return batch
    index = np.minimum(np.arange(size), count - 1)
    return {name: value[index] for name, value in batch.items()}


def in_own_units(dataset: Dataset, part: inputs.Part, made: Prediction) -> Answer:
    """What was made of a padded part, on the host."""
    made = made._replace(**{k: np.asarray(getattr(made, k))[: len(part.x)] for k in made._fields if k != "names"})
    if isinstance(made, Labels) and part.frames is not None and made.path.shape[1] == part.x.shape[1]:
        made = made._replace(path=np.where(np.arange(part.x.shape[1]) < part.frames[:, None], made.path, 0))
    if isinstance(made, Spans):
        return part.labels, made._replace(text=words(dataset, part.x, made))
    if not isinstance(made, Numbers):
        return part.labels, made._replace(names=class_names(dataset, made.classes))
    values = made.values if part.origin is None else made.values + part.origin
    if "y" in dataset.scales:
        scale = dataset.scales["y"]
        values = values * np.array(scale.deviation) + np.array(scale.mean)
    return part.labels, Numbers(values, tuple(column.name for column in dataset.columns.get("y", ())))


def words(dataset: Dataset, x_NL: np.ndarray, made: Spans) -> np.ndarray:
    """Those of every span, [N]; [0] where the data know numbers only."""
    if dataset.tokenizer is None:
        return np.array([], str)
    spans = zip(x_NL, made.first, made.last, strict=True)
    return np.array([dataset.tokenizer.decode(row[first : last + 1]) for row, first, last in spans])


def class_names(dataset: Dataset, outputs: int = 0) -> tuple[str, ...]:
    """Those of the data; their numbers where the data have none, or the network has more outputs."""
    return (*dataset.names, *map(str, range(len(dataset.names), outputs or dataset.classes)))


def prediction(task: "Task", devices: Any) -> Callable[..., Prediction]:
    """(params, model_state, batch) -> what the network says of each input, on the devices."""
    import jax

    from train import wrap
    from train.devices import mesh

    def predict(params: Any, state: Any, batch: dict[str, jax.Array]) -> Prediction:
        with wrap.spreading(devices):
            return task.predict(params, state, batch["x"])

    return jax.jit(predict, compiler_options=mesh.compiler_options(devices))


def likelihood(config: Any, devices: Any) -> Callable[..., Any]:
    """(params, model_state, windows) -> the nats of each, [B]."""
    import jax
    import optax

    from train import wrap
    from train.devices import mesh
    from train.experiment import build_models

    model = build_models(config)["model"]

    def nats(params: Any, state: Any, batch: dict[str, jax.Array]) -> jax.Array:
        with wrap.spreading(devices):
            logits = model.apply(params, state, batch["x"])[0]
        return (optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]) * batch["mask"]).sum(1)

    return jax.jit(nats, compiler_options=mesh.compiler_options(devices))


def on_host(run: "Saved", fn: Callable[..., Any]) -> Callable[[Batch], Any]:
    """`fn` of the run's parameters and a batch of the host; compiled once."""
    from train.devices import mesh

    place = functools.cache(lambda size: mesh.share(mesh.make_mesh(), size).place)
    return lambda batch: fn(run.params, run.model_state, place(len(batch["x"]))(batch))
