"""Molecules as graphs: atoms are words of one letter, bonds are edges of several kinds.  N atoms, E edges."""

from pathlib import Path

import numpy as np
from jaxtyping import Int32

from data.graphs import filled
from data.source import Columns, Dataset, HeldOut, examples

SMALLEST = {"train": 128, "valid": 64}  # at which pages are tested
CARBON, NITROGEN, OXYGEN, SULPHUR, FLUORINE = range(5)
SINGLE, DOUBLE = 0, 1
VALENCE = 3  # atoms that one is joined to, at most


def nitroso(*, atoms: int = 16, train: int = 2000, valid: int = 500, seed: int = 0) -> Dataset:
    """Drawn molecules with one nitrogen and one oxygen: is there a double bond between them, N=O?

    Of those without, half have N-O and a double bond elsewhere, and half have N and O apart, so that counts of atoms,
    of bonds of each kind, and of bonds between atoms say nothing or not all.  Half of the molecules have the group.
    `atoms` are the most, 8 the fewest.
    """
    if atoms < 8 or min(train, valid) < 2:
        raise ValueError(f"{atoms=}, {train=}, {valid=}: 8 atoms and 2 molecules of each split at least")
    halves = [drawn(np.random.default_rng((seed, split)), n, atoms) for split, n in enumerate((train, valid))]
    return examples(*halves, classes=2, words=5, names=("without N=O", "with N=O"))


def drawn(rng: np.random.Generator, count: int, most: int) -> Columns:
    made = [molecule(rng, int(rng.integers(8, most + 1)), kind) for kind in range(count)]
    y = (np.arange(count) % 2).astype(np.int32)
    atoms, edges, bonds = (filled([parts[i] for parts in made]) for i in range(3))
    # Every split has the same shape: a tree of n atoms and a ring has n bonds, each in two directions.
    grow = lambda a, n: np.concatenate([a, np.full((len(a), n - a.shape[1], *a.shape[2:]), -1, a.dtype)], 1)
    atoms, edges, bonds = grow(atoms, most), grow(edges, 2 * most), grow(bonds, 2 * most)
    return Columns(x=atoms[..., None], edges=edges, nodes=(atoms >= 0).astype(np.float32), bonds=bonds, y=y)


def molecule(
    rng: np.random.Generator, atoms: int, kind: int
) -> tuple[Int32[np.ndarray, " N"], Int32[np.ndarray, "E 2"], Int32[np.ndarray, " E"]]:
    """Atoms, edges and kinds of edges; of odd `kind` with N=O, of kind 0 mod 4 with N-O, of 2 mod 4 with neither."""
    ring = [(i, (i + 1) % 6) for i in range(6)]
    joined = np.array([2] * 6 + [0] * (atoms - 6))
    for new in range(6, atoms):
        old = int(rng.choice(np.flatnonzero(joined[:new] < VALENCE)))
        ring.append((old, new))
        joined[[old, new]] += 1
    pairs = np.array(ring)
    at = int(rng.integers(len(pairs)))
    bonds = np.zeros(len(pairs), np.int32)
    if kind % 4 == 2:  # apart
        apart = np.argwhere(~near(pairs, atoms))
        nitrogen, oxygen = apart[rng.integers(len(apart))]
        bonds[at] = DOUBLE
    else:
        nitrogen, oxygen = rng.permutation(pairs[at])
        bonds[at if kind % 2 else (at + rng.integers(1, len(pairs))) % len(pairs)] = DOUBLE
    letters = rng.choice([CARBON, CARBON, CARBON, CARBON, SULPHUR, FLUORINE], atoms)
    letters[[nitrogen, oxygen]] = NITROGEN, OXYGEN
    order = rng.permutation(atoms)  # the place of an atom says nothing
    moved = np.empty(atoms, np.int32)
    moved[order] = letters
    pairs = order[pairs]
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int32)
    return moved, both, np.tile(bonds, 2)


def near(pairs: np.ndarray, atoms: int) -> np.ndarray:
    """[N, N]: whether two atoms are one or bonded."""
    found = np.eye(atoms, dtype=bool)
    found[pairs[:, 0], pairs[:, 1]] = found[pairs[:, 1], pairs[:, 0]] = True
    return found


def tu(path: str, *, fold: int = 0, folds: int = 10, seed: int = 0) -> Dataset:
    """A folder of the TU Dortmund collection (Morris et al. 2020): classes of whole graphs, such as MUTAG.

    `path` is the folder NAME with NAME_A.txt, NAME_graph_indicator.txt, NAME_graph_labels.txt, NAME_node_labels.txt
    and, where edges have kinds, NAME_edge_labels.txt.  Of `folds` parts, each with its share of every class, `fold` is
    held out.
    """
    folder = Path(path).expanduser()
    file = lambda what: folder / f"{folder.name}_{what}.txt"
    if not file("A").is_file():
        raise ValueError(f"no graphs at {path!r}: {file('A')} is not there; data.path is relative to {Path.cwd()}")
    if not 0 <= fold < folds:
        raise ValueError(f"data.fold={fold}; of {folds} folds choose 0 to {folds - 1}")
    read = lambda what: np.loadtxt(file(what), delimiter=",", dtype=np.int64, ndmin=1)
    ends, graph, kinds = read("A") - 1, read("graph_indicator") - 1, read("node_labels")
    words, letters = np.unique(kinds, return_inverse=True)
    classes, y = np.unique(read("graph_labels"), return_inverse=True)
    of_edge = graph[ends[:, 0]]
    first = np.searchsorted(graph, np.arange(len(y)))  # nodes stand in the order of their graphs
    mine = [np.flatnonzero(of_edge == g) for g in range(len(y))]
    atoms = filled([letters[graph == g].astype(np.int32) for g in range(len(y))])
    columns = {
        "x": atoms[..., None],
        "edges": filled([(ends[rows] - first[g]).astype(np.int32) for g, rows in enumerate(mine)]),
        "nodes": (atoms >= 0).astype(np.float32),
        "y": y.astype(np.int32),
    }
    if file("edge_labels").is_file():
        labels = np.unique(read("edge_labels"), return_inverse=True)[1].astype(np.int32)
        columns["bonds"] = filled([labels[rows] for rows in mine])
    held = np.zeros(len(y), bool)
    for k in range(len(classes)):
        rows = np.random.default_rng((seed, k)).permutation(np.flatnonzero(y == k))
        held[rows[fold::folds]] = True
    half = lambda rows: Columns(**{name: column[rows] for name, column in columns.items()})
    rule = f"part {fold} of {folds} of each class, drawn by the seed {seed}"
    kept = HeldOut(rule, tuple(map(str, np.flatnonzero(held))))
    names = tuple(map(str, classes.tolist()))
    return examples(half(~held), half(held), len(classes), words=len(words), names=names, held_out=kept)
