"""Graph isomorphism network (Xu et al. 2019), with kinds of edges (Hu et al. 2020).  B batch, N nodes, D width."""

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.dense import Dropout, Embed, at_least_one, dense
from models.parts.graph import First, Graph, Pool, at, pooled, total

SMALLEST = {"width": 16, "layers": 2}  # at which pages are tested


class GIN(nn.Module):
    """`layers` times h_i ← MLP((1 + ε) h_i + Σ_j ReLU(h_j + e_ij)), e_ij being a vector of the kind of the edge.

    Without `bonds` messages are the h_j themselves (eq. 4.1).  `layers` of 0 leave a bag of nodes.  The prediction is
    two dense layers of a node, or, with `pool`, of the mean or sum of a graph's nodes.  `vocab` is for inputs that are
    words (models/parts/graph.py), `bonds` how many kinds of edges there are.
    """

    classes: int
    width: int = 64
    layers: int = 3
    bonds: int = 0
    dropout: float = 0.0
    pool: Pool = "sum"
    vocab: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, graph: Graph, *, train: bool = False) -> Float[Array, "B ... classes"]:
        at_least_one(self, "width")
        h = First(self.width, self.vocab, use_bias=True, name="first")(x, train)
        for i in range(self.layers):
            messages = at(h, graph.senders)
            if self.bonds and graph.bonds is not None:
                kinds = Embed(self.bonds, self.width, nn.initializers.normal(1.0), (None, None), name=f"bonds_{i}")
                messages = nn.relu(messages + kinds(graph.bonds))
            epsilon = self.param(f"epsilon_{i}", nn.initializers.zeros, ())
            h = (1 + epsilon) * h + total(messages, graph.receivers, h.shape[1])
            h = nn.relu(dense(self.width, name=f"up_{i}")(h))
            h = nn.relu(dense(self.width, name=f"down_{i}")(h))
        h = pooled(h, graph, self.pool)
        h = Dropout(self.dropout)(nn.relu(dense(self.width, name="hidden")(h)), train)
        return dense(self.classes, name="logits")(h)
