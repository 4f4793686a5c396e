"""Graph networks against dense formulas written in NumPy; that neither the order of nodes nor padding tells.

N nodes, E edges, D width, H heads.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import cuts, graphs, molecules, ratings, roads
from data.graphs import both_ways
from data.neighbourhoods import Neighbourhoods
from data.pipeline import batch_at
from models.api import from_linen
from models.factorization import Factorization
from models.gat import GAT
from models.gcn import GCN
from models.gin import GIN
from models.parts import graph as parts
from models.parts.graph import graph_of
from models.sage import SAGE
from tests.support.golden import numbers
from train.tasks import cut

N, F, C = 7, 5, 3
PAIRS = np.array([[0, 1], [0, 2], [1, 2], [2, 3], [3, 4], [0, 4]])  # node 5 is joined to 6, which is the rest
PAIRS = np.concatenate([PAIRS, [[5, 6]]])
NETWORKS = {
    "gcn": GCN(C, width=4),
    "gat": GAT(C, width=2, heads=2, last_heads=3),
    "sage": SAGE(C, width=4),
    "sage_max": SAGE(C, width=4, aggregator="max"),
    "gin": GIN(C, width=4, layers=2, bonds=2, pool="none"),
    "gcn_pooled": GCN(C, width=4, pool="mean"),
    "gat_pooled": GAT(C, width=2, heads=2, pool="sum"),
    "sage_pooled": SAGE(C, width=4, pool="mean"),
    "gin_pooled": GIN(C, width=4, layers=2, bonds=2, pool="sum"),
}


def example(padding: int = 2, order: np.ndarray | None = None):
    """One graph of N nodes, with so many nodes and edges more that are padding, its nodes in another order."""
    order = np.arange(N) if order is None else order
    place = np.argsort(order)
    pairs = both_ways(PAIRS)
    bonds = (pairs.sum(1) % 2).astype(np.int32)
    ends = np.full((len(pairs) + padding, 2), -1, np.int32)
    ends[: len(pairs)] = place[pairs]
    kinds = np.full(len(ends), -1, np.int32)
    kinds[: len(pairs)] = bonds
    x, real = np.zeros((N + padding, F), np.float32), np.zeros(N + padding, np.float32)
    x[:N], real[:N] = numbers("x", N, F)[order], 1
    batch = {"x": x, "edges": ends, "bonds": kinds, "nodes": real}
    batch = {name: jnp.asarray(value)[None] for name, value in batch.items()}
    return batch["x"], graph_of(batch)


@functools.cache
def made(name: str):
    """Parameters none of which is at its start, and the network as a function of them."""
    model = from_linen(NETWORKS[name])
    params, _ = jax.eval_shape(model.init, jax.random.key(0), *example())
    flat, tree = jax.tree_util.tree_flatten_with_path(params)
    params = [jnp.asarray(numbers(jax.tree_util.keystr(path), *leaf.shape)) for path, leaf in flat]
    params = [
        jnp.abs(p) if "bias" in str(path[-1]) else p for p, (path, _) in zip(params, flat, strict=True)
    ]  # some fire
    params = jax.tree.unflatten(tree, params)
    return params, jax.jit(lambda params, x, graph: model.apply(params, {}, x, graph)[0])


def relu(x):
    return np.maximum(x, 0)


def adjacency() -> np.ndarray:
    a = np.zeros((N, N))
    a[PAIRS[:, 0], PAIRS[:, 1]] = a[PAIRS[:, 1], PAIRS[:, 0]] = 1
    return a


def dense_gcn(p, x):
    loops = adjacency() + np.eye(N)
    a = loops / np.sqrt(loops.sum(0) * loops.sum(1)[:, None])
    h = relu(a @ x @ p["layer_0"]["kernel"]["kernel"] + p["bias_0"])
    return a @ h @ p["layer_1"]["kernel"] + p["bias_1"]


def dense_gat(p, x):
    """Every pair of nodes has a score; that of those who are not joined is -∞."""
    far = np.where(adjacency() + np.eye(N) > 0, 0, -np.inf)
    for i, (heads, width) in enumerate(((2, 2), (3, C))):
        kernel = p["layer_0"]["kernel"]["kernel"] if i == 0 else p["layer_1"]["kernel"]
        out = []
        for k in range(heads):
            h = (x @ kernel).reshape(N, heads, width)[:, k]
            a = p[f"attention_{i}"]
            e = (h @ a["to"][k])[:, None] + (h @ a["of"][k])[None]
            e = np.where(e > 0, e, 0.2 * e) + far
            alpha = np.exp(e - e.max(1, keepdims=True))
            out.append(alpha / alpha.sum(1, keepdims=True) @ h)
        if i == 0:
            x = np.concatenate(out, 1) + p["bias_0"]
            x = np.where(x > 0, x, np.expm1(x))
    return np.mean(out, 0) + p["bias_1"]


def dense_sage(p, x):
    mean = adjacency() / adjacency().sum(1, keepdims=True)
    both = p["layer_0"]["kernel"]["kernel"]
    h = relu(x @ both[:, :4] + mean @ x @ both[:, 4:] + p["bias_0"])
    return h @ p["layer_1"]["kernel"] + mean @ h @ p["neighbours_1"]["kernel"] + p["bias_1"]


def dense_sage_max(p, x):
    """The largest of ReLU(W' h_j + b) over neighbours, in every dimension."""
    both, joined = p["layer_0"]["kernel"]["kernel"], adjacency() > 0
    most = lambda h: np.stack([h[joined[i]].max(0) for i in range(N)])
    last = lambda name, h: h @ p[name]["kernel"] + p[name]["bias"]
    h = relu(x @ both[:, :4] + last("largest_0", most(relu(x @ both[:, 4:] + p["bias_0"]))))
    found = most(relu(h @ p["neighbours_1"]["kernel"] + p["bias_1"]))
    return h @ p["layer_1"]["kernel"] + last("largest_1", found)


def dense_gin(p, x):
    layer = lambda name, h: h @ p[name]["kernel"] + p[name]["bias"]
    h = x @ p["first"]["kernel"]["kernel"] + p["first"]["kernel"]["bias"]
    for i in range(2):
        came = np.zeros_like(h)
        for a, b in both_ways(PAIRS):
            came[b] += relu(h[a] + p[f"bonds_{i}"]["embedding"][(a + b) % 2])
        h = relu(layer(f"down_{i}", relu(layer(f"up_{i}", (1 + p[f"epsilon_{i}"]) * h + came))))
    return layer("logits", relu(layer("hidden", h)))


@pytest.mark.parametrize(
    ("name", "dense"),
    [("gcn", dense_gcn), ("gat", dense_gat), ("sage", dense_sage), ("sage_max", dense_sage_max), ("gin", dense_gin)],
)
def test_networks_are_their_formulas(name, dense):
    params, network = made(name)
    found = network(params, *example())[0, :N]
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    np.testing.assert_allclose(found, dense(wide, np.asarray(example()[0][0, :N], np.float64)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_nodes_tells_nothing(name):
    """Nodes in another order give the same in that order, and a graph the same."""
    params, network = made(name)
    plain, order = network(params, *example())[0], np.random.default_rng(0).permutation(N)
    moved = network(params, *example(order=order))[0]
    plain, moved = (plain, moved) if plain.ndim == 1 else (plain[:N][order], moved[:N])
    np.testing.assert_allclose(moved, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gcn_pooled", "gat_pooled", "gin_pooled", "sage_max"])
def test_padding_changes_neither_outputs_nor_gradients(name):
    """More nodes and edges that are not there."""
    params, network = made(name)

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def slopes(params, x, graph):
        found = network(params, x, graph)
        found = found if found.ndim == 2 else found[:, :N]
        return (found**2).sum(), found

    ((_, plain), (of_params, of_x)) = slopes(params, *example(padding=0))
    ((_, padded), (of_padded, of_padded_x)) = slopes(params, *example(padding=3))
    np.testing.assert_allclose(padded, plain, rtol=1e-5, atol=1e-6)
    rounding = 1e-7 * max(float(jnp.abs(g).max()) for g in jax.tree.leaves(of_params))  # some are 0 but for it
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=rounding), of_padded, of_params)
    np.testing.assert_allclose(of_padded_x[:, :N], of_x, rtol=1e-4, atol=1e-5)


def test_words_are_rows_of_a_sparse_matrix():
    """A node of the words 0, 2 and 3 is the row (1, 0, 1, 1, 0) / 3; one without words is a row of zeros."""
    words = np.array([[[0, 2, 3], [4, -1, -1], [-1, -1, -1]]], np.int32)
    rows = np.array([[[1, 0, 1, 1, 0], [0, 0, 0, 0, 3], [0] * 5]], np.float32) / 3
    first = from_linen(parts.First(4, vocab=5, use_bias=True))
    dense = from_linen(parts.First(4))
    kernel = jnp.asarray(numbers("w", 5, 4))
    looked_up = lambda w: first.apply({"kernel": w, "bias": jnp.ones(4)}, {}, jnp.asarray(words))[0] - 1
    product = lambda w: dense.apply({"kernel": {"kernel": w}}, {}, jnp.asarray(rows))[0]
    np.testing.assert_allclose(looked_up(kernel), product(kernel), rtol=1e-6, atol=1e-6)
    slope = lambda f: jax.grad(lambda w: (f(w) ** 2).sum())(kernel)
    np.testing.assert_allclose(slope(looked_up), slope(product), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="inputs are words, and vocab=0"):
        from_linen(parts.First(4)).init(jax.random.key(0), jnp.asarray(words))


# Neighbourhoods.


def community(**options):
    return graphs.communities(**{"nodes": 60, "classes": 3, "words": 30, "length": 4, "labelled": 5, **options})


@pytest.mark.slow
def test_all_neighbours_sampled_give_what_the_graph_gives():
    """SAGE of two layers at the root of a tree of all neighbours, and of all of theirs, is SAGE on the graph."""
    whole = {name: jnp.asarray(value) for name, value in community().train.gather(np.zeros(1, np.int64)).items()}
    model = from_linen(SAGE(3, width=8, vocab=30))
    params, _ = model.init(jax.random.key(0), whole["x"], graph_of(whole))
    most = int(np.bincount(np.asarray(whole["edges"][0, :, 1]).clip(0)).max())
    sampled = community(fan_out=(most, most)).train
    ids = sampled.order(0, len(sampled), seed=3)
    roots = sampled.roots[ids % len(sampled)]
    trees = {name: jnp.asarray(value) for name, value in sampled.gather(ids).items()}
    run = jax.jit(lambda batch: model.apply(params, {}, batch["x"], graph_of(batch))[0])
    np.testing.assert_allclose(run(trees)[:, 0], run(whole)[0, roots], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(trees["y"][:, 0], whole["y"][0, roots])
    assert trees["mask"].sum() == len(roots) == len(set(roots))


def test_neighbours_are_drawn_without_replacement_and_evenly():
    """A node of 6 neighbours, of which 2 are drawn: two different ones, each of the 15 pairs as often."""
    edges = both_ways(np.array([[0, i] for i in range(1, 7)]))
    x = np.arange(7, dtype=np.int32)[:, None]
    source = Neighbourhoods(x, edges, np.zeros(7, np.int32), np.array([0]), (2,))
    batch = source.gather(np.arange(30_000))  # numbers of the one root, each with a chance of its own
    pairs = np.sort(batch["x"][:, 1:, 0], 1)
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(kinds) == 15
    assert (kinds[:, 0] < kinds[:, 1]).all()
    chi2 = ((counts - 2000) ** 2 / 2000).sum()
    assert chi2 < 36.1, "of 14 degrees of freedom, 0.001"
    np.testing.assert_array_equal(batch["edges"][0], [[1, 0], [2, 0]])


def test_a_batch_of_neighbourhoods_is_a_function_of_seed_and_step():
    source = community(fan_out=(2, 2)).train
    at = lambda step, seed, rows=None: batch_at(source, step, batch_size=4, seed=seed, rows=rows)
    for name, value in at(7, 0).items():
        np.testing.assert_array_equal(value, at(7, 0)[name])
        np.testing.assert_array_equal(value[2:], at(7, 0, np.arange(2, 4))[name])
    assert any((at(7, 0)["x"] != at(7, 1)["x"]).ravel())
    first, again = (at(step, 0) for step in (0, 15))  # 15 records: four steps of 4 are more than an epoch
    assert (first["x"] != again["x"]).any()


# Sources.


def test_planetoid_reads_the_public_split(tmp_path):
    arrays = {
        "feat_row": np.array([0, 0, 1, 3]),
        "feat_col": np.array([4, 1, 2, 0]),
        "num_nodes": np.array(4),
        "num_features": np.array(5),
        "edges": np.array([[0, 1], [1, 3]]),
        "label": np.array([1, 0, -1, 1], np.int8),
        "train": np.array([0]),
        "val": np.array([1]),
        "test": np.array([3]),
    }
    np.savez(tmp_path / "small.npz", **arrays)
    made = graphs.planetoid(str(tmp_path / "small.npz"))
    batch = made.train.gather(np.zeros(1, np.int64))
    assert (made.classes, made.words) == (2, 5)
    np.testing.assert_array_equal(batch["x"][0], [[4, 1], [2, -1], [-1, -1], [0, -1]])
    np.testing.assert_array_equal(batch["edges"][0], [[1, 0], [0, 1], [3, 1], [1, 3]])
    np.testing.assert_array_equal(batch["mask"][0], [1, 0, 0, 0])
    np.testing.assert_array_equal(made.valid.columns["mask"][0], [0, 0, 0, 1])
    np.savez(tmp_path / "wrong.npz", **{**arrays, "edges": np.array([[0, 4]])})
    with pytest.raises(ValueError, match=r"edges are pairs \[E, 2\] of nodes 0 to 3"):
        graphs.planetoid(str(tmp_path / "wrong.npz"))
    with pytest.raises(ValueError, match="no graph at"):
        graphs.planetoid(str(tmp_path / "none.npz"))


def test_communities_are_what_they_say():
    """About `degree` neighbours, of which a share `within` is of the node's own class; each edge in both directions."""
    batch = graphs.communities(nodes=3000, degree=8.0, within=0.7).train.gather(np.zeros(1, np.int64))
    edges, y = batch["edges"][0], batch["y"][0]
    assert len(edges) / 3000 == pytest.approx(8.0, rel=0.02)
    assert (y[edges[:, 0]] == y[edges[:, 1]]).mean() == pytest.approx(0.7, abs=0.02)
    assert {tuple(e) for e in edges} == {(b, a) for a, b in edges}
    assert (edges[:, 0] != edges[:, 1]).all()


def test_molecules_hide_the_group_from_every_count():
    """The mean counts of atoms and of kinds of bonds differ between the classes by what chance makes of them."""
    half = molecules.nitroso(train=2000).train.columns
    for counts in (
        np.stack([(half["x"][..., 0] == kind).sum(1) for kind in range(5)], 1),
        np.stack([(half["bonds"] == kind).sum(1) for kind in range(2)], 1),
    ):
        one, other = (counts[half["y"] == k] for k in range(2))
        error = np.sqrt(one.var(0) / len(one) + other.var(0) / len(other))
        assert (np.abs(one.mean(0) - other.mean(0)) <= 4 * error + 1e-9).all()
    for i in range(50):
        edges, bonds, atoms = half["edges"][i], half["bonds"][i], half["x"][i, :, 0]
        joined = {(atoms[a], atoms[b], k) for (a, b), k in zip(edges, bonds, strict=True) if a >= 0}
        assert ((molecules.NITROGEN, molecules.OXYGEN, molecules.DOUBLE) in joined) == half["y"][i]


def test_a_folder_of_graphs_is_read(tmp_path):
    """Two triangles and two chains, each with its kinds of atoms and edges."""
    folder, n, texts = tmp_path / "SMALL", 0, {"A": [], "graph_indicator": [], "node_labels": [], "edge_labels": []}
    folder.mkdir()
    for g, pairs in enumerate([[(0, 1), (1, 2), (0, 2)], [(0, 1), (1, 2)]] * 2, 1):
        both = [*pairs, *((b, a) for a, b in pairs)]
        texts["A"] += [f"{n + a + 1}, {n + b + 1}" for a, b in both]
        texts["edge_labels"] += [str(7 * (a + b == 1)) for a, b in both]
        texts["graph_indicator"] += [str(g)] * 3
        texts["node_labels"] += ["5", "9", "5"]
        n += 3
    texts["graph_labels"] = ["1", "-1"] * 2
    for name, lines in texts.items():
        (folder / f"SMALL_{name}.txt").write_text("\n".join(lines))
    made = molecules.tu(str(folder), folds=2)
    assert (len(made.train), len(made.valid), made.classes, made.words, made.names) == (2, 2, 2, 2, ("-1", "1"))
    chain = made.train.gather(np.arange(2))
    row = int(np.flatnonzero(chain["y"] == 0)[0])
    np.testing.assert_array_equal(chain["x"][row, :, 0], [0, 1, 0])
    np.testing.assert_array_equal(chain["edges"][row], [[0, 1], [1, 2], [1, 0], [2, 1], [-1, -1], [-1, -1]])
    np.testing.assert_array_equal(chain["bonds"][row], [1, 0, 1, 0, -1, -1])


def test_the_largest_cut_is_the_largest():
    """Of a ring of n nodes n, or n - 1 of odd n; of all pairs of n the two halves."""
    ring = lambda n: np.array([[i, (i + 1) % n] for i in range(n)])
    assert [cuts.largest_cut(ring(n), n) for n in (5, 6, 9)] == [4, 6, 8]
    assert cuts.largest_cut(np.argwhere(np.triu(np.ones((7, 7)), 1)), 7) == 12


def test_cuts_made_whole_are_no_smaller_than_expected():
    source = cuts.maxcut(nodes=10, train=32, valid=4).train
    graph = graph_of({name: jnp.asarray(value) for name, value in source.gather(np.arange(32)).items()})
    p = jax.random.uniform(jax.random.key(0), (32, 10))
    whole = cut.rounded(p, graph)
    assert set(np.unique(whole)) <= {0.0, 1.0}
    assert (cut.cut(whole, graph) >= cut.cut(p, graph) - 1e-4).all()
    pairs = np.asarray(source.gather(np.arange(1))["edges"][0])
    ends = np.asarray(whole[0])[pairs[pairs[:, 0] >= 0]]
    assert float(cut.cut(whole, graph)[0]) == (ends[:, 0] != ends[:, 1]).sum() / 2


def test_no_forecast_of_the_roads_is_better_than_that_of_the_equation():
    """The forecast of who knows it has the error that is said, to a few percent of the standard error."""
    made, H = roads.net(8, 2, 0.3, 0), 3
    u = roads.simulated(made, 4000, 0)
    errors = []
    for t in range(3990):
        best = u[t]
        for h in range(H):
            best = made.flow @ best + made.source[(t + roads.DAY + h) % roads.DAY]
            errors.append((best - u[t + h + 1]) ** 2)
    assert np.mean(errors) == pytest.approx(roads.floor(made, H), rel=0.03)
    assert np.abs(np.linalg.eigvals(made.flow)).max() < 1


def test_windows_of_the_roads_are_the_series():
    source = roads.traffic(sensors=5, steps=1000, lookback=4, horizon=2).train
    batch = source.gather(np.array([0, 3]))
    np.testing.assert_array_equal(batch["x"][1, :, :4], source.u_TN[3:7].T)
    np.testing.assert_array_equal(batch["y"][1], source.u_TN[7:9].T)
    np.testing.assert_array_equal(batch["naive"][1], np.stack([source.u_TN[6]] * 2, 1))


def test_factorization_is_its_formula():
    made = ratings.drawn(users=6, items=5, share=0.5, valid=0.2)
    batch = made.train.gather(np.arange(len(made.train)))
    model = from_linen(Factorization(6, 5, rank=2))
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0), batch["x"])
    t = {name: jnp.asarray(numbers(name, *leaf.shape)) for name, leaf in shapes.items()}
    table = t["user_means"] + t["item_means"].T + t["tastes"] @ t["traits"].T
    found = model.apply(t, {}, jnp.asarray(batch["x"]))[0][:, 0]
    np.testing.assert_allclose(found, table[tuple(batch["x"].T)], rtol=1e-6, atol=1e-6)
    assert abs(batch["y"].mean()) < 1e-6
    seen = {tuple(pair) for pair in batch["x"]}
    assert len(seen) == len(batch["x"]) == 15
    assert not seen & {tuple(pair) for pair in made.valid.gather(np.arange(len(made.valid)))["x"]}
