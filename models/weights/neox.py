"""GPT-NeoX: GPTNeoXForCausalLM."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models.neox import NeoX
from models.weights.rows import Row, activation, layer_norm, linear, same, their_activation

ARCHITECTURES = ("GPTNeoXForCausalLM",)
NETWORK = NeoX
PREFIX = "gpt_neox."
HEAD = ("embed_out.weight", "gpt_neox.embed_in.weight")
TIED = (r"^embed_out\.weight$",)  # the embedding once more, which old checkpoints hold
IGNORED = (r"attention\.(masked_)?bias$", r"rotary_emb\.inv_freq$")  # masks and frequencies of old checkpoints


def network(config: dict[str, Any], architecture: str, own_head: bool) -> NeoX:
    scaling = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    base = scaling.pop("rope_theta", None) or config.get("rotary_emb_base") or 10_000.0
    turned = scaling.pop("partial_rotary_factor", config.get("rotary_pct", 0.25))
    kind = scaling.pop("rope_type", None) or scaling.pop("type", "default")
    return NeoX(
        config.get("vocab_size", 50_432),
        config.get("num_hidden_layers", 44),
        config.get("num_attention_heads", 64),
        config.get("hidden_size", 6144),
        config.get("intermediate_size", 24_576),
        config.get("max_position_embeddings", 2048),
        parts="side by side" if config.get("use_parallel_residual", True) else "one after the other",
        turned=turned,
        base=float(base),
        scaling=None if kind == "default" else {**scaling, "rope_type": kind},
        head="tied" if config.get("tie_word_embeddings", False) and not own_head else "untied",
        bias=config.get("attention_bias", True),
        activation=activation(config, "hidden_act", "gelu"),
        epsilon=config.get("layer_norm_eps", 1e-5),
        dropout=float(config.get("hidden_dropout", 0.0)),
    )


def config(network: NeoX) -> dict[str, Any]:
    rope = {"rope_type": "default", **(network.scaling or {}), "rope_theta": network.base}
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "vocab_size": network.vocab,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "hidden_size": network.width,
        "intermediate_size": network.inner,
        "max_position_embeddings": network.context,
        "use_parallel_residual": network.parts == "side by side",
        "rope_parameters": {**rope, "partial_rotary_factor": network.turned},
        "tie_word_embeddings": network.head == "tied",
        "attention_bias": network.bias,
        "hidden_act": their_activation(network.activation),
        "layer_norm_eps": network.epsilon,
        "hidden_dropout": network.dropout,
    }


def example(network: NeoX) -> tuple[jax.ShapeDtypeStruct, ...]:
    return (jax.ShapeDtypeStruct((1, 1), jnp.int32),)


def unused(network: NeoX) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    return (*IGNORED, *TIED) if network.head == "tied" else IGNORED


def rows(network: NeoX) -> list[Row]:
    table = [
        same("token_embed/embedding", "gpt_neox.embed_in.weight"),
        *layer_norm("norm", "gpt_neox.final_layer_norm"),
    ]
    if network.head == "untied":
        table += linear("unembed", "embed_out", False)
    for i in range(network.layers):
        ours, theirs = f"stack/block_{i}", f"gpt_neox.layers.{i}"
        ours += "/parallel" if network.parts == "side by side" else ""
        table += [
            *layer_norm(f"{ours}/norm1", f"{theirs}.input_layernorm"),
            *layer_norm(f"{ours}/norm2", f"{theirs}.post_attention_layernorm"),
            *by_head(network, f"{ours}/attention/qkv", f"{theirs}.attention.query_key_value"),
            *linear(f"{ours}/attention/out", f"{theirs}.attention.dense", network.bias),
            *linear(f"{ours}/up", f"{theirs}.mlp.dense_h_to_4h", True),
            *linear(f"{ours}/down", f"{theirs}.mlp.dense_4h_to_h", True),
        ]
    return table


def by_head(network: NeoX, ours: str, theirs: str) -> list[Row]:
    """Theirs has query, key and value of the first head, then of the second: [N · 3 · H, D]; ours is [D, 3, N · H]."""
    N, D = network.heads, network.width
    kernel = Row(
        f"params/{ours}/kernel",
        (f"{theirs}.weight",),
        lambda w: np.reshape(w.reshape(N, 3, D // N, D).transpose(3, 1, 0, 2), (D, 3, D)),
        lambda x: (np.reshape(x.reshape(D, 3, N, D // N).transpose(2, 1, 3, 0), (3 * D, D)),),
    )
    bias = Row(
        f"params/{ours}/bias",
        (f"{theirs}.bias",),
        lambda b: np.reshape(b.reshape(N, 3, D // N).transpose(1, 0, 2), (3, D)),
        lambda x: (np.reshape(x.reshape(3, N, D // N).transpose(1, 0, 2), (3 * D,)),),
    )
    return [kernel, bias] if network.bias else [kernel]
