"""Mamba (Gu & Dao 2023): a language model of selective state spaces.

Shapes: B batch, L length, D width, V vocabulary.
"""

import functools
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from models.parts.activations import ActivationName
from models.parts.attention import Context
from models.parts.axes import constrain
from models.parts.dense import Dropout, Embed, Factors, Unembed, at_least_one, logits
from models.parts.state_space import Choice, Scan, StateSpace
from models.parts.transformer import Remat, Stack, Stacking, of_layers, residual_init, rms_norm

SMALLEST = {"vocab": 256, "layers": 1, "width": 16}  # at which pages are tested


class Mamba(nn.Module):
    """`layers` of norm and state space; a channel is `expand` times as wide inside and remembers `state` numbers.

    Rates are of rank `rank`, or a sixteenth of the width.  Chosen by "nothing" they do not depend on the tokens: the
    layers are then the same at all times, as S4's are.
    """

    vocab: int
    layers: int
    width: int
    state: int = 16
    expand: float = 2.0
    kernel: int = 4
    rank: int | None = None
    bias: bool = False
    conv_bias: bool = True
    head: Literal["tied", "untied"] = "tied"
    activation: ActivationName = "silu"
    scan: Scan = "parallel"
    chosen_by: Choice = "each token"
    epsilon: float = 1e-5
    dropout: float = 0.0
    stack: Stacking = "unrolled"
    remat: Remat = "none"

    def check(self) -> None:
        at_least_one(self, "vocab", "layers", "width", "state", "kernel")

    @property
    def inner(self) -> int:
        return int(self.expand * self.width)

    def block(self) -> dict[str, Any]:
        rank = -(-self.width // 16) if self.rank is None else self.rank
        passed = ("state", "kernel", "bias", "conv_bias", "activation", "scan", "chosen_by")
        options = {name: getattr(self, name) for name in passed}
        init = residual_init(self.layers)
        mixer = functools.partial(StateSpace, self.inner, rank=rank, out_init=init, name="space", **options)
        return {"mixer": mixer, "mlp": None, "norm": rms_norm(self.epsilon), "dropout": self.dropout}

    @nn.compact
    def __call__(
        self,
        tokens_BL: Int[Array, "b l"],
        mask_BL: Bool[Array, "b l"] | Int[Array, "b l"] | None = None,
        cache: Any = None,
        *,
        train: bool = False,
        factors: bool = False,
    ) -> Float[Array, "b l v"] | Factors | tuple[Float[Array, "b l v"], Any]:
        """Logits of the next token at every position; with a cache, also the cache after these tokens."""
        self.check()
        embed = Embed(self.vocab, self.width, nn.initializers.normal(0.1), ("vocab", "embed"), name="token_embed")
        x_BLD = Dropout(self.dropout)(constrain(embed(tokens_BL), "batch", None, None), train)
        context = Context(mask_BT=None if mask_BL is None else mask_BL != 0)
        stack = Stack((self.block(),) * self.layers, self.stack, self.remat, name="stack")
        x_BLD, layers = stack(x_BLD, cache, context, train=train)
        x_BLD = rms_norm(self.epsilon)("norm")(x_BLD)
        w_DV = embed.matrix() if self.head == "tied" else Unembed(self.vocab, name="unembed")(self.width)
        logits_BLV = logits(x_BLD, w_DV, factors)
        return logits_BLV if cache is None else (logits_BLV, layers)

    def factors(self, *inputs: Any, train: bool = False) -> Factors:
        """What the logits are the product of."""
        return self(*inputs, train=train, factors=True)

    def step(self, cache: Any, tokens_BL: Int[Array, "b l"], *, train: bool = False) -> tuple[Any, Any]:
        """The logits of these tokens, and the cache after them: what models/decode.py decodes with."""
        return self(tokens_BL, None, cache, train=train)

    def empty_cache(self, batch: int, length: int | None = None) -> Any:
        """What is known before the first token: nothing, of any length."""
        inputs, state = jnp.zeros((batch, self.kernel - 1, self.inner)), jnp.zeros((batch, self.inner, self.state))
        return of_layers({"inputs": inputs, "state": state}, self.layers, self.stack)
