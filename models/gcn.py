"""Graph convolutional network (Kipf & Welling 2017).  B batch, N nodes, D width."""

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.dense import Dropout, at_least_one, dense
from models.parts.graph import First, Graph, Pool, at, degree, pooled, total

SMALLEST = {"width": 16, "layers": 2}  # at which pages are tested


class GCN(nn.Module):
    """`layers` times H ← ReLU(D̃^-½ (A + I) D̃^-½ H W) (eq. 2), without the last ReLU, D̃ being the degrees of A + I.

    Dropout is of each layer's input.  With `pool` a prediction is of a graph: the last layer is a dense one, of the
    mean or sum of the nodes.  `vocab` is for inputs that are words (models/parts/graph.py).
    """

    classes: int
    width: int = 16
    layers: int = 2
    dropout: float = 0.0
    pool: Pool = "none"
    vocab: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, graph: Graph, *, train: bool = False) -> Float[Array, "B ... classes"]:
        at_least_one(self, "layers", "width")
        scale = jax.lax.rsqrt(degree(graph) + 1)[..., None]
        glorot, h = nn.initializers.glorot_uniform(), x
        for i in range(self.layers):
            is_last = i == self.layers - 1
            width = self.classes if is_last and self.pool == "none" else self.width
            if i == 0:
                h = First(width, self.vocab, self.dropout, name="layer_0")(h, train)
            else:
                h = Dropout(self.dropout)(h, train)
                h = dense(width, use_bias=False, kernel_init=glorot, name=f"layer_{i}")(h)
            h = convolved(h, graph, scale)
            h = h + self.param(f"bias_{i}", nn.initializers.zeros, (width,))[None, None]
            if not is_last or self.pool != "none":
                h = nn.relu(h)
        return h if self.pool == "none" else dense(self.classes, name="logits")(pooled(h, graph, self.pool))


def convolved(h: Float[Array, "B N D"], graph: Graph, scale: Float[Array, "B N 1"]) -> Float[Array, "B N D"]:
    """D̃^-½ (A + I) D̃^-½ H, where `scale` is the diagonal of D̃^-½."""
    h = h * scale
    return scale * (h + total(at(h, graph.senders), graph.receivers, h.shape[1]))
