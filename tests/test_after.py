"""docs/after.md runs as it stands, from a folder that is not the project's; a sample takes one pass a token."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

from configs.base import base
from train.loop import train
from train.sample import windows

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "after.md"


@pytest.mark.slow
def test_the_page_and_the_python_of_the_readme_run(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    lengths, kinds = rng.normal(30, 5, 60), rng.choice(["oak", "fir", "elm"], 60)
    rows = [f"{k},{a},{100 + 3 * a + 20 * (k == 'oak')}\n" for k, a in zip(kinds, lengths, strict=True)]
    for name, some in (("trees.csv", rows), ("new.csv", rows[:12])):
        (tmp_path / name).write_text("kind,length,tons\n" + "".join(some))
    config = base()
    config.update(data={"name": "tables:regression", "path": str(tmp_path / "trees.csv")}, writers=())
    config.update(model={"name": "mlp:MLP", "classes": 1, "width": 8}, task={"name": "forecast:forecast"})
    config.update(optim={"name": "adamw", "learning_rate": 1e-2}, steps=2, batch_size=8)
    monkeypatch.chdir(tmp_path)
    train(config, Path("runs/trees"))
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 8
    assert failed == 0
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {"x": np.zeros((2, 4), np.float32)}
    exec(block.replace("runs/table", "runs/trees").replace("NEW.csv", "new.csv"), names)
    assert list(names["said"].cells()) == ["tons"]
    assert names["y"].shape == (2, 1)


@pytest.mark.parametrize("context", [1, 2, 7, 64])
def test_a_sample_takes_as_many_passes_as_tokens(context):
    """Windows fit into the context, begin with ids that are there, and need three programs at most."""
    for prompt in (1, 3, 40, 100):
        for tokens in (1, 5, 33, 200):
            found, there = windows(prompt, tokens, context), prompt
            assert sum(count for _, count in found) == tokens
            assert len(set(found)) <= 3
            for kept, count in found:
                assert 1 <= kept <= there
                assert context == 1 or kept + count <= context
                there += count
