"""Adapters of low rank: at first the network is the one without them, bit for bit; merged it is the one with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.api import from_linen
from models.gpt import GPT
from models.lora import adapted, merged
from models.mlp import MLP
from models.pretrained import flat
from train import configs
from train.errors import UserError
from train.experiment import build_experiment

TOKENS = jnp.arange(12).reshape(2, 6) % 5
PIXELS = jnp.linspace(-1, 1, 12).reshape(2, 6)
NETWORKS = {
    "mlp": (lambda: MLP(3, width=4, layers=2), PIXELS, 3, ""),
    "scan": (lambda: GPT(5, 2, 2, 8, 6, stack="scan"), TOKENS, 4, "attention/"),  # layers with adapters
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_it_begins_as_the_network_and_merges_into_it(name):
    make, x, layers, match = NETWORKS[name]
    plain, alpha = from_linen(make()), 6.0
    model = adapted(plain, rank=2, alpha=alpha, match=match)
    (base, _), (params, _) = (jax.jit(each.init)(jax.random.key(0), x) for each in (plain, model))
    left = {key: value for key, value in flat(params, of=np.asarray).items() if "lora" not in key}
    assert {key: value.tobytes() for key, value in left.items()} == {
        key: value.tobytes() for key, value in flat(base, of=np.asarray).items()
    }
    adapters = [key for key in flat(params) if "lora_a" in key]
    assert len(adapters) == (layers if name != "scan" else layers // 2)
    run, run_plain = (jax.jit(lambda p, each=each: each.apply(p, {}, x)[0]) for each in (model, plain))
    np.testing.assert_array_equal(run(params), run_plain(base))

    moved = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape) if path[-1].key == "lora_b" else leaf,
        params,
    )
    expected = run(moved)
    assert float(jnp.abs(expected - run(params)).max()) > 0.1
    np.testing.assert_allclose(run_plain(merged(moved, alpha)), expected, rtol=1e-4, atol=1e-5)


def test_an_adapter_is_its_formula():
    """h = W x + b + (alpha / r) B A x, for one layer."""
    model = adapted(from_linen(MLP(3, layers=0)), rank=2, alpha=6.0)
    params, _ = model.init(jax.random.key(0), PIXELS)
    layer = params["logits"] | {"lora_b": jnp.arange(6.0).reshape(2, 3)}
    found, _ = model.apply({"logits": layer}, {}, PIXELS)
    w, b, a, up = (np.asarray(layer[name]) for name in ("kernel", "bias", "lora_a", "lora_b"))
    np.testing.assert_allclose(found, PIXELS @ w + b[None] + 3.0 * (PIXELS @ a @ up), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"match": "conv"}, r"lora\.match='conv' finds no dense layer; they are stack/block_\*/attention/qkv, .*down"),
        ({"match": "("}, r"config\.model\.lora\.match='\(' is no regular expression"),
        ({"rank": 0}, r"lora\.rank=0; use 1 or more"),
        ({"ranks": 2}, r"config\.model\.lora\.ranks: lora:adapted has no 'ranks'; did you mean 'rank'"),
    ],
)
def test_a_mistake_is_a_sentence(options, said):
    config = configs.load("markov_lora").get_config()
    config.data.train_tokens = 2000
    config.model.lora = options
    with pytest.raises(UserError, match=said):
        build_experiment(config.lock())
