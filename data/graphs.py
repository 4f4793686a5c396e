"""Graphs of one shape: nodes and edges are filled up, so that a batch of graphs is an array like any other.

A record holds
  x      float32 [N, F], or int32 [N, W], the words of each node, whose place in a row means nothing
  edges  int32 [E, 2]: from node, to node; an undirected edge stands there twice, once in each direction
  nodes  float32 [N]: 1 of a node, 0 of padding
  bonds  int32 [E]: the kind of each edge, where edges have kinds
and `y` with its `mask` of nodes [N], or `y` of the graph.  Words and edges that are padding are -1.

N nodes, E edges, F features, W words a node, B batch, S sampled neighbours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int, Int32, Int64

from data.neighbourhoods import Neighbourhoods
from data.source import Columns, Dataset, HeldOut, examples

SMALLEST = {"nodes": 48, "words": 32, "length": 6, "labelled": 4}  # at which pages are tested
PLANETOID = ("feat_row", "feat_col", "num_nodes", "num_features", "edges", "label", "train", "val", "test")
Kind = Literal["test", "valid"]


def planetoid(path: str, *, held_out: Kind = "test", fan_out: tuple[int, ...] = ()) -> Dataset:
    """A graph of papers that cite each other, with the public split (Yang et al. 2016): Cora, Citeseer, Pubmed.

    `path` is an .npz of feat_row and feat_col (which word is in which paper), num_nodes, num_features, edges [E, 2]
    with one row an undirected edge, label [N], and the numbers of nodes train, val, test.  20 nodes of a class train;
    `held_out` are the 1,000 of the test, or the 500 of the validation.  With `fan_out` see `communities`.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise ValueError(f"no graph at {path!r}: data.path is relative to where you run, {Path.cwd()}")
    try:
        with np.load(place) as held:
            a = {name: held[name] for name in PLANETOID}
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path!r} is no file that numpy.savez(FILE, …) wrote with {', '.join(PLANETOID)}: {error}"
        ) from None
    count = int(a["num_nodes"])
    check_edges(a["edges"], count)
    graph = {
        "x": rows_of_words(a["feat_row"], a["feat_col"], count)[None],
        "edges": both_ways(a["edges"])[None],
        "nodes": np.ones((1, count), np.float32),
        "y": np.maximum(a["label"], 0).astype(np.int32)[None],
    }
    masks = {"train": marked(a["train"], count), "valid": marked(a["test" if held_out == "test" else "val"], count)}
    rule = "the 1,000 test nodes of the public split" if held_out == "test" else "the validation nodes of that split"
    return nodes_to_classify(graph, masks, int(a["label"].max()) + 1, int(a["num_features"]), fan_out, HeldOut(rule))


def communities(
    *,
    graphs: int = 1,
    nodes: int = 1000,
    classes: int = 4,
    degree: float = 6.0,
    within: float = 0.8,
    words: int = 400,
    length: int = 12,
    signal: float = 0.15,
    labelled: int = 20,
    fan_out: tuple[int, ...] = (),
    seed: int = 0,
) -> Dataset:
    """Nodes of several classes that are joined, and speak, alike: a contextual stochastic block model.

    Of the about `degree` neighbours of a node a share `within` is of its own class (Holland et al. 1983).  Each of its
    `length` words is one of its class's own with probability `signal`, else any of `words` (Deshpande et al. 2018).
    `labelled` nodes of each class train, the others are held out: of every one of `graphs` graphs, whose classes have
    the same words.

    Without `fan_out` a record is a whole graph.  With it a record is a labelled node with its neighbourhood, drawn anew
    each time: fan_out[0] of its neighbours, fan_out[1] of each one's, and so on (Hamilton et al. 2017); held out is
    still the whole graph.
    """
    if min(graphs, labelled) < 1 or classes < 2 or nodes < classes * (labelled + 1) or words < classes:
        raise ValueError(
            f"{graphs=}, {nodes=}, {classes=}, {words=}, {labelled=}: 2 classes at least, a word for each, and "
            "more nodes of each than are labelled"
        )
    rng = np.random.default_rng(seed)
    made = [community(rng, nodes, classes, degree, within, words, length, signal) for _ in range(graphs)]
    y = np.arange(nodes) % classes
    mask = np.stack([labelled_of(rng, y, labelled) for _ in range(graphs)])
    graph = {
        "x": np.stack([x for x, _ in made]),
        "edges": filled([edges for _, edges in made]),
        "nodes": np.ones((graphs, nodes), np.float32),
        "y": np.tile(y.astype(np.int32), (graphs, 1)),
    }
    return nodes_to_classify(
        graph, {"train": mask, "valid": 1 - mask}, classes, words, fan_out, HeldOut("the nodes without a label")
    )


def links(
    *,
    nodes: int = 1000,
    classes: int = 4,
    degree: float = 6.0,
    within: float = 0.8,
    words: int = 400,
    length: int = 12,
    signal: float = 0.15,
    valid: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """The graph of `communities`, of whose edges a share `valid` is left out: `pairs` int32 [P, 2] of which `y` is 1.

    As many pairs without an edge have `y` 0.  Who knows all classes, and says "an edge" of every pair of one class, is
    right in (`within` + 1 - 1 / `classes`) / 2 of all cases, and no other rule in more, but for small graphs.
    """
    if classes < 2 or nodes < 2 * classes or words < classes or not 0 < valid < 1:
        raise ValueError(f"{nodes=}, {classes=}, {words=}, {valid=}: 2 classes, of 2 nodes each; a share is left out")
    rng = np.random.default_rng(seed)
    x, edges = community(rng, nodes, classes, degree, within, words, length, signal)
    there = rng.permutation(edges[edges[:, 0] < edges[:, 1]])
    cut = max(1, round(valid * len(there)))
    known = both_ways(there[cut:])
    taken = set(map(tuple, edges.tolist()))
    half = lambda pairs: Columns(
        x=x[None],
        edges=known[None],
        nodes=np.ones((1, nodes), np.float32),
        pairs=np.concatenate([pairs, not_joined(rng, len(pairs), nodes, taken)])[None].astype(np.int32),
        y=np.repeat(np.array([1, 0], np.int32), len(pairs))[None],
    )
    rule = f"{valid:g} of the edges, and as many pairs without one"
    return examples(half(there[cut:]), half(there[:cut]), words=words, held_out=HeldOut(rule))


def not_joined(rng: np.random.Generator, count: int, nodes: int, taken: set[tuple[int, int]]) -> np.ndarray:
    """Pairs of two nodes that are not in `taken`."""
    found: list[tuple[int, int]] = []
    while len(found) < count:
        drawn = rng.integers(0, nodes, (count, 2)).tolist()
        found += [(i, j) for i, j in drawn if i != j and (i, j) not in taken]
    return np.array(found[:count])


def nodes_to_classify(
    graph: dict[str, np.ndarray],
    masks: dict[str, np.ndarray],
    classes: int,
    words: int,
    fan_out: tuple[int, ...],
    held_out: HeldOut,
) -> Dataset:
    """Some nodes of a graph train, and others of the same graph are held out."""
    halves = {split: Columns(**graph, mask=mask.reshape(graph["y"].shape)) for split, mask in masks.items()}
    made = examples(**halves, classes=classes, words=words, held_out=held_out)
    if not fan_out:
        return made
    if len(graph["x"]) > 1 or min(fan_out) < 1:
        raise ValueError(f"data.fan_out={fan_out} is of one graph, and each part of it 1 or more")
    one = {name: column[0] for name, column in graph.items()}
    sampled = Neighbourhoods(one["x"], one["edges"], one["y"], np.flatnonzero(masks["train"]), tuple(fan_out))
    return made._replace(train=sampled, unique=len(sampled))


def community(
    rng: np.random.Generator,
    nodes: int,
    classes: int,
    degree: float,
    within: float,
    words: int,
    length: int,
    signal: float,
) -> tuple[Int32[np.ndarray, "N W"], Int32[np.ndarray, "E 2"]]:
    """Words and edges of one graph, whose node i is of class i mod `classes`."""
    count = round(nodes * degree / 2)
    from_N = rng.integers(0, nodes, count)
    kind = np.where(rng.random(count) < within, from_N, from_N + rng.integers(1, classes, count)) % classes
    to_N = rng.integers(0, nodes // classes, count) * classes + kind
    pairs = np.sort(np.stack([from_N, to_N], 1)[from_N != to_N], 1)
    own = words // classes
    theirs = (np.arange(nodes) % classes)[:, None] * own + rng.integers(0, own, (nodes, length))
    said = np.where(rng.random((nodes, length)) < signal, theirs, rng.integers(0, words, (nodes, length)))
    return said.astype(np.int32), both_ways(np.unique(pairs, axis=0))


def both_ways(pairs: Int[np.ndarray, "E 2"]) -> Int32[np.ndarray, "E2 2"]:
    """Every undirected edge in both directions, in the order of the node that it goes to."""
    edges = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int32)
    return edges[np.lexsort((edges[:, 0], edges[:, 1]))]


def filled(rows: Sequence[np.ndarray], empty: int = -1) -> np.ndarray:
    """Arrays [n, ...] of different n as one [B, max n, ...]; what is padding is `empty`."""
    made = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), empty, rows[0].dtype)
    for row, values in zip(made, rows, strict=True):
        row[: len(values)] = values
    return made


def rows_of_words(row: Int[np.ndarray, " P"], column: Int[np.ndarray, " P"], count: int) -> Int32[np.ndarray, "N W"]:
    """The columns of each row of a sparse matrix of ones."""
    order = np.argsort(row, kind="stable")
    cuts = np.searchsorted(row[order], np.arange(1, count))
    return filled(np.split(column[order].astype(np.int32), cuts))


def marked(numbers: Int64[np.ndarray, " n"], count: int) -> np.ndarray:
    mask = np.zeros(count, np.float32)
    mask[numbers] = 1
    return mask


def labelled_of(rng: np.random.Generator, y: np.ndarray, each: int) -> np.ndarray:
    """1 for `each` nodes of every class."""
    chosen = [rng.choice(np.flatnonzero(y == k), each, replace=False) for k in range(int(y.max()) + 1)]
    return marked(np.concatenate(chosen), len(y))


def check_edges(edges: np.ndarray, nodes: int) -> None:
    if edges.ndim != 2 or edges.shape[1] != 2 or (edges.size and not 0 <= edges.min() <= edges.max() < nodes):
        raise ValueError(f"edges are pairs [E, 2] of nodes 0 to {nodes - 1}; got {list(edges.shape)}")
