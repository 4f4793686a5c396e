"""Public checkpoints: the logits of the classes that wrote them, the same bytes when saved, a sentence for a bad one.

scripts/golden/hf.py made the golden numbers, with torch and transformers; weights are functions of their names.
"""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import pretrained
from models.weights import tensors
from models.weights.tensors import CheckpointError
from scripts.golden.hf_cases import CASES, inputs_of
from scripts.golden.hf_saved import GOLDEN, checkpoint, told
from tests.support.golden import numbers

UNREAD = {("BertForMaskedLM", "untied"): {"cls.predictions.bias"}}  # tensors that the class itself never reads
EVERY = [  # of plain ones the gradients are compiled too
    pytest.param(architecture, case, marks=[pytest.mark.slow] if case == "plain" else [])
    for architecture, cases in CASES.items()
    for case in cases
]


def given(architecture, case):
    return [
        jnp.asarray(x, jnp.int32 if x.dtype.kind == "i" else x.dtype)
        for x in inputs_of(CASES[architecture][case][1]).values()
    ]


def outputs_and_gradients(model, params, state, inputs):
    """Of one compiled program; the gradient is of the mean of sin over all outputs."""

    def loss(params):
        outputs, _ = model.apply(params, state, *inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return sum(jnp.sin(x).mean() for x in outputs), outputs

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


@pytest.mark.parametrize(("architecture", "case"), EVERY, ids=lambda value: value)
def test_a_checkpoint_is_the_public_class_and_comes_back(architecture, case, tmp_path):
    """Its outputs and, of plain ones, each tensor's gradient (times numbers of its name); its bytes and its config."""
    folder, inputs = checkpoint(tmp_path / "given", architecture, case), given(architecture, case)
    model, params, state = pretrained.load(folder)
    if case == "plain":
        (_, outputs), grads = outputs_and_gradients(model, params, state, inputs)
        check_gradients(architecture, model.network, grads)
    else:
        outputs, _ = jax.jit(model.apply)(params, state, *inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    golden = np.load(GOLDEN / f"hf_{architecture}.npz")
    for i, found in enumerate(outputs):
        expected = golden[f"{case}/{i}"]
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    pretrained.save(tmp_path / "saved", model, params, state)
    saved, theirs = (tensors.entries(place) for place in (tmp_path / "saved", folder))
    assert set(saved) == set(theirs)
    for name in set(saved) - UNREAD.get((architecture, case), set()):
        assert tensors.read(saved[name]).tobytes() == tensors.read(theirs[name]).tobytes(), name
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert pretrained.network_of(tmp_path / "saved", config, saved)[0] == model.network
    assert config["architectures"] == [architecture]


def check_gradients(architecture, network, grads):
    grads = pretrained.flat({"params": grads}, of=np.asarray)
    found = {}
    for row in pretrained.families()[architecture].rows(network):
        if row.ours in grads:
            for name, x in zip(row.theirs, row.out(grads[row.ours]), strict=True):
                found[name] = (float((x * numbers(f"probe {name}", *x.shape)).sum()), float(np.linalg.norm(x)))
    expected = told(architecture)["plain"]["gradients"]
    rounding = 1e-6 * max(norm for _, norm in found.values())  # of keys' biases, whose gradient is 0
    assert set(expected) <= set(found)
    for name, product in expected.items():
        assert found[name][0] == pytest.approx(product, abs=1e-4 * found[name][1] + rounding), name


def test_a_checkpoint_in_several_files_and_in_sixteen_bits(tmp_path):
    """Saved in bfloat16 it comes back rounded, once; every file is as small as was asked for."""
    model, params, state = pretrained.load(checkpoint(tmp_path / "given", "LlamaForCausalLM", "llama3"))
    pretrained.save(tmp_path / "b", model, params, state, dtype="bfloat16", shard_bytes=2000)
    files = sorted((tmp_path / "b").glob("*.safetensors"))
    assert len(files) > 2
    assert not (tmp_path / "b" / tensors.WHOLE).exists()
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(jnp.float32), params)
    _, found, _ = pretrained.load(tmp_path / "b")
    jax.tree.map(np.testing.assert_array_equal, found, rounded)
    pretrained.save(tmp_path / "c", model, found, state, dtype="bfloat16", shard_bytes=2000)
    assert [f.read_bytes() for f in files] == [f.read_bytes() for f in sorted((tmp_path / "c").glob("*.safetensors"))]


def test_every_tensor_is_handed_over_as_it_is_read(tmp_path):
    """By its name, once, and what `put` returns is the parameter."""
    folder, names = checkpoint(tmp_path, "GPT2LMHeadModel", "plain"), []

    def put(name, array):
        names.append(name)
        return jnp.asarray(array) + 1

    _, plus_one, _ = pretrained.load(folder, put=put)
    _, plain, _ = pretrained.load(folder)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b + 1), plus_one, plain)
    assert sorted(names) == sorted(name.removeprefix("params/") for name in pretrained.flat({"params": plain}))


def test_names_of_older_checkpoints_are_known(tmp_path):
    """Without the inner model's name before them, with masks that were saved along, with a tied head that was kept."""
    folder = checkpoint(tmp_path / "new", "GPT2LMHeadModel", "plain")
    _, expected, _ = pretrained.load(folder)
    there = {name: tensors.read(one) for name, one in tensors.entries(folder).items()}
    old = {name.removeprefix("transformer."): x for name, x in there.items()}
    old |= {"h.0.attn.bias": np.ones((1, 1, 16, 16), np.float32), "lm_head.weight": old["wte.weight"]}
    write(folder, old)
    jax.tree.map(np.testing.assert_array_equal, pretrained.load(folder)[1], expected)


def test_fields_of_older_configs_are_known(tmp_path):
    """The base and the scaling of rotary positions were fields of their own."""
    folder = checkpoint(tmp_path, "LlamaForCausalLM", "llama3")
    config = json.loads((folder / "config.json").read_text())
    network = pretrained.load(folder)[0].network
    rope = config.pop("rope_parameters")
    config |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    (folder / "config.json").write_text(json.dumps(config))
    assert pretrained.load(folder)[0].network == network


# What is wrong is said, and nothing is loaded.


def write(folder, arrays):
    made = lambda x: lambda: x
    tensors.write(folder, [tensors.Saved(n, x.dtype, x.shape, made(x)) for n, x in arrays.items()], 10**9)


def change_config(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def change_tensors(folder, change):
    arrays = {name: tensors.read(one) for name, one in tensors.entries(folder).items()}
    change(arrays)
    write(folder, arrays)


def cut_off(folder, size):
    file = folder / tensors.WHOLE
    file.write_bytes(file.read_bytes()[:size])


def pickled(folder):
    (folder / tensors.WHOLE).rename(folder / "pytorch_model.bin")


def garbled(folder):
    (folder / tensors.WHOLE).write_bytes((20).to_bytes(8, "little") + b"x" * 30)


def lose_a_shard(folder):
    model, params, state = pretrained.load(folder)
    pretrained.save(folder, model, params, state, shard_bytes=2000)
    next(folder.glob("model-00002-of-*.safetensors")).unlink()


WPE = "transformer.wpe.weight"
SPOIL = {
    "missing": lambda f: change_tensors(f, lambda t: t.pop("transformer.h.1.ln_2.bias")),
    "extra": lambda f: change_tensors(f, lambda t: t.update({"transformer.h.1.gate": np.ones(3, np.float32)})),
    "misshapen": lambda f: change_tensors(f, lambda t: t.update({WPE: t[WPE][:9]})),
    "cut off": lambda f: cut_off(f, 9000),
    "cut off in the header": lambda f: cut_off(f, 100),
    "empty": lambda f: cut_off(f, 0),
    "garbled": garbled,
    "pickle": pickled,
    "no weights": lambda f: (f / tensors.WHOLE).unlink(),
    "a lost shard": lose_a_shard,
    "no config": lambda f: (f / "config.json").unlink(),
    "no JSON": lambda f: (f / "config.json").write_text("{"),
    "unknown": lambda f: change_config(f, architectures=["XLNetModel"]),
    "more layers": lambda f: change_config(f, n_layer=3),
    "fewer layers": lambda f: change_config(f, n_layer=1),
    "another width": lambda f: change_config(f, n_embd=24),
    "heads that do not divide": lambda f: change_config(f, n_head=5),
    "what is not built": lambda f: change_config(f, add_cross_attention=True),
    "an unknown activation": lambda f: change_config(f, activation_function="xielu"),
}
SAID = {
    "missing": r"lacks transformer\.h\.1\.ln_2\.bias, which its config.json asks for; correct config.json, or get",
    "extra": r"holds transformer\.h\.1\.gate, which its config.json has no place for; correct",
    "misshapen": r"transformer\.wpe\.weight is \[9, 12\], not \[16, 12\]; correct it, or get the matching weights",
    "cut off": r"model\.safetensors is cut off: transformer\.\S+ ends at byte [\d,]+ of 9,000; get the file again",
    "cut off in the header": r"is cut off within its header \(100 bytes\); get the file again",
    "empty": r"is cut off within its header \(0 bytes\)",
    "garbled": r"is no safetensors file: its header cannot be read; get",
    "pickle": r"holds pytorch_model\.bin, a pickle, which can run any code.*save the model again as model\.safetensors",
    "no weights": r"has neither model\.safetensors nor .*; point to a folder",
    "a lost shard": r"lacks model-00002-of-000\d\d\.safetensors, which holds transformer\.",
    "no config": r"has no config\.json; point to a folder",
    "no JSON": r"config\.json is no JSON",
    "unknown": r"architectures=\['XLNetModel'\] is not known here; known are .*GPT2LMHeadModel",
    "more layers": r"lacks transformer\.h\.2\.ln_1\.weight, .* and 8 more, which its config",
    "fewer layers": r"holds transformer\.h\.1\.attn\.c_attn\.bias, .* and 8 more, which its config\.json has no place",
    "another width": r"by its config\.json transformer\.wte\.weight is \[23, 12\], not \[23, 24\], .* more; correct",
    "heads that do not divide": r"config\.json: width=12 is not divisible by heads=5",
    "what is not built": r"add_cross_attention=True is not supported; only False is",
    "an unknown activation": r"activation_function='xielu' is not known here; known are gelu",
}


@pytest.mark.parametrize("fault", SPOIL)
def test_a_bad_checkpoint_is_refused_before_anything_is_loaded(fault, tmp_path):
    folder = checkpoint(tmp_path, "GPT2LMHeadModel", "plain")
    SPOIL[fault](folder)
    handed = []
    with pytest.raises(CheckpointError, match=SAID[fault]):
        pretrained.load(folder, put=lambda name, array: handed.append(name))
    assert not handed


@pytest.mark.parametrize(
    ("architecture", "case", "fields", "said"),
    [
        (
            "LlamaForCausalLM",
            "linear",
            {"rope_parameters": {"rope_type": "linear"}},
            "it has no 'factor'; get the file",
        ),
        ("LlamaForCausalLM", "plain", {"rope_parameters": {"rope_type": "ntk"}}, "rope_type='ntk': rotary .* yarn"),
        ("LlamaForCausalLM", "plain", {"num_key_value_heads": 3}, "heads=4 is not divisible by kv_heads=3; change"),
        ("MistralForCausalLM", "window", {"sliding_window": 0}, "window=0; use 1 token or more"),
        ("T5ForConditionalGeneration", "plain", {"feed_forward_proj": None}, "a field has a value of the wrong kind"),
        ("T5ForConditionalGeneration", "plain", {"num_decoder_layers": 0}, "decoder_layers=0; use 1 or more"),
        ("MixtralForCausalLM", "plain", {"num_experts_per_tok": 5}, "a token goes to 5 of 4 experts; use 1 to 4"),
        ("ViTForImageClassification", "plain", {"patch_size": 9}, r"patch=\(9, 9\) does not fit into an image"),
        (
            "MarianMTModel",
            "plain",
            {"decoder_layers": 3},
            r"lacks model\.decoder\.layers\.2\.\S+, .* correct config\.json",
        ),
    ],
)
def test_a_config_that_contradicts_itself_or_the_weights_is_refused(architecture, case, fields, said, tmp_path):
    change_config(checkpoint(tmp_path, architecture, case), **fields)
    with pytest.raises(CheckpointError, match=said):
        pretrained.examine(tmp_path)


class Sizes(NamedTuple):  # no network: of those the checker of the tests' types speaks first
    layers: int = 1
    epsilon: float = 1e-5
    inner: int | None = None


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (Sizes(layers=2.5), r"it gives Sizes layers=2\.5, which is no whole number; correct it"),
        (Sizes(epsilon="1e-5"), "epsilon='1e-5', which is no number"),
        (Sizes(epsilon=None), "epsilon=None, which is no number"),
        (Sizes(inner=True), "inner=True, which is no whole number"),
    ],
)
def test_what_is_no_number_is_refused(sizes, said):
    pretrained.check_numbers(Sizes())
    with pytest.raises(ValueError, match=said):
        pretrained.check_numbers(sizes)


def test_a_tokenizer_that_is_not_there_is_said_before_anything_is_written(tmp_path):
    loaded = pretrained.load(checkpoint(tmp_path / "given", "GPT2LMHeadModel", "plain"))
    with pytest.raises(ValueError, match=r"given has no tokenizer\.json; name the folder that has it, or save without"):
        pretrained.save(tmp_path / "saved", *loaded, tokenizer=tmp_path / "given")
    assert not (tmp_path / "saved").exists()


def test_a_network_without_a_public_class_is_not_written(tmp_path):
    from models.api import from_linen
    from models.gpt import GPT
    from models.mlp import MLP

    with pytest.raises(ValueError, match=r"MLP is written as no public class; written are .*GPT, "):
        pretrained.save(tmp_path / "a", from_linen(MLP(3)), {})
    with pytest.raises(ValueError, match="GPT-2 has learned positions and biases; this network has others"):
        pretrained.save(tmp_path / "a", from_linen(GPT(5, 1, 1, 4, 8, positions="rotary")), {})
    assert not (tmp_path / "a").exists()
