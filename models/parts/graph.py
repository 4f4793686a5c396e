"""Message passing over batches of graphs of one shape.  B batch, N nodes, E edges, D width, H heads, W words.

A layer takes what it needs of each edge's ends (`at`), makes messages [B, E, ...] of it, and puts them together where
the edges end (`total`, `average`, `largest`, `softmax`).  No array has N × N numbers.  Edges that are padding begin and
end at node N, which there is not: what is taken from there is 0, and what is brought there is lost.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.dense import Dropout, dense, look_up

Pool = Literal["none", "mean", "sum"]


class Graph(NamedTuple):
    """The edges of a batch of graphs, and which nodes are no padding."""

    senders: Int[Array, "B E"]
    receivers: Int[Array, "B E"]
    nodes: Float[Array, "B N"]
    bonds: Int[Array, "B E"] | None = None  # kinds of edges, where they have any


def graph_of(batch: dict[str, jax.Array]) -> Graph:
    """Of a batch of data/graphs.py, whose padding is -1."""
    nodes = batch["nodes"]
    edges = jnp.where(batch["edges"] < 0, nodes.shape[1], batch["edges"])
    return Graph(edges[..., 0], edges[..., 1], nodes, batch.get("bonds"))


def with_loops(graph: Graph) -> Graph:
    """With an edge from each node to itself, behind the others."""
    B, N = graph.nodes.shape
    own = jnp.broadcast_to(jnp.arange(N, dtype=graph.senders.dtype), (B, N))
    join = lambda ends: jnp.concatenate([ends, own], axis=1)
    return graph._replace(senders=join(graph.senders), receivers=join(graph.receivers))


def at(x: Float[Array, "B N ..."], ends: Int[Array, "B E"], empty: float = 0.0) -> Float[Array, "B E ..."]:
    """What stands at one end of each edge; `empty` at those of padding."""
    return jax.vmap(lambda x, i: x.at[i].get(mode="fill", fill_value=empty))(x, ends)


def total(messages: Float[Array, "B E ..."], receivers: Int[Array, "B E"], nodes: int) -> Float[Array, "B N ..."]:
    """The sum of the messages that come to each node."""
    add = lambda m, i: jnp.zeros((nodes, *m.shape[1:]), m.dtype).at[i].add(m, mode="drop")
    return jax.vmap(add)(messages, receivers)


def largest(
    messages: Float[Array, "B E ..."], receivers: Int[Array, "B E"], nodes: int, empty: float = 0.0
) -> Float[Array, "B N ..."]:
    """The largest of the messages that come to each node, `empty` where none does."""
    take = lambda m, i: jnp.full((nodes, *m.shape[1:]), -jnp.inf, m.dtype).at[i].max(m, mode="drop")
    found = jax.vmap(take)(messages, receivers)
    return jnp.where(jnp.isfinite(found), found, empty)


def degree(graph: Graph) -> Float[Array, "B N"]:
    """How many edges come to each node."""
    return total(jnp.ones(graph.receivers.shape, graph.nodes.dtype), graph.receivers, graph.nodes.shape[1])


def average(messages: Float[Array, "B E D"], graph: Graph) -> Float[Array, "B N D"]:
    """The mean of the messages that come to each node, 0 where none does."""
    count = jnp.maximum(degree(graph), 1)
    return total(messages, graph.receivers, graph.nodes.shape[1]) / count[..., None]


def softmax(scores: Float[Array, "B E H"], graph: Graph) -> Float[Array, "B E H"]:
    """Weights of the edges that come to one node, which sum to 1."""
    N, to = graph.nodes.shape[1], graph.receivers
    highest = jax.lax.stop_gradient(largest(scores, to, N))
    raised = jnp.exp(scores - at(highest, to))
    return raised / at(total(raised, to, N), to, empty=1.0)


def pooled(x: Float[Array, "B N D"], graph: Graph, pool: Pool) -> Float[Array, "B ..."]:
    """One vector a graph, [B, D], the `pool` of its nodes; with "none" the nodes themselves."""
    if pool == "none":
        return x
    summed = jnp.einsum("BND,BN->BD", x, graph.nodes)
    return summed if pool == "sum" else summed / jnp.maximum(graph.nodes.sum(1, keepdims=True), 1)


class First(nn.Module):
    """The first product of a network, with dropout of its inputs, from numbers [B, N, F] or words int [B, N, W].

    Words are the places where a row of F = `vocab` numbers is 1 / (how many words the node has), and else 0: the row of
    the matrix of each is looked up.  The product of 1,433 columns, of which a node of Cora has 18, would be 80 times
    the work.
    """

    width: int
    vocab: int = 0
    dropout: float = 0.0
    use_bias: bool = False
    kernel_init: Callable = nn.initializers.glorot_uniform()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> Float[Array, "B N D"]:
        if not jnp.issubdtype(x.dtype, jnp.integer):
            x = Dropout(self.dropout)(x, train)
            return dense(self.width, use_bias=self.use_bias, kernel_init=self.kernel_init, name="kernel")(x)
        if self.vocab < 1:
            raise ValueError(f"inputs are words, and vocab={self.vocab}; give the network how many there are")
        table = self.param("kernel", self.kernel_init, (self.vocab, self.width))
        share = (x >= 0).astype(table.dtype)
        share = Dropout(self.dropout)(share / jnp.maximum(share.sum(-1, keepdims=True), 1), train)
        h = bag(table, x, share)
        return h + self.param("bias", nn.initializers.zeros, (self.width,))[None, None] if self.use_bias else h


def bag(table: Float[Array, "V D"], words: Int[Array, "B N W"], share: Float[Array, "B N W"]) -> Float[Array, "B N D"]:
    """Rows of the table, each times its share, summed over the words of a node."""
    return jnp.einsum("BNWD,BNW->BND", look_up(None, table, jnp.maximum(words, 0)), share)
