"""Graph attention network (Veličković et al. 2018).  B batch, N nodes, E edges, H heads, D width of a head."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.dense import Dropout, at_least_one, dense
from models.parts.graph import First, Graph, Pool, at, pooled, softmax, total, with_loops

SMALLEST = {"width": 4, "heads": 2, "layers": 2}  # at which pages are tested


class GAT(nn.Module):
    """`layers` layers in which a node takes the mean of its neighbours and itself, weighed by attention.

    e_ij = LeakyReLU(a · [W h_i ‖ W h_j]) with slope 0.2, α = softmax over j (eq. 3), h_i ← ELU(Σ_j α_ij W h_j).
    The outputs of `heads` heads of `width` numbers stand side by side (eq. 5); the last layer has `last_heads`, whose
    mean it takes (eq. 6), without ELU.  Dropout is of each layer's input and of α.  With `pool` a prediction is of
    a graph: the last layer is a dense one, of the mean or sum of the nodes.
    """

    classes: int
    width: int = 8
    heads: int = 8
    last_heads: int = 1
    layers: int = 2
    dropout: float = 0.0
    pool: Pool = "none"
    vocab: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, graph: Graph, *, train: bool = False) -> Float[Array, "B ... classes"]:
        at_least_one(self, "layers", "width", "heads", "last_heads")
        graph, h = with_loops(graph), x
        for i in range(self.layers):
            is_last = i == self.layers - 1 and self.pool == "none"
            heads, width = (self.last_heads, self.classes) if is_last else (self.heads, self.width)
            if i == 0:
                h = First(heads * width, self.vocab, self.dropout, name="layer_0")(h, train)
            else:
                h = Dropout(self.dropout)(h, train)
                glorot = nn.initializers.glorot_uniform()
                h = dense(heads * width, use_bias=False, kernel_init=glorot, name=f"layer_{i}")(h)
            h = h.reshape(*h.shape[:2], heads, width)
            h = Attention(self.dropout, name=f"attention_{i}")(h, graph, train)
            h = h.mean(2) if is_last else h.reshape(*h.shape[:2], -1)
            h = h + self.param(f"bias_{i}", nn.initializers.zeros, h.shape[2:])[None, None]
            h = h if is_last else nn.elu(h)
        return h if self.pool == "none" else dense(self.classes, name="logits")(pooled(h, graph, self.pool))


class Attention(nn.Module):
    """Σ_j α_ij h_j of every head, for the h of W's product."""

    dropout: float

    @nn.compact
    def __call__(self, h: Float[Array, "B N H D"], graph: Graph, train: bool) -> Float[Array, "B N H D"]:
        init, shape = nn.initializers.glorot_uniform(), h.shape[2:]
        to, of = (jnp.einsum("BNHD,HD->BNH", h, self.param(name, init, shape)) for name in ("to", "of"))
        scores = nn.leaky_relu(at(to, graph.receivers) + at(of, graph.senders), 0.2)
        weights = Dropout(self.dropout)(softmax(scores, graph), train)
        return total(weights[..., None] * at(h, graph.senders), graph.receivers, h.shape[1])
