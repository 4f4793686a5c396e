"""Code outside the project: by a file or a dotted path, named by the user, and never by a saved config alone."""

import json
import sys

import pytest

from train import configs
from train.build import build, resolve
from train.code import check_saved, is_outside
from train.errors import UserError
from train.experiment import build_experiment
from train.optim.optimizers import soap
from train.optim.schedules import cosine
from train.saved import config_of

PAGE = """
from configs.base import base

def get_config():
    config = base()
    config.steps, config.batch_size, config.eval.batch_size = 4, 16, 16
    config.data.update(name="synthetic:blobs", classes=2, train=64, valid=64)
    config.model.update(name="mlp:MLP", classes=2, width=4)
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.1)
    config.schedule.update(name="constant")
    return config
"""
MINE = """
import optax
from flax import linen as nn

class Net(nn.Module):
    classes: int
    width: int = 3

    @nn.compact
    def __call__(self, x, *, train=False):
        return nn.Dense(self.classes)(nn.Dense(self.width)(x))

def halved(learning_rate, momentum: float = 0.0):
    return optax.sgd(learning_rate / 2, momentum)

def ramp(steps: int, top: float = 1.0):
    return lambda step: top * step / steps
"""


@pytest.fixture
def page(tmp_path):
    (tmp_path / "page.py").write_text(PAGE)
    return configs.load(str(tmp_path / "page.py"))


@pytest.fixture(params=["file", "module"])
def mine(request, tmp_path, monkeypatch):
    """The module's name in a config, as a file and as a dotted path."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "nets.py").write_text(MINE)
    if request.param == "file":
        yield str(folder / "nets.py")
        return
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "elsewhere.nets"
    for name in ("elsewhere", "elsewhere.nets"):
        sys.modules.pop(name, None)


def test_network_optimizer_and_schedule_of_another_place(page, mine):
    names = [f"model.name={mine}:Net", f"optim.name={mine}:halved", f"schedule.name={mine}:ramp"]
    config = configs.config_of(page, [*names, "model.width=5", "optim.momentum=.5", "schedule.top=2"])
    made = build_experiment(config)
    sizes = {leaf.shape for part in made.state.params.values() for leaf in part.values()}
    assert sizes == {(2, 5), (5,), (5, 2), (2,)}
    assert [made.schedule(step) for step in range(3)] == [0, 0.5, 1]
    with pytest.raises(UserError, match=r"config.model.widht: .*:Net has no 'widht'; did you mean 'width'"):
        build_experiment(configs.config_of(page, [*names, "model.widht=5"]))


def test_our_own_by_module_and_symbol():
    assert resolve("train.optim.optimizers", "optimizers:soap") is soap
    assert resolve("train.optim.schedules", "schedules:cosine") is cosine
    schedule = build("train.optim.schedules", {"name": "schedules:linear"}, "schedule", steps=4)
    assert [schedule(step) for step in range(4)] == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.py:Net", "config.model.name='nowhere.py:Net': there is no file nowhere.py in "),
        ("gtp:GPT", "config.model.name='gtp:GPT': there is no models.gtp; did you mean 'gpt'"),
        ("gpt:GTP", "config.model.name='gpt:GTP': models.gpt has no 'GTP'; did you mean 'GPT'"),
        ("no.such.place:Net", "there is no models.no.such.place"),
        ("..:Net", "there is no models..."),
    ],
)
def test_what_is_not_there_is_a_sentence(name, said):
    with pytest.raises(UserError, match=said):
        build("models", {"name": name}, "model")


def test_a_saved_config_runs_the_projects_code_only(tmp_path, mine):
    assert not is_outside("models", "gpt:GPT")
    assert not is_outside("train.optim.optimizers", "adamw")
    name = f"{mine}:Net"
    config = {"steps": 1, "seed": 0, "data": {}, "model": {"name": name}, "task": {}, "optim": {"a": {"name": "adam"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.model.name='.*:Net' is code outside this project.* add --code .*:Net"):
        config_of(tmp_path)
    assert mine not in sys.modules
    assert config_of(tmp_path, [name]).model.name == name
    with pytest.raises(UserError, match=r"config.optim.critic.name='os:system' is code outside"):
        check_saved({"optim": {"critic": {"name": "os:system"}}})


def test_a_function_in_a_page_is_a_sentence(tmp_path):
    (tmp_path / "page.py").write_text(
        PAGE.replace("    return config", "    config.model.activation = max\n    return config")
    )
    with pytest.raises(UserError, match=r"config\.model\.activation is max, a function or a class; a page holds plain"):
        configs.config_of(configs.load(str(tmp_path / "page.py")), [])
