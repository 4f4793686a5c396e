"""Residual networks: ResNetForImageClassification, whose images are [B, C, H, W]."""

from typing import Any

import jax
import jax.numpy as jnp

from models.resnet import ResNet
from models.weights.rows import Row, activation, layer_norm, linear, moved, their_activation

ARCHITECTURES = ("ResNetForImageClassification",)
NETWORK = ResNet
PREFIX = "resnet."
COUNTER = "num_batches_tracked"  # of a norm, which nothing reads
IGNORED = (rf"\.{COUNTER}$",)
KEPT = ("id2label", "label2id")


def network(config: dict[str, Any], architecture: str, own_head: bool) -> ResNet:
    labels, kind = config.get("id2label"), config.get("layer_type", "bottleneck")
    depths, widths = (tuple(config.get(name, default)) for name, default in SIZES.items())
    if kind not in ("basic", "bottleneck") or len(depths) != len(widths):
        raise ValueError(f"layer_type={kind!r}, depths={depths}, hidden_sizes={widths}; one width for each depth")
    early = bool(config.get("downsample_in_bottleneck", False)) and kind == "bottleneck"
    return ResNet(
        config.get("num_labels", 2) if labels is None else len(labels),
        depths,
        config.get("embedding_size", 64),
        kind,
        stem="large",
        widths=widths,
        strided=0 if early else None,
        halving="every stage" if config.get("downsample_in_first_stage", False) else "later stages",
        activation=activation(config, "hidden_act", "relu"),
        channels="first",
        colours=config.get("num_channels", 3),
    )


SIZES = {"depths": (3, 4, 6, 3), "hidden_sizes": (256, 512, 1024, 2048)}


def stages(network: ResNet) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks and maps of each stage."""
    blocks = (network.blocks,) * 3 if isinstance(network.blocks, int) else network.blocks
    times = 4 if network.block == "bottleneck" else 1
    return blocks, network.widths or tuple(times * network.width * 2**i for i in range(len(blocks)))


def config(network: ResNet) -> dict[str, Any]:
    if network.order != "post" or network.stem != "large" or network.colours is None:
        raise ValueError(
            "public residual networks have the norm behind, a large stem and known colours: set order, stem"
        )
    depths, widths = stages(network)
    labels = {str(i): f"LABEL_{i}" for i in range(network.classes)}
    return {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "embedding_size": network.width,
        "depths": list(depths),
        "hidden_sizes": list(widths),
        "layer_type": network.block,
        "hidden_act": their_activation(network.activation),
        "num_channels": network.colours,
        "downsample_in_bottleneck": network.strided == 0 and network.block == "bottleneck",
        "downsample_in_first_stage": network.halving == "every stage",
        "id2label": labels,
        "label2id": {label: int(i) for i, label in labels.items()},
    }


def example(network: ResNet) -> tuple[jax.ShapeDtypeStruct, ...]:
    return (jax.ShapeDtypeStruct((1, network.colours or 3, 64, 64), jnp.float32),)


def unused(network: ResNet) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    return IGNORED


def layers(network: ResNet) -> list[tuple[str, str, str]]:
    """Every convolution and its norm: ours, ours, theirs."""
    found = [("stem", "norm_stem", "resnet.embedder.embedder")]
    depths, widths = stages(network)
    for stage, depth in enumerate(depths):
        before = widths[stage - 1] if stage else network.width
        strided = stage > 0 or network.halving == "every stage"
        for i in range(depth):
            ours, theirs = f"stage{stage}_block{i}", f"resnet.encoder.stages.{stage}.layers.{i}"
            for j in range(3 if network.block == "bottleneck" else 2):
                found.append((f"{ours}/conv{j + 1}", f"{ours}/norm{j + 1}", f"{theirs}.layer.{j}"))
            if i == 0 and (strided or before != widths[stage]):
                found.append((f"{ours}/project", f"{ours}/norm_project", f"{theirs}.shortcut"))
    return found


def rows(network: ResNet) -> list[Row]:
    table = linear("logits", "classifier.1", True)
    for ours, norm, theirs in layers(network):
        table.append(moved(f"{ours}/kernel", f"{theirs}.convolution.weight", (2, 3, 1, 0)))
        table += layer_norm(norm, f"{theirs}.normalization")
        for name, their in (("mean", "running_mean"), ("var", "running_var")):
            names = (f"{theirs}.normalization.{their}",)
            table.append(Row(f"batch_stats/{norm}/{name}", names, lambda x: x, lambda x: (x,)))
    return table


def counters(network: ResNet) -> list[str]:
    return [f"{theirs}.normalization.{COUNTER}" for _, _, theirs in layers(network)]
