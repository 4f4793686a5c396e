"""A run that is exported computes elsewhere what it computes here; what cannot be exported is a sentence."""

import json
import pathlib

import jax
import numpy as np
import pytest
import tokenizers

from data import tokenize
from models import pretrained
from models.weights.tensors import header, read
from tests.support.small import blobs
from train import configs, paths, saved
from train.__main__ import main
from train.display import Display
from train.errors import UserError
from train.experiment import build_experiment
from train.export import to_huggingface, to_stablehlo
from train.loop import train

TEXT = "the quick brown fox jumps over the lazy dog. " * 40
GPT = {"data.tokenizer": "bpe:260", "data.context": 8, "model.context": 8, "model.layers": 2, "model.heads": 2,
       "model.width": 8, "model.vocab": 260, "model.stack": "scan", "steps": 2, "batch_size": 4, "eval.every": 0,
       "eval.batch_size": 4, "schedule.warmup": 1, "cpu_devices": 1, "writers": ()}  # fmt: skip


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    """What a run of a GPT without biases leaves, scanned over its layers, whose adapters have moved."""
    folder = tmp_path_factory.mktemp("gpt")
    (folder / "text.txt").write_text(TEXT)
    values = {**GPT, "data.path": folder / "text.txt"}
    config = configs.config_of(configs.load("shakespeare_gpt"), [f"{k}={v}" for k, v in values.items()])
    with config.unlocked():
        config.model.lora = {"rank": 2, "alpha": 2.0}
    experiment = build_experiment(config)
    batch = {name: np.zeros(x.shape, x.dtype) for name, x in experiment.batch.items()}
    params, state = jax.jit(experiment.task.init)(jax.random.key(0), batch)
    moved = {name: x + 0.1 for name, x in paths.leaves(params).items() if name.endswith("lora_b")}
    assert len(moved) == 4
    return saved.Saved(experiment.config, experiment, paths.replaced(params, moved), state, None)


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    """A run of a perceptron that asks how many inputs there are, and that has running averages."""
    folder = tmp_path_factory.mktemp("mlp") / "run"
    train(blobs(**{"model.norm": "batch", "steps": 2, "eval.every": 0}), folder, Display(quiet=True))
    return folder


def export(workdir: pathlib.Path, out: pathlib.Path, *flags: str) -> dict:
    main(["export", "--workdir", str(workdir), "--out", str(out), *flags])
    return json.loads((out / "export.json").read_text())


def test_a_hugging_face_folder_is_the_run(gpt, tmp_path):
    """Layers apart, adapters merged, zeros for biases: the public class's network has the run's logits."""
    told = to_huggingface(gpt, tmp_path / "out", "float32")
    assert told["said"] == "GPT2LMHeadModel in float32; with the run's tokenizer, bpe:260"
    x = np.arange(24, dtype=np.int32).reshape(3, 8) * 7 % 260
    model, params, state = pretrained.load(tmp_path / "out")
    assert model.network.bias
    found, _ = jax.jit(model.apply)(params, state, x)
    np.testing.assert_allclose(found, gpt.apply(x), rtol=1e-4, atol=1e-5)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert theirs.encode("lazy fox").ids == gpt.experiment.dataset.tokenizer.encode(b"lazy fox").tolist()


@pytest.mark.parametrize("spec", ["bytes", "chars", "bpe:270", "chars+end"])
def test_a_tokenizer_is_the_same_as_json(spec):
    """Ids and text; the token that ends a document is the last."""
    text = "Täglich\tgrüßt das\r\nMurmeltier.  Täglich"
    made = tokenize.load(spec, tokenize.fit(spec.removesuffix("+end"), text.encode(), b""))
    theirs = tokenizers.Tokenizer.from_str(tokenize.as_json(made))
    assert theirs.encode(text).ids == made.encode(text.encode()).tolist()
    assert theirs.decode(theirs.encode(text).ids) == text
    assert theirs.get_vocab_size() == made.vocab
    assert theirs.token_to_id("<|endoftext|>") == (made.vocab - 1 if "end" in spec else None)


@pytest.mark.parametrize("where", ["inside", "beside"])
def test_a_program_is_the_run_for_any_number_of_inputs(where, mlp, tmp_path):
    """Of a network that asks how many there are."""
    told = export(mlp, tmp_path / "out", "--format", "stablehlo", "--parameters", where)
    assert told["outputs"] == [{"shape": ["batch", "2"], "dtype": "float32"}]
    file, run = tmp_path / "out" / "parameters.safetensors", saved.load(mlp)
    beside = ({name: read(entry) for name, entry in header(file).items()},) if where == "beside" else ()
    same(tmp_path / "out", run, np.float32, *beside)


def test_a_program_of_a_text_is_the_run(gpt, tmp_path):
    to_stablehlo(gpt, tmp_path, beside=False)
    same(tmp_path, gpt, np.int32)


def same(out, run, dtype, *beside):
    """The program, read from its file, has the run's outputs."""
    program = jax.export.deserialize((out / "model.stablehlo").read_bytes())
    assert program.platforms == ("cpu", "cuda", "tpu")
    for rows in (1, 5):
        shape = (rows, *run.experiment.batch["x"].shape[1:])
        x = (np.arange(np.prod(shape)).reshape(shape) % 7).astype(dtype)
        np.testing.assert_allclose(program.call(*beside, x), run.apply(x), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_exported_is_a_sentence(mlp, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for flags, said in (
        ([], r"no Hugging Face folder: MLP is written as no public class; written are .*GPT, .*stablehlo takes"),
        (["--parameters", "beside"], r"--parameters is of programs; leave it out, or add --format stablehlo"),
        (["--format", "stablehlo", "--dtype", "bfloat16"], r"--dtype is of Hugging Face folders; a program"),
        (["--format", "onnx"], r"invalid choice: 'onnx'"),
        (["--out", str(tmp_path / "full")], r"full is there and not empty; name another folder"),
    ):
        with pytest.raises(UserError, match=said):
            export(mlp, tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.part"))
    game = saved.Saved(configs.load("ring_gan").get_config(), None, {}, {}, None)
    with pytest.raises(UserError, match="this run has several networks, critic, generator, which no format"):
        to_huggingface(game, tmp_path / "out", "float32")
