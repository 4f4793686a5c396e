"""Where arrays live: which axes of a mesh split what, what cannot be split, and the same numbers on every layout."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.sharding import Mesh, PartitionSpec

from models.api import from_linen
from models.gpt import GPT
from models.parts import axes
from models.parts.dense import Dropout, look_up
from train.devices import mesh, runtime
from train.errors import UserError
from train.step import TrainState


def posing(**sizes):
    """A mesh of one device that poses as many: enough to ask what would be split."""
    sizes = {"data": 1, "fsdp": 1, "expert": 1, "context": 1, "tensor": 1, **sizes}
    devices = np.full(tuple(sizes.values()), jax.devices()[0], dtype=object)
    return Mesh(devices, tuple(sizes))


@pytest.mark.parametrize(
    ("sizes", "devices", "expected"),
    [
        ({}, 8, (8, 1, 1, 1, 1)),
        ({"data": -1, "fsdp": 2, "tensor": 2}, 8, (2, 2, 1, 1, 2)),
        ({"data": 2, "fsdp": -1}, 8, (2, 4, 1, 1, 1)),
        ({"expert": 2, "context": 2, "tensor": 2}, 8, (1, 1, 2, 2, 2)),
        ({"data": -1}, 1, (1, 1, 1, 1, 1)),
    ],
)
def test_minus_one_is_what_is_left(sizes, devices, expected):
    assert tuple(mesh.sizes_of({"data": -1, **sizes}, devices).values()) == expected


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"data": 3}, r"data 3, fsdp 1, expert 1, context 1, tensor 1\) does not fit 8 devices; make the product 8"),
        ({"data": -1, "tensor": 3}, "does not fit 8 devices; choose sizes whose product divides that"),
        ({"data": -1, "fsdp": -1}, "data and fsdp are both -1"),
        ({"fdsp": 2}, "config.mesh.fdsp is no axis of the mesh; did you mean 'fsdp'"),
        ({"fsdp": 0}, "config.mesh.fsdp=0; use 1 or more"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused(sizes, said):
    with pytest.raises(UserError, match=said):
        mesh.sizes_of(sizes, 8)


def test_pmap_is_for_one_process(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match=r"parallel=pmap is for one process, and there are 2; use jit"):
        mesh.check_parallel(posing(data=4), "pmap")
    mesh.check_parallel(posing(data=4), "jit")


def test_pmap_splits_batches_only():
    mesh.check_parallel(posing(data=4), "pmap")
    mesh.check_parallel(posing(fsdp=2), "jit")
    with pytest.raises(UserError, match=r"parallel=pmap splits batches only, and config.mesh.tensor=2; use .*jit"):
        mesh.check_parallel(posing(data=4, tensor=2), "pmap")


@pytest.mark.parametrize(
    ("names", "shape", "expected"),
    [
        (("embed", "mlp"), (64, 256), ("fsdp", "tensor")),
        (("embed", None, "heads"), (64, 3, 64), ("fsdp", None, "tensor")),
        (("expert", "embed", "mlp"), (4, 64, 256), ("expert", "fsdp", "tensor")),
        (("expert", "embed", "mlp"), (3, 64, 256), (None, "fsdp", "tensor")),  # each device holds all three
        (("vocab", "embed"), (50257, 768), (None, "fsdp")),  # an odd vocabulary stays whole
        (("layers", "embed", "mlp"), (3, 64, 256), (None, "fsdp", "tensor")),
        (("batch", None, "mlp"), (8, 5, 256), (("data", "fsdp", "expert"), None, "tensor")),
        (("heads", "heads"), (8, 8), ("tensor", None)),  # no axis of the mesh splits two of an array
    ],
)
def test_names_decide_what_splits_an_array(names, shape, expected):
    assert mesh.spec(posing(data=2, fsdp=2, expert=2, tensor=2), shape, names) == PartitionSpec(*expected)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="axis name 'width' is unknown"):
        mesh.spec(posing(data=2), (8,), ("width",))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((784, 512), ("fsdp", None)),
        ((3, 3, 64, 64), (None, None, None, "fsdp")),
        ((10,), ()),
        ((4097, 3), (None, None)),
    ],
)
def test_without_names_the_largest_axis_that_divides_is_split(shape, expected):
    assert mesh.spec_by_size(posing(fsdp=4), shape) == PartitionSpec(*expected)
    assert mesh.spec_by_size(posing(data=4), shape) == PartitionSpec()


def test_what_the_optimizer_keeps_of_a_parameter_lives_with_it():
    """By path and shape, through chains, masks and averages; what has no parameter's shape is everywhere."""
    model = from_linen(GPT(vocab=64, layers=2, heads=2, width=32, context=8, stack="scan"))
    labelled = from_linen(GPT(vocab=64, layers=2, heads=2, width=32, context=8, stack="scan"), labelled=True)
    tokens = jnp.zeros((1, 8), jnp.int32)
    shapes = jax.eval_shape(lambda key: model.init(key, tokens)[0], jax.random.key(0))
    names = axes.names(jax.eval_shape(lambda key: labelled.init(key, tokens)[0], jax.random.key(1)))
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3), optax.ema(0.9))
    state = TrainState(0, shapes, {}, jax.eval_shape(tx.init, shapes))
    placed = mesh.shardings(posing(data=2, fsdp=2, tensor=2), state, names)
    up = placed.params["stack"]["blocks"]["up"]["kernel"].spec
    assert up == PartitionSpec(None, "fsdp", "tensor")
    assert placed.params["token_embed"]["embedding"].spec == PartitionSpec("tensor", "fsdp")
    adam = placed.opt_state[1][0]
    assert adam.mu["stack"]["blocks"]["up"]["kernel"].spec == adam.nu["stack"]["blocks"]["up"]["kernel"].spec == up
    assert placed.opt_state[2].ema["stack"]["blocks"]["up"]["kernel"].spec == up
    assert adam.count.spec == PartitionSpec()


def test_our_dropout_is_flax_dropout():
    x, stream = jnp.ones((64, 32)), {"dropout": jax.random.key(0)}
    ours = jax.jit(lambda x: Dropout(0.3).apply({}, x, True, rngs=stream))(x)
    theirs = jax.jit(lambda x: nn.Dropout(0.3, deterministic=False).apply({}, x, rngs=stream))(x)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(Dropout(0.3).apply({}, x, False), x)


def test_looking_up_has_the_gradient_of_indexing():
    """Vectors that were looked up twice add up, those of no index get nothing."""
    table, index = jnp.arange(12.0).reshape(4, 3), jnp.asarray([[0, 1, 1], [3, 3, 0]])
    gradient = lambda find: jax.jit(jax.grad(lambda table: (jnp.sin(find(table)) ** 2).sum()))(table)
    expected = gradient(lambda table: table[index])
    np.testing.assert_allclose(gradient(lambda table: look_up("embed", table, index)), expected, rtol=1e-6)
    np.testing.assert_array_equal(expected[2], 0)


@pytest.mark.slow
def test_layouts_give_the_same_losses():
    """A sample of scripts/check/parallel.py: named axes and sizes alone; draws of dropout and samplers, a scan over
    time; batch norm, of which a `pmap` must be told; experts on devices of their own; and slices of the batch and of
    its texts on many devices against the whole on one."""
    mesh, pmap = ["--layouts", "2 fsdp 2 context 2 tensor"], ["--layouts", "8 pmap"]
    calls = ["markov_gpt", *mesh, *pmap[1:]], ["mnist_vae", "adding_gru", *mesh], ["mnist_resnet", *pmap]
    calls = [*calls, ["markov_gpt", "--accumulate", "4", "--loss-slices", "4", *mesh]]
    calls = [*calls, ["markov_experts", "--layouts", "4 data 2 expert"]]
    code = "import gc, sys; gc.set_threshold(50_000, 20, 50)\n"  # as tests/conftest.py
    code += f"from scripts.check.parallel import main; sys.exit(sum(map(main, {calls})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "rematerialization" not in done.stderr, "XLA makes an array whole on every device to split it another way"
    before = done.stdout.rsplit("largest difference", 2)[0]  # and experts
    assert before.count("100%") == 5, "fsdp splits every parameter of each page"


def test_a_tpu_is_known_by_its_device(tmp_path, monkeypatch):
    """Not by the network card and the disk that Google's cloud has in every machine."""
    monkeypatch.setattr(runtime, "PCI", tmp_path / "pci")
    monkeypatch.setattr(runtime, "DEVICES", tmp_path / "dev")
    for name, vendor, kind in (
        ("card", "0x1ae0", "0x020000"),
        ("disk", "0x1ae0", "0x010802"),
        ("other", "0x10de", "0x03"),
    ):
        (tmp_path / "pci" / name).mkdir(parents=True)
        (tmp_path / "pci" / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / "pci" / name / "class").write_text(f"{kind}\n")
    assert not runtime.has_tpu()
    (tmp_path / "pci" / "card" / "class").write_text("0x088000\n")
    assert runtime.has_tpu()
    (tmp_path / "pci" / "card" / "class").write_text("0x020000\n")
    (tmp_path / "dev" / "vfio").mkdir(parents=True)
    (tmp_path / "dev" / "vfio" / "vfio").touch()  # of any machine
    assert not runtime.has_tpu()
    (tmp_path / "dev" / "vfio" / "0").touch()
    assert runtime.has_tpu()
