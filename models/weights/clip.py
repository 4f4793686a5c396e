"""CLIP: CLIPModel, whose images are [I, C, H, W] and whose logits are those per text."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models.clip import Clip
from models.weights.rows import Row, activation, attention, layer_norm, linear, same, their_activation

ARCHITECTURES = ("CLIPModel",)
NETWORK = Clip
PREFIX = "clip."  # no checkpoint has one
IGNORED = (r"embeddings\.position_ids$",)  # numbers of positions, which old checkpoints hold


def network(config: dict[str, Any], architecture: str, own_head: bool) -> Clip:
    text, image = config.get("text_config") or {}, config.get("vision_config") or {}
    end = text.get("eos_token_id", 49_407)
    return Clip(
        text.get("vocab_size", 49_408),
        text.get("max_position_embeddings", 77),
        config.get("projection_dim", 512),
        text_width=text.get("hidden_size", 512),
        text_layers=text.get("num_hidden_layers", 12),
        text_heads=text.get("num_attention_heads", 8),
        text_inner=text.get("intermediate_size", 2048),
        image_width=image.get("hidden_size", 768),
        image_layers=image.get("num_hidden_layers", 12),
        image_heads=image.get("num_attention_heads", 12),
        image_inner=image.get("intermediate_size", 3072),
        size=image.get("image_size", 224),
        patch=image.get("patch_size", 32),
        colours=image.get("num_channels", 3),
        end=None if end == 2 else end,  # 2 is a mistake of old configs, which the class takes for the largest token
        channels="first",
        text_activation=activation(text, "hidden_act", "quick_gelu"),
        image_activation=activation(image, "hidden_act", "quick_gelu"),
        text_epsilon=text.get("layer_norm_eps", 1e-5),
        image_epsilon=image.get("layer_norm_eps", 1e-5),
    )


def config(network: Clip) -> dict[str, Any]:
    text = {
        "model_type": "clip_text_model",
        "vocab_size": network.vocab,
        "max_position_embeddings": network.context,
        "eos_token_id": 2 if network.end is None else network.end,
    }
    image = {
        "model_type": "clip_vision_model",
        "image_size": network.size,
        "patch_size": network.patch,
        "num_channels": network.colours,
    }
    for tower, said in (("text", text), ("image", image)):
        of = lambda name, tower=tower: getattr(network, f"{tower}_{name}")
        said |= {
            "hidden_size": of("width"),
            "num_hidden_layers": of("layers"),
            "num_attention_heads": of("heads"),
            "intermediate_size": of("inner"),
            "hidden_act": their_activation(of("activation")),
            "layer_norm_eps": of("epsilon"),
            "projection_dim": network.width,
        }
    both = {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": network.width}
    return {**both, "text_config": text, "vision_config": image}


def example(network: Clip) -> tuple[jax.ShapeDtypeStruct, ...]:
    images = jax.ShapeDtypeStruct((1, network.colours, network.size, network.size), jnp.float32)
    return jax.ShapeDtypeStruct((1, 1), jnp.int32), images


def unused(network: Clip) -> tuple[str, ...]:
    """Patterns of tensors that may be there and are not read."""
    return IGNORED


def rows(network: Clip) -> list[Row]:
    p, C, D = network.patch, network.colours, network.image_width
    patches = "vision_model.embeddings.patch_embedding.weight"
    table = [
        same("scale", "logit_scale"),
        same("token_embed/embedding", "text_model.embeddings.token_embedding.weight"),
        same("position_embed/embedding", "text_model.embeddings.position_embedding.weight"),
        *layer_norm("text_norm", "text_model.final_layer_norm"),
        *linear("text_out", "text_projection", False),
        Row(
            "params/patch_embed/kernel",
            (patches,),
            lambda w: np.reshape(w.transpose(2, 3, 1, 0), (p * p * C, D)),
            lambda x: (np.reshape(x, (p, p, C, D)).transpose(3, 2, 0, 1),),
        ),
        same("class_token", "vision_model.embeddings.class_embedding"),
        same("patch_places", "vision_model.embeddings.position_embedding.weight"),
        *layer_norm("image_norm_before", "vision_model.pre_layrnorm"),
        *layer_norm("image_norm", "vision_model.post_layernorm"),
        *linear("image_out", "visual_projection", False),
    ]
    for tower, theirs, count in (
        ("text", "text_model", network.text_layers),
        ("image", "vision_model", network.image_layers),
    ):
        for i in range(count):
            table += block(f"{tower}/block_{i}", f"{theirs}.encoder.layers.{i}")
    return table


def block(ours: str, theirs: str) -> list[Row]:
    names = tuple(f"{theirs}.self_attn.{name}_proj" for name in ("q", "k", "v", "out"))
    return [
        *attention(f"{ours}/attention", names, True, True, grouped=False),
        *layer_norm(f"{ours}/norm1", f"{theirs}.layer_norm1"),
        *layer_norm(f"{ours}/norm2", f"{theirs}.layer_norm2"),
        *linear(f"{ours}/up", f"{theirs}.mlp.fc1", True),
        *linear(f"{ours}/down", f"{theirs}.mlp.fc2", True),
    ]
