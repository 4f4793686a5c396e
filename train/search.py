"""Tree search in games of two players, PUCT (Rosin 2011; Silver et al. 2017), for a batch of boards at once.

B boards, S squares, M moves, T nodes of a tree, D moves of a path.  A value is that of the player to move.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from data import games
from data.games import Rules

# (boards [B, S], number of the simulation) -> scores of the moves [B, M], values [B] in [-1, 1]
Evaluate = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


class Found(NamedTuple):
    visits: Float[Array, "B M"]  # how often each move was tried; all of them 0 where the game is over
    value: Float[Array, " B"]  # the mean of all simulations, from -1, lost, to 1, won


class Tree(NamedTuple):
    """Node 0 is the root, node i that of simulation i.  Of each node's moves: prior, visits, sum of values, child."""

    boards: Int[Array, "B T S"]
    over: Array  # [B, T] bool
    prior: Float[Array, "B T M"]  # 0 for illegal moves
    visits: Float[Array, "B T M"]
    total: Float[Array, "B T M"]
    child: Int[Array, "B T M"]  # 0 where there is none yet


def search(
    rules: Rules,
    evaluate: Evaluate,
    boards: Int[Array, "B S"],
    simulations: int,
    exploration: float = 1.5,
    noise: Float[Array, "B M"] | None = None,
    share: float = 0.25,
) -> Found:
    """Each simulation follows the move of the highest Q + c P √N / (1 + n) from the root to a position that is new,
    or where the game is over, and adds its value to the moves on the way.

    Q, from -1 to 1, is the mean of a move's values, and 0 before the first; P its prior, the softmax of the scores; n
    its visits, and N - 1 those of all moves.  Of the root's priors this `share` is `noise`, a distribution over moves.
    """
    count, squares = boards.shape
    empty = jnp.zeros((count, simulations + 1, rules.moves))
    nodes = jnp.zeros((count, simulations + 1), bool)
    tree = Tree(jnp.zeros((*nodes.shape, squares), boards.dtype), nodes, empty, empty, empty, empty.astype(jnp.int32))
    scores, _ = evaluate(boards, jnp.zeros((), jnp.int32))
    prior = priors(rules, boards, scores)
    if noise is not None:
        noisy = jnp.where(games.legal(rules, boards), (1 - share) * prior + share * noise, 0)
        prior = noisy / jnp.maximum(noisy.sum(-1, keepdims=True), 1e-9)
    tree = written(tree, 0, boards, ended(rules, boards)[0], prior)

    def simulate(i: jax.Array, tree: Tree) -> Tree:
        node, move, path = jax.vmap(lambda tree: descend(tree, squares, exploration))(tree)
        new = games.after(rules, at_node(tree.boards, node), move)
        over, result = ended(rules, new)
        scores, value = evaluate(new, i)
        tree = written(tree, i, new, over, priors(rules, new, scores))
        tree = tree._replace(child=jax.vmap(lambda child, n, m: child.at[n, m].set(i))(tree.child, node, move))
        return jax.vmap(back_up)(tree, path, jnp.where(over, result, value))

    tree = jax.lax.fori_loop(1, simulations + 1, simulate, tree)
    over = tree.over[:, :1]
    visits = jnp.where(over, 0, tree.visits[:, 0])
    value = jnp.where(over[:, 0], ended(rules, boards)[1], tree.total[:, 0].sum(-1) / simulations)
    return Found(visits, value)


class Path(NamedTuple):
    """The moves from the root of one tree to where a simulation ends."""

    node: Int[Array, " D"]
    move: Int[Array, " D"]
    length: Int[Array, ""]


def descend(tree: Tree, longest: int, exploration: float) -> tuple[jax.Array, jax.Array, Path]:
    """In one tree: the last node of a path, the move from there, and the path; none is longer than `longest`."""

    def choose(node: jax.Array) -> jax.Array:
        n_M, prior_M = tree.visits[node], tree.prior[node]
        value_M = tree.total[node] / jnp.maximum(n_M, 1) + exploration * prior_M * jnp.sqrt(1 + n_M.sum()) / (1 + n_M)
        return jnp.where(prior_M > 0, value_M, -jnp.inf).argmax()

    def goes_on(walk: tuple) -> jax.Array:
        node, move, _ = walk
        child = tree.child[node, move]
        return (child > 0) & ~tree.over[child]

    def step(walk: tuple) -> tuple:
        node, move, path = walk
        node = tree.child[node, move]
        move = choose(node)
        put = lambda old, new: old.at[path.length].set(new)
        return node, move, Path(put(path.node, node), put(path.move, move), path.length + 1)

    blank = jnp.zeros(longest, jnp.int32)
    root = jnp.zeros((), jnp.int32)
    first = choose(root).astype(jnp.int32)
    start = root, first, Path(blank, blank.at[0].set(first), jnp.ones((), jnp.int32))
    return jax.lax.while_loop(goes_on, lambda walk: jax.tree.map(lambda x: x.astype(jnp.int32), step(walk)), start)


def back_up(tree: Tree, path: Path, value: jax.Array) -> Tree:
    """Adds the value at the end of a path to its moves; it changes its sign from player to player."""
    place = jnp.arange(len(path.node))
    taken = (place < path.length).astype(value.dtype)
    signed = taken * value * jnp.where((path.length - place) % 2 == 1, -1, 1)
    add = lambda old, new: old.at[path.node, path.move].add(new)
    return tree._replace(visits=add(tree.visits, taken), total=add(tree.total, signed))


def ended(rules: Rules, boards: Int[Array, "B S"]) -> tuple[jax.Array, jax.Array]:
    """Whether games are over, and their value where they are."""
    is_lost = games.lost(rules, boards)
    return is_lost | games.full(boards), -is_lost.astype(jnp.float32)


def priors(rules: Rules, boards: Int[Array, "B S"], scores: Float[Array, "B M"]) -> Float[Array, "B M"]:
    """The softmax of legal moves, none below 1e-6: 0 is for illegal ones."""
    legal = games.legal(rules, boards)
    return jnp.where(legal, jnp.maximum(jax.nn.softmax(jnp.where(legal, scores, -1e9)), 1e-6), 0)


def written(tree: Tree, node: int | jax.Array, boards: jax.Array, over: jax.Array, prior: jax.Array) -> Tree:
    put = lambda all_, one: jax.lax.dynamic_update_index_in_dim(all_, one, node, 1)
    return tree._replace(boards=put(tree.boards, boards), over=put(tree.over, over), prior=put(tree.prior, prior))


def at_node(values: jax.Array, node: Int[Array, " B"]) -> jax.Array:
    """[B, T, ...] -> [B, ...]."""
    return jax.vmap(lambda one, n: one[n])(values, node)


def roll_out(rules: Rules, key: jax.Array) -> Evaluate:
    """What a plain search knows: no move is likelier than another, and a value is the end of one random game."""

    def evaluate(boards: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        over, value = ended(rules, boards)

        def play(walk: tuple, step_key: jax.Array) -> tuple:
            boards, over, value, sign = walk
            chance = jax.random.uniform(step_key, (len(boards), rules.moves))
            move = jnp.where(games.legal(rules, boards), chance, -1).argmax(-1)
            boards = jnp.where(over[:, None], boards, games.after(rules, boards, move))
            now, result = ended(rules, boards)
            value = jnp.where(over, value, -sign * result)
            return (boards, over | now, value, -sign), None

        start = boards, over, value, jnp.ones(())
        (_, _, value, _), _ = jax.lax.scan(play, start, jax.random.split(jax.random.fold_in(key, i), boards.shape[1]))
        return jnp.zeros((len(boards), rules.moves)), value

    return evaluate
