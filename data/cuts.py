"""Small random graphs whose largest cut is known, by trying all.  N nodes, E edges."""

import numpy as np
from jaxtyping import Int

from data.graphs import both_ways, filled
from data.source import Columns, Dataset, examples

SMALLEST = {"nodes": 8, "train": 128, "valid": 64}  # at which pages are tested
LARGEST = 18  # nodes of which all cuts are tried


def maxcut(*, nodes: int = 16, degree: float = 4.0, train: int = 4000, valid: int = 200, seed: int = 0) -> Dataset:
    """Random graphs (Erdős & Rényi 1959) of `nodes` nodes with `degree` neighbours on average.

    A cut is a part of the nodes; its size is the number of edges between the part and the rest.  x float32 [N, 1] is
    the degree of a node.  `best` [1], of what is held out alone, is the size of the largest cut.
    """
    if not 2 <= nodes <= LARGEST or min(train, valid) < 1 or not 0 < degree < nodes:
        raise ValueError(
            f"{nodes=}, {degree=}, {train=}, {valid=}: 2 to {LARGEST} nodes, and fewer neighbours than that"
        )
    rngs = [np.random.default_rng((seed, split)) for split in range(2)]
    halves = [[pairs_of(rng, nodes, degree) for _ in range(n)] for rng, n in zip(rngs, (train, valid), strict=True)]
    width = 2 * max(len(pairs) for half in halves for pairs in half)
    train_half, valid_half = (columns(half, nodes, width) for half in halves)
    best = np.array([largest_cut(pairs, nodes) for pairs in halves[1]], np.float32)
    return examples(Columns(**train_half), Columns(**valid_half, best=best))


def columns(graphs: list[np.ndarray], nodes: int, width: int) -> dict[str, np.ndarray]:
    edges = filled([*(both_ways(pairs) for pairs in graphs), np.zeros((width, 2), np.int32)])[:-1]
    degree = np.stack([np.bincount(pairs.ravel(), minlength=nodes) for pairs in graphs])
    return {
        "x": degree[..., None].astype(np.float32),
        "edges": edges,
        "nodes": np.ones((len(graphs), nodes), np.float32),
    }


def pairs_of(rng: np.random.Generator, nodes: int, degree: float) -> Int[np.ndarray, "E 2"]:
    """The undirected edges of a random graph, one at least."""
    among = np.argwhere(np.triu(np.ones((nodes, nodes), bool), 1))
    there = rng.random(len(among)) < degree / (nodes - 1)
    there[rng.integers(len(among))] = True
    return among[there]


def largest_cut(pairs: Int[np.ndarray, "E 2"], nodes: int) -> int:
    """Of all 2^(nodes - 1) cuts."""
    cuts = np.arange(2 ** (nodes - 1), dtype=np.int32)
    sizes = np.zeros(len(cuts), np.int32)
    for i, j in pairs:
        sizes += (cuts >> i ^ cuts >> j) & 1
    return int(sizes.max())
