"""Llama and its kin: LlamaForCausalLM, MistralForCausalLM, Qwen3ForCausalLM, MixtralForCausalLM."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models.llama import Llama
from models.weights.rows import Row, activation, attention, linear, linears, moved, same, their_activation

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM", "MixtralForCausalLM")
NETWORK = Llama
PREFIX = "model."
HEAD = ("lm_head.weight", "model.embed_tokens.weight")
TIED = (r"^lm_head\.weight$",)  # the embedding once more, which old checkpoints hold
IGNORED = (r"rotary_emb\.inv_freq$",)  # frequencies, which old checkpoints hold
TYPES = {
    "LlamaForCausalLM": "llama", "MistralForCausalLM": "mistral", "Qwen3ForCausalLM": "qwen3",
    "MixtralForCausalLM": "mixtral",
}  # fmt: skip

# What a class takes where its config says nothing.
DEFAULTS: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {
        "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": None, "max_position_embeddings": 2048, "head_dim": None,
    },
    "MistralForCausalLM": {
        "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131_072, "head_dim": None,
        "sliding_window": 4096,
    },
    "Qwen3ForCausalLM": {
        "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 22_016, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 32_768, "head_dim": 128,
        "sliding_window": 4096,
    },
    "MixtralForCausalLM": {
        "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131_072, "head_dim": None,
        "rms_norm_eps": 1e-5, "rope_theta": 1e6, "num_local_experts": 8, "num_experts_per_tok": 2,
    },
}  # fmt: skip


def network(config: dict[str, Any], architecture: str, own_head: bool) -> Llama:
    said = {**DEFAULTS[architecture], **config}
    base, scaling = rotary(said)
    window, unwindowed = windows(said, architecture)
    bias = bool(said.get("attention_bias", False)) and architecture in ("LlamaForCausalLM", "Qwen3ForCausalLM")
    experts = said["num_local_experts"] if architecture == "MixtralForCausalLM" else 0
    return Llama(
        said["vocab_size"],
        said["num_hidden_layers"],
        said["num_attention_heads"],
        said["hidden_size"],
        said["intermediate_size"],
        said["max_position_embeddings"],
        kv_heads=said["num_key_value_heads"] or said["num_attention_heads"],
        head_width=said["head_dim"] or said["hidden_size"] // said["num_attention_heads"],
        base=base,
        scaling=scaling,
        window=window,
        unwindowed=unwindowed,
        head_norm="rms" if architecture == "Qwen3ForCausalLM" else "none",
        head="tied" if said.get("tie_word_embeddings", False) and not own_head else "untied",
        bias=bias,
        mlp_bias=bool(said.get("mlp_bias", False)) and architecture == "LlamaForCausalLM",
        experts=experts,
        experts_per_token=said.get("num_experts_per_tok", 2),
        activation=activation(said, "hidden_act", "silu"),
        epsilon=said.get("rms_norm_eps", 1e-6),
    )


def rotary(config: dict[str, Any], base: float = 10_000.0) -> tuple[float, dict[str, Any] | None]:
    """The base of the frequencies and their scaling: fields of their own once, `rope_parameters` now."""
    scaling = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    base = float(scaling.pop("rope_theta", None) or config.get("rope_theta") or base)
    kind = scaling.pop("rope_type", None) or scaling.pop("type", None) or "default"
    scaling.pop("type", None)
    if kind == "default":
        return base, None
    if config.get("original_max_position_embeddings") and kind in ("llama3", "yarn", "longrope"):
        scaling["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    return base, {"rope_type": kind, **scaling}


def windows(config: dict[str, Any], architecture: str) -> tuple[int | None, tuple[int, ...]]:
    """How far layers see, and which of them see all."""
    window, layers = config.get("sliding_window"), config["num_hidden_layers"]
    if architecture == "LlamaForCausalLM" or window is None:
        return None, ()
    if architecture != "Qwen3ForCausalLM":
        return window, ()
    if not config.get("use_sliding_window", False):
        return None, ()
    first = config.get("max_window_layers", 28)
    kinds = config.get("layer_types") or ["sliding" if i >= first else "full" for i in range(layers)]
    return window, tuple(i for i, kind in enumerate(kinds) if not kind.startswith("sliding"))


def config(network: Llama) -> dict[str, Any]:
    qwen, windowed = network.head_norm == "rms", network.window is not None
    architecture = "Qwen3ForCausalLM" if qwen else "MistralForCausalLM" if windowed else "LlamaForCausalLM"
    architecture = "MixtralForCausalLM" if network.experts else architecture
    said = {
        "architectures": [architecture],
        "model_type": TYPES[architecture],
        "vocab_size": network.vocab,
        "hidden_size": network.width,
        "intermediate_size": network.inner,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "num_key_value_heads": network.kv_heads or network.heads,
        "head_dim": network.h,
        "max_position_embeddings": network.context,
        "rope_parameters": {"rope_type": "default", **(network.scaling or {}), "rope_theta": network.base},
        "hidden_act": their_activation(network.activation),
        "rms_norm_eps": network.epsilon,
        "tie_word_embeddings": network.head == "tied",
        "attention_bias": network.bias,
        "mlp_bias": network.mlp_bias,
        "sliding_window": network.window,
    }
    if qwen:
        kinds = ["full" if not windowed or i in network.unwindowed else "sliding" for i in range(network.layers)]
        said |= {"use_sliding_window": windowed, "layer_types": [f"{kind}_attention" for kind in kinds]}
    elif (windowed or network.experts) and (network.bias or network.mlp_bias or network.unwindowed):
        raise ValueError(f"{architecture} has no biases and a window in every layer; this network is no such one")
    if network.experts:
        said |= {"num_local_experts": network.experts, "num_experts_per_tok": network.experts_per_token}
    if qwen and (network.mlp_bias or network.experts):
        raise ValueError("Qwen3ForCausalLM has no experts and no biases in its MLPs; this network has")
    return said


def example(network: Llama) -> tuple[jax.ShapeDtypeStruct, ...]:
    return (jax.ShapeDtypeStruct((1, 1), jnp.int32),)


def unused(network: Llama) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    return (*IGNORED, *TIED) if network.head == "tied" else IGNORED


def rows(network: Llama) -> list[Row]:
    table = [same("token_embed/embedding", "model.embed_tokens.weight"), same("norm/scale", "model.norm.weight")]
    if network.head == "untied":
        table += linear("unembed", "lm_head", bias=False)
    for i in range(network.layers):
        ours, theirs = f"stack/block_{i}", f"model.layers.{i}"
        table += [
            same(f"{ours}/norm1/scale", f"{theirs}.input_layernorm.weight"),
            same(f"{ours}/norm2/scale", f"{theirs}.post_attention_layernorm.weight"),
            *attention(
                f"{ours}/attention",
                tuple(f"{theirs}.self_attn.{name}_proj" for name in "qkvo"),
                network.bias,
                network.bias,
                grouped=(network.kv_heads or network.heads) != network.heads,
            ),
            *(experts if network.experts else mlp)(network, ours, theirs),
        ]
        if network.head_norm == "rms":
            for name in ("q_norm", "k_norm"):
                table.append(same(f"{ours}/attention/{name}/scale", f"{theirs}.self_attn.{name}.weight"))
    return table


def mlp(network: Llama, ours: str, theirs: str) -> list[Row]:
    return [
        *linears(f"{ours}/up", (f"{theirs}.mlp.up_proj", f"{theirs}.mlp.gate_proj"), network.mlp_bias),
        *linear(f"{ours}/down", f"{theirs}.mlp.down_proj", network.mlp_bias),
    ]


def experts(network: Llama, ours: str, theirs: str) -> list[Row]:
    """One array of ours holds all experts: [E, in, up and gate], [E, in, out]."""
    theirs, E = f"{theirs}.block_sparse_moe", network.experts
    name = lambda which: tuple(f"{theirs}.experts.{e}.w{which}.weight" for e in range(E))
    into = lambda *w: np.stack([np.concatenate([up.T, gate.T], 1) for up, gate in zip(w[:E], w[E:], strict=True)])
    half = lambda x, i: [np.split(one, 2, axis=1)[i].T for one in x]
    return [
        moved(f"{ours}/experts/router", f"{theirs}.gate.weight", (1, 0)),
        Row(f"params/{ours}/experts/up", name(3) + name(1), into, lambda x: (*half(x, 0), *half(x, 1))),
        Row(
            f"params/{ours}/experts/down",
            name(2),
            lambda *w: np.stack([one.T for one in w]),
            lambda x: tuple(one.T for one in x),
        ),
    ]
