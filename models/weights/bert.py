"""BERT: BertModel, BertForMaskedLM."""

from typing import Any

import jax
import jax.numpy as jnp

from models.bert import Bert
from models.weights.rows import Row, activation, attention, layer_norm, linear, refuse, same, their_activation

ARCHITECTURES = ("BertModel", "BertForMaskedLM")
NETWORK = Bert
PREFIX = "bert."
HEAD = ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight")
# Numbers of positions, which old checkpoints hold; heads of other classes, which pre-trained ones hold.
IGNORED = (r"(^|\.)position_ids$", r"^cls\.seq_relationship\.")
UNUSED = {"pooled": (r"^cls\.",), "words": (r"^bert\.pooler\.", r"^cls\.predictions\.decoder\.(weight|bias)$")}


def network(config: dict[str, Any], architecture: str, own_head: bool) -> Bert:
    refuse(config, position_embedding_type="absolute", add_cross_attention=False)
    return Bert(
        config.get("vocab_size", 30_522),
        config.get("num_hidden_layers", 12),
        config.get("num_attention_heads", 12),
        config.get("hidden_size", 768),
        config.get("intermediate_size", 3072),
        config.get("max_position_embeddings", 512),
        kinds=config.get("type_vocab_size", 2),
        head="pooled" if architecture == "BertModel" else "words",
        tied="tied" if config.get("tie_word_embeddings", True) and not own_head else "untied",
        reads="before" if config.get("is_decoder", False) else "both sides",
        activation=activation(config, "hidden_act", "gelu"),
        epsilon=config.get("layer_norm_eps", 1e-12),
        dropout=float(config.get("hidden_dropout_prob", 0.1)),
    )


def config(network: Bert) -> dict[str, Any]:
    architectures = {"pooled": "BertModel", "words": "BertForMaskedLM"}
    if network.head not in architectures:
        raise ValueError(f"head={network.head!r} is in no public class here; {', '.join(architectures)} are")
    return {
        "architectures": [architectures[network.head]],
        "model_type": "bert",
        "vocab_size": network.vocab,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "hidden_size": network.width,
        "intermediate_size": network.inner,
        "max_position_embeddings": network.context,
        "type_vocab_size": network.kinds,
        "tie_word_embeddings": network.tied == "tied",
        "is_decoder": network.reads == "before",
        "hidden_act": their_activation(network.activation),
        "layer_norm_eps": network.epsilon,
        "hidden_dropout_prob": network.dropout,
    }


def example(network: Bert) -> tuple[jax.ShapeDtypeStruct, ...]:
    return (jax.ShapeDtypeStruct((1, 1), jnp.int32),)


def unused(network: Bert) -> tuple[str, ...]:
    return (*IGNORED, *UNUSED.get(network.head, ()))


def rows(network: Bert) -> list[Row]:
    inside = "bert." if network.head == "words" else ""
    table = [
        same("token_embed/embedding", f"{inside}embeddings.word_embeddings.weight"),
        same("position_embed/embedding", f"{inside}embeddings.position_embeddings.weight"),
        same("kind_embed/embedding", f"{inside}embeddings.token_type_embeddings.weight"),
        *layer_norm("norm_embed", f"{inside}embeddings.LayerNorm"),
    ]
    if network.head == "words":
        table += linear("transform", "cls.predictions.transform.dense", True)
        table += layer_norm("transform_norm", "cls.predictions.transform.LayerNorm")
        if network.tied == "tied":
            table += [same("words_bias", "cls.predictions.bias")]
        else:  # with a bias of its own; the other one is there, and nothing reads it
            biases = ("cls.predictions.decoder.bias", "cls.predictions.bias")
            table += linear("unembed", "cls.predictions.decoder", False)
            table += [Row("params/words_bias", biases, lambda own, other: own, lambda x: (x, x))]
    else:
        table += linear("pool", f"{inside}pooler.dense", True)
    for i in range(network.layers):
        ours, theirs = f"stack/block_{i}", f"{inside}encoder.layer.{i}"
        inner = f"{theirs}.attention.self"
        names = (f"{inner}.query", f"{inner}.key", f"{inner}.value", f"{theirs}.attention.output.dense")
        table += [
            *attention(f"{ours}/attention", names, True, True, grouped=False),
            *layer_norm(f"{ours}/norm1", f"{theirs}.attention.output.LayerNorm"),
            *linear(f"{ours}/up", f"{theirs}.intermediate.dense", True),
            *linear(f"{ours}/down", f"{theirs}.output.dense", True),
            *layer_norm(f"{ours}/norm2", f"{theirs}.output.LayerNorm"),
        ]
    return table
