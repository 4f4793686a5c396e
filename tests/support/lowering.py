"""Programs for devices that are not here."""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from tests.support.small import small
from train.devices import mesh
from train.experiment import build_experiment
from train.program import step_program


def lower(page: pathlib.Path, folder: pathlib.Path, platforms: Sequence[str]) -> None:
    """The whole train step of the page, small, as XLA of these platforms takes it."""
    experiment = build_experiment(small(page, folder))
    step = step_program(experiment, mesh.make_mesh({}), print).jitted
    exported = jax.export.export(step, platforms=platforms)(
        experiment.state, experiment.batch, jax.random.key(0), np.float32(0)
    )
    assert exported.platforms == tuple(platforms)
    assert len(exported.out_avals) >= len(jax.tree.leaves(experiment.state))
