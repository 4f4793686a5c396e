"""What a run is worth on any labelled data: the numbers of its evaluation, and what is no mean over records.

    python -m train score --workdir runs/x                     its held-out split again
    python -m train score --workdir runs/x --split train
    python -m train score --workdir runs/x new/                new data, the run's own moved away or not
    python -m train score --workdir runs/gan --judge runs/x    what it generates, by the classifier of runs/x

New data are folders CLASS/NAME.png, tables with the target's column, series, texts, or arrays, FILE.npz: the columns
of a batch by their names (x, y, …) in the data's own units.  What a task predicts says what is told besides: of classes
a matrix of confusions, calibration and each class's accuracy; of numbers residuals; of boxes the average precision.
The end of a training writes the same of the held-out split into `scores.json` and `run.html`.
"""

import json
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.pipeline import eval_batches
from data.source import Batch, Dataset, Source
from train.cli import folder, of_a_run, parser, read_of_a_run
from train.errors import UserError
from train.files import write_json
from train.judge import COUNT, judged
from train.writer import finite

if TYPE_CHECKING:
    from train.details import Report
    from train.experiment import Experiment
    from train.saved import Saved

PICTURES = "pictures.png"
SCORES = "scores.json"


class Scores(NamedTuple):
    """Of one split, or of new data."""

    metrics: dict[str, float]  # of the task: its loss, and means over records
    details: "Report"  # train/details.py; {} where the task predicts nothing of a single input, or tokens
    pictures: bytes = b""  # PNG, where an input is an image and the prediction lies on it


def main(argv: list[str]) -> None:
    flags = parser("python -m train score", __doc__ or "")
    of_a_run(flags)
    flags.add_argument("data", metavar="DATA", nargs="*", help="new labelled data; default: the run's own, --split")
    flags.add_argument(
        "--split", metavar="NAME", choices=("valid", "train"), help="of the run's own data: valid, train"
    )
    flags.add_argument("--judge", metavar="DIR", help="a classifier's run that compares samples with held-out records")
    flags.add_argument("--count", metavar="N", type=int, help="how many samples it judges; default: 1000")
    flags.add_argument("--out", metavar="DIR", help=f"where {SCORES} and {PICTURES} go")
    flags.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = read_of_a_run(flags, argv)
    if options.data and options.split:
        raise UserError(f"--split {options.split} is of the run's own data; leave it out to score {options.data[0]}")
    if options.judge and (options.data or options.split):
        raise UserError(f"--judge {options.judge} compares samples with the held-out records; leave other data out")
    if options.count is not None and (not options.judge or options.count < 2):
        raise UserError(f"--count {options.count} is how many samples --judge compares: 2 or more")
    out = None if options.out is None else folder("--out", options.out)

    from train import record, saved
    from train.devices import runtime

    runtime.set_up()
    step = "best" if options.best else "last" if options.step is None else options.step
    run = saved.load(folder("--workdir", options.workdir), options.code, step)
    if options.judge:
        judge = saved.load(folder("--judge", options.judge), options.code)
        scores = Scores(judged(run, judge, options.count or COUNT), {})
    else:
        scores = run.score(options.data or None, split=options.split or "valid")
    if out:
        record.make_folder(out)
        write(out, scores.details | {"metrics": scores.metrics}, scores.pictures)
    told = {"metrics": scores.metrics, "details": scores.details}
    print(json.dumps(finite(told), indent=1) if options.json else text(scores))
    if out and not options.json:
        print(f"\nin {out}: {SCORES}{f', {PICTURES}' if scores.pictures else ''}")


def text(scores: Scores) -> str:
    """For the terminal: every number, then the classes from the worst."""
    numbers = scores.metrics | {k: v for k, v in scores.details.get("numbers", {}).items() if k not in scores.metrics}
    width = max(map(len, numbers))
    lines = [f"{name:<{width}}  {value:.6g}" for name, value in numbers.items()]
    classes = [each for each in scores.details.get("classes", ()) if each["count"]]
    key = "accuracy" if classes and "accuracy" in classes[0] else "average_precision"
    if classes:
        lines += ["", f"{key.replace('_', ' ')} by class, of how many"]
        wide = max(len(each["name"]) for each in classes)
        worst = sorted(classes, key=lambda each: each[key])
        lines += [f"{each['name']:<{wide}}  {each[key]:.4f}  {each['count']:,}" for each in worst[:20]]
        lines += [f"… and {len(worst) - 20} more, better ones"] if len(worst) > 20 else []
    return "\n".join(lines)


def score(run: "Saved", data: Any = None, split: str = "valid") -> Scores:
    """Of `data` (train/labelled.py), or of a `split` of the run's own."""
    from train import labelled
    from train.devices import mesh

    if split not in ("valid", "train"):
        raise UserError(f"split={split!r}; a run has 'valid' and 'train'")
    known = run.experiment.dataset if data is not None else labelled.own(run)
    source, bytes_per_unit = labelled.of(run, data) if data is not None else (
        getattr(known, split), known.bytes_per_unit if split == "valid" else known.train_bytes_per_unit
    )  # fmt: skip
    devices = mesh.make_mesh()
    size = -(-run.config.eval.batch_size // devices.devices.size) * devices.devices.size
    metrics = evaluation(run, size, devices)(source)
    if bytes_per_unit:
        metrics["bits_per_byte"] = metrics["loss"] / bytes_per_unit / math.log(2)
    find = detail(run.experiment, devices)
    share = mesh.share(devices, size)
    given = run.experiment.dataset, run.params, run.model_state, source, size, share
    details, pictures = find(*given) if find else ({}, b"")
    return Scores({k: v for k, v in metrics.items() if not math.isnan(v) or k == "loss"}, details, pictures)


def evaluation(run: "Saved", size: int, devices: Any) -> Callable[[Source], dict[str, float]]:
    """A source -> what the run's own evaluation makes of it: the same program, batches and keys."""
    import jax

    from train.devices import mesh
    from train.evaluation import means
    from train.program import eval_program

    program, share = eval_program(run.experiment, devices, lambda line: None), mesh.share(devices, size)
    key = jax.random.split(jax.random.key(run.config.seed), 3)[2]
    return lambda source: means(program, run.params, run.model_state, source, size, share, key)


def detail(experiment: "Experiment", devices: Any) -> Callable[..., tuple["Report", bytes]] | None:
    """(dataset, params, model_state, source, batch size, share) -> details of one pass over the source, pictures.

    None for what is no prediction of an input beside its target; and for tokens, whose classes are a vocabulary.
    """
    import jax

    from train import details
    from train.devices import hosts, mesh
    from train.predict import class_names, prediction

    task = experiment.task
    if task.predict is None or experiment.dataset.unit == "token":
        return None
    predict = prediction(task, devices)
    said = jax.eval_shape(predict, experiment.state.params, experiment.state.model_state, {"x": experiment.batch["x"]})
    if not details.measured(said, experiment.batch):
        return None
    tally = jax.jit(details.tally, out_shardings=mesh.whole(devices), compiler_options=mesh.compiler_options(devices))

    def find(
        dataset: Dataset, params: Any, state: Any, source: Source, size: int, share: Any
    ) -> tuple["Report", bytes]:
        tallies = []
        for batch in eval_batches(source, batch_size=size, rows=share.rows):
            placed = share.place(batch)
            made = predict(params, state, {"x": placed.pop("x")})
            tallies.append(tally(made, placed))
            if len(tallies) > 1:
                tallies[-2] = jax.device_get(tallies[-2])  # while the device works on the one after
        tallies[-1] = jax.device_get(tallies[-1])
        names = class_names(dataset, getattr(said, "classes", 0))
        found = details.summary(type(said), tallies, dataset, names)
        shown = tallies[0].shown
        if not shown or not hosts.first():
            return found, b""
        some = source.gather(np.arange(min(len(source), *map(len, shown.values()))))
        return found, drawn(some, shown, names)

    return find


def drawn(truth: Batch, shown: Mapping[str, np.ndarray], names: Iterable[str]) -> bytes:
    from train.overlays import pictures

    return pictures(truth, shown, tuple(names))


def at_the_end(
    experiment: "Experiment",
    details: Callable[[], Any],
    state: Any,
    share: Any,
    workdir: pathlib.Path,
    say: Callable[[str], None],
) -> dict[str, float]:
    """Writes the details of the held-out split into the work folder; the numbers for the record.

    `details()` gives what `detail` made, or makes it.

    A fault in it is said and does not cost the run.
    """
    from train.devices import hosts
    from train.optim.chain import evaluation_params

    start = time.monotonic()
    try:
        find = details()
        if find is None:
            return {}
        params = evaluation_params(state.params, state.opt_state)
        size = experiment.config.eval.batch_size
        dataset = experiment.dataset
        found, pictures = find(dataset, params, state.model_state, dataset.valid, size, share)
        if hosts.first():
            write(workdir, {"step": int(state.step), "split": "valid", **found}, pictures)
    except Exception as error:  # a table is no reason to lose a run
        say(f"{workdir / SCORES} is not written ({type(error).__name__}: {error}); the run does not need it")
        return {}
    shown = "  ".join(f"{name} {value:.4g}" for name, value in found["numbers"].items())
    say(f"in detail: {shown}  ({time.monotonic() - start:.1f} s)")
    return finite(found["numbers"])


def write(out: pathlib.Path, report: "Report", pictures: bytes) -> None:
    from train.files import write_whole

    write_json(out / SCORES, finite(report))
    if pictures:
        write_whole(out / PICTURES, pictures)
