"""Whisper (Radford et al. 2022): an encoder of spectrograms and a decoder of text.

Shapes: B batch, M mel bands, F frames, S = F / 2 places, L length of the text, D width, V vocabulary.
"""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.activations import ActivationName, gelu
from models.parts.attention import Attention, Context
from models.parts.axes import constrain, named
from models.parts.convolution import conv
from models.parts.dense import Dropout, Embed, at_least_one, dense
from models.parts.kernels import Sees, causal
from models.parts.positions import learned
from models.parts.transformer import Remat, Stack, Stacking, dense_mlp, empty_cache, layer_norm

SMALLEST = {"vocab": 256, "layers": 1, "heads": 2, "width": 16, "inner": 16, "context": 16}  # at which pages are tested


class Whisper(nn.Module):
    """4 layers × 6 heads × 384, 80 bands, 1,500 places, 448 tokens of 51,865 is tiny: 37,760,640.

    Two convolutions of 3 frames, the second of stride 2, then blocks with the norm before each part; queries and values
    have biases, keys have none.  Where the decoder differs from the encoder it says so.  A sound without a text is put
    into one of `classes` by the encoder alone, from the mean of its places.
    """

    vocab: int
    bands: int
    layers: int
    heads: int
    width: int
    inner: int
    places: int = 1500  # half as many as frames
    context: int = 448  # of the text
    decoder_layers: int | None = None
    decoder_heads: int | None = None
    decoder_inner: int | None = None
    head: Literal["tied", "untied"] = "tied"
    classes: int = 2  # of sounds
    activation: ActivationName = "gelu"
    dropout: float = 0.0
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    def check(self, length: int = 0) -> None:
        at_least_one(self, "vocab", "bands", "layers", "heads", "width", "inner", "places", "context")
        for name, heads in (("heads", self.heads), ("decoder_heads", self.decoder_heads or self.heads)):
            if self.width % heads:
                raise ValueError(f"width={self.width} is not divisible by {name}={heads}; change one")
        if length > self.context:
            raise ValueError(f"{length} tokens exceed the model's context={self.context}; cut the text")

    def blocks(self, count: int, heads: int, inner: int, sees: Sees | None, cross: bool) -> tuple[dict[str, Any], ...]:
        attention = functools.partial(Attention, heads, bias=True, key_bias=False)
        block = {
            "mixer": functools.partial(attention, sees=sees, name="attention"),
            "mlp": dense_mlp(inner, self.activation, bias=True),
            "norm": layer_norm(),
            "cross": functools.partial(attention, cross=True, name="cross") if cross else None,
            "dropout": self.dropout,
        }
        return (block,) * count

    @nn.compact
    def run(self, sound_BMF: Any, text_BL: Any, carry: Any, train: bool, classify: bool = False) -> Any:
        """Hears the sound, where there is one, then classifies it or writes the text, where there is one."""
        self.check(0 if text_BL is None else text_BL.shape[1])
        drop = lambda x: Dropout(self.dropout)(constrain(x, "batch", "length", None), train)
        memory_BSD = None if sound_BMF is None else self.hear(sound_BMF, train)
        if classify:
            mean_BD = Dropout(self.dropout)(memory_BSD.mean(1), train)
            return dense(self.classes, ("embed", None), name="class")(mean_BD)
        if text_BL is None:
            return memory_BSD
        length, L = 0 if carry is None else carry["length"], text_BL.shape[1]
        init = nn.initializers.normal(0.02)
        embed = Embed(self.vocab, self.width, init, ("vocab", "embed"), name="token_embed")
        x_BLD = drop(embed(text_BL) + learned(self.context, self.width, init)(length + jnp.arange(L))[None])
        heads, inner = self.decoder_heads or self.heads, self.decoder_inner or self.inner
        blocks = self.blocks(self.decoder_layers or self.layers, heads, inner, causal, True)
        stack = Stack(blocks, self.stack, self.remat, name="decoder")
        context = Context(length, memory_BTD=memory_BSD)
        x_BLD, layers = stack(x_BLD, None if carry is None else carry["layers"], context, train=train)
        x_BLD = layer_norm()("decoder_norm")(x_BLD)
        unembed = dense(self.vocab, ("embed", "vocab"), use_bias=False, name="unembed")
        logits_BLV = constrain(
            unembed(x_BLD) if self.head == "untied" else embed.attend(x_BLD), "batch", "length", "vocab"
        )
        return logits_BLV if carry is None else (logits_BLV, {**carry, "layers": layers, "length": length + L})

    def hear(self, sound_BMF: jax.Array, train: bool) -> Float[Array, "b s d"]:
        """The encoder."""
        if sound_BMF.shape[1:] != (self.bands, 2 * self.places):
            said = f"{self.bands} bands × {2 * self.places} frames"
            raise ValueError(f"the sound is {list(sound_BMF.shape[1:])}; {said} are heard: pad it or cut it")
        x = gelu(conv(self.width, (3,), (1,), name="conv1")(sound_BMF.swapaxes(1, 2)))
        x = gelu(conv(self.width, (3,), (2,), name="conv2")(x))
        places_SD = self.param("sound_places", named(slow_to_fast, None, "embed"), (self.places, self.width))
        blocks = self.blocks(self.layers, self.heads, self.inner, None, False)
        stack = Stack(blocks, self.stack, self.remat, name="encoder")
        x = constrain(x + places_SD.astype(x.dtype)[None], "batch", "length", None)
        x, _ = stack(Dropout(self.dropout)(x, train), train=train)
        return layer_norm()("encoder_norm")(x)

    def __call__(
        self, sound_BMF: Float[Array, "b m f"], text_BL: Int[Array, "b l"] | None = None, *, train: bool = False
    ) -> Float[Array, "b l v"] | Float[Array, "b c"]:
        """Logits of the next token of the text; or, without a text, of the classes of the sound."""
        return self.run(sound_BMF, text_BL, None, train, classify=text_BL is None)

    def empty_cache(self, batch: int, length: int | None = None) -> dict[str, Any]:
        """The carry of a sound that was not heard: for a text of `length` tokens, or `context`."""
        self.check(length or self.context)
        heads = self.decoder_heads or self.heads
        count = self.decoder_layers or self.layers
        return empty_cache(count, batch, length or self.context, heads, self.width // heads, self.stack, self.places)

    def start(self, sound_BMF: Float[Array, "b m f"], length: int | None = None, *, train: bool = False) -> Any:
        """The carry before the first of `length` tokens: keys and values of what each layer heard."""
        nothing = jnp.zeros((len(sound_BMF), 0), jnp.int32)
        return self.run(sound_BMF, nothing, self.empty_cache(len(sound_BMF), length), train)[1]

    def encode(self, sound_BMF: Float[Array, "b m f"], *, train: bool = False) -> Float[Array, "b s d"]:
        """The encoder's outputs."""
        return self.run(sound_BMF, None, None, train)

    def step(self, carry: Any, text_BL: Int[Array, "b l"], *, train: bool = False) -> Any:
        """The logits of these tokens, and the carry after them: what models/decode.py decodes with."""
        return self.run(None, text_BL, carry, train)


def slow_to_fast(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    """Sines, then cosines, of frequencies from 1 to 1/10,000, both ends among them, as Whisper has them."""
    S, D = shape
    half = max(D // 2, 1)
    frequency = jnp.exp(-math.log(10_000) / max(half - 1, 1) * jnp.arange(half))
    angle = jnp.arange(S)[:, None] * frequency[None]
    table = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1)
    return jnp.pad(table, ((0, 0), (0, max(D - 2 * half, 0))))[:, :D].astype(dtype)
