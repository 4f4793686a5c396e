"""How well a run plays: against perfect play in all positions, against every opponent, and against its earlier selves.

    uv run python -m scripts.score.games runs/tictactoe
    uv run python -m scripts.score.games runs/connect_four --openings 50

Proof, of boards small enough to list: in how many of all positions the move is a best one, and how often the player
loses in a walk through everything that opponents can do against it, from the empty board, once moving first and once
second.  Matches, by search against search with as many simulations: against a plain tree search, whose values are the
ends of random games, and against the run's own earlier checkpoints; each opening, after up to four random moves, is
played twice, with either player first.  Players take the most visited move.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from data import games
from data.games import Rules, begun, codes, solved
from models.api import ModelState, Params
from train import bucket, saved
from train.experiment import build_models
from train.search import roll_out, search
from train.tasks.games import evaluator, log_chances

SIZES = (256, 4096)  # of the batches that are searched: a program each
Player = Callable[[np.ndarray], np.ndarray]  # boards [N, S] -> moves [N]


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("workdir", type=pathlib.Path)
    flags.add_argument("--openings", type=int, default=0, help="of a match; 0: no matches")
    flags.add_argument("--proof", action=argparse.BooleanOptionalAction, default=True)
    options = flags.parse_args()
    run = saved.load(options.workdir)
    rows, columns = run.experiment.batch["x"].shape[1:]
    task = run.config.task
    rules = Rules(rows, columns, task.connect, task.drop)
    simulations = task.get("simulations", 32)
    model = build_models(run.config)["model"]
    networks = {"network": network(rules, model), f"search of {simulations}": searching(rules, model, simulations)}
    players = {name: with_weights(play, run) for name, play in networks.items()}
    players["plain search"] = plain(rules, simulations)
    if options.proof:
        proof(rules, players)
    if options.openings:
        ours = f"search of {simulations}"
        others = {"plain search": players["plain search"]}
        for step in sorted(bucket.steps_saved(options.workdir))[:-1]:
            others[f"step {step:,}"] = with_weights(networks[ours], saved.load(options.workdir, step=step))
        boards = openings(rules, options.openings)
        for name, other in others.items():
            print(f"{ours} against {name:<14} {match(rules, players[ours], other, boards)}")


def openings(rules: Rules, count: int) -> np.ndarray:
    """At most so many boards, no two alike: players that draw no lots would play a game twice."""
    rng = np.random.default_rng(0)
    boards = begun(rules, 100 * count, 4, rng)
    _, first = np.unique(codes(boards), return_index=True)
    return boards[rng.permutation(first)[:count]]


def network(rules: Rules, model: object) -> Callable:
    """The likeliest move."""

    def play(params: Params, state: ModelState, boards: jax.Array) -> jax.Array:
        scores, _ = evaluator(rules, model, params, state)(boards, jnp.zeros((), jnp.int32))
        return log_chances(rules, boards, scores).argmax(-1)

    return play


def searching(rules: Rules, model: object, simulations: int) -> Callable:
    def play(params: Params, state: ModelState, boards: jax.Array) -> jax.Array:
        return search(rules, evaluator(rules, model, params, state), boards, simulations).visits.argmax(-1)

    return play


def plain(rules: Rules, simulations: int) -> Player:
    @jax.jit
    def play(boards: jax.Array) -> jax.Array:
        return search(rules, roll_out(rules, jax.random.key(0)), boards, simulations).visits.argmax(-1)

    return in_batches(play)


def with_weights(play: Callable, run: saved.Saved) -> Player:
    return in_batches(functools.partial(jax.jit(play), run.params, run.model_state))


def in_batches(play: Callable) -> Player:
    """Any number of boards, in batches of one of SIZES."""

    def moves(boards: np.ndarray) -> np.ndarray:
        size = SIZES[len(boards) > SIZES[0]]
        starts = range(0, len(boards), size)
        padded = np.concatenate([boards, np.zeros((len(starts) * size - len(boards), boards.shape[1]), boards.dtype)])
        return np.concatenate([np.asarray(play(padded[i : i + size])) for i in starts])[: len(boards)]

    return moves


def proof(rules: Rules, players: dict[str, Player]) -> None:
    known = solved(rules)
    going = ~known.over
    print(f"{len(known.boards):,} positions, {going.sum():,} with a move; value of the empty board {known.value[0]}")
    for name, player in players.items():
        best = known.best[going]
        right = best[np.arange(len(best)), player(known.boards[going])].sum()
        first, second = (walk(rules, player, own) for own in (True, False))
        print(
            f"{name:<14} a best move in {right:,} of {len(best):,} ({right / len(best):.4f}); "
            f"of all ways to play against it, as first {told(first)}, as second {told(second)}"
        )


def told(ends: np.ndarray) -> str:
    won, drawn, lost = ends
    return f"{won:,} won {drawn:,} drawn {lost:,} lost"


def walk(rules: Rules, player: Player, first: bool) -> np.ndarray:
    """Games won, drawn and lost by `player` against all that an opponent can do; each different way counts."""
    boards, ways = np.zeros((1, rules.rows * rules.columns), np.int8), np.ones(1, np.int64)
    ends, own = np.zeros(3, np.int64), first
    while len(boards):
        if own:
            source, moves = np.arange(len(boards)), player(boards)
        else:
            source, moves = np.nonzero(games.legal(rules, boards))
        made, ways = games.after(rules, boards[source], moves), ways[source]
        is_lost = games.lost(rules, made)
        full = games.full(made) & ~is_lost
        ends += [ways[is_lost].sum() * own, ways[full].sum(), ways[is_lost].sum() * (not own)]
        made, ways = made[~(is_lost | full)], ways[~(is_lost | full)]
        _, index, back = np.unique(codes(made), return_index=True, return_inverse=True)
        boards, ways = made[index], np.bincount(back, ways, len(index)).astype(np.int64)
        own = not own
    return ends


def match(rules: Rules, one: Player, other: Player, openings: np.ndarray) -> str:
    """`one`'s games won, drawn and lost, half of them moving first."""
    boards = np.concatenate([openings, openings])
    mine = np.arange(len(boards)) < len(openings)  # whether `one` is to move
    result = np.full(len(boards), np.nan)
    for _ in range(boards.shape[1]):
        moves = np.where(mine, one(boards), other(boards))
        going = np.isnan(result)
        boards = np.where(going[:, None], games.after(rules, boards, moves), boards)
        is_lost, full = games.lost(rules, boards), games.full(boards)
        result = np.where(going & is_lost, np.where(mine, 1.0, -1.0), np.where(going & full & ~is_lost, 0.0, result))
        mine = ~mine
    counts = [int((result == value).sum()) for value in (1, 0, -1)]
    return f"{told(np.array(counts))} of {len(result)}: {(result.mean() + 1) / 2:.3f} of the points"


if __name__ == "__main__":
    main()
