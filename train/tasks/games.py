"""Games that a network learns by playing itself (Silver et al. 2017).  B games, R rows, C columns, S squares, M moves,
T positions kept of each game's stream, K of them learnt from in a step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int, Key, Num

from data import games
from data.games import Rules
from models.api import Model, ModelState, Params
from models.parts.axes import LANES, constrain, draw, part, whole
from train.metrics import mean
from train.search import Evaluate, ended, roll_out, search
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean

SMALLEST = {"simulations": 4, "kept": 12, "connect": 3}  # at which pages are tested


class Lanes(NamedTuple):
    """One endless stream of games a row of the batch: where it stands, and its last T positions."""

    board: Int[Array, "B R C"]
    age: Int[Array, " B"]  # moves since this game began
    boards: Int[Array, "B T S"]
    visits: Float[Array, "B T M"]  # the search's, as shares
    result: Float[Array, "B T"]  # of the game, for the player to move
    known: Float[Array, "B T"]  # 1 where that game has ended
    moves: Int[Array, " B"]  # so far; a position is kept at this number modulo T


def self_play(
    model: Model, connect: int, drop: bool, simulations: int = 32, kept: int = 64, learnt: int = 4, explore: int = 4,
    noise: float = 1.0, exploration: float = 1.5,
) -> Task:  # fmt: skip
    """Cross-entropy between the search's moves and the network's, plus the squared error of the result it expects.

    The network makes M scores and a value of a board's planes [B, R, C, 2]: one's own stones, the opponent's.  In a
    step every game makes one move, found by a search of so many `simulations` with the parameters of that step; one
    that ends begins again at the batch's `x` [B, R, C].  Then `learnt` of each game's last `kept` positions are learnt
    from.  The first `explore` moves of a game are drawn in proportion to the search's visits, later ones are the most
    visited; Dirichlet noise of this concentration is in the root's priors.  Games and positions are state: they are
    part of a checkpoint, and devices split them as they split the batch.

    Evaluation wants `best` [M] and `value` of each `x` (data/games.py).  Its loss is -log of the probability of a best
    move, plus the squared error of the value.  Shares of positions where the move is a best one: `optimal` the
    network's likeliest, `searched` the search's, and `plain` that of a search as long whose priors are equal and whose
    values are the ends of random games.
    """

    learning = Learning(simulations, learnt, explore, noise, exploration)

    def rules_of(x: jax.Array) -> Rules:
        return Rules(x.shape[1], x.shape[2], connect, drop)

    def init(key, batch):
        rules = rules_of(batch["x"])
        params, state = model.init(key, planes(rules, batch["x"]))
        return params, {**state, LANES: started(rules, batch["x"], kept)._asdict()}

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        rules = rules_of(batch["x"])
        play_key, pick_key, own_key = jax.random.split(key, 3)
        network = {name: value for name, value in state.items() if name != LANES}
        evaluate = evaluator(rules, model, stop_gradient(params), network)
        if not train:
            cost, told = measured(rules, evaluate, batch, learning, play_key)
            return masked_mean(cost, told, batch, state)
        lanes = Lanes(**jax.tree.map(part, state[LANES]))
        if len(lanes.board) != len(batch["x"]):
            raise ValueError(f"{len(lanes.board)} games and a batch of {len(batch['x'])}; set config.accumulate to 1")
        lanes = step(rules, lanes, evaluate, flat(batch["x"]), learning, play_key)
        boards, visits, result, known = picked(lanes, learnt, pick_key)
        outputs, network = model.apply(params, network, planes(rules, boards), key=own_key, train=True)
        scores, value = split(rules, outputs)
        cost = -(visits * log_chances(rules, boards, scores)).sum(-1)
        error = (value - result) ** 2
        scalar, (_, metrics) = masked_mean(cost + known * error, {"policy_loss": cost}, {}, {})
        metrics |= {"value_error": mean(error, known), "finished": mean(lanes.age == 0)}
        return scalar, ({**network, LANES: jax.tree.map(whole, lanes._asdict())}, metrics)

    def sample(params: Params, state: ModelState, key: Key[Array, ""], count: int) -> dict[str, jax.Array]:
        rows, columns = state[LANES]["board"].shape[1:]
        rules = Rules(rows, columns, connect, drop)
        network = {name: value for name, value in state.items() if name != LANES}
        boards = played(rules, evaluator(rules, model, params, network), count, learning, key)
        wins = lambda player: games.lost(rules, flat(-player * boards[:, -1])).astype(jnp.int32)
        return {"samples": boards[:, -1], "games": boards, "result": wins(1) - wins(-1)}

    return Task(init, loss, sample=sample)


class Learning(NamedTuple):
    """The numbers of `self_play`."""

    simulations: int
    learnt: int
    explore: int
    noise: float
    exploration: float


def evaluator(rules: Rules, model: Model, params: Params, state: ModelState) -> Evaluate:
    """What a search asks the network."""
    return lambda boards, _: split(rules, model.apply(params, state, planes(rules, boards))[0])


def split(rules: Rules, outputs: Float[Array, "B outputs"]) -> tuple[jax.Array, jax.Array]:
    """Scores of the moves, and the value."""
    if outputs.shape[-1] != rules.moves + 1:
        raise ValueError(f"the network has {outputs.shape[-1]} outputs; {rules.moves} moves and a value are one more")
    return outputs[:, :-1], jnp.tanh(outputs[:, -1])


def measured(
    rules: Rules, evaluate: Evaluate, batch: Batch, learning: Learning, key: Key[Array, ""]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss and metrics of each position whose best moves are known."""
    boards, best = flat(batch["x"]), batch["best"]
    scores, value = evaluate(boards, jnp.zeros((), jnp.int32))
    log_p = log_chances(rules, boards, scores)
    right = lambda chances: jnp.take_along_axis(best, chances.argmax(-1, keepdims=True), -1)[:, 0]
    error = (value - batch["value"]) ** 2
    told = {"optimal": right(log_p), "value_error": error}
    for name, known in (("searched", evaluate), ("plain", roll_out(rules, key))):
        told[name] = right(search(rules, known, boards, learning.simulations, learning.exploration).visits)
    return error - jnp.log(jnp.maximum((best * jnp.exp(log_p)).sum(-1), 1e-9)), told


def step(
    rules: Rules, lanes: Lanes, evaluate: Evaluate, fresh: Int[Array, "B S"], learning: Learning, key: Key[Array, ""]
) -> Lanes:
    """One move in every game, found by search; `fresh` are boards to begin again at."""
    noise_key, move_key = jax.random.split(key)
    eta = draw(jax.random.gamma, noise_key, (len(fresh), rules.moves), a=learning.noise) + 1e-9
    eta = eta / eta.sum(-1, keepdims=True)
    found = search(rules, evaluate, flat(lanes.board), learning.simulations, learning.exploration, eta)
    share = found.visits / learning.simulations
    chance = jnp.log(share + 1e-9) + draw(jax.random.gumbel, move_key, share.shape)
    move = jnp.where(lanes.age < learning.explore, chance.argmax(-1), share.argmax(-1))
    return advanced(rules, lanes, share, move, fresh)


def played(
    rules: Rules, evaluate: Evaluate, count: int, learning: Learning, key: Key[Array, ""]
) -> Float[Array, "N moves R C"]:
    """So many games from the empty board on: the board after each move, the same to the end where a game is over.

    A stone of the first player is 1, of the second -1.  Moves are chosen as in training, without noise.
    """
    squares = rules.rows * rules.columns

    def move(boards: jax.Array, turn: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        age, key = turn
        share = search(rules, evaluate, boards, learning.simulations, learning.exploration).visits
        chance = jnp.log(share) + jax.random.gumbel(key, share.shape)
        best = jnp.where(age < learning.explore, chance, share).argmax(-1)
        over = ended(rules, boards)[0] | games.lost(rules, -boards)
        boards = jnp.where(over[:, None], -boards, games.after(rules, boards, best))  # each sees the own stones as 1
        return boards, boards * jnp.where(age % 2 == 0, -1, 1)

    start = jnp.zeros((count, squares), jnp.int8)
    _, boards = jax.lax.scan(move, start, (jnp.arange(squares), jax.random.split(key, squares)))
    return jnp.moveaxis(boards, 0, 1).reshape(count, squares, rules.rows, rules.columns).astype(jnp.float32)


def planes(rules: Rules, boards: jax.Array) -> Float[Array, "B R C 2"]:
    boards = boards.reshape(-1, rules.rows, rules.columns)
    return jnp.stack([boards > 0, boards < 0], -1).astype(jnp.float32)


def flat(x: Num[Array, "B R C"]) -> Int[Array, "B S"]:
    """Boards as the rules take them."""
    return x.reshape(len(x), -1).astype(jnp.int8)


def log_chances(rules: Rules, boards: Int[Array, "B S"], scores: Float[Array, "B M"]) -> Float[Array, "B M"]:
    """Of moves; illegal ones have next to none."""
    return jax.nn.log_softmax(jnp.where(games.legal(rules, boards), scores, -1e9))


def started(rules: Rules, x: Float[Array, "B R C"], kept: int) -> Lanes:
    """Games that begin at `x`; nothing is kept yet."""
    count, squares = flat(x).shape
    if kept < squares:
        raise ValueError(f"kept={kept} positions may not hold a game of {squares} moves; keep more")
    none, zeros = jnp.zeros(count, jnp.int32), jnp.zeros((count, kept))
    boards = jnp.zeros((count, kept, squares), jnp.int8)
    return Lanes(x.astype(jnp.int8), none, boards, jnp.zeros((count, kept, rules.moves)), zeros, zeros, none)


def advanced(rules: Rules, lanes: Lanes, share: jax.Array, move: jax.Array, fresh: Int[Array, "B S"]) -> Lanes:
    """After `move` [B], with the position before it kept; a game that is over tells all its positions the result."""
    T = lanes.boards.shape[1]
    here = (lanes.moves % T)[:, None] == jnp.arange(T)[None]
    put = lambda old, new: jnp.where(here.reshape(*here.shape, *[1] * (old.ndim - 2)), new[:, None], old)
    before = flat(lanes.board)
    board = games.after(rules, before, move)
    over, value = ended(rules, board)
    back = (lanes.moves[:, None] - jnp.arange(T)[None]) % T  # moves ago
    told = over[:, None] & (back <= lanes.age[:, None])
    result = jnp.where(back % 2 == 0, -value[:, None], value[:, None])
    return Lanes(
        board=constrain(jnp.where(over[:, None], fresh, board).reshape(lanes.board.shape), "batch", None, None),
        age=jnp.where(over, 0, lanes.age + 1),
        boards=put(lanes.boards, before),
        visits=put(lanes.visits, share),
        result=jnp.where(told, result, put(lanes.result, jnp.zeros_like(value))),
        known=jnp.where(told, 1.0, put(lanes.known, jnp.zeros_like(value))),
        moves=lanes.moves + 1,
    )


def picked(lanes: Lanes, count: int, key: Key[Array, ""]) -> tuple[jax.Array, ...]:
    """`count` kept positions of each game, drawn evenly: boards [B K, S], visits [B K, M], result and known [B K]."""
    kept = jnp.minimum(lanes.moves, lanes.boards.shape[1])[:, None]
    place = jnp.floor(draw(jax.random.uniform, key, (len(kept), count)) * kept).astype(jnp.int32)
    kinds = (lanes.boards, lanes.visits, lanes.result, lanes.known)
    take = lambda x: jnp.take_along_axis(x, place.reshape(*place.shape, *[1] * (x.ndim - 2)), 1)
    return tuple(x.reshape(-1, *x.shape[2:]) for x in map(take, kinds))
