"""Boards on which `connect` stones in a row win: the rules, every position of a small board, and its value.

N boards, R rows (the first is the top), C columns, S = R C squares, M moves, K lines.

A board is int8 [S], as the player to move sees it: 1 for the player's own stones, -1 for the opponent's, 0 elsewhere.
The rules use what arrays of NumPy and of JAX both have, so that search and proof play by the same ones.
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64

from data import cache
from data.source import Columns, Dataset, examples

SMALLEST = {"rows": 3, "columns": 3, "connect": 3, "openings": 64, "valid": 64}  # at which pages are tested
VERSION = 1  # of the positions in the cache
LARGEST = 20  # squares of a board whose positions are all listed: 4 × 5 has 3.9 million


class Rules(NamedTuple):
    """Of a game: tic-tac-toe is Rules(3, 3, 3, False), connect four Rules(6, 7, 4, True)."""

    rows: int
    columns: int
    connect: int
    drop: bool  # whether a stone falls to the lowest free square of its column; else it stays where it is put

    @property
    def moves(self) -> int:
        return self.columns if self.drop else self.rows * self.columns


@functools.cache
def lines(rules: Rules) -> Int[np.ndarray, "K connect"]:
    """The squares of every row of `connect`: across, down, and along both diagonals."""
    found = []
    for r in range(rules.rows):
        for c in range(rules.columns):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                line = [(r + i * down, c + i * right) for i in range(rules.connect)]
                if line[-1][0] < rules.rows and 0 <= line[-1][1] < rules.columns:
                    found.append([row * rules.columns + column for row, column in line])
    if not found:
        raise ValueError(
            f"{rules.connect} in a row fit nowhere on {rules.rows} × {rules.columns} squares; ask for fewer"
        )
    return np.array(found)


def legal(rules: Rules, boards: Int[Any, "N S"]) -> Bool[Any, "N M"]:
    return boards[:, : rules.moves] == 0  # of a column the top square


def after(rules: Rules, boards: Int[Any, "N S"], moves: Int[Any, " N"]) -> Int[Any, "N S"]:
    """The boards after these legal moves, as the other player sees them."""
    square = moves
    if rules.drop:
        stones = (boards.reshape(-1, rules.rows, rules.columns) != 0).sum(1)
        mine = moves[:, None] == np.arange(rules.columns)[None]
        square = (rules.rows - 1 - (stones * mine).sum(1)) * rules.columns + moves
    put = square[:, None] == np.arange(rules.rows * rules.columns)[None]
    return -(boards + put.astype(boards.dtype))


def lost(rules: Rules, boards: Int[Any, "N S"]) -> Bool[Any, " N"]:
    """Whether the opponent has a row."""
    return (boards[:, lines(rules)].sum(-1, dtype=boards.dtype) == -rules.connect).any(-1)


def full(boards: Int[Any, "N S"]) -> Bool[Any, " N"]:
    return (boards != 0).all(-1)


class Solved(NamedTuple):
    """Every position that play can reach from the empty board, by the number of its stones, then by its code."""

    boards: Int[np.ndarray, "N S"]
    value: Int[np.ndarray, " N"]  # for the player to move, when both play perfectly: 1 won, 0 drawn, -1 lost
    best: Bool[np.ndarray, "N M"]  # moves that keep this value; none where the game is over

    @property
    def over(self) -> Bool[np.ndarray, " N"]:
        return ~self.best.any(-1)


@functools.lru_cache(2)
def solved(rules: Rules) -> Solved:
    """By minimax over all positions, from full boards backwards."""
    if not 1 <= rules.rows * rules.columns <= LARGEST or not 2 <= rules.connect <= max(rules.rows, rules.columns):
        raise ValueError(
            f"{rules}: every position is listed for at most {LARGEST} squares, and `connect` is 2 up to a side; "
            "use a smaller board, such as 4 rows and 5 columns"
        )
    levels, told = [np.zeros((1, rules.rows * rules.columns), np.int8)], []
    while len(levels[-1]):
        boards = levels[-1]
        is_lost = lost(rules, boards)
        open_ = legal(rules, boards) & ~is_lost[:, None]
        source, move = np.nonzero(open_)
        made = after(rules, boards[source], move)
        _, first, child = np.unique(codes(made), return_index=True, return_inverse=True)
        told.append((is_lost, open_, child))
        levels.append(made[first])
    values, best = [np.zeros(0, np.int8)], [np.zeros((0, rules.moves), bool)]
    for is_lost, open_, child in reversed(told):
        gain = np.full(open_.shape, -2, np.int8)
        gain[open_] = -values[-1][child]
        top = gain.max(1)
        values.append(np.where(is_lost, -1, np.maximum(top, -1) * (top > -2)).astype(np.int8))
        best.append(open_ & (gain == top[:, None]))
    return Solved(np.concatenate(levels), np.concatenate(values[::-1]), np.concatenate(best[::-1]))


def codes(boards: Int[np.ndarray, "N S"]) -> Int64[np.ndarray, " N"]:
    """A number for each board, in base three."""
    made = np.zeros(len(boards), np.int64)
    for square in boards.T[::-1]:
        made = 3 * made + square + 1
    return made


def positions(
    *, rows: int = 3, columns: int = 3, connect: int = 3, drop: bool = False,
    openings: int = 4096, stones: int = 4, valid: int = 0, seed: int = 0,
) -> Dataset:  # fmt: skip
    """Positions to begin games from, and others whose perfect moves are known.

    x float32 [R, C] is a board.  One to train on is the empty one after 0 to `stones` random moves.  `valid` of all
    positions in which a move is left, drawn without replacement, are held out (0: every one of them), with `best`
    [M], 1 for the moves that keep the position's `value` [] (1 won, 0 drawn, -1 lost).
    """
    rules = Rules(rows, columns, connect, drop)
    if min(openings, stones + 1) < 1 or valid < 0:
        raise ValueError(f"{openings=}, {stones=}, {valid=}: 1 opening at least, and no negative number")
    shaped = lambda boards: boards.reshape(-1, rows, columns).astype(np.float32)
    request = {"positions": VERSION, **rules._asdict(), "valid": valid, "seed": seed}

    def build(folder: Path) -> dict[str, Any]:
        found = solved(rules)
        held = np.flatnonzero(~found.over)
        if 0 < valid < len(held):
            held = np.sort(np.random.default_rng((seed, 1)).choice(held, valid, replace=False))
        np.save(folder / "x.npy", shaped(found.boards[held]))
        np.save(folder / "best.npy", found.best[held].astype(np.float32))
        np.save(folder / "value.npy", found.value[held].astype(np.float32))
        return {}

    _, held = cache.columns(request, build)
    return examples(
        Columns(x=shaped(begun(rules, openings, stones, np.random.default_rng((seed, 0))))),
        Columns(**held),
        classes=rules.moves + 1,  # what a network says: a score for each move, and the value
    )


def begun(rules: Rules, count: int, stones: int, rng: np.random.Generator) -> Int[np.ndarray, "N S"]:
    """Boards after 0 to `stones` random moves; where such a game is over it is not begun."""
    boards = np.zeros((count, rules.rows * rules.columns), np.int8)
    wanted = rng.integers(0, stones + 1, count)
    for placed in range(stones):
        chosen = np.where(legal(rules, boards), rng.random((count, rules.moves)), -1).argmax(1)
        going = (placed < wanted) & ~full(boards)
        boards = np.where(going[:, None], after(rules, boards, chosen), boards)
    return np.where((lost(rules, boards) | full(boards))[:, None], 0, boards)
