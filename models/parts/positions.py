"""Where a token stands: learned, sinusoidal, rotary and relative positions.

Shapes: B batch, L length, T length of the keys, N heads, H head width, D width, F = H / 2 frequencies.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.axes import named
from models.parts.dense import Embed

Turn = Callable[[jax.Array, jax.Array], jax.Array]  # (x_BLNH, position_L) -> x_BLNH
Scaling = Mapping[str, Any]  # as a public checkpoint's config.json has it: rope_type, factor, …


def learned(context: int, width: int, initializer: Callable, name: str = "position_embed") -> Embed:
    """A vector for each position (Gehring et al. 2017; Radford et al. 2018)."""
    return Embed(context, width, initializer, (None, "embed"), name=name)


def within(segments_BL: Int[Array, "b l"]) -> Int[Array, "b l"]:
    """The place of each token in its segment: tokens in a row that have one number."""
    place = jnp.broadcast_to(jnp.arange(segments_BL.shape[1]), segments_BL.shape)
    begins = jnp.diff(segments_BL, axis=1, prepend=segments_BL[:, :1] - 1) != 0
    return place - jax.lax.cummax(jnp.where(begins, place, 0), axis=1)


def sinusoidal(position_L: Int[Array, " l"], width: int) -> Float[Array, "l d"]:
    """sin(p f_i), then cos(p f_i), with f_i = 10000^(-i / (D/2)) (Vaswani et al. 2017, who interleave the two)."""
    half = -(-width // 2)
    angle = position_L.astype(jnp.float32)[:, None] * 10_000.0 ** (-2 * jnp.arange(half) / width)[None]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)[:, : width - half]], axis=1)


def rotate(
    x_BLNH: Float[Array, "b l n h"],
    position_L: Int[Array, " l"],
    frequency_F: Float[Array, " f"] | None = None,
    magnitude: float | jax.Array = 1.0,
) -> Float[Array, "b l n h"]:
    """Turns each pair (x_i, x_{i+F}) by position · frequency_i (Su et al. 2021), in float32 always.

    Without frequencies they are 10000^(-i/F).  Where there are fewer than H / 2, the last numbers stay as they are.
    """
    frequency_F = plain_frequencies(x_BLNH.shape[-1] // 2, 10_000.0) if frequency_F is None else frequency_F
    turned = 2 * len(frequency_F)
    angle_LF = position_L.astype(jnp.float32)[:, None] * frequency_F[None]
    cos, sin = jnp.cos(angle_LF)[None, :, None], jnp.sin(angle_LF)[None, :, None]
    if not (isinstance(magnitude, float) and magnitude == 1):
        cos, sin = cos * magnitude, sin * magnitude
    x = x_BLNH.astype(jnp.float32)
    left, right = jnp.split(x[..., :turned], 2, axis=-1)
    parts = [left * cos - right * sin, right * cos + left * sin]
    if turned < x.shape[-1]:
        parts.append(x[..., turned:])
    return jnp.concatenate(parts, axis=-1).astype(x_BLNH.dtype)


def plain_frequencies(half: int, base: float | jax.Array) -> jax.Array:
    return base ** (-jnp.arange(half) / half)


def rotary(width: int, base: float = 10_000.0, scaling: Scaling | None = None, context: int = 0) -> Turn:
    """Rotary positions for heads of `width`; `scaling` stretches them beyond the `context` they were trained on."""
    kind = "default" if scaling is None else scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in SCALINGS:
        raise ValueError(f"rope_type={kind!r}: rotary positions are scaled by {', '.join(SCALINGS)}")
    options = dict(scaling or {})
    options.setdefault("original_max_position_embeddings", context)
    half = width // 2 if kind == "proportional" else int(width * options.get("partial_rotary_factor", 1.0)) // 2

    def turn(x_BLNH: jax.Array, position_L: jax.Array) -> jax.Array:
        frequency_F, magnitude = SCALINGS[kind](half, base, options, context, position_L)
        return rotate(x_BLNH, position_L, frequency_F, magnitude)

    return turn


# (F, base, options, context, positions) -> frequencies, and what cosines and sines are multiplied by.
Frequencies = tuple[jax.Array, float | jax.Array]


def default(half: int, base: float, options: Scaling, context: int, position_L: jax.Array) -> Frequencies:
    return plain_frequencies(half, base), 1.0


def linear(half: int, base: float, options: Scaling, context: int, position_L: jax.Array) -> Frequencies:
    """All slower by `factor` (Chen et al. 2023)."""
    return plain_frequencies(half, base) / options["factor"], 1.0


def proportional(half: int, base: float, options: Scaling, context: int, position_L: jax.Array) -> Frequencies:
    """The first pairs of a head turn as if all did, the others stand still."""
    turning = int(options.get("partial_rotary_factor", 1.0) * 2 * half // 2)
    frequency = jnp.where(jnp.arange(half) < turning, plain_frequencies(half, base), 0.0)
    return frequency / options.get("factor", 1.0), 1.0


def dynamic(half: int, base: float, options: Scaling, context: int, position_L: jax.Array) -> Frequencies:
    """A larger base for a text longer than the context (bloc97 and emozilla 2023)."""
    length, factor = jnp.maximum(position_L.max() + 1, context), options["factor"]
    stretch = (factor * length / context - (factor - 1)) ** (half / (half - 1))
    return plain_frequencies(half, base * stretch), 1.0


def llama3(half: int, base: float, options: Scaling, context: int, position_L: jax.Array) -> Frequencies:
    """Slow frequencies slower by `factor`, fast ones as they are, others between the two (Grattafiori et al. 2024)."""
    frequency = plain_frequencies(half, base)
    low, high = options["low_freq_factor"], options["high_freq_factor"]
    turns = options["original_max_position_embeddings"] * frequency / (2 * math.pi)  # within the trained context
    share = jnp.clip((turns - low) / (high - low), 0, 1)
    return frequency * (share + (1 - share) / options["factor"]), 1.0


def yarn(half: int, base: float, options: Scaling, context: int, position_L: jax.Array) -> Frequencies:
    """Between `linear` and none by how often a pair turns, and larger scores (Peng et al. 2023)."""
    trained = options["original_max_position_embeddings"]
    factor = options.get("factor") or context / trained
    where = lambda turns: half * math.log(trained / (turns * 2 * math.pi)) / math.log(base)
    low, high = where(options.get("beta_fast") or 32), where(options.get("beta_slow") or 1)
    if options.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * half - 1)
    high = high + 0.001 if high == low else high
    slowed = jnp.clip((jnp.arange(half) - low) / (high - low), 0, 1)
    frequency = plain_frequencies(half, base)
    return frequency * (1 - slowed) + frequency / factor * slowed, yarn_magnitude(factor, options)


def yarn_magnitude(factor: float, options: Scaling) -> float:
    by = lambda scale: 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0
    if options.get("attention_factor") is not None:
        return options["attention_factor"]
    if options.get("mscale") and options.get("mscale_all_dim"):
        return by(options["mscale"]) / by(options["mscale_all_dim"])
    return by(1.0)


def longrope(half: int, base: float, options: Scaling, context: int, position_L: jax.Array) -> Frequencies:
    """Each frequency has its own factor, one for short texts and one for long (Ding et al. 2024)."""
    trained = options["original_max_position_embeddings"]
    factor, magnitude = options.get("factor") or context / trained, options.get("attention_factor")
    if magnitude is None:
        magnitude = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(trained))
    by = (jnp.asarray(options[name], jnp.float32) for name in ("long_factor", "short_factor"))
    return plain_frequencies(half, base) / jnp.where(position_L.max() + 1 > trained, *by), magnitude


SCALINGS: dict[str, Callable[..., Frequencies]] = {
    "default": default, "linear": linear, "dynamic": dynamic, "llama3": llama3, "yarn": yarn, "longrope": longrope,
    "proportional": proportional,
}  # fmt: skip


class RelativeBias(nn.Module):
    """A learned number for each head and each range of distances, added to the scores (Raffel et al. 2020).

    Distances up to half the `buckets` (a quarter in both directions) have a bucket each; longer ones share buckets that
    grow geometrically up to `furthest`.
    """

    heads: int
    buckets: int = 32
    furthest: int = 128
    both: bool = True  # directions; else keys that come later are all in the bucket of distance 0

    @nn.compact
    def __call__(self, query_L: Int[Array, " l"], key_T: Int[Array, " t"]) -> Float[Array, "1 n l t"]:
        table = self.param("table", named(nn.initializers.normal(1.0), None, "heads"), (self.buckets, self.heads))
        bucket_LT = self.bucket(key_T[None] - query_L[:, None])
        return table[bucket_LT].transpose(2, 0, 1)[None]

    def bucket(self, ahead: jax.Array) -> jax.Array:
        """The bucket of a key that stands so many places `ahead` of the query."""
        buckets = self.buckets // 2 if self.both else self.buckets
        first = jnp.where(ahead > 0, buckets, 0) if self.both else 0
        distance = jnp.abs(ahead) if self.both else jnp.maximum(-ahead, 0)
        exact = buckets // 2
        ratio = jnp.log(jnp.maximum(distance, 1) / exact) / math.log(self.furthest / exact)
        far = jnp.minimum(exact + (ratio * (buckets - exact)).astype(jnp.int32), buckets - 1)
        return first + jnp.where(distance < exact, distance, far)
