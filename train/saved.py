"""A run read back from its work folder, without its training data: config, parameters, state, record.

What a reader needs to know of the data stands in `data.json`: shapes of a record, classes and their names, tokenizer,
scales, fingerprint.  A run that goes on compares the fingerprint with its data, so that no other data are trained on.
"""

import functools
import math
import pathlib
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from data import tokenize
from data.source import Batch, Dataset, Scale
from train import record
from train.code import check_saved
from train.errors import UserError
from train.files import NUMBER, read_json, write_json

FACTS = ("classes", "unit", "per_record", "unique", "fingerprint", "bytes_per_unit", "train_bytes_per_unit")
NEEDS = {"classes": int, "unit": str, "per_record": int, "unique": int, "fingerprint": str, "records": dict}
NEEDS |= {"record": dict, "entropy": NUMBER, "tokenizer": (dict, type(None)), "names": list, "scales": dict}
AGAIN = "remove it, and the command of the run writes it again"


class Saved(NamedTuple):
    """What a run left.  The data of `experiment` are zeros in the shape of the run's records."""

    config: ConfigDict
    experiment: Any  # train.experiment.Experiment
    params: Any  # of the last checkpoint; the averaged ones, where the run averages
    model_state: Any
    record: dict[str, Any] | None  # of a finished run


class Zeros:
    """As many records as the data had, of zeros."""

    def __init__(self, count: int, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]]):
        self.count, self.shapes = count, shapes

    def __len__(self) -> int:
        return self.count

    def gather(self, ids: np.ndarray) -> Batch:
        return {name: np.zeros((len(ids), *shape), dtype) for name, (shape, dtype) in self.shapes.items()}


def load(workdir: pathlib.Path, code: Sequence[str] = ()) -> Saved:
    """Everything of a run that has a checkpoint.  `code` names what its config may use from outside the project."""
    from train.experiment import build_experiment

    config = config_of(workdir, code)
    experiment = build_experiment(config, data_of(workdir))
    return Saved(config, experiment, *restore(workdir, experiment), record.read(workdir))


def config_of(workdir: pathlib.Path, code: Sequence[str] = ()) -> ConfigDict:
    """The run's config; of code outside the project it may name what the user has given again, `code`."""
    try:
        config = ConfigDict(record.read_config(workdir))
    except FileNotFoundError:
        raise UserError(f"{workdir} has no config.json: name the --workdir of a run") from None
    check_saved(config.to_dict(), code)
    return config


def restore(workdir: pathlib.Path, experiment: Any) -> tuple[Any, Any]:
    """Parameters (the averaged ones where the run averages) and model state of the last checkpoint."""
    import jax

    from train.checkpoint import Checkpoints
    from train.devices import mesh
    from train.optim.chain import evaluation_params
    from train.program import initial_state

    batch = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), experiment.batch)
    devices = mesh.make_mesh()
    like = initial_state(experiment, devices, jax.random.key(0), batch)
    checkpoints = Checkpoints(
        workdir / "checkpoints", keep_last=1, best=False, say=functools.partial(print, file=sys.stderr), read_only=True
    )
    try:
        state = checkpoints.restore(like)
    finally:
        checkpoints.close()
    if state is None:
        raise UserError(f"{workdir} has no checkpoint yet; config.checkpoint.every says when the first is saved")
    return evaluation_params(state.params, state.opt_state), state.model_state


def keep(workdir: pathlib.Path, experiment: Any) -> None:
    """Writes `data.json`, unless it is there."""
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
    write_json(path, facts)


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
    )
