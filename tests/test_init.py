"""`config.init`: what is taken is the source's bit for bit, the rest as it would have been drawn; a mistake is told."""

import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import pretrained
from models.api import from_linen
from models.gpt import GPT
from tests.support.processes import call
from tests.support.runs import Listening, arrays, same_arrays
from tests.support.small import blobs
from train import configs, init, paths
from train.devices import mesh
from train.display import Display
from train.errors import UserError
from train.experiment import build_experiment
from train.loop import train
from train.program import initial_state
from train.signals import Interrupted
from train.weights import origins

QUIET = Display(quiet=True)
BASE = {"model.norm": "batch", "steps": 4, "eval.every": 0, "eval.patience": 0, "checkpoint.every": 2}


def asked(options, classes=2, **changes):
    config = blobs(**{**BASE, **changes})
    with config.unlocked():
        config.init, config.data.classes, config.model.classes = options, classes, classes
    return config


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run whose norms have running averages, and which averages its parameters."""
    folder = tmp_path_factory.mktemp("source") / "run"
    train(asked({}, ema=0.5, seed=1), folder, QUIET)
    return folder


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A folder of a GPT-2."""
    folder = tmp_path_factory.mktemp("public")
    model = from_linen(GPT(16, 2, 2, 8, 32, bias=True))
    pretrained.save(folder, model, *jax.jit(model.init)(jax.random.key(3), jnp.zeros((1, 1), jnp.int32)))
    return folder


def begun(config, folder):
    """The state of a run at step 0, by name; and what it says of its weights."""
    experiment, devices = build_experiment(config), mesh.alone()
    planned = init.plan(experiment, folder)
    given, table = init.given(planned, experiment, devices, folder) if planned else ({}, "")
    batch = {name: jnp.zeros(x.shape, x.dtype) for name, x in experiment.batch.items()}
    state = initial_state(experiment, devices, jax.random.key(0), batch, given)
    return {name: np.asarray(x) for name, x in paths.leaves(state).items()}, table


def test_a_run_begins_with_the_averages_of_another(source, tmp_path):
    """All but the output layer, whose size differs; what the optimizer begins with is of these parameters too."""
    drawn, _ = begun(asked({}, classes=3, ema=0.9), tmp_path)
    found, table = begun(asked({"from": str(source), "misshapen": "leave"}, classes=3, ema=0.9), tmp_path)
    there = {"/".join(re.findall(r"'(\w+)'", name)): value for name, value in arrays(source).items()}
    for name, value in found.items():
        path = name.removeprefix("opt_state/").partition("/")[2]
        if "logits" in name:
            expected = drawn[name]
        elif name.startswith(("params/", "opt_state/ema/")):
            expected = there[f"opt_state/ema/{path}"]
        else:
            expected = there[name] if "batch_stats" in name else value
        np.testing.assert_array_equal(value, expected, err_msg=name)
    assert re.search(r"logits/kernel +\[8, 3\] +left: there it is \[8, 2\]", table)
    kept = json.loads((tmp_path / "init.json").read_text())["parameters"]
    assert {row["name"] for row in kept if row["what"] == "left"} == {"logits/kernel", "logits/bias"}
    assert not np.array_equal(there["params/hidden_0/kernel"], found["params/hidden_0/kernel"]), "averages differ"


def test_it_resumes_bitwise_without_its_source(source, tmp_path):
    gone = shutil.copytree(source, tmp_path / "gone")
    config = asked({"from": str(gone)})
    train(config, tmp_path / "undisturbed", QUIET)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "resumed", Listening(stop_at=2))
    shutil.rmtree(gone)
    train(config, tmp_path / "resumed", QUIET)
    assert same_arrays(tmp_path / "undisturbed", tmp_path / "resumed")


def test_a_public_checkpoint_is_read_to_the_devices_that_hold_it(public, tmp_path):
    """Through the front door, on two devices that split the parameters; all but the blocks stay as drawn."""
    page = "--config=configs/text/markov_gpt.py"
    sizes = ["layers=2", "width=8", "positions=learned", "bias=True"]
    flags = [f"--config.model.{each}" for each in sizes]
    flags += ["--config.optim.learning_rate=0", "--config.optim.weight_decay=0", "--config.data.train_tokens=2000"]
    flags += ["--config.steps=1", "--config.batch_size=8", "--config.schedule.warmup=0", "--config.writers=()"]
    flags += ["--config.cpu_devices=2", "--config.mesh.fsdp=2", f"--config.init.from={public}"]
    code, said = call("train", page, *flags, "--config.init.match=^stack/", "--workdir", str(tmp_path / "run"))
    assert code == 0, said
    _, params, _ = pretrained.load(public)
    theirs = pretrained.flat({"params": params}, of=np.asarray)
    found = {"/".join(re.findall(r"'(\w+)'", name)): value for name, value in arrays(tmp_path / "run").items()}
    for name in theirs:
        if "norm" not in name:  # ones and zeros, drawn or not
            assert np.array_equal(found[name], theirs[name]) == ("/stack/" in name), name


def test_several_sources_names_and_shapes(source, tmp_path):
    """Two layers from one of the source's, under its name; one bias from as many numbers of another shape."""
    pick = lambda match, pair, **more: {"from": str(source), "match": match, "rename": [pair], **more}
    kernels = pick(r"hidden_[12]/kernel", (r"hidden_\d", "hidden_1"))
    bias = pick("logits/bias", ("logits/bias", "hidden_1/kernel"), misshapen="reshape")
    config = asked({"kernels": kernels, "bias": bias}, classes=64, **{"model.layers": 3})
    found = init.plan(build_experiment(config), tmp_path / "work")
    assert {row.name: (row.what, row.theirs) for row in found.rows if row.what != "left"} == {
        "hidden_1/kernel": ("taken", "hidden_1/kernel"),
        "hidden_2/kernel": ("taken", "hidden_1/kernel"),
        "logits/bias": ("reshaped", "hidden_1/kernel"),
    }
    given, table = init.given(found, build_experiment(config), mesh.alone(), tmp_path)
    there = arrays(source)["['opt_state']['ema']['hidden_1']['kernel']"]
    assert {name: value.shape for name, value in given.items()} == {
        "hidden_1/kernel": (8, 8),
        "hidden_2/kernel": (8, 8),
        "logits/bias": (64,),
    }
    assert all(np.array_equal(np.ravel(value), np.ravel(there)) for value in given.values())
    assert "reshaped (init.bias): from [8, 8]" in table


def test_layers_are_stacked_for_a_scan_and_taken_apart(public, tmp_path):
    page = configs.load("markov_gpt").get_config()
    page.model.update(layers=2, width=8, positions="learned", bias=True, stack="scan")
    page.data.train_tokens = page.data.valid_tokens = 2000
    page.init.update({"from": str(public)})
    experiment = build_experiment(page.lock())
    given, table = init.given(init.plan(experiment, tmp_path / "work"), experiment, mesh.alone(), tmp_path)
    _, params, _ = pretrained.load(public)
    layers = [params["stack"][f"block_{i}"]["up"]["kernel"] for i in range(2)]
    np.testing.assert_array_equal(given["stack/blocks/up/kernel"], np.stack(layers))
    assert re.search(r"stack/blocks/up/kernel +\[2, 8, 32\] +taken: layers stacked", table)
    assert len(given) == len(paths.leaves(experiment.state.params))
    apart = origins({"stack/blocks/up": (2, 3), "norm": (3,)})
    assert apart["stack/block_1/up"].of([np.arange(6).reshape(2, 3)], np.stack).tolist() == [3, 4, 5]
    assert set(apart) == {"stack/blocks/up", "norm", "stack/block_0/up", "stack/block_1/up"}


FAULTS = {
    "no folder": ({"from": "nowhere"}, r"init\.from='nowhere' is neither a run's folder nor a public checkpoint"),
    "a page's run": (
        {"from": "runs/ring_gan"},
        r"python -m train --config ring_gan --workdir runs/ring_gan makes it",
    ),
    "no source": ({"match": "x"}, r"config\.init has no source; set config\.init\.from"),
    "an option": ({"from": ".", "mach": "x"}, r"config\.init\.mach: there is no such option; did you mean 'match'"),
    "a choice": ({"from": ".", "missing": "skip"}, r"config\.init\.missing='skip'.*leave, refuse"),
    "no pattern": ({"match": "("}, r"config\.init\.match='\(' is no regular expression"),
    "nothing": ({"match": "conv"}, r"match='conv' matches no parameter; they are hidden_\*/bias, "),
    "missing": (
        {"rename": [("logits", "head")]},
        r"has no head/bias, head/kernel; it has logits/.* Leave them as drawn with --config\.init\.missing=leave",
    ),
    "misshapen": ({}, r"hidden_0/kernel is \[2, 8\] there and \[2, 4\] here"),
    "a step": ({"step": 3}, r"has no checkpoint of step 3; there are checkpoints of 4"),
    "twice": (
        {"a": {"match": "hidden"}, "b": {"match": "kernel"}},
        r"config\.init\.a and config\.init\.b both give hidden_\*/kernel; change match of one",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_is_a_sentence_and_leaves_no_folder(fault, source, tmp_path):
    options, said = FAULTS[fault]
    here = {"from": str(source)}
    if fault == "twice":
        options = {name: here | part for name, part in options.items()}
    elif fault != "no source":
        options = here | options
    config = asked(options, **({"model.width": 4} if fault == "misshapen" else {}))
    with pytest.raises(UserError, match=said):
        train(config, tmp_path / "run", QUIET)
    assert not (tmp_path / "run").exists()
