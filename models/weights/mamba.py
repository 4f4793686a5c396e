"""Mamba: MambaForCausalLM."""

from typing import Any

import jax
import jax.numpy as jnp

from models.mamba import Mamba
from models.weights.rows import Row, activation, linear, moved, same, their_activation

ARCHITECTURES = ("MambaForCausalLM",)
NETWORK = Mamba
PREFIX = "backbone."
HEAD = ("lm_head.weight", "backbone.embeddings.weight")
TIED = (r"^lm_head\.weight$",)  # the embedding once more, which old checkpoints hold


def network(config: dict[str, Any], architecture: str, own_head: bool) -> Mamba:
    rank = config.get("time_step_rank", "auto")
    return Mamba(
        config.get("vocab_size", 50_280),
        config.get("num_hidden_layers", 32),
        config.get("hidden_size", 768),
        state=config.get("state_size", 16),
        expand=float(config.get("expand", 2)),
        kernel=config.get("conv_kernel", 4),
        rank=None if rank == "auto" else rank,
        bias=config.get("use_bias", False),
        conv_bias=config.get("use_conv_bias", True),
        head="tied" if config.get("tie_word_embeddings", True) and not own_head else "untied",
        activation=activation(config, "hidden_act", "silu"),
        epsilon=config.get("layer_norm_epsilon", 1e-5),
    )


def config(network: Mamba) -> dict[str, Any]:
    expand = network.expand
    return {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "vocab_size": network.vocab,
        "num_hidden_layers": network.layers,
        "hidden_size": network.width,
        "state_size": network.state,
        "expand": int(expand) if expand == int(expand) else expand,
        "intermediate_size": network.inner,
        "conv_kernel": network.kernel,
        "time_step_rank": -(-network.width // 16) if network.rank is None else network.rank,
        "use_bias": network.bias,
        "use_conv_bias": network.conv_bias,
        "tie_word_embeddings": network.head == "tied",
        "hidden_act": their_activation(network.activation),
        "layer_norm_epsilon": network.epsilon,
    }


def example(network: Mamba) -> tuple[jax.ShapeDtypeStruct, ...]:
    return (jax.ShapeDtypeStruct((1, 1), jnp.int32),)


def unused(network: Mamba) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    return TIED if network.head == "tied" else ()


def rows(network: Mamba) -> list[Row]:
    table = [same("token_embed/embedding", "backbone.embeddings.weight"), same("norm/scale", "backbone.norm_f.weight")]
    if network.head == "untied":
        table += linear("unembed", "lm_head", False)
    for i in range(network.layers):
        ours, theirs = f"stack/block_{i}/space", f"backbone.layers.{i}.mixer"
        table += [
            same(f"stack/block_{i}/norm1/scale", f"backbone.layers.{i}.norm.weight"),
            *both(network, f"{ours}/in", f"{theirs}.in_proj"),
            Row(
                f"params/{ours}/kernel",
                (f"{theirs}.conv1d.weight",),
                lambda w: w[:, 0].T,
                lambda x: (x.T[:, None],),
            ),
            *linear(f"{ours}/choose", f"{theirs}.x_proj", False),
            moved(f"{ours}/rate", f"{theirs}.dt_proj.weight", (1, 0)),
            same(f"{ours}/rate_bias", f"{theirs}.dt_proj.bias"),
            same(f"{ours}/log_decay", f"{theirs}.A_log"),
            same(f"{ours}/skip", f"{theirs}.D"),
            *linear(f"{ours}/out", f"{theirs}.out_proj", network.bias),
        ]
        if network.conv_bias:
            table.append(same(f"{ours}/kernel_bias", f"{theirs}.conv1d.bias"))
    return table


def both(network: Mamba, ours: str, theirs: str) -> list[Row]:
    """The input and its gate are one product of theirs, one after the other: [2 E, D]; ours is [D, 2, E]."""
    E, D = network.inner, network.width
    kernel = Row(
        f"params/{ours}/kernel",
        (f"{theirs}.weight",),
        lambda w: w.reshape(2, E, D).transpose(2, 0, 1),
        lambda x: (x.transpose(1, 2, 0).reshape(2 * E, D),),
    )
    bias = Row(f"params/{ours}/bias", (f"{theirs}.bias",), lambda b: b.reshape(2, E), lambda x: (x.reshape(2 * E),))
    return [kernel, bias] if network.bias else [kernel]
