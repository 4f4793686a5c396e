"""GPT-2: GPT2LMHeadModel."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from models.gpt import GPT
from models.weights.rows import Row, activation, layer_norm, linear, refuse, same, shaped, their_activation

ARCHITECTURES = ("GPT2LMHeadModel",)
NETWORK = GPT
PREFIX = "transformer."
HEAD = ("lm_head.weight", "transformer.wte.weight")
TIED = (r"^lm_head\.weight$",)  # the embedding once more, which old checkpoints hold
ZEROS = {"bias": True}  # the class always has biases: zeros are written for a network without
IGNORED = (r"h\.\d+\.attn\.(masked_)?bias$",)  # masks, which old checkpoints hold

DIVIDE: dict[tuple[bool, bool], Literal["width", "layer", "both", "nothing"]] = {
    (True, False): "width",
    (True, True): "both",
    (False, True): "layer",
    (False, False): "nothing",
}


def network(config: dict[str, Any], architecture: str, own_head: bool) -> GPT:
    refuse(config, add_cross_attention=False)
    divide = bool(config.get("scale_attn_weights", True)), bool(config.get("scale_attn_by_inverse_layer_idx", False))
    return GPT(
        config.get("vocab_size", 50_257),
        config.get("n_layer", 12),
        config.get("n_head", 12),
        config.get("n_embd", 768),
        config.get("n_positions", 1024),
        head="tied" if config.get("tie_word_embeddings", True) and not own_head else "untied",
        bias=True,
        activation=activation(config, "activation_function", "gelu_new"),
        dropout=float(config.get("resid_pdrop", 0.1)),
        inner=config.get("n_inner"),
        epsilon=config.get("layer_norm_epsilon", 1e-5),
        divide=DIVIDE[divide],
    )


def config(network: GPT) -> dict[str, Any]:
    if network.positions != "learned" or not network.bias:
        raise ValueError("GPT-2 has learned positions and biases; this network has others, so no class loads it")
    weights, by_layer = next(key for key, name in DIVIDE.items() if name == network.divide)
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": network.vocab,
        "n_positions": network.context,
        "n_embd": network.width,
        "n_layer": network.layers,
        "n_head": network.heads,
        "n_inner": network.ratio * network.width if network.inner is None and network.ratio != 4 else network.inner,
        "activation_function": their_activation(network.activation),
        "resid_pdrop": network.dropout,
        "embd_pdrop": network.dropout,
        "layer_norm_epsilon": network.epsilon,
        "scale_attn_weights": weights,
        "scale_attn_by_inverse_layer_idx": by_layer,
        "tie_word_embeddings": network.head == "tied",
    }


def example(network: GPT) -> tuple[jax.ShapeDtypeStruct, ...]:
    return (jax.ShapeDtypeStruct((1, 1), jnp.int32),)


def unused(network: GPT) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    return (*IGNORED, *TIED) if network.head == "tied" else IGNORED


def rows(network: GPT) -> list[Row]:
    D = network.width
    units = network.ratio * D if network.inner is None else network.inner
    table = [
        same("token_embed/embedding", "transformer.wte.weight"),
        same("position_embed/embedding", "transformer.wpe.weight"),
        *layer_norm("norm", "transformer.ln_f"),
    ]
    if network.head == "untied":
        table += linear("unembed", "lm_head", bias=False)
    for i in range(network.layers):
        ours, theirs = f"stack/block_{i}", f"transformer.h.{i}"
        table += [
            *layer_norm(f"{ours}/norm1", f"{theirs}.ln_1"),
            *layer_norm(f"{ours}/norm2", f"{theirs}.ln_2"),
            *kernel(f"{ours}/attention/qkv", f"{theirs}.attn.c_attn", (D, 3, D), (D, 3 * D)),
            *kernel(f"{ours}/attention/out", f"{theirs}.attn.c_proj", (D, D), (D, D)),
            *kernel(f"{ours}/up", f"{theirs}.mlp.c_fc", (D, units), (D, units)),
            *kernel(f"{ours}/down", f"{theirs}.mlp.c_proj", (units, D), (units, D)),
        ]
    return table


def kernel(ours: str, theirs: str, our_shape: tuple[int, ...], their_shape: tuple[int, int]) -> list[Row]:
    """GPT-2's layers are [in, out], as ours."""
    return [
        shaped(f"{ours}/kernel", f"{theirs}.weight", our_shape, their_shape),
        shaped(f"{ours}/bias", f"{theirs}.bias", our_shape[1:], their_shape[1:]),
    ]
