"""Random small configurations of public classes, and inputs for them: for hf.py and hf_torch.py.  Needs numpy only.

A draw may be one that the class itself refuses; hf_torch.py then draws again.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

VOCAB = 23
LAST = VOCAB - 1  # in no text: padding, whose row torch does not train, and CLIP's end of text
ACTIVATIONS = (
    "gelu", "gelu_10", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "hardswish", "laplace",
    "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "sqrtsoftplus", "swish",
    "tanh",
)  # fmt: skip
UNREAD = {"cls.predictions.bias", "model.shared.weight"}  # which untied classes have, and do not read themselves
Config = dict[str, Any]


class Draw:
    """Choices of one generator."""

    def __init__(self, *seed: int):
        self.rng = np.random.default_rng(seed)

    def one(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def often(self, *options: Any) -> Any:
        """The first in half of the cases."""
        return options[0] if self.rng.random() < 0.5 else self.one(*options[1:])

    def whole(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def real(self, least: float, most: float) -> float:
        return round(float(self.rng.uniform(least, most)), 3)

    def width(self, heads: int, most: int = 6) -> int:
        """Of so many heads, and 4 at least: of fewer a norm leaves little that has a gradient."""
        return heads * self.whole(-(-4 // heads), max(most, -(-4 // heads)))

    @property
    def yes(self) -> bool:
        return bool(self.rng.integers(2))

    @property
    def epsilon(self) -> float:
        return self.one(1e-12, 1e-6, 1e-5, 1e-3, 1e-2)

    @property
    def activation(self) -> str:
        return self.one(*ACTIVATIONS)


def gpt2(d: Draw) -> Config:
    heads = d.whole(1, 4)
    return {
        "vocab_size": VOCAB, "n_positions": d.whole(13, 20), "n_embd": d.width(heads), "n_layer": d.whole(1, 3),
        "n_head": heads, "n_inner": d.often(None, 5, 17), "activation_function": d.activation,
        "layer_norm_epsilon": d.epsilon, "scale_attn_weights": d.yes, "scale_attn_by_inverse_layer_idx": d.yes,
        "reorder_and_upcast_attn": d.yes, "tie_word_embeddings": d.yes,
    }  # fmt: skip


def llama_like(d: Draw) -> Config:
    groups, kv_heads, width = d.whole(1, 3), d.whole(1, 3), 2 * d.whole(1, 4)
    heads, context = groups * kv_heads, d.one(8, 13, 32)
    return {
        "vocab_size": VOCAB, "hidden_size": heads * width, "intermediate_size": d.whole(1, 21),
        "num_hidden_layers": d.whole(1, 3), "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "head_dim": d.often(width, 2 * d.whole(1, 5)), "max_position_embeddings": context,
        "rms_norm_eps": d.epsilon, "tie_word_embeddings": d.yes, "pad_token_id": d.often(None, LAST),
        "bos_token_id": 0, "eos_token_id": d.often(1, [1, 2]),
    }  # fmt: skip


def with_rotary(d: Draw, config: Config, partial: bool = False) -> Config:
    share = d.one(0.25, 0.5, 0.75, 1.0) if partial else 1.0
    turned = int(config.get("head_dim", config["hidden_size"] // config["num_attention_heads"]) * share)
    return {**config, "rope_parameters": rotary(d, turned, share if partial else None)}


def rotary(d: Draw, turned: int, share: float | None) -> Config:
    """Of `turned` numbers of a head, which are this `share` of it."""
    said: Config = {"rope_theta": d.one(10_000.0, 50.0, 1e6)}
    if share is not None:
        said["partial_rotary_factor"] = share
    kind = d.one("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")
    said["rope_type"] = kind
    if kind in ("linear", "dynamic", "yarn", "llama3"):
        said["factor"] = d.real(1, 8)
    if kind == "proportional" and d.yes:
        said["factor"] = d.real(1, 8)
    if kind == "proportional" and share is None and d.yes:
        said["partial_rotary_factor"] = d.one(0.5, 0.25)
    if kind in ("yarn", "longrope", "llama3"):
        said["original_max_position_embeddings"] = d.whole(4, 8)
    if kind == "llama3":
        said |= {"low_freq_factor": 1.0, "high_freq_factor": d.real(2, 5)}
    if kind == "longrope":
        said |= {name: [d.real(1, 4) for _ in range(turned // 2)] for name in ("short_factor", "long_factor")}
        if d.yes:
            said["factor"] = d.real(1, 8)
    if kind == "yarn":
        said |= d.one({}, {"truncate": False}, {"beta_fast": 4.0, "beta_slow": 0.5}, {"mscale": 0.7})
        said |= d.one({}, {"mscale": 0.7, "mscale_all_dim": 1.2})
    if kind in ("yarn", "longrope") and d.yes:
        said["attention_factor"] = d.real(0.5, 2)
    return said


def llama(d: Draw) -> Config:
    return with_rotary(
        d,
        {**llama_like(d), "hidden_act": d.activation, "attention_bias": d.yes, "mlp_bias": d.yes, "pretraining_tp": 1},
    )


def mistral(d: Draw) -> Config:
    return with_rotary(d, {**llama_like(d), "hidden_act": d.activation, "sliding_window": d.often(None, 1, 3, 4096)})


def qwen3(d: Draw) -> Config:
    config = {
        **llama_like(d), "hidden_act": d.activation, "attention_bias": d.yes, "use_sliding_window": d.yes,
        "sliding_window": d.whole(1, 5), "max_window_layers": d.whole(0, 3),
    }  # fmt: skip
    if config["use_sliding_window"] and d.yes:
        kinds = [d.one("sliding_attention", "full_attention") for _ in range(config["num_hidden_layers"])]
        config["layer_types"] = kinds
    return with_rotary(d, config)


def mixtral(d: Draw) -> Config:
    experts = d.whole(1, 5)
    return with_rotary(
        d,
        {
            **llama_like(d), "hidden_size": 4 * d.whole(1, 6), "intermediate_size": 4 * d.whole(1, 5),  # torch's kernel
            "head_dim": 2 * d.whole(1, 4), "hidden_act": d.activation, "sliding_window": d.often(None, 1, 3),
            "num_local_experts": experts, "num_experts_per_tok": d.whole(1, experts),
        },
    )  # fmt: skip


def neox(d: Draw) -> Config:
    heads = d.whole(1, 3)
    return with_rotary(
        d,
        {
            "vocab_size": VOCAB, "hidden_size": heads * 8 * d.whole(1, 2), "intermediate_size": d.whole(1, 17),
            "num_hidden_layers": d.whole(1, 3), "num_attention_heads": heads, "hidden_act": d.activation,
            "max_position_embeddings": d.one(8, 13, 32), "layer_norm_eps": d.epsilon, "tie_word_embeddings": d.yes,
            "use_parallel_residual": d.yes, "attention_bias": d.yes,
        },
        partial=True,
    )  # fmt: skip


def bert(d: Draw) -> Config:
    heads = d.whole(1, 4)
    return {
        "vocab_size": VOCAB, "hidden_size": d.width(heads), "num_hidden_layers": d.whole(1, 3),
        "num_attention_heads": heads, "intermediate_size": d.whole(1, 17), "hidden_act": d.activation,
        "max_position_embeddings": d.whole(13, 20), "type_vocab_size": d.whole(1, 3), "layer_norm_eps": d.epsilon,
        "is_decoder": d.yes, "tie_word_embeddings": d.yes, "pad_token_id": LAST,
    }  # fmt: skip


def vit(d: Draw) -> Config:
    heads, size, patch = d.whole(1, 4), d.often(d.whole(6, 12), [9, 12]), d.often(d.whole(2, 4), [2, 5])
    return {
        "hidden_size": d.width(heads), "num_hidden_layers": d.whole(1, 3), "num_attention_heads": heads,
        "intermediate_size": d.whole(1, 17), "hidden_act": d.activation, "layer_norm_eps": d.epsilon,
        "image_size": size, "patch_size": patch, "num_channels": d.whole(1, 4), "qkv_bias": d.yes,
        "num_labels": d.whole(2, 6),
    }  # fmt: skip


def t5(d: Draw) -> Config:
    buckets = 2 * d.whole(1, 6)
    return {
        "vocab_size": VOCAB, "d_model": d.whole(4, 13), "d_kv": d.whole(1, 6), "d_ff": d.whole(1, 17),
        "num_layers": d.whole(1, 3), "num_decoder_layers": d.often(None, 1, 2), "num_heads": d.whole(1, 4),
        "relative_attention_num_buckets": buckets, "relative_attention_max_distance": d.whole(buckets + 1, 25),
        "feed_forward_proj": d.one("", "gated-") + d.activation, "layer_norm_epsilon": d.epsilon,
        "decoder_start_token_id": 0, "pad_token_id": LAST,
        **d.one({}, {"tie_word_embeddings": False}, {"tie_word_embeddings": True}),
    }  # fmt: skip


def two_stacks(d: Draw, even: bool) -> Config:
    width = d.whole(1, 2) * 6
    return {
        "vocab_size": VOCAB, "d_model": width if even else d.one(width, 9), "encoder_layers": d.whole(1, 2),
        "decoder_layers": d.whole(1, 3), "encoder_attention_heads": d.one(1, 3), "decoder_attention_heads": d.one(1, 3),
        "encoder_ffn_dim": d.whole(1, 17), "decoder_ffn_dim": d.whole(1, 17), "activation_function": d.activation,
        "scale_embedding": d.yes, "tie_word_embeddings": d.yes, "pad_token_id": LAST, "decoder_start_token_id": LAST,
    }  # fmt: skip


def marian(d: Draw) -> Config:
    config = {**two_stacks(d, False), "max_position_embeddings": d.whole(13, 20), "eos_token_id": 0}
    if d.yes:
        config |= {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": d.often(VOCAB, VOCAB + 4)}
    return config


def whisper(d: Draw) -> Config:
    return {
        **two_stacks(d, True), "num_mel_bins": d.whole(1, 5), "max_source_positions": d.whole(3, 8),
        "max_target_positions": d.whole(13, 20), "bos_token_id": 1, "eos_token_id": 2, "begin_suppress_tokens": [4],
    }  # fmt: skip


def clip(d: Draw) -> Config:
    def tower(**more: Any) -> Config:
        heads = d.whole(1, 4)
        return {
            "hidden_size": d.width(heads), "num_hidden_layers": d.whole(1, 3), "num_attention_heads": heads,
            "intermediate_size": d.whole(1, 17), "hidden_act": d.activation, "layer_norm_eps": d.epsilon, **more,
        }  # fmt: skip

    end = d.often(LAST, 2)
    return {
        "projection_dim": d.whole(1, 12),
        "text_config": tower(
            vocab_size=VOCAB, max_position_embeddings=d.whole(13, 20), eos_token_id=end, bos_token_id=1, pad_token_id=0
        ),
        "vision_config": tower(image_size=d.whole(6, 12), patch_size=d.whole(2, 4), num_channels=d.whole(1, 4)),
    }


def mamba(d: Draw) -> Config:
    return {
        "vocab_size": VOCAB, "hidden_size": d.whole(4, 20), "state_size": d.whole(1, 5),
        "num_hidden_layers": d.whole(1, 3), "layer_norm_epsilon": d.epsilon, "expand": d.whole(1, 3),
        "conv_kernel": d.whole(1, 5), "use_bias": d.yes, "use_conv_bias": d.yes, "hidden_act": d.activation,
        "time_step_rank": d.often("auto", 1, 5), "tie_word_embeddings": d.yes, "pad_token_id": LAST,
    }  # fmt: skip


def resnet(d: Draw) -> Config:
    kind, stages = d.one("basic", "bottleneck"), d.whole(1, 3)
    times = 4 if kind == "bottleneck" and d.yes else 1  # others leave a remainder
    return {
        "embedding_size": d.whole(3, 8), "hidden_sizes": [max(4, times * d.whole(1, 4)) for _ in range(stages)],
        "depths": [d.whole(1, 3) for _ in range(stages)], "layer_type": kind, "hidden_act": d.activation,
        "downsample_in_first_stage": d.yes, "downsample_in_bottleneck": d.yes, "num_channels": d.whole(1, 4),
        "num_labels": d.whole(2, 6),
    }  # fmt: skip


CONFIGS: dict[str, Callable[[Draw], Config]] = {
    "GPT2LMHeadModel": gpt2, "LlamaForCausalLM": llama, "MistralForCausalLM": mistral, "Qwen3ForCausalLM": qwen3,
    "MixtralForCausalLM": mixtral, "GPTNeoXForCausalLM": neox,
    "BertModel": bert, "BertForMaskedLM": bert, "T5ForConditionalGeneration": t5,
    "ViTForImageClassification": vit, "WhisperForConditionalGeneration": whisper, "MarianMTModel": marian,
    "CLIPModel": clip, "MambaForCausalLM": mamba, "ResNetForImageClassification": resnet,
}  # fmt: skip


def texts(d: Draw, batch: int, length: int) -> np.ndarray:
    return d.rng.integers(0, LAST, (batch, length))


def mask(d: Draw, batch: int, length: int) -> np.ndarray:
    """Padding behind, before, or holes anywhere; each text keeps a token."""
    keep, place = d.rng.integers(1, length + 1, batch), np.arange(length)
    kind = d.one("behind", "before", "holes")
    if kind == "holes":
        holes = (d.rng.random((batch, length)) < 0.7).astype(np.int64)
        holes[np.arange(batch), d.rng.integers(0, length, batch)] = 1
        return holes
    behind = (place[None] < keep[:, None]).astype(np.int64)
    return behind if kind == "behind" else behind[:, ::-1].copy()


def inputs(architecture: str, d: Draw, config: Config) -> dict[str, np.ndarray]:
    """By the names that the class gives them, in the order in which ours take them."""
    length = d.whole(2, 13)
    if architecture in ("ViTForImageClassification", "ResNetForImageClassification"):
        size = config.get("image_size") or [d.whole(20, 45), d.whole(20, 45)]
        height, width = [size, size] if isinstance(size, int) else size
        return {"pixel_values": normal(d, 2, config["num_channels"], height, width)}
    if architecture == "WhisperForConditionalGeneration":
        sound = normal(d, 2, config["num_mel_bins"], 2 * config["max_source_positions"])
        return {"input_features": sound, "decoder_input_ids": texts(d, 2, length)}
    if architecture == "CLIPModel":
        image, text = config["vision_config"], texts(d, 3, length)
        text[np.arange(3), d.rng.integers(0, length, 3)] = LAST
        pixels = normal(d, 3, image["num_channels"], image["image_size"], image["image_size"])
        found = {"input_ids": text, "pixel_values": pixels}
        return found | ({"attention_mask": mask(d, 3, length)} if d.yes else {})
    source = d.whole(2, 13)
    found = {"input_ids": texts(d, 2, source)}
    if d.yes:
        found["attention_mask"] = mask(d, 2, source)
    if architecture in ("T5ForConditionalGeneration", "MarianMTModel"):
        found["decoder_input_ids"] = texts(d, 2, length)
    return found


def normal(d: Draw, *shape: int) -> np.ndarray:
    return d.rng.standard_normal(shape).astype(np.float32)
