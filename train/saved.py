"""A run read back from its work folder, without its training data: config, parameters, state, record.

What a reader needs to know of the data stands in `data.json`: shapes of a record, classes and their names, tokenizer,
scales, columns, fingerprint.  A run that goes on compares the fingerprint with its data, so that no other data are
trained on.

In Python, from any folder if PYTHONPATH names the clone (`PYTHONPATH=~/isoflop python`, with the clone's .venv active):

    from train.saved import load

    run = load("runs/iris")                     # or load("runs/iris", step="best")
    run.params                                  # a tree of arrays
    run.apply(x)                                # the network's outputs for arrays as it was trained on them
    run.predict("new.csv").values               # numbers in the data's own units, [rows, 1]
    run.predict([{"length": 0.4, "sex": "M"}])  # rows of a table; or an array in the data's own units
    run.predict(["a.png", "b.png"]).best        # names of classes; .probabilities [images, classes]
    run.score("new.csv").metrics                # loss and metrics of labelled data; .details
    run.sample(64)["samples"]                   # what a VAE, GAN or diffusion model generates
"""

import dataclasses
import functools
import math
import pathlib
import sys
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ml_collections import ConfigDict

from data import tokenize
from data.source import Batch, Column, Dataset, Scale
from train import record
from train.bucket import checkpoints as checkpoint_folder
from train.bucket import local
from train.code import check_saved
from train.errors import UserError
from train.files import NUMBER, read_json, read_rows, write_json
from train.metrics import better

if TYPE_CHECKING:
    from train.inputs import Inputs
    from train.predictions import Prediction
    from train.score import Scores

FACTS = ("classes", "unit", "per_record", "unique", "fingerprint", "bytes_per_unit", "train_bytes_per_unit")
NEEDS = {"classes": int, "unit": str, "per_record": int, "unique": int, "fingerprint": str, "records": dict}
NEEDS |= {"record": dict, "entropy": NUMBER, "tokenizer": (dict, type(None)), "names": list, "scales": dict}
NEEDS |= {"columns": dict, "level": str}
AGAIN = "remove it, and the command of the run writes it again"
Step = int | Literal["last", "best"]  # of a checkpoint


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a run left.  The data of `experiment` are zeros in the shape of the run's records."""

    config: ConfigDict
    experiment: Any  # train.experiment.Experiment
    params: Any  # of the checkpoint; the averaged ones, where the run averages
    model_state: Any
    record: dict[str, Any] | None  # of a finished run

    def apply(self, x: Any) -> Any:
        """The outputs of the network (logits, numbers, cells) for a batch `x` as it takes it."""
        return self.network(self.params, self.model_state, x)

    def predict(self, inputs: "Inputs") -> "Prediction":
        """What the network says of files, of rows of a table, or of an array [N, ...] in the data's own units.

        Files are those of `python -m train predict`; what comes back is one of train/predictions.py.
        """
        from train.predict import answers
        from train.predictions import joined

        return joined([prediction for _, prediction in answers(self, inputs)])

    def score(self, data: Any = None, split: Literal["valid", "train"] = "valid") -> "Scores":
        """The numbers of its evaluation, and details (train/score.py), on new labelled data, or on a split of its own.

        `data` are files or folders of `python -m train score`, or a dict of arrays by their names in a batch.
        """
        from train.score import score

        return score(self, data, split)

    def sample(self, count: int, seed: int = 0) -> dict[str, np.ndarray]:
        """What it generates, "samples" [count, ...] and tables of them, by name (`Sampler` of train/latents.py)."""
        from train.sample import generated

        return generated(self, count, seed)

    @functools.cached_property
    def network(self) -> Any:
        import jax

        from train.experiment import build_models

        models = build_models(self.config)
        if "model" not in models:
            raise UserError(f"this run has several networks, {', '.join(models)}; build them with build_models")
        return jax.jit(lambda params, state, x: models["model"].apply(params, state, x)[0])

    @property
    def is_table(self) -> bool:
        """Whether an input is a row of a table."""
        return "x" in self.experiment.dataset.columns and len(self.experiment.batch["x"].shape) == 2

    @functools.cached_property
    def program(self) -> Any:
        """A batch of inputs -> what the network says of each."""
        from train.devices import mesh
        from train.predict import on_host, prediction

        return on_host(self, prediction(self.experiment.task, mesh.make_mesh()))

    @functools.cached_property
    def likelihood(self) -> Any:
        """A batch of windows of text or sound -> the nats of each."""
        from train.devices import mesh
        from train.predict import likelihood, on_host

        return on_host(self, likelihood(self.config, mesh.make_mesh()))


class Zeros:
    """As many records as the data had, of zeros."""

    def __init__(self, count: int, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]]):
        self.count, self.shapes = count, shapes

    def __len__(self) -> int:
        return self.count

    def gather(self, ids: np.ndarray) -> Batch:
        return {name: np.zeros((len(ids), *shape), dtype) for name, (shape, dtype) in self.shapes.items()}


def load(workdir: str | pathlib.Path, code: Sequence[str] = (), step: Step = "last") -> Saved:
    """Everything of a run that has a checkpoint.  `code` names what its config may use from outside the project.

    `step` is that of a checkpoint, or the "last", or the "best" by its held-out loss.
    """
    from train.experiment import build_experiment

    workdir = local(workdir).expanduser()
    config = config_of(workdir, code)
    experiment = build_experiment(config, data_of(workdir))
    return Saved(config, experiment, *restore(workdir, experiment, step), record.read(workdir))


def config_of(workdir: pathlib.Path, code: Sequence[str] = ()) -> ConfigDict:
    """The run's config; of code outside the project it may name what the user has given again, `code`."""
    try:
        config = ConfigDict(record.read_config(workdir))
    except FileNotFoundError:
        raise UserError(f"{workdir} has no config.json: name the --workdir of a run") from None
    check_saved(config.to_dict(), code)
    from train import configs

    for name, value in configs.load(configs.BASE).base().items():  # of an older run: what every experiment has by now
        config[name] = config.get(name, value)
    return config


def restore(workdir: pathlib.Path, experiment: Any, step: Step = "last") -> tuple[Any, Any]:
    """Parameters (the averaged ones where the run averages) and model state of a checkpoint."""
    from train.devices import mesh

    params, model_state, _ = restored(workdir, experiment, step, mesh.make_mesh())
    return params, model_state


def restored(workdir: pathlib.Path, experiment: Any, step: Step, devices: Any) -> tuple[Any, Any, int]:
    """As `restore`, spread over the mesh `devices`; and the step."""
    import jax

    from train.checkpoint import Checkpoints
    from train.devices import mesh
    from train.optim.chain import evaluation_params

    where = mesh.shardings(devices, experiment.state, experiment.axes)
    place = lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
    like = jax.tree.map(place, experiment.state, where)
    checkpoints = Checkpoints(
        checkpoint_folder(workdir),
        keep_last=1,
        best=False,
        say=functools.partial(print, file=sys.stderr),
        read_only=True,
    )
    try:
        state = checkpoints.restore(like, wanted(workdir, checkpoints.manager.all_steps(), step))
    finally:
        checkpoints.close()
    if state is None and step != "last":
        raise UserError(f"{workdir} has no other checkpoint of that step; leave it out, and the last one is read")
    if state is None:
        raise none_yet(workdir)
    return evaluation_params(state.params, state.opt_state), state.model_state, int(state.step)


def none_yet(workdir: pathlib.Path) -> UserError:
    return UserError(f"{workdir} has no checkpoint yet; config.checkpoint.every says when the first is saved")


def wanted(workdir: pathlib.Path, saved: Sequence[int], step: Step) -> Sequence[int]:
    """Which of the `saved` steps will do."""
    there = f"there are checkpoints of {', '.join(map(str, sorted(saved))) or 'no step'}"
    if step == "last":
        return saved
    if step != "best":
        if step not in saved:
            raise UserError(f"{workdir} has no checkpoint of step {step}; {there}")
        return [step]
    rows = read_rows(workdir / "metrics.jsonl", {"step": int, "split": str}, "name a --step")
    losses = {row["step"]: row["loss"] for row in rows if row["split"] == "valid" and better(row.get("loss"), None)}
    best = [number for number in losses if losses[number] == min(losses.values())]
    kept = [number for number in best if number in saved]
    if best and not kept:
        raise UserError(
            f"the lowest held-out loss of {workdir}, {losses[best[0]]:.4g} at step {best[0]}, has no checkpoint, which "
            f"config.checkpoint.best=True would have kept; {there}: name one of them, or leave it out"
        )
    if not best:
        raise UserError(f"{workdir} has no held-out loss yet, so none is the best; {there}")
    return kept[:1]


def keep(workdir: pathlib.Path, experiment: Any) -> None:
    """Writes `data.json`, unless it is there."""
    from train import found

    path, dataset = workdir / "data.json", experiment.dataset
    if path.exists():
        return
    facts = {name: getattr(dataset, name) for name in FACTS}
    facts["entropy"] = dataset.entropy if math.isfinite(dataset.entropy) else None
    facts["records"] = {"train": len(dataset.train), "valid": len(dataset.valid)}
    facts["record"] = {k: {"shape": v.shape[1:], "dtype": str(v.dtype)} for k, v in experiment.batch.items()}
    known = dataset.tokenizer
    facts["tokenizer"] = known and {"spec": known.spec, "state": known.state}
    facts["names"] = list(dataset.names)
    facts["scales"] = {name: scale._asdict() for name, scale in dataset.scales.items()}
    facts["columns"] = {name: [column._asdict() for column in some] for name, some in dataset.columns.items()}
    facts["level"] = dataset.level
    facts["found"] = found.facts(dataset)
    found.keep(workdir, dataset)
    write_json(path, facts)


def column_of(fact: Mapping[str, Any]) -> Column:
    return Column(fact["name"], tuple(fact["words"]))


def differs(workdir: pathlib.Path, dataset: Dataset) -> str:
    """A sentence where the data are not those that the run began with."""
    before = read_json(workdir / "data.json", NEEDS, AGAIN)["fingerprint"]
    if before == dataset.fingerprint:
        return ""
    return (
        f"{workdir} was trained on other data: their fingerprint was {before[:12]}…, and config.data now gives "
        f"{dataset.fingerprint[:12]}…. Put the data back as they were, or use another --workdir for these"
    )


def data_of(workdir: pathlib.Path) -> Dataset:
    """What `data.json` says of the data, with records of zeros."""
    try:
        facts = read_json(workdir / "data.json", NEEDS, AGAIN)
    except FileNotFoundError:
        raise UserError(f"{workdir} has no data.json, which the command of the run writes: run it again") from None
    shapes = {k: (tuple(v["shape"]), np.dtype(v["dtype"])) for k, v in facts["record"].items()}
    known = facts["tokenizer"]
    return Dataset(
        **{half: Zeros(facts["records"][half], shapes) for half in ("train", "valid")},
        **{name: facts[name] for name in FACTS},
        entropy=math.nan if facts["entropy"] is None else facts["entropy"],
        tokenizer=known and tokenize.load(known["spec"], known["state"]),
        names=tuple(facts["names"]),
        scales=types.MappingProxyType({name: Scale(**scale) for name, scale in facts["scales"].items()}),
        columns=types.MappingProxyType({name: tuple(map(column_of, some)) for name, some in facts["columns"].items()}),
        level=facts["level"],
    )
