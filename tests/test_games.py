"""Games: the rules and the proof against known counts, the search against a plain one, streams of games by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from data import games
from data.games import Rules, begun, positions, solved
from models.api import from_linen
from models.mlp import MLP
from models.parts.axes import LANES
from scripts.score.games import match, walk
from tests.test_mesh import posing
from train import boards
from train.devices import mesh
from train.search import Path, Tree, back_up, roll_out, search
from train.step import TrainState
from train.tasks.games import Learning, advanced, picked, played, self_play, started

TICTACTOE = Rules(3, 3, 3, False)


@pytest.mark.parametrize(
    ("rules", "reached", "over", "first"),
    [
        (TICTACTOE, 5478, 958, 0b111111111),  # every first move keeps the draw
        (Rules(4, 4, 4, True), 161_029, None, 0b1111),  # counted by Tromp (OEIS A090224)
    ],
)
def test_every_position_is_reached_and_its_value_known(rules, reached, over, first):
    found = solved(rules)
    assert len(found.boards) == reached
    assert over is None or found.over.sum() == over
    assert found.value[0] == 0
    assert sum(int(best) << i for i, best in enumerate(found.best[0])) == first


def test_perfect_play_never_loses_and_all_games_are_walked():
    """255,168 games of tic-tac-toe: 131,184 won by the first, 77,904 by the second, 46,080 drawn."""
    found, at = solved(TICTACTOE), {board.tobytes(): i for i, board in enumerate(solved(TICTACTOE).boards)}
    perfect = lambda boards: np.array([found.best[at[board.tobytes()]].argmax() for board in boards])
    first_free = lambda boards: (boards == 0).argmax(1)
    assert walk(TICTACTOE, perfect, True)[2] == walk(TICTACTOE, perfect, False)[2] == 0
    assert walk(TICTACTOE, first_free, True)[2] > 0

    ends, ways, boards = np.zeros(3, int), np.ones(1, int), np.zeros((1, 9), np.int8)
    for placed in range(9):
        source, move = np.nonzero(games.legal(TICTACTOE, boards))
        boards, ways = games.after(TICTACTOE, boards[source], move), ways[source]
        lost, full = games.lost(TICTACTOE, boards), games.full(boards)
        ends += [lost.sum() * (placed % 2 == 0), lost.sum() * (placed % 2), (full & ~lost).sum()]
        boards, ways = boards[~(lost | full)], ways[~(lost | full)]
    assert ends.tolist() == [131_184, 77_904, 46_080]
    assert match(TICTACTOE, perfect, first_free, begun(TICTACTOE, 20, 0, np.random.default_rng(0))).endswith("points")


def test_stones_fall_and_rows_are_seen():
    rules = Rules(4, 5, 4, True)
    board = np.zeros((1, 20), np.int8)
    for move in (2, 1, 2, 1, 2, 1, 2):
        assert not games.lost(rules, board)[0]
        board = games.after(rules, board, np.array([move]))
    assert games.lost(rules, board)[0]
    assert not games.legal(rules, board)[0, 2]
    assert board.reshape(4, 5).tolist() == [[0, 0, -1, 0, 0], [0, 1, -1, 0, 0], [0, 1, -1, 0, 0], [0, 1, -1, 0, 0]]


def test_positions_are_what_the_page_trains_on():
    data = positions(openings=200, stones=4, valid=50)
    opened = data.train.gather(np.arange(200))["x"].reshape(200, -1)
    assert set(np.abs(opened).sum(1)) == {0, 1, 2, 3, 4}
    assert np.isin(opened.sum(1), (0, -1)).all(), "the player to move has as many stones, or one less"
    held = data.valid.gather(np.arange(50))
    assert held["best"].shape == (50, 9)
    assert (held["best"].sum(1) >= 1).all()
    with pytest.raises(ValueError, match="every position is listed for at most 20 squares"):
        positions(rows=6, columns=7, connect=4, drop=True)


def known(boards, _=None):
    """Scores and values that are as good as random, and the same for NumPy and JAX."""
    x = boards.astype(np.float32)
    weights = np.sin(np.arange(1, 91)).reshape(9, 10).astype(np.float32)
    outputs = x @ weights
    return outputs[:, :9], outputs[:, 9] / 10


def plain_search(board, simulations, exploration):
    """PUCT as it is written in papers: one tree of dictionaries, by recursion."""

    def node(board):
        scores = np.where(board == 0, known(board[None])[0][0], -np.inf)
        p = np.exp(scores - scores.max())
        return {"board": board, "p": p / p.sum(), "n": np.zeros(9), "w": np.zeros(9), "children": {}}

    def simulate(tree):
        q = tree["w"] / np.maximum(tree["n"], 1)
        u = exploration * tree["p"] * math.sqrt(1 + tree["n"].sum()) / (1 + tree["n"])
        move = int(np.where(tree["board"] == 0, q + u, -np.inf).argmax())
        child = games.after(TICTACTOE, tree["board"][None], np.array([move]))
        if games.lost(TICTACTOE, child)[0]:
            value = 1.0
        elif games.full(child)[0]:
            value = 0.0
        elif move in tree["children"]:
            value = -simulate(tree["children"][move])
        else:
            tree["children"][move] = node(child[0])
            value = -float(known(child)[1][0])
        tree["n"][move] += 1
        tree["w"][move] += value
        return value

    tree = node(board)
    for _ in range(simulations):
        simulate(tree)
    return tree["n"]


def test_search_is_the_one_of_the_papers():
    all_ = solved(TICTACTOE)
    boards = all_.boards[np.random.default_rng(0).choice(np.flatnonzero(~all_.over), 40, replace=False)]
    found = jax.jit(lambda b: search(TICTACTOE, known, b, 24))(jnp.asarray(boards))
    expected = np.stack([plain_search(board, 24, 1.5) for board in boards])
    np.testing.assert_array_equal(found.visits, expected)
    assert np.abs(found.value).max() <= 1


def test_a_long_plain_search_plays_perfectly_where_it_matters():
    """Random games know no move; a tree over them finds what wins and what loses at once."""
    all_ = solved(TICTACTOE)
    forced = np.flatnonzero((all_.best.sum(1) == 1) & ((all_.boards == 0).sum(1) <= 4))
    boards, best = all_.boards[forced[::40]], all_.best[forced[::40]]
    found = jax.jit(lambda b: search(TICTACTOE, roll_out(TICTACTOE, jax.random.key(0)), b, 200))(jnp.asarray(boards))
    assert best[np.arange(len(best)), found.visits.argmax(1)].all()


def test_values_change_their_sign_on_the_way_up():
    zeros = jnp.zeros((4, 2))
    tree = Tree(jnp.zeros((4, 9), jnp.int8), jnp.zeros(4, bool), zeros, zeros, zeros, zeros.astype(jnp.int32))
    path = Path(jnp.array([0, 1, 2, 0]), jnp.array([1, 0, 1, 0]), jnp.array(3))
    told = back_up(tree, path, jnp.array(0.5))
    np.testing.assert_array_equal(told.visits, [[0, 1], [1, 0], [0, 1], [0, 0]])
    np.testing.assert_array_equal(told.total, [[0, -0.5], [0.5, 0], [0, -0.5], [0, 0]])


def test_games_against_itself_are_played_to_the_end():
    """Every move adds one stone, the players' in turn, until a row or a full board; then nothing changes."""
    learning = Learning(simulations=4, learnt=1, explore=9, noise=1.0, exploration=1.5)
    play = jax.jit(lambda key: played(TICTACTOE, known, 20, learning, key))
    made = np.asarray(play(jax.random.key(0))).reshape(20, 9, 9)
    before = np.concatenate([np.zeros((20, 1, 9)), made[:, :-1]], 1)
    over = np.stack([games.lost(TICTACTOE, b) | games.lost(TICTACTOE, -b) | games.full(b) for b in before.astype(int)])
    assert over[:, 8].any()
    assert not over[:, :5].any()
    turn = np.where(np.arange(9) % 2, -1, 1)
    np.testing.assert_array_equal((made - before).sum(-1), np.where(over, 0, turn))
    np.testing.assert_array_equal(np.abs(made - before).sum(-1), ~over)


def test_a_game_is_told_as_boards():
    game = np.zeros((6, 2, 3))
    game[:, 1, 0] = game[2:, 1, 1] = 1
    game[1:, 0, 2] = -1
    assert boards.text(game, 1.0).split("\n") == [
        "1       2       3",
        ". . .   . . o   . . o",
        "x . .   x . .   x x .",
        "x, who began, wins after 3 moves",
    ]


@pytest.mark.slow
def test_the_end_of_a_game_tells_its_positions_who_won():
    """One lane wins in five moves, one is drawn later; a ring of nine forgets the oldest."""
    x = jnp.zeros((2, 3, 3))
    lanes = started(TICTACTOE, x, 9)
    share, fresh = jnp.ones((2, 9)) / 9, jnp.zeros((2, 9), jnp.int8)
    games_ = [[0, 3, 1, 4, 2, 0, 3, 1, 4, 2], [0, 4, 8, 1, 7, 6, 2, 5, 3, 0]]
    for i, moves in enumerate(zip(*games_, strict=True)):
        lanes = advanced(TICTACTOE, lanes, share, jnp.array(moves), fresh)
        if i == 4:
            np.testing.assert_array_equal(lanes.result[0, :5], [1, -1, 1, -1, 1])
            np.testing.assert_array_equal(lanes.known[:, :6], [[1, 1, 1, 1, 1, 0], [0] * 6])
            assert lanes.age.tolist() == [0, 5]
            assert not lanes.board[0].any()
    np.testing.assert_array_equal(lanes.known[1], [0, *[1] * 8])  # the tenth move took the place of the first
    assert not lanes.result[1].any()
    np.testing.assert_array_equal(lanes.result[0], [1, -1, 1, -1, 1, 1, -1, 1, -1])
    boards, _, result, _ = picked(lanes, 200, jax.random.key(0))
    stones = np.abs(np.asarray(boards[:200])).sum(1)
    np.testing.assert_array_equal(result[:200], np.where(stones % 2 == 0, 1, -1))


def test_devices_split_the_games_as_they_split_the_batch():
    task = self_play(from_linen(MLP(10, width=4, layers=1)), connect=3, drop=False, kept=9)
    _, state = jax.eval_shape(task.init, jax.random.key(0), {"x": jax.ShapeDtypeStruct((8, 3, 3), jnp.float32)})
    placed = mesh.shardings(posing(data=2, fsdp=2), TrainState(0, {}, state, ()), {})
    assert {leaf.spec[0] for leaf in placed.model_state[LANES].values()} == {("data", "fsdp")}
    assert placed.step.spec == PartitionSpec()
