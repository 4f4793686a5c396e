"""GraphSAGE (Hamilton, Ying & Leskovec 2017).  B batch, N nodes, D width."""

from typing import Literal

import jax
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.dense import Dropout, at_least_one, dense
from models.parts.graph import First, Graph, Pool, at, average, largest, pooled

SMALLEST = {"width": 16, "layers": 2}  # at which pages are tested
Aggregator = Literal["mean", "max"]


class SAGE(nn.Module):
    """`layers` times h_i ← ReLU(W [h_i ‖ AGGREGATE of its neighbours' h]) (algorithm 1), without the last ReLU.

    The `aggregator` "mean" is that of the h_j, "max" that of ReLU(W' h_j) in every dimension (eq. 3).  W's two halves
    are two matrices.  On sampled neighbourhoods (data/neighbourhoods.py) node 0 of a graph is the one to predict.
    Dropout is of each layer's input.  With `pool` a prediction is of a graph: the last layer is a dense one, of the
    mean or sum of the nodes.
    """

    classes: int
    width: int = 16
    layers: int = 2
    aggregator: Aggregator = "mean"
    dropout: float = 0.0
    pool: Pool = "none"
    vocab: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, graph: Graph, *, train: bool = False) -> Float[Array, "B ... classes"]:
        at_least_one(self, "layers", "width")
        h, glorot = x, nn.initializers.glorot_uniform()
        for i in range(self.layers):
            is_last = i == self.layers - 1
            width = self.classes if is_last and self.pool == "none" else self.width
            if i == 0:  # one product for both, since the mean of products is the product of the mean
                before = self.width if self.aggregator == "max" else width
                h = First(width + before, self.vocab, self.dropout, name="layer_0")(h, train)
                own, theirs = h[..., :width], h[..., width:]
            else:
                h = Dropout(self.dropout)(h, train)
                own = dense(width, use_bias=False, kernel_init=glorot, name=f"layer_{i}")(h)
                before = self.width if self.aggregator == "max" else width
                theirs = dense(before, use_bias=False, kernel_init=glorot, name=f"neighbours_{i}")(h)
            h = own + self.gathered(theirs, graph, width, i)
            if not is_last or self.pool != "none":
                h = nn.relu(h)
        return h if self.pool == "none" else dense(self.classes, name="logits")(pooled(h, graph, self.pool))

    def gathered(self, theirs: Float[Array, "B N D"], graph: Graph, width: int, i: int) -> Float[Array, "B N width"]:
        """What comes of the neighbours' products, with the layer's bias."""
        if self.aggregator == "mean":
            bias = self.param(f"bias_{i}", nn.initializers.zeros, (width,))
            return average(at(theirs, graph.senders), graph) + bias[None, None]
        bias = self.param(f"bias_{i}", nn.initializers.zeros, (theirs.shape[-1],))
        messages = nn.relu(theirs + bias[None, None])
        found = largest(at(messages, graph.senders), graph.receivers, theirs.shape[1])
        return dense(width, name=f"largest_{i}")(found)
