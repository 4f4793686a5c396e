"""Small networks of public classes, in odd configurations, and what they are given: for hf.py and the tests."""

import numpy as np

from tests.support.golden import numbers

TEXT, PADDED, LONG, WIDE, SQUARE, LARGE = "text", "padded", "long", "wide", "square", "large"
PAIR, PADDED_PAIR, SOUND = "pair", "padded_pair", "sound"
CAPTIONS, PADDED_CAPTIONS = "captions", "padded_captions"


def ids(name, batch, length, vocab):
    return (np.abs(numbers(name, batch, length)) * vocab).astype(np.int64)


def inputs_of(shape):
    """Inputs by the name that the public class gives them, in the order in which ours take them."""
    match shape:
        case "text":
            return {"input_ids": ids("text", 2, 7, 23)}
        case "long":
            return {"input_ids": ids("text", 2, 13, 23)}
        case "padded":  # before one text and behind the other
            mask = np.ones((2, 7), np.int64)
            mask[0, :2] = mask[1, 5:] = 0
            return {"input_ids": ids("text", 2, 7, 23), "attention_mask": mask}
        case "wide":
            return {"pixel_values": numbers("pixels", 2, 2, 9, 12)}
        case "large":
            return {"pixel_values": numbers("pixels", 2, 3, 40, 36)}
        case "square":
            return {"pixel_values": numbers("pixels", 2, 3, 8, 8)}
        case "pair":
            return {"input_ids": ids("source", 2, 9, 23), "decoder_input_ids": ids("text", 2, 13, 23)}
        case "padded_pair":
            mask = np.ones((2, 9), np.int64)
            mask[0, :2] = mask[1, 5:] = 0
            source = {"input_ids": ids("source", 2, 9, 23), "attention_mask": mask}
            return {**source, "decoder_input_ids": ids("text", 2, 7, 23)}
        case "sound":
            return {"input_features": numbers("sound", 2, 4, 12), "decoder_input_ids": ids("text", 2, 7, 23)}
        case "captions":
            text = ids("text", 3, 7, 23)
            return {"input_ids": text, "pixel_values": numbers("pixels", 2, 3, 8, 8)}
        case "padded_captions":
            text, mask = ids("text", 2, 7, 22), np.ones((2, 7), np.int64)
            text[0, 6], text[1, 4], mask[1, 5:] = 22, 22, 0
            pixels = numbers("pixels", 2, 2, 9, 9)
            return {"input_ids": text, "pixel_values": pixels, "attention_mask": mask}
    raise ValueError(shape)


GPT2 = {"vocab_size": 23, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3}
LLAMA = {
    "vocab_size": 23, "hidden_size": 16, "intermediate_size": 21, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 16, "pad_token_id": 0,
}  # fmt: skip
GROUPED = {**LLAMA, "num_key_value_heads": 2}
NEOX = {
    "vocab_size": 23, "hidden_size": 16, "intermediate_size": 21, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 16,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 50.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 9,
}  # fmt: skip
BERT = {
    "vocab_size": 23, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 17,
    "max_position_embeddings": 9,
}  # fmt: skip
VIT = {
    "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 17, "image_size": 8,
    "patch_size": 4, "num_labels": 5,
}  # fmt: skip
T5 = {
    "vocab_size": 23, "d_model": 12, "d_kv": 5, "d_ff": 17, "num_layers": 2, "num_heads": 3,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 10, "decoder_start_token_id": 0,
}  # fmt: skip
MARIAN = {
    "vocab_size": 23, "d_model": 12, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 3,
    "decoder_attention_heads": 3, "encoder_ffn_dim": 17, "decoder_ffn_dim": 17, "max_position_embeddings": 16,
    "pad_token_id": 18, "decoder_start_token_id": 18,
}  # fmt: skip
WHISPER = {
    "vocab_size": 23, "d_model": 12, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 3,
    "decoder_attention_heads": 3, "encoder_ffn_dim": 17, "decoder_ffn_dim": 17, "num_mel_bins": 4,
    "max_source_positions": 6, "max_target_positions": 9, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 3, "begin_suppress_tokens": [4],
}  # fmt: skip
CLIP_TEXT = {
    "vocab_size": 23, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 17,
    "max_position_embeddings": 9, "pad_token_id": 0, "bos_token_id": 1,
}  # fmt: skip
CLIP_IMAGE = {
    "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 17, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip

# {architecture: {case: (config, inputs)}}
CASES = {
    "GPT2LMHeadModel": {
        "plain": (GPT2, TEXT),
        "odd": (
            {**GPT2, "n_inner": 17, "activation_function": "gelu", "layer_norm_epsilon": 1e-3, "n_layer": 3,
             "scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False}, PADDED),
        "unscaled": ({**GPT2, "scale_attn_weights": False, "activation_function": "relu"}, PADDED),
        "by_layer": (
            {**GPT2, "scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True, "n_head": 1}, TEXT),
    },
    "LlamaForCausalLM": {
        "plain": (LLAMA, TEXT),
        "llama3": (
            {**GROUPED, "head_dim": 6, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
             "rope_parameters": LLAMA3}, PADDED),
        "linear": (
            {**LLAMA, "num_key_value_heads": 1, "hidden_act": "gelu", "rms_norm_eps": 1e-3,
             "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 10_000.0}}, TEXT),
        "dynamic": (
            {**GROUPED, "max_position_embeddings": 8,
             "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 100.0}}, LONG),
        "yarn": (
            {**GROUPED, "max_position_embeddings": 32,
             "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 100.0,
                                 "original_max_position_embeddings": 8}}, LONG),
        "longrope": (
            {**GROUPED, "max_position_embeddings": 32,
             "rope_parameters": {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": [1.0, 1.5],
                                 "long_factor": [1.0, 4.0], "original_max_position_embeddings": 8}}, LONG),
    },
    "MistralForCausalLM": {
        "plain": ({**GROUPED, "sliding_window": None}, TEXT),
        "window": ({**GROUPED, "sliding_window": 3, "head_dim": 10, "num_key_value_heads": 1}, PADDED),
        "window_of_one": ({**GROUPED, "sliding_window": 1, "rope_parameters": LLAMA3, "hidden_act": "relu"}, TEXT),
    },
    "Qwen3ForCausalLM": {
        "plain": ({**GROUPED, "head_dim": 8}, TEXT),
        "bias": ({**LLAMA, "head_dim": 6, "attention_bias": True, "tie_word_embeddings": True}, PADDED),
        "windows": (
            {**GROUPED, "head_dim": 4, "num_hidden_layers": 3, "use_sliding_window": True, "sliding_window": 2,
             "max_window_layers": 1}, PADDED),
        "layer_types": (
            {**GROUPED, "head_dim": 4, "use_sliding_window": True, "sliding_window": 3,
             "layer_types": ["sliding_attention", "full_attention"]}, LONG),
    },
    "BertModel": {
        "plain": (BERT, PADDED),
        "odd": ({**BERT, "type_vocab_size": 1, "hidden_act": "relu", "layer_norm_eps": 1e-2, "num_attention_heads": 1},
                TEXT),
        "decoder": ({**BERT, "is_decoder": True, "hidden_act": "gelu_new"}, PADDED),
    },
    "BertForMaskedLM": {
        "plain": (BERT, PADDED),
        "untied": ({**BERT, "tie_word_embeddings": False, "hidden_act": "silu", "type_vocab_size": 3}, TEXT),
    },
    "ViTForImageClassification": {
        "plain": (VIT, SQUARE),
        "odd": (
            {**VIT, "image_size": [9, 12], "patch_size": [2, 5], "num_channels": 2, "qkv_bias": False, "num_labels": 2,
             "hidden_act": "quick_gelu", "layer_norm_eps": 1e-2}, WIDE),
    },
    "T5ForConditionalGeneration": {
        "plain": (T5, PAIR),
        "gated": ({**T5, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 1, "tie_word_embeddings": False,
                   "relative_attention_num_buckets": 6, "relative_attention_max_distance": 5}, PADDED_PAIR),
        "silu": ({**T5, "feed_forward_proj": "gated-silu", "layer_norm_epsilon": 1e-2, "num_heads": 1}, PADDED_PAIR),
    },
    "MixtralForCausalLM": {
        "plain": ({**GROUPED, "num_local_experts": 4, "intermediate_size": 20}, TEXT),
        "window": ({**GROUPED, "num_local_experts": 3, "num_experts_per_tok": 1, "sliding_window": 3, "head_dim": 6,
                    "intermediate_size": 20, "tie_word_embeddings": True, "hidden_act": "gelu"}, PADDED),
    },
    "GPTNeoXForCausalLM": {
        "plain": (NEOX, TEXT),
        "odd": (
            {**NEOX, "use_parallel_residual": False, "attention_bias": False, "tie_word_embeddings": True,
             "hidden_act": "gelu_new", "layer_norm_eps": 1e-3,
             "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 100.0,
                                 "partial_rotary_factor": 1.0}}, PADDED),
    },
    "MambaForCausalLM": {
        "plain": ({"vocab_size": 23, "hidden_size": 12, "num_hidden_layers": 2, "state_size": 4}, TEXT),
        "odd": ({"vocab_size": 23, "hidden_size": 10, "num_hidden_layers": 2, "state_size": 3, "expand": 3,
                 "conv_kernel": 3, "use_bias": True, "use_conv_bias": False, "time_step_rank": 5,
                 "tie_word_embeddings": False, "layer_norm_epsilon": 1e-2}, PADDED),
    },
    "MarianMTModel": {
        "plain": (MARIAN, PAIR),
        "odd": ({**MARIAN, "scale_embedding": True, "activation_function": "swish", "decoder_layers": 1, "d_model": 9,
                 "decoder_attention_heads": 1, "decoder_ffn_dim": 7}, PADDED_PAIR),
        "apart": ({**MARIAN, "share_encoder_decoder_embeddings": False, "decoder_vocab_size": 23,
                   "tie_word_embeddings": False}, PADDED_PAIR),
    },
    "WhisperForConditionalGeneration": {
        "plain": (WHISPER, SOUND),
        "odd": ({**WHISPER, "scale_embedding": True, "activation_function": "relu", "decoder_layers": 1, "d_model": 10,
                 "encoder_attention_heads": 5, "decoder_attention_heads": 2, "decoder_ffn_dim": 7,
                 "tie_word_embeddings": False}, SOUND),
    },
    "CLIPModel": {
        "plain": (
            {"projection_dim": 10, "text_config": {**CLIP_TEXT, "eos_token_id": 2}, "vision_config": CLIP_IMAGE},
            CAPTIONS),
        "odd": (
            {"projection_dim": 7, "text_config": {**CLIP_TEXT, "eos_token_id": 22, "hidden_act": "gelu"},
             "vision_config": {**CLIP_IMAGE, "image_size": 9, "patch_size": 2, "num_channels": 2, "hidden_size": 10,
                               "num_attention_heads": 5, "layer_norm_eps": 1e-2}}, PADDED_CAPTIONS),
    },
    "ResNetForImageClassification": {
        "plain": (
            {"embedding_size": 6, "hidden_sizes": [8, 12], "depths": [1, 2], "layer_type": "bottleneck",
             "num_labels": 5}, LARGE),
        "early": (
            {"embedding_size": 8, "hidden_sizes": [8, 14], "depths": [2, 1], "layer_type": "bottleneck",
             "downsample_in_bottleneck": True, "downsample_in_first_stage": True, "hidden_act": "silu"}, LARGE),
        "basic": ({"embedding_size": 7, "hidden_sizes": [7, 9, 11], "depths": [1, 1, 2], "layer_type": "basic"}, LARGE),
    },
}  # fmt: skip
