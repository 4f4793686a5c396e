"""Published parameter counts of the attention family, by shapes alone; layers are scanned, so that one is traced."""

import jax
import jax.numpy as jnp
import pytest

from models.api import from_linen
from models.bert import Bert
from models.clip import Clip
from models.llama import Llama
from models.mamba import Mamba
from models.t5 import T5
from models.transformer import Transformer
from models.vit import ViT
from models.whisper import Whisper

TOKENS = jax.ShapeDtypeStruct((1, 8), jnp.int32)
IMAGE = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
SCAN = {"stack": "scan"}
SOUND = jax.ShapeDtypeStruct((1, 80, 3000), jnp.float32)
QWEN = {"head_norm": "rms", "head": "tied", **SCAN}
MISTRAL = {"kv_heads": 8, "base": 1e6, **SCAN}


@pytest.mark.parametrize(
    ("network", "inputs", "count"),
    [
        (Bert(30_522, 12, 12, 768, 3072, 512, **SCAN), (TOKENS,), 109_482_240),  # base, with the pooled token
        (ViT(1000, 12, 12, 768, 16, **SCAN), (IMAGE,), 86_567_656),  # B/16
        (Whisper(51_865, 80, 4, 6, 384, 1536, **SCAN), (SOUND, TOKENS), 37_760_640),  # tiny
        (T5(32_128, 6, 8, 512, 2048, 64, **SCAN), (TOKENS, TOKENS), 60_506_624),  # small
        (Mamba(50_280, 24, 768, **SCAN), (TOKENS,), 129_135_360),  # 130M
        (Llama(32_000, 32, 32, 4096, 11_008, 4096, **SCAN), (TOKENS,), 6_738_415_616),  # Llama 2, 7B
        (Llama(128_256, 32, 32, 4096, 14_336, 8192, kv_heads=8, **SCAN), (TOKENS,), 8_030_261_248),  # Llama 3, 8B
        (Llama(32_000, 32, 32, 4096, 14_336, 32_768, **MISTRAL), (TOKENS,), 7_241_732_096),  # Mistral, 7B
        (Llama(32_000, 32, 32, 4096, 14_336, 32_768, experts=8, **MISTRAL), (TOKENS,), 46_702_792_704),  # Mixtral, 8x7B
        (Llama(151_936, 28, 16, 1024, 3072, 40_960, 8, 128, **QWEN), (TOKENS,), 596_049_920),  # Qwen3, 0.6B
        (Clip(49_408, 77, 512, 512, 12, 8, 2048, 768, 12, 12, 3072, 224, 32, **SCAN), (TOKENS, IMAGE), 151_277_313),
        # The paper's base: "65 × 10⁶", with 37,000 tokens for both languages; the bias of each word is Marian's.
        (Transformer(37_000, 6, 8, 512, 2048, **SCAN), (TOKENS, TOKENS), 63_082_496 + 37_000),
    ],
    ids=["bert", "vit", "whisper", "t5", "mamba", "llama2", "llama3", "mistral", "mixtral", "qwen3", "clip", "2017"],
)  # fmt: skip
def test_published_sizes(network, inputs, count):
    params, _ = jax.eval_shape(from_linen(network).init, jax.eval_shape(lambda: jax.random.key(0)), *inputs)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
