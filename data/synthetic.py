"""Data whose truth is known: a Markov source with exact entropy, and clouds of points."""

import numpy as np
from jaxtyping import Float64, UInt

from data import cache
from data.source import Columns, Dataset, Windows, examples

SMALLEST = {"context": 16, "train_tokens": 4096, "valid_tokens": 512, "train": 256, "valid": 64}


def markov(
    *,
    states: int = 16,
    order: int = 1,
    context: int = 64,
    train_tokens: int = 1_000_000,
    valid_tokens: int = 100_000,
    concentration: float = 0.3,
    seed: int = 0,
) -> Dataset:
    """Tokens from a Markov chain of the given order; rows of its table are Dirichlet(concentration).

    Every window is a chain of its own, begun in the stationary distribution.  So `entropy` is exact: no model has a
    lower expected loss, and one that knows the table has just this.
    """
    if states < 2 or order < 1 or states**order > 2**16:
        raise ValueError(f"states={states}, order={order}: needs states >= 2, order >= 1, states**order <= 65536")
    if min(train_tokens, valid_tokens) < context:
        raise ValueError(f"train_tokens={train_tokens}, valid_tokens={valid_tokens} must each be at least {context=}")
    if order > context:
        raise ValueError(f"order={order} must not exceed context={context}: no window would show a whole history")
    rng = np.random.default_rng(seed)
    table = transitions(states, order, concentration, rng)
    start = stationary(table)
    halves = {
        split: Windows(chains(table, start, count // context, context + 1, rng).ravel(), context, context + 1, last)
        for split, count, last in (("train", train_tokens, "drop"), ("valid", valid_tokens, "pad"))
    }
    return Dataset(
        **halves,
        classes=states,
        unit="token",
        per_record=context,
        unique=len(halves["train"]) * context,
        fingerprint=cache.fingerprint({split: half.tokens for split, half in halves.items()}),
        entropy=window_entropy(table, start, context),
    )


def transitions(
    states: int, order: int, concentration: float, rng: np.random.Generator
) -> Float64[np.ndarray, "histories states"]:
    table = rng.dirichlet(np.full(states, concentration), size=states**order)
    return (table + 1e-6) / (1 + states * 1e-6)  # every transition possible, so there is one stationary distribution


def stationary(table: Float64[np.ndarray, "histories states"]) -> Float64[np.ndarray, " histories"]:
    """The distribution over histories that one step of the chain leaves unchanged, by taking steps until one does."""
    histories, states = table.shape
    p = np.full(histories, 1 / histories)
    for _ in range(100_000):
        # A history is a number in base `states`, its newest token last: a step drops the oldest and appends one.
        new = (p[:, None] * table).reshape(states, -1).sum(0)
        if np.abs(new - p).sum() < 1e-15:
            break
        p = new / new.sum()
    return p


def window_entropy(
    table: Float64[np.ndarray, "histories states"], start: Float64[np.ndarray, " histories"], context: int
) -> float:
    """Mean over t = 1..context of H(x_{t+1} | x_1..x_t), in nats.

    From the `order`-th on each term is the entropy rate.  The ones before, whose history is cut off by the start of
    the window, telescope to H(x_1..x_order) - H(x_1).
    """
    histories, states = table.shape
    order = round(np.log(histories) / np.log(states))
    rate = float(start @ _entropy(table))
    first = start.reshape(states, -1).sum(1)
    return (float(_entropy(start) - _entropy(first)) + (context + 1 - order) * rate) / context


def chains(
    table: Float64[np.ndarray, "histories states"],
    start: Float64[np.ndarray, " histories"],
    count: int,
    length: int,
    rng: np.random.Generator,
) -> UInt[np.ndarray, "count length"]:
    """`count` independent chains, all advanced one token at a time."""
    histories, states = table.shape
    order = round(np.log(histories) / np.log(states))
    # One ascending line of cumulative probabilities, row r in [r, r + 1): a single search serves all the chains.
    line = (np.cumsum(table, axis=1) + np.arange(histories)[:, None]).ravel()
    history = np.searchsorted(np.cumsum(start), rng.random(count)).clip(max=histories - 1)
    tokens = np.empty((count, length), np.min_scalar_type(states - 1))
    for t in range(order):
        tokens[:, t] = history // states ** (order - 1 - t) % states
    for t in range(order, length):
        drawn = np.searchsorted(line, history + rng.random(count), side="right") - history * states
        tokens[:, t] = drawn.clip(0, states - 1)
        history = (history * states + tokens[:, t]) % histories
    return tokens


def blobs(
    *, classes: int = 4, dims: int = 2, train: int = 1024, valid: int = 512, spread: float = 0.3, seed: int = 0
) -> Dataset:
    """Gaussian clouds of standard deviation `spread` around centres that are drawn from a unit Gaussian."""
    rng = np.random.default_rng(seed)
    return _clouds(rng.standard_normal((classes, dims)), train, valid, spread, rng)


def ring(*, modes: int = 8, train: int = 8192, valid: int = 1024, spread: float = 0.02, seed: int = 0) -> Dataset:
    """Gaussians around a unit circle, on which a generator that collapses shows which modes it dropped."""
    angle = 2 * np.pi * np.arange(modes) / modes
    return _clouds(np.stack([np.cos(angle), np.sin(angle)], 1), train, valid, spread, np.random.default_rng(seed))


def _clouds(centres: np.ndarray, train: int, valid: int, spread: float, rng: np.random.Generator) -> Dataset:
    classes = len(centres)
    if min(train, valid, classes) < 1:
        raise ValueError(f"train={train}, valid={valid} and the number of classes, {classes}, must be positive")

    def draw(count: int) -> Columns:
        y = np.arange(count, dtype=np.int32) % classes
        noise = rng.standard_normal((count, centres.shape[1]))
        return Columns(x=(centres[y] + spread * noise).astype(np.float32), y=y)

    return examples(draw(train), draw(valid), classes)


def _entropy(p: np.ndarray) -> np.ndarray | np.floating:
    """Nats, over the last axis."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1)
