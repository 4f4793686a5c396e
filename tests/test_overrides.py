"""The command line over a page: the annotation of what is named says what a value may be, and None unsets it."""

import pytest

from train import configs
from train.build import build
from train.errors import UserError
from train.experiment import build_experiment

PAGE = """
from __future__ import annotations
from dataclasses import dataclass
from configs.base import base

@dataclass
class Size:
    width: int = 8

def get_config():
    config = base()
    config.steps, config.batch_size, config.eval.batch_size = 4, 16, 16
    config.data.update(name="synthetic:blobs", classes=2, train=64, valid=64)
    config.model.update(name="mlp:MLP", classes=2, width=Size().width, dropout=0)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=1, weight_decay=0, b1=0.9)
    config.optim.clip = None
    config.schedule.update(name="cosine", floor=0, warmup=2)
    config.augment.mixup = {"alpha": 1}
    return config
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.py"
    path.write_text(PAGE)
    return configs.load(str(path))


def test_a_page_with_a_dataclass_loads_beside_one_of_its_name(page, tmp_path):
    """Dataclasses look up the module that they stand in."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "page.py").write_text(PAGE.replace("width: int = 8", "width: int = 9"))
    other = configs.load(str(tmp_path / "other" / "page.py"))
    assert configs.config_of(page, []).model.width == 8
    assert configs.config_of(other, []).model.width == 9
    assert page.Size.__module__ != other.Size.__module__


def test_the_pages_value_does_not_narrow_the_annotation(page):
    flags = ["optim.learning_rate=.001", "optim.weight_decay=.1", "optim.clip=1.0", "schedule.floor=0.25"]
    config = configs.config_of(page, [*flags, "model.dropout=0.5", "augment.mixup.alpha=0.3", "model.width=1e1"])
    optim = config.optim.to_dict()
    assert optim == {"name": "adamw", "learning_rate": 0.001, "weight_decay": 0.1, "b1": 0.9, "clip": 1.0}
    assert (config.schedule.floor, config.model.dropout, config.model.width) == (0.25, 0.5, 10)
    assert config.augment.mixup.alpha == 0.3
    assert type(config.model.width) is int
    assert build_experiment(config).schedule(4) == pytest.approx(0.25)


def test_none_unsets(page):
    config = configs.config_of(
        page, ["optim.b1=None", "model.dropout=None", "optim.clip=2", "augment.mixup.alpha=None"]
    )
    assert (config.optim.b1, config.model.dropout, config.optim.clip) == (None, None, 2.0)
    build_experiment(config)
    filled = build_experiment(configs.config_of(page, ["model.classes=None"])).config
    assert filled.model.classes == 2, "as many as the data have"
    with pytest.raises(UserError, match=r"config.optim has no learning_rate"):
        build_experiment(configs.config_of(page, ["optim.learning_rate=None"]))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("steps=None", "config.steps=None: it takes a whole number, as 4"),
        ("writers=None", r"config.writers=None: it takes values between commas, as \('csv', 'tensorboard'\)"),
        ("eval.every=None", "config.eval.every=None: it takes a whole number"),
        ("checkpoint.best=1", "config.checkpoint.best=1: it takes True or False"),
        ("model.width=9.5", "config.model.width=9.5: it takes a whole number"),
        ("model.dropout=no", "config.model.dropout=no: it takes a number"),
        ("optim.weight_decay=much", "config.optim.weight_decay=much: it takes a number, as 0"),
        ("optim.clip=big", "config.optim.clip=big: it takes a number"),
        ("model.widht=None", "config.model.widht: mlp:MLP has no 'widht'; did you mean 'width'"),
    ],
)
def test_what_no_annotation_takes_is_a_sentence(flag, message, page):
    with pytest.raises(UserError, match=message):
        configs.config_of(page, [flag])


def test_a_new_name_drops_what_it_does_not_take_and_says_so(page, capsys):
    configs.say_once.cache_clear()
    flags = ["optim.momentum=0.9", "optim.name=sgd", "schedule.name=constant"]
    config = configs.config_of(page, flags)
    assert config.optim.to_dict() == {"name": "sgd", "learning_rate": 1, "clip": None, "momentum": 0.9}
    assert config.schedule.to_dict() == {"name": "constant", "warmup": 2}
    said = capsys.readouterr().err
    assert "config.optim.name=sgd: it takes no b1, weight_decay, which the page sets; left out" in said
    assert "config.schedule.name=constant: it takes no floor, which the page sets; left out" in said
    build_experiment(config)
    with pytest.raises(UserError, match=r"config.optim.b1: sgd has no 'b1'"):
        build_experiment(configs.config_of(page, ["optim.b1=0.5", "optim.name=sgd"]))


def test_one_number_is_a_tuple_of_one(page):
    config = configs.config_of(page, ["schedule.name=step", "schedule.warmup=0", "schedule.at=0.5"])
    assert config.schedule.at == (0.5,)
    of_the_page = build("train.optim.schedules", {"name": "step", "at": 0.5}, "schedule", steps=4)
    for schedule in (build_experiment(config).schedule, of_the_page):
        assert [schedule(step) for step in range(4)] == pytest.approx([1, 1, 0.1, 0.1])
    with pytest.raises(UserError, match=r"config.schedule.at='half' is str; it takes float"):
        build("train.optim.schedules", {"name": "step", "at": "half"}, "schedule", steps=4)


@pytest.mark.parametrize("line", ["config.writers = None", "config.checkpoint.every = None"])
def test_a_page_that_unsets_what_every_experiment_has(line, tmp_path):
    path = tmp_path / "page.py"
    path.write_text(PAGE.replace("    return config", f"    {line}\n    return config"))
    with pytest.raises(UserError, match=rf"{line.split(' =')[0]}=None: it takes "):
        configs.config_of(configs.load(str(path)), [])
