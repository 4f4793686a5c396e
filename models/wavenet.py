"""WaveNet (van den Oord et al. 2016, "WaveNet: a generative model for raw audio").  B batch, L length, D width."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.layers import conv

SMALLEST = {"vocab": 256, "layers": 1, "cycles": 1, "width": 16, "skip": 16}  # at which pages are tested


def dilations(layers: int, cycles: int) -> tuple[int, ...]:
    """1, 2, 4, …, 2 ** (layers - 1), `cycles` times over (section 2.1)."""
    return tuple(2**layer for _ in range(cycles) for layer in range(layers))


def receptive_field(dilations: Sequence[int], kernel: int = 2) -> int:
    """How many inputs an output sees through causal convolutions: 1, 2, …, 512 at kernel 2 make 1024 (section 2.1).

    A network's convolution of the input is one more, of dilation 1: `receptive_field((1, *dilations(…)))`.
    """
    return 1 + (kernel - 1) * sum(dilations)


class Layer(nn.Module):
    """A gated, dilated convolution (equation 2) and its two 1 × 1 outputs: to the next layer, to the end (figure 4)."""

    dilation: int
    skip: int
    last: bool

    @nn.compact
    def __call__(self, x_BLD: jax.Array) -> tuple[jax.Array, jax.Array]:
        width = x_BLD.shape[-1]
        both = conv(2 * width, (2,), padding="CAUSAL", dilation=(self.dilation,), name="filter_gate")(x_BLD)
        filtered, gate = jnp.split(both, 2, axis=-1)
        z_BLD = jnp.tanh(filtered) * nn.sigmoid(gate)
        skip = conv(self.skip, (1,), name="skip")(z_BLD)
        return x_BLD if self.last else x_BLD + conv(width, (1,), name="residual")(z_BLD), skip


class WaveNet(nn.Module):
    """Logits of each sample's successor, for samples in `vocab` steps (of mu-law audio 256).

    `cycles` times `layers` layers.  The first convolution, of two one-hot samples, is two looked-up rows of a table.
    """

    vocab: int = 256
    width: int = 32
    skip: int = 64
    layers: int = 10
    cycles: int = 3

    @nn.compact
    def __call__(self, x_BL: Int[Array, "batch length"], *, train: bool = False) -> Float[Array, "batch length vocab"]:
        now, before = jnp.split(nn.Embed(self.vocab, 2 * self.width, name="embed")(x_BL), 2, axis=-1)
        x_BLD = now + jnp.pad(before[:, :-1], ((0, 0), (1, 0), (0, 0)))
        steps, total = dilations(self.layers, self.cycles), 0.0
        for i, dilation in enumerate(steps):
            x_BLD, skip = Layer(dilation, self.skip, last=i == len(steps) - 1, name=f"layer_{i}")(x_BLD)
            total += skip
        hidden = conv(self.skip, (1,), name="hidden")(nn.relu(total))
        return conv(self.vocab, (1,), name="logits")(nn.relu(hidden))
