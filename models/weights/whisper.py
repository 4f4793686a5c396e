"""Whisper: WhisperForConditionalGeneration, whose features are [B, bands, frames]."""

from typing import Any

import jax
import jax.numpy as jnp

from models.weights.rows import Row, activation, attention, layer_norm, linear, moved, same, their_activation
from models.whisper import Whisper

ARCHITECTURES = ("WhisperForConditionalGeneration",)
NETWORK = Whisper
PREFIX = "model."
HEAD = ("proj_out.weight", "model.decoder.embed_tokens.weight")
TIED = (r"^proj_out\.weight$",)  # the embedding once more, which old checkpoints hold


# `scale_embedding` is a field that the class does not read.


def network(config: dict[str, Any], architecture: str, own_head: bool) -> Whisper:
    return Whisper(
        config.get("vocab_size", 51_865),
        config.get("num_mel_bins", 80),
        config.get("encoder_layers", 4),
        config.get("encoder_attention_heads", 6),
        config.get("d_model", 384),
        config.get("encoder_ffn_dim", 1536),
        places=config.get("max_source_positions", 1500),
        context=config.get("max_target_positions", 448),
        decoder_layers=config.get("decoder_layers", 4),
        decoder_heads=config.get("decoder_attention_heads", 6),
        decoder_inner=config.get("decoder_ffn_dim", 1536),
        head="tied" if config.get("tie_word_embeddings", True) and not own_head else "untied",
        activation=activation(config, "activation_function", "gelu"),
        dropout=float(config.get("dropout", 0.0)),
    )


def config(network: Whisper) -> dict[str, Any]:
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "is_encoder_decoder": True,
        "vocab_size": network.vocab,
        "num_mel_bins": network.bands,
        "d_model": network.width,
        "encoder_layers": network.layers,
        "encoder_attention_heads": network.heads,
        "encoder_ffn_dim": network.inner,
        "decoder_layers": network.decoder_layers or network.layers,
        "decoder_attention_heads": network.decoder_heads or network.heads,
        "decoder_ffn_dim": network.decoder_inner or network.inner,
        "max_source_positions": network.places,
        "max_target_positions": network.context,
        "tie_word_embeddings": network.head == "tied",
        "activation_function": their_activation(network.activation),
        "dropout": network.dropout,
    }


def example(network: Whisper) -> tuple[jax.ShapeDtypeStruct, ...]:
    sound = jax.ShapeDtypeStruct((1, network.bands, 2 * network.places), jnp.float32)
    return sound, jax.ShapeDtypeStruct((1, 1), jnp.int32)


def unused(network: Whisper) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    return TIED if network.head == "tied" else ()


def rows(network: Whisper) -> list[Row]:
    table = [
        same("token_embed/embedding", "model.decoder.embed_tokens.weight"),
        same("position_embed/embedding", "model.decoder.embed_positions.weight"),
        same("sound_places", "model.encoder.embed_positions.weight"),
        *layer_norm("encoder_norm", "model.encoder.layer_norm"),
        *layer_norm("decoder_norm", "model.decoder.layer_norm"),
    ]
    for name in ("conv1", "conv2"):
        table.append(moved(f"{name}/kernel", f"model.encoder.{name}.weight", (2, 1, 0)))
        table.append(same(f"{name}/bias", f"model.encoder.{name}.bias"))
    if network.head == "untied":
        table += linear("unembed", "proj_out", False)
    for part, count in (("encoder", network.layers), ("decoder", network.decoder_layers or network.layers)):
        for i in range(count):
            table += block(f"{part}/block_{i}", f"model.{part}.layers.{i}", part == "decoder")
    return table


def block(ours: str, theirs: str, decodes: bool) -> list[Row]:
    names = lambda place: tuple(f"{theirs}.{place}.{name}_proj" for name in ("q", "k", "v", "out"))
    heads = lambda place, name, cross: attention(
        f"{ours}/{place}", names(name), True, True, grouped=False, cross=cross, key_bias=False
    )
    table = [
        *heads("attention", "self_attn", False),
        *layer_norm(f"{ours}/norm1", f"{theirs}.self_attn_layer_norm"),
        *layer_norm(f"{ours}/norm2", f"{theirs}.final_layer_norm"),
        *linear(f"{ours}/up", f"{theirs}.fc1", True),
        *linear(f"{ours}/down", f"{theirs}.fc2", True),
    ]
    if decodes:
        table += heads("cross", "encoder_attn", True)
        table += layer_norm(f"{ours}/norm_cross", f"{theirs}.encoder_attn_layer_norm")
    return table
