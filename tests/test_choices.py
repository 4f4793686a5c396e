"""Choices stand in the signature: `build` refuses what is none of them, before anything is traced."""

from typing import get_args

import pytest

from models import rnn
from models.parts import activations, initializers, norms, recurrent, transformer
from train import losses, writer
from train.build import build
from train.configs import override
from train.errors import UserError
from train.experiment import check_choices
from train.optim.chain import optimizer

MLP = {"name": "mlp:MLP", "classes": 3}
GPT = {"name": "gpt:GPT", "vocab": 8, "layers": 1, "heads": 1, "width": 8, "context": 8}
RNN = {"name": "rnn:SequenceModel", "cell": "lstm", "width": 4, "outputs": 2}
RESNET, VGG = {"name": "resnet:ResNet", "classes": 10}, {"name": "vgg:VGG"}
SERIES = {"name": "series:table", "path": "none.csv", "target": "a", "lookback": 2, "horizon": 1}
TEXT = {"name": "text:windows", "dataset": "isoflop_sotu", "context": 8}


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (activations.ActivationName, activations.ACTIVATIONS),
        (activations.GateName, activations.GATES),
        (initializers.InitializerName, initializers.INITIALIZERS),
        (norms.NormName, norms.NORMS),
        (recurrent.CellName, recurrent.CELLS),
        (rnn.Direction, rnn.DIRECTIONS),
        (rnn.Start, rnn.RECURRENT),
        (transformer.Remat, transformer.REMAT_POLICIES),
        (losses.LossName, losses.LOSSES),
        (losses.ClassLossName, losses.CLASS_LOSSES),
        (writer.Copy, writer.COPIES),
    ],
    ids=lambda each: "",
)
def test_names_are_those_of_the_table(names, table):
    assert set(get_args(names)) == set(table)


@pytest.mark.parametrize(
    ("package", "spec", "change", "said"),
    [
        ("models", MLP, {"activation": "rellu"}, r"activation='rellu'; did you mean 'relu'\? It takes: .*elu, .*gelu"),
        ("models", MLP, {"norm": "layers"}, r"norm='layers'; did you mean 'layer'\? It takes: batch, group"),
        ("models", MLP, {"initializer": "he"}, r"initializer='he'. It takes: glorot_normal"),
        ("models", MLP, {"bias_initializer": "one"}, r"bias_initializer='one'. It takes: glorot_normal"),
        ("models", GPT, {"positions": "rotory"}, r"positions='rotory'; did you mean 'rotary'\? It takes: learned"),
        ("models", GPT, {"head": "united"}, r"head='united'; did you mean 'untied'"),
        ("models", GPT, {"stack": "scanned"}, r"stack='scanned'; did you mean 'scan'"),
        ("models", GPT, {"remat": "all"}, r"remat='all'. It takes: dots, full, none"),
        ("models", RNN, {"cell": "ltsm"}, r"cell='ltsm'; did you mean 'lstm'\? It takes: gru, lstm, rnn, rnn_relu"),
        ("models", RNN, {"head": "first"}, r"head='first'. It takes: every, last"),
        ("models", RNN, {"direction": "backward"}, r"direction='backward'. It takes: both, forward"),
        ("models", RNN, {"recurrent": "zeros"}, r"recurrent='zeros'. It takes: orthogonal, uniform"),
        ("models", VGG, {"depth": 12}, r"depth=12.* It takes: 11, 13, 16, 19"),
        ("models", VGG, {"depth": 16.0}, r"depth=16.0.* It takes: 11, 13, 16, 19"),
        ("models", VGG, {"norm": "bath"}, r"norm='bath'; did you mean 'batch'"),
        ("models", RESNET, {"stem": "huge"}, r"stem='huge'. It takes: large, small"),
        ("models", RESNET, {"order": "no"}, r"order='no'. It takes: post, pre"),
        ("models", {"name": "resnet:imagenet"}, {"depth": 20}, r"depth=20.* It takes: 101, 152, 18, 34, 50"),
        ("models", {"name": "alexnet:AlexNet"}, {"stem": "tiny"}, r"stem='tiny'. It takes: large, small"),
        ("models", {"name": "unet:UNet", "classes": 2}, {"padding": "same"}, r"padding='same'.* It takes: SAME, VALID"),
        ("data", SERIES, {"inputs": "every"}, r"inputs='every'. It takes: all, target"),
        ("data", SERIES, {"level": "first"}, r"level='first'.* It takes: last, mean"),
        ("data", {"name": "tables:regression", "path": "x"}, {"header": "maybe"}, r"header='maybe'. It takes: auto"),
        ("data", TEXT, {"offsets": "any"}, r"offsets='any'. It takes: blocks, random"),
        ("data", {"name": "images:folder", "path": "x"}, {"channels": 4}, r"channels=4. It takes: 1, 3"),
        ("train.tasks", {"name": "supervised:classify"}, {"loss": "hing"}, r"loss='hing'; did you mean 'hinge'"),
        ("train.tasks", {"name": "supervised:regress"}, {"loss": "focal"}, r"loss='focal'.* It takes: binary_cross"),
    ],
)  # fmt: skip
def test_what_is_no_choice_is_a_sentence(package, spec, change, said):
    with pytest.raises(UserError, match=rf"config\.section\.{said}"):
        build(package, {**spec, **change}, "section")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("precision", "float16", r"did you mean 'bfloat16'\? It takes: bfloat16, float32, float64"),
        ("parallel", "pjit", r"did you mean 'jit'\? It takes: jit, pmap"),
        ("nonfinite", "ignore", r"It takes: skip, stop"),
        ("attention", "flash", r"did you mean 'splash'\? It takes: auto, blocks, cudnn, splash, xla"),
    ],
)
def test_what_an_experiment_chooses(key, value, said):
    from ml_collections import ConfigDict

    config = ConfigDict({"precision": "float32", "parallel": "jit", "nonfinite": "stop", "attention": "auto"})
    check_choices(config)
    config[key] = value
    with pytest.raises(UserError, match=rf"config\.{key}='{value}'.*{said}"):
        check_choices(config)


def test_decay_of_an_optimizer():
    with pytest.raises(UserError, match=r"config\.optim\.decay='matrix'; did you mean 'matrices'\? It takes: all"):
        optimizer({"name": "adamw", "learning_rate": 0.1, "decay": "matrix"})


def test_the_command_line_chooses():
    from ml_collections import ConfigDict

    config = ConfigDict({"model": {"name": "resnet:imagenet", "depth": 50, "order": "post"}})
    override(config, "model.depth", "18")
    override(config, "model.order", "pre")
    assert (config.model.depth, config.model.order) == (18, "pre")
    override(config, "model.order", "None")
    assert config.model.order is None, "None unsets"
    with pytest.raises(UserError, match=r"config\.model\.depth=19\b.*It takes: 101, 152, 18, 34, 50"):
        override(config, "model.depth", "19")
