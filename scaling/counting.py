"""Counts parameters and FLOPs of a decoder transformer from its shape, before it is built.

Published laws disagree first about what they count, so every part is a field: C = 6 N D leaves out attention (and, with
non-embedding N, the head), which small models feel most.  One multiply-add is two FLOPs; a backward pass costs two
forward passes; norms, softmax and activations are left out, as everywhere in the literature.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

PETAFLOP_DAY = 8.64e19  # FLOPs of one petaflop/s-day: 1e15 x 86,400 s


class Shape(NamedTuple):
    """A decoder transformer: attention as wide as the model, a two-matrix MLP, pre-norm, one norm at the end."""

    layers: int
    width: int
    context: int
    vocab: int
    heads: int = 1  # changes neither parameters nor FLOPs; here so that a model's whole shape is accepted
    mlp_ratio: float = 4.0
    tied: bool = True  # the head is the token embedding
    positions: str = "learned"  # or "rotary", which has no parameters
    bias: bool = False  # of every matrix and norm; False: norms only scale


class Count(NamedTuple):
    """Parameters, and forward FLOPs per token at full context."""

    params_total: int
    params_non_embedding: int  # without token and position embeddings and an untied head (Kaplan et al. 2020)
    flops_matmul: float  # of the blocks' matrices: 2 per weight
    flops_attention: float  # scores and mixing over the whole context, as executed without skipping the masked half
    flops_attention_kaplan: float  # 2 layers context width, as published (Kaplan et al. 2020, table 1)
    flops_head: float  # logits

    @property
    def flops_forward(self) -> float:
        """Everything executed, per token."""
        return self.flops_matmul + self.flops_attention + self.flops_head

    @property
    def flops_train(self) -> float:
        """Forward and backward, per token."""
        return 3.0 * self.flops_forward


def count(shape: Mapping[str, Any]) -> Count:
    """Counts the transformer whose shape is `shape`: the fields of `Shape` by name."""
    unknown = set(shape) - set(Shape._fields)
    if unknown:
        raise ValueError(f"a shape has no {sorted(unknown)}; it takes {list(Shape._fields)}")
    s = Shape(**shape)
    if s.positions not in ("learned", "rotary"):
        raise ValueError(f"positions {s.positions!r} cannot be counted; choose 'learned' or 'rotary'")
    hidden = int(s.mlp_ratio * s.width)
    matrices = s.layers * (4 * s.width**2 + 2 * s.width * hidden)
    biases = s.layers * (5 * s.width + hidden) * s.bias
    norms = (2 * s.layers + 1) * s.width * (1 + s.bias)
    embedding = s.vocab * s.width * (1 if s.tied else 2) + s.context * s.width * (s.positions == "learned")
    return Count(
        params_total=matrices + biases + norms + embedding,
        params_non_embedding=matrices + biases + norms,
        flops_matmul=2.0 * matrices,
        flops_attention=4.0 * s.layers * s.context * s.width,
        flops_attention_kaplan=2.0 * s.layers * s.context * s.width,
        flops_head=2.0 * s.width * s.vocab,
    )


def c_6nd(n: Any, d: Any) -> Any:
    """C = 6 N D training FLOPs in float64: beyond 9.2e18 an int64 product overflows silently."""
    return 6.0 * np.asarray(n, np.float64) * np.asarray(d, np.float64)
