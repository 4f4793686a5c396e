"""Marian's translators, Transformers of 2017: MarianMTModel."""

from typing import Any

import jax
import jax.numpy as jnp

from models.transformer import Transformer
from models.weights.rows import Row, activation, attention, layer_norm, linear, same, shaped, their_activation

ARCHITECTURES = ("MarianMTModel",)
NETWORK = Transformer
PREFIX = "model."
HEAD = ("lm_head.weight", "model.shared.weight")
# Positions, which are computed; the embedding once more, which old checkpoints hold.
IGNORED = (r"embed_positions\.weight$",)
TIED = (r"^lm_head\.weight$", r"^model\.(encoder|decoder)\.embed_tokens\.weight$")
APART = (r"^model\.shared\.weight$",)  # the class has it even where the encoder and the decoder have their own


def network(config: dict[str, Any], architecture: str, own_head: bool) -> Transformer:
    # The class shares its embeddings by tying them, so it shares none where nothing is tied.
    shared = config.get("share_encoder_decoder_embeddings", True) and config.get("tie_word_embeddings", True)
    vocab = config.get("vocab_size", 58_101)
    return Transformer(
        vocab,
        config.get("encoder_layers", 12),
        config.get("encoder_attention_heads", 16),
        config.get("d_model", 1024),
        config.get("encoder_ffn_dim", 4096),
        target_vocab=None if shared else config.get("decoder_vocab_size") or vocab,
        decoder_layers=config.get("decoder_layers", 12),
        decoder_heads=config.get("decoder_attention_heads", 16),
        decoder_inner=config.get("decoder_ffn_dim", 4096),
        context=config.get("max_position_embeddings", 1024),
        head="tied" if config.get("tie_word_embeddings", True) and not own_head else "untied",
        multiply="width" if config.get("scale_embedding", False) else "nothing",
        activation=activation(config, "activation_function", "gelu"),
        dropout=float(config.get("dropout", 0.1)),
    )


def config(network: Transformer) -> dict[str, Any]:
    return {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": True,
        "vocab_size": network.vocab,
        "decoder_vocab_size": network.target_vocab or network.vocab,
        "share_encoder_decoder_embeddings": network.target_vocab is None,
        "d_model": network.width,
        "encoder_layers": network.layers,
        "encoder_attention_heads": network.heads,
        "encoder_ffn_dim": network.inner,
        "decoder_layers": network.decoder_layers or network.layers,
        "decoder_attention_heads": network.decoder_heads or network.heads,
        "decoder_ffn_dim": network.decoder_inner or network.inner,
        "max_position_embeddings": network.context,
        "tie_word_embeddings": network.head == "tied",
        "scale_embedding": network.multiply == "width",
        "activation_function": their_activation(network.activation),
        "dropout": network.dropout,
    }


def example(network: Transformer) -> tuple[jax.ShapeDtypeStruct, ...]:
    return (jax.ShapeDtypeStruct((1, 1), jnp.int32),) * 2


def unused(network: Transformer) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    tied = TIED if network.target_vocab is None else TIED[:1]
    apart = () if network.target_vocab is None else APART
    return (*IGNORED, *apart, *(tied if network.head == "tied" else ()))


def rows(network: Transformer) -> list[Row]:
    vocab = network.target_vocab or network.vocab
    table = [shaped("words_bias", "final_logits_bias", (vocab,), (1, vocab))]
    if network.target_vocab is None:
        table.append(same("token_embed/embedding", "model.shared.weight"))
    else:
        table.append(same("token_embed/embedding", "model.encoder.embed_tokens.weight"))
        table.append(same("target_embed/embedding", "model.decoder.embed_tokens.weight"))
    if network.head == "untied":
        table += linear("unembed", "lm_head", False)
    for part, count in (("encoder", network.layers), ("decoder", network.decoder_layers or network.layers)):
        for i in range(count):
            table += block(f"{part}/block_{i}", f"model.{part}.layers.{i}", part == "decoder")
    return table


def names(theirs: str) -> tuple[str, ...]:
    return tuple(f"{theirs}.{name}_proj" for name in ("q", "k", "v", "out"))


def block(ours: str, theirs: str, decodes: bool) -> list[Row]:
    table = [
        *attention(f"{ours}/attention", names(f"{theirs}.self_attn"), True, True, grouped=False),
        *layer_norm(f"{ours}/norm1", f"{theirs}.self_attn_layer_norm"),
        *layer_norm(f"{ours}/norm2", f"{theirs}.final_layer_norm"),
        *linear(f"{ours}/up", f"{theirs}.fc1", True),
        *linear(f"{ours}/down", f"{theirs}.fc2", True),
    ]
    if decodes:
        table += attention(f"{ours}/cross", names(f"{theirs}.encoder_attn"), True, True, grouped=False, cross=True)
        table += layer_norm(f"{ours}/norm_cross", f"{theirs}.encoder_attn_layer_norm")
    return table
