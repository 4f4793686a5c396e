"""Vision Transformer: ViTForImageClassification, whose images are [B, C, H, W]."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models.vit import ViT
from models.weights.rows import Row, activation, attention, layer_norm, linear, same, shaped, their_activation

ARCHITECTURES = ("ViTForImageClassification",)
NETWORK = ViT
PREFIX = "vit."
IGNORED = (r"^vit\.pooler\.",)  # of another class


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def network(config: dict[str, Any], architecture: str, own_head: bool) -> ViT:
    labels = config.get("id2label")
    return ViT(
        config.get("num_labels", 2) if labels is None else len(labels),
        config.get("num_hidden_layers", 12),
        config.get("num_attention_heads", 12),
        config.get("hidden_size", 768),
        pair(config.get("patch_size", 16)),
        inner=config.get("intermediate_size", 3072),
        size=pair(config.get("image_size", 224)),
        colours=config.get("num_channels", 3),
        bias=config.get("qkv_bias", True),
        channels="first",
        activation=activation(config, "hidden_act", "gelu"),
        epsilon=config.get("layer_norm_eps", 1e-12),
        dropout=float(config.get("hidden_dropout_prob", 0.0)),
    )


def config(network: ViT) -> dict[str, Any]:
    if network.size is None or network.colours is None:
        raise ValueError("a public checkpoint says the size of its images: set size= and colours= of the network")
    labels = {str(i): f"LABEL_{i}" for i in range(network.classes)}
    return {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "hidden_size": network.width,
        "intermediate_size": units(network),
        "patch_size": plain(pair(network.patch)),
        "image_size": plain(pair(network.size)),
        "num_channels": network.colours,
        "qkv_bias": network.bias,
        "hidden_act": their_activation(network.activation),
        "layer_norm_eps": network.epsilon,
        "hidden_dropout_prob": network.dropout,
        "id2label": labels,
        "label2id": {label: int(i) for i, label in labels.items()},
    }


# Names of classes stay those of the checkpoint.
KEPT = ("id2label", "label2id")


def plain(size: tuple[int, int]) -> int | list[int]:
    return size[0] if size[0] == size[1] else list(size)


def units(network: ViT) -> int:
    return 4 * network.width if network.inner is None else network.inner


def example(network: ViT) -> tuple[jax.ShapeDtypeStruct, ...]:
    if network.size is None or network.colours is None:
        raise ValueError("the size of the images is not known")
    height, width = pair(network.size)
    return (jax.ShapeDtypeStruct((1, network.colours, height, width), jnp.float32),)


def unused(network: ViT) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    return IGNORED


def rows(network: ViT) -> list[Row]:
    D, (p, q), (H, W) = network.width, pair(network.patch), pair(network.size or 0)
    places, C = (H // p) * (W // q) + 1, network.colours or 0
    table = [
        shaped("class_token", "vit.embeddings.cls_token", (D,), (1, 1, D)),
        shaped("position_embed", "vit.embeddings.position_embeddings", (places, D), (1, places, D)),
        Row(
            "params/patch_embed/kernel",
            ("vit.embeddings.patch_embeddings.projection.weight",),
            lambda w: np.reshape(w.transpose(2, 3, 1, 0), (p * q * C, D)),
            lambda x: (np.reshape(x, (p, q, C, D)).transpose(3, 2, 0, 1),),
        ),
        same("patch_embed/bias", "vit.embeddings.patch_embeddings.projection.bias"),
        *layer_norm("norm", "vit.layernorm"),
        *linear("class", "classifier", True),
    ]
    for i in range(network.layers):
        ours, theirs = f"stack/block_{i}", f"vit.encoder.layer.{i}"
        inner = f"{theirs}.attention.attention"
        names = (f"{inner}.query", f"{inner}.key", f"{inner}.value", f"{theirs}.attention.output.dense")
        table += [
            *attention(f"{ours}/attention", names, network.bias, True, grouped=False),
            *layer_norm(f"{ours}/norm1", f"{theirs}.layernorm_before"),
            *layer_norm(f"{ours}/norm2", f"{theirs}.layernorm_after"),
            *linear(f"{ours}/up", f"{theirs}.intermediate.dense", True),
            *linear(f"{ours}/down", f"{theirs}.output.dense", True),
        ]
    return table
