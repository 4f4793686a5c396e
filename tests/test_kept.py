"""Programs that a sweep's worker keeps: the same bits as without, and none made twice."""

import numpy as np
import pytest

from configs.base import base
from scaling.fit import solver
from scaling.laws import LAWS
from scaling.warm import programs
from train import score
from train.display import Display
from train.loop import train
from train.program import Kept, Program


def run(workdir, kept, **changes):
    config = base()
    config.update(data={"name": "arrays:columns", "dataset": "isoflop_digits"}, writers=(), batch_size=8)
    config.update(model={"name": "mlp:MLP", "classes": 10, "width": 4}, task={"name": "supervised:classify"})
    config.update(optim={"name": "adamw", "learning_rate": 1e-2}, steps=3)
    config.update_from_flattened_dict(changes)
    return train(config, workdir, Display(quiet=True), kept=kept)


@pytest.mark.slow
def test_runs_that_differ_in_steps_and_seed_share_programs(tmp_path, monkeypatch):
    kept, compiled, lowered = Kept(), Program.compile, []

    def compile(self, *args):
        lowered.append(self.name) if not self.compiled else None
        return compiled(self, *args)

    monkeypatch.setattr(Program, "compile", compile)
    run(tmp_path / "first", kept)
    assert sorted(lowered) == ["evaluation", "train step"]
    with monkeypatch.context() as again:
        again.setattr(score, "detail", lambda *_: pytest.fail("the programs of its details were made again"))
        second = run(tmp_path / "second", kept, steps=5, seed=1)
    assert len(lowered) == 2
    assert second["compile_seconds"] == 0
    alone = run(tmp_path / "alone", None, steps=5, seed=1)
    assert len(lowered) == 4
    names = ("loss", "tokens_seen", "flops_train")
    assert [second[name] for name in names] == [alone[name] for name in names]
    run(tmp_path / "wider", kept, **{"model.width": 6})
    assert len(lowered) == 6


def test_a_warm_fit_compiles_nothing(monkeypatch):
    """`prepare` names the program that `solve` takes."""
    law = LAWS["kaplan_n"]
    for make in programs(rows=25, draws=1000):
        if make.args[0] is law.predict:
            make()
    before = solver._rounds._cache_size()
    x, theta = np.linspace(-1, 1, 25)[None], np.zeros((1, len(law.params)))
    solver.solve(law.predict, x, np.zeros((1, 25)), np.ones((1, 25)), theta, law.delta)
    assert solver._rounds._cache_size() == before
