"""The neighbourhoods of single nodes, drawn anew each time: small trees with the node at the root.

N nodes of the graph, B batch, R rows, S how many neighbours are drawn, T nodes of a tree.
"""

import numpy as np
from jaxtyping import Int32, Int64, UInt64

from data.permute import shuffled
from data.random import below, mixed
from data.source import Batch


class Neighbourhoods:
    """Records of `roots`.  A node's neighbours are drawn without replacement; of fewer than asked for, all are taken.

    Node 0 of a record is the root, and `mask` counts it alone.  A node that stands in two places of the tree stands
    there as two.  Edges lead towards the root.
    """

    def __init__(
        self,
        x: np.ndarray,
        edges: Int32[np.ndarray, "E 2"],
        y: Int32[np.ndarray, " N"],
        roots: Int64[np.ndarray, " R"],
        fan_out: tuple[int, ...],
    ):
        self.x, self.y, self.roots, self.fan_out = x, y, roots, fan_out
        real = edges[edges[:, 0] >= 0]
        order = np.argsort(real[:, 1], kind="stable")
        self.neighbours = real[order, 0].astype(np.int64)
        self.first = np.searchsorted(real[order, 1], np.arange(len(x) + 1))

    def __len__(self) -> int:
        return len(self.roots)

    def order(self, start: int, stop: int, *, seed: int) -> Int64[np.ndarray, " B"]:
        """Every root once an epoch; what is above the number of roots in a record's number is chance."""
        which, n = shuffled(start, stop, n=len(self), seed=seed), len(self)
        chance = mixed(np.arange(start, stop, dtype=np.uint64) + mixed(np.array([seed % 2**64], np.uint64)))
        return (which + n * below(chance, 2**62 // n)).astype(np.int64)

    def gather(self, ids: Int64[np.ndarray, " B"]) -> Batch:
        level = self.roots[ids % len(self)][:, None]  # the nodes of one level of the trees, -1 where there is none
        levels, edges, first = [level], [], 0
        for depth, count in enumerate(self.fan_out):
            level = self.drawn(level, count, mixed(ids.astype(np.uint64) + np.uint64(depth))).reshape(len(ids), -1)
            width = levels[-1].shape[1]
            to = np.repeat(first + np.arange(width), count)
            child = first + width + np.arange(width * count)
            pairs = np.broadcast_to(np.stack([child, to], 1), (len(ids), len(child), 2))
            edges.append(np.where(level[..., None] < 0, -1, pairs))
            levels.append(level)
            first += width
        nodes = np.concatenate(levels, 1)
        there = nodes >= 0
        empty = -1 if np.issubdtype(self.x.dtype, np.integer) else 0
        x = np.where(there[..., None], self.x[nodes], np.array(empty, self.x.dtype))
        mask = np.zeros(nodes.shape, np.float32)
        mask[:, 0] = 1
        y = np.where(mask > 0, self.y[nodes], 0).astype(np.int32)
        made = {"x": x, "edges": np.concatenate(edges, 1).astype(np.int32), "nodes": there.astype(np.float32)}
        return made | {"y": y, "mask": mask}

    def drawn(
        self, nodes: Int64[np.ndarray, "B T"], count: int, chance: UInt64[np.ndarray, " B"]
    ) -> Int64[np.ndarray, "B T S"]:
        """`count` neighbours of each, by Floyd's algorithm (Bentley & Floyd 1987): S draws, none twice."""
        first = self.first[np.maximum(nodes, 0)]
        degree = np.where(nodes < 0, 0, self.first[nodes + 1] - first)
        noise = mixed(chance[:, None] + np.arange(nodes.shape[1] * count, dtype=np.uint64)).reshape(*nodes.shape, count)
        taken = np.full((*nodes.shape, count), -1, np.int64)
        for i in range(count):
            last = degree - count + i  # the highest place that this draw may take
            place = (noise[..., i] % np.maximum(last + 1, 1).astype(np.uint64)).astype(np.int64)
            twice = (taken[..., :i] == place[..., None]).any(-1)
            place = np.where(twice, last, place)
            taken[..., i] = np.where(degree <= count, np.where(i < degree, i, -1), place)
        at = np.minimum(first[..., None] + np.maximum(taken, 0), max(len(self.neighbours) - 1, 0))
        return np.where(taken < 0, -1, self.neighbours[at])
