"""T5: T5ForConditionalGeneration."""

from typing import Any

import jax
import jax.numpy as jnp

from models.t5 import T5
from models.weights.rows import ACTIVATIONS, Row, attention, linear, linears, same, their_activation

ARCHITECTURES = ("T5ForConditionalGeneration",)
NETWORK = T5
PREFIX = "model."  # no checkpoint has one
HEAD = ("lm_head.weight", "shared.weight")
IGNORED = (r"^(encoder|decoder)\.embed_tokens\.weight$",)  # the embedding once more, which old checkpoints hold
TIED = (r"^lm_head\.weight$",)


def network(config: dict[str, Any], architecture: str, own_head: bool) -> T5:
    gate, _, name = config.get("feed_forward_proj", "relu").rpartition("-")
    name = "gelu_new" if (gate, name) == ("gated", "gelu") else name
    if gate not in ("", "gated") or name not in ACTIVATIONS:
        raise ValueError(f"feed_forward_proj={config['feed_forward_proj']!r} is not known here; 'gated-gelu' is")
    # Once only untied logits were not divided, and configs said no more than that.
    divided = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True) is not False)
    return T5(
        config.get("vocab_size", 32_128),
        config.get("num_layers", 6),
        config.get("num_heads", 8),
        config.get("d_model", 512),
        config.get("d_ff", 2048),
        config.get("d_kv", 64),
        decoder_layers=config.get("num_decoder_layers"),
        mlp="gated" if gate else "dense",
        activation=ACTIVATIONS[name],
        buckets=config.get("relative_attention_num_buckets", 32),
        furthest=config.get("relative_attention_max_distance", 128),
        head="untied" if own_head else "tied",
        divide="width" if divided else "nothing",
        context=config.get("n_positions", 512),
        epsilon=config.get("layer_norm_epsilon", 1e-6),
        dropout=float(config.get("dropout_rate", 0.1)),
    )


def config(network: T5) -> dict[str, Any]:
    name = their_activation(network.activation)
    # "gated-gelu" is the class's word for the approximation by tanh.
    name = "gelu_python" if (network.mlp, name) == ("gated", "gelu") else name
    gate, divided = "gated-" if network.mlp == "gated" else "", network.divide == "width"
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "vocab_size": network.vocab,
        "num_layers": network.layers,
        "num_decoder_layers": network.layers if network.decoder_layers is None else network.decoder_layers,
        "num_heads": network.heads,
        "d_model": network.width,
        "d_ff": network.inner,
        "d_kv": network.head_width,
        "feed_forward_proj": f"{gate}{name}",
        "relative_attention_num_buckets": network.buckets,
        "relative_attention_max_distance": network.furthest,
        "scale_decoder_outputs": divided,
        "tie_word_embeddings": network.head == "tied",
        "layer_norm_epsilon": network.epsilon,
        "dropout_rate": network.dropout,
        "n_positions": network.context,
    }


def example(network: T5) -> tuple[jax.ShapeDtypeStruct, ...]:
    return (jax.ShapeDtypeStruct((1, 1), jnp.int32),) * 2


def unused(network: T5) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    return (*IGNORED, *TIED) if network.head == "tied" else IGNORED


def rows(network: T5) -> list[Row]:
    table = [same("token_embed/embedding", "shared.weight")]
    if network.head == "untied":
        table += linear("unembed", "lm_head", False)
    counts = {"encoder": network.layers, "decoder": network.decoder_layers or network.layers}
    for part, count in counts.items():
        table.append(same(f"{part}_norm/scale", f"{part}.final_layer_norm.weight"))
        table.append(same(f"{part}_bias/table", f"{part}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"))
        for i in range(count):
            table += block(network, f"{part}/block_{i}", f"{part}.block.{i}.layer", part == "decoder")
    return table


def block(network: T5, ours: str, theirs: str, decodes: bool) -> list[Row]:
    names = lambda place, kind: tuple(f"{theirs}.{place}.{kind}.{name}" for name in "qkvo")
    last = 2 if decodes else 1
    mlp = f"{theirs}.{last}.DenseReluDense"
    gated = linears(f"{ours}/up", (f"{mlp}.wi_1", f"{mlp}.wi_0"), False)
    table = [
        *attention(f"{ours}/attention", names(0, "SelfAttention"), False, False, grouped=False),
        same(f"{ours}/norm1/scale", f"{theirs}.0.layer_norm.weight"),
        same(f"{ours}/norm2/scale", f"{theirs}.{last}.layer_norm.weight"),
        *linear(f"{ours}/down", f"{mlp}.wo", False),
        *(gated if network.mlp == "gated" else linear(f"{ours}/up", f"{mlp}.wi", False)),
    ]
    if decodes:
        table += attention(f"{ours}/cross", names(1, "EncDecAttention"), False, False, grouped=False, cross=True)
        table.append(same(f"{ours}/norm_cross/scale", f"{theirs}.1.layer_norm.weight"))
    return table
