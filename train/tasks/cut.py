"""Graphs cut into two parts by a network that was never shown a cut.  B batch, N nodes, E edges, S samples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from models.api import Model, ModelState, Params
from models.parts.axes import draw
from models.parts.graph import Graph, at, graph_of, total
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean


def maxcut(model: Model, noise: int = 8, samples: int = 8) -> Task:
    """Minus the expected cut, a share of the edges, when node i is in the part with probability p_i (Karalias & Loukas
    2020): the mean over edges of p_i + p_j - 2 p_i p_j.

    The network is given `x` and, at each node, `noise` Gaussian numbers, which tell nodes apart that are alike; it
    gives a logit a node.  Evaluation keeps the best cut of `samples` draws of the noise, each made whole node by node:
    a node goes where its expected cut is larger (conditional expectations), so no cut is below its expectation.
    `cut` is its share of the edges, `ratio` of the largest cut where the data know that, and `random` is the ratio of
    what the same rule, and as many draws, make of p = ½ but for the noise.
    """

    def given(batch: Batch, key: Key[Array, ""]) -> jax.Array:
        x = batch["x"]
        return jnp.concatenate([x, draw(jax.random.normal, key, (*x.shape[:2], noise))], -1)

    def init(key, batch):
        first, second = jax.random.split(key)
        return model.init(first, given(batch, second), graph_of(batch))

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        graph, own = graph_of(batch), jax.random.split(key, 3)
        logits, state = model.apply(params, state, given(batch, own[0]), graph, key=own[1], train=train)
        edges = jnp.maximum((graph.senders < graph.nodes.shape[1]).sum(1) / 2, 1)  # each stands there twice
        expected = cut(jax.nn.sigmoid(logits[..., 0]), graph) / edges
        told = {"cut": expected}
        if not train:

            def sampled(key: Key[Array, ""]) -> tuple[jax.Array, jax.Array]:
                first, second = jax.random.split(key)
                logits = model.apply(params, state, given(batch, first), graph)[0]
                plain = 0.5 + 0.01 * draw(jax.random.normal, second, graph.nodes.shape)
                return cut(rounded(jax.nn.sigmoid(logits[..., 0]), graph), graph), cut(rounded(plain, graph), graph)

            found, blind = (c.max(0) for c in jax.lax.map(sampled, jax.random.split(own[2], samples)))
            told["cut"] = found / edges
            if "best" in batch:
                told |= {"ratio": found / batch["best"], "random": blind / batch["best"]}
        return masked_mean(-expected, told, batch, state)

    return Task(init, loss)


def cut(p: Float[Array, "B N"], graph: Graph) -> Float[Array, " B"]:
    """The expected number of edges, each of which stands in the graph twice, between the part and the rest."""
    one, other = at(p, graph.senders), at(p, graph.receivers)
    return (one + other - 2 * one * other).sum(1) / 2


def rounded(p: Float[Array, "B N"], graph: Graph) -> Float[Array, "B N"]:
    """0 or 1 for each node, by conditional expectations, the nodes in the order of their numbers."""
    N = p.shape[1]

    def one(i: jax.Array, p: jax.Array) -> jax.Array:
        gain = total(1 - 2 * at(p, graph.senders), graph.receivers, N)[:, i]  # of an edge (i, j): 1 - 2 p_j
        return p.at[:, i].set((gain > 0).astype(p.dtype))

    return jax.lax.fori_loop(0, N, one, p)
