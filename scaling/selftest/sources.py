"""Data whose law is known: closed forms, exact expectations, and tables that are really trained by counting.

A fit that does not find these constants is wrong, whatever it finds on real runs.  Everything is float64 NumPy, loss is
in nats per token, N counts stored entries, D counts tokens; n and d broadcast and come back flat, one entry a run.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.special

from scaling.laws.hoffmann import chinchilla

CUT = 100_000  # terms of a sum that are added one by one; Euler and Maclaurin's formula adds the rest


class Source(NamedTuple):
    """Runs, and the constants of L = E + A / N^alpha + B / D^beta that theory gives for them."""

    columns: dict[str, np.ndarray]  # n, d, loss: float64 [runs]
    truth: dict[str, float]


def zipf_separable(
    n: Any, d: Any, floor: float = 1.7, alpha: float = 0.5, zipf: float = 0.5, weights: tuple[float, float] = (3.0, 3.0)
) -> Source:
    """A token is a pair of draws that two memories learn, so that the loss is exactly additive in N and D.

    The first draw is k with p_k ~ k^-(1 + alpha), and a model stores its N most frequent values: what is left is
    sum_{k > N} p_k.  The second has p_k ~ k^-(1 + zipf), and D draws have shown all but sum_k p_k (1 - p_k)^D.  Each is
    multiplied by its weight, in nats.  Both are expectations without sampling; their leading terms are A / N^alpha with
    A = w / (alpha zeta(1 + alpha)), and B / D^beta with beta = zipf / (1 + zipf) and
    B = w zeta(1 + zipf)^(-1 / (1 + zipf)) Gamma(beta) / (1 + zipf); corrections are of relative size 1 / N and 1 / D.
    """
    n, d = _runs(n, d)
    values, at = np.unique(d, return_inverse=True)
    loss = floor + weights[0] * left_out(1 + alpha, n) + weights[1] * unseen(1 + zipf, values)[at]
    beta = zipf / (1 + zipf)
    amplitude = scipy.special.zeta(1 + zipf) ** (beta - 1) * scipy.special.gamma(beta) / (1 + zipf)
    truth = {
        "E": floor, "A": weights[0] / (alpha * scipy.special.zeta(1 + alpha)), "B": weights[1] * amplitude,
        "alpha": alpha, "beta": beta,
    }  # fmt: skip
    return Source({"n": n, "d": d, "loss": loss}, {name: float(v) for name, v in truth.items()})


def quantised(n: Any, d: Any, floor: float = 1.3, alpha: float = 0.3) -> Source:
    """One table for both (Hutter 2021, arXiv:2102.04074): N entries, filled only with what D draws have shown.

    L = E + sum_{k <= N} p_k (1 - p_k)^D + sum_{k > N} p_k, p_k ~ k^-(1 + alpha).  With either amount unlimited it is a
    power law, of exponents alpha in N and alpha / (1 + alpha) in D (Michaud et al. 2023, arXiv:2303.13506); the two
    limits do not add, since what does not fit is not missed for want of data.  So no additive law is right, and
    residuals say so.
    """
    n, d = _runs(n, d)
    exponent = 1 + alpha
    loss = floor + left_out(exponent, n)
    for size in np.unique(n):
        here = n == size
        loss[here] += unseen(exponent, d[here]) - unseen(exponent, d[here], int(size) + 1)
    return Source({"n": n, "d": d, "loss": loss}, {"E": floor, "alpha": alpha, "beta": alpha / exponent})


def left_out(exponent: float, n: Any) -> np.ndarray:
    """Probability of all but the n most frequent values of Zipf's law, p_k = k^-exponent / zeta(exponent)."""
    return np.asarray(scipy.special.zeta(exponent, np.asarray(n, np.float64) + 1) / scipy.special.zeta(exponent))


def unseen(exponent: float, d: Any, first: int = 1) -> np.ndarray:
    """sum_{k >= first} p_k (1 - p_k)^d, Zipf's law: how probably the next draw is one that d have not shown.

    Terms up to `CUT` are added; beyond it the sum is the integral, which is an incomplete beta function, and the ends'
    corrections, f / 2 - f' / 12.  The terms vary over a scale of k, or are zero, once k^(1 + exponent) > d: so up to
    d = 1e12 the next correction is below the rounding.
    """
    d = np.atleast_1d(np.asarray(d, np.float64))
    cut = max(CUT, first)
    p = np.arange(first, cut + 1, dtype=np.float64) ** -exponent / scipy.special.zeta(exponent)
    terms = lambda p: p * np.exp(d[:, None] * np.log1p(-p))
    total = np.concatenate(
        [terms(part).sum(1, keepdims=True) for part in np.array_split(p, len(p) // 10**5 + 1)], 1
    ).sum(1)
    q = p[-1]
    here = terms(p[-1:])[:, 0]
    slope = -exponent / cut * here * (1.0 - d * q / (1.0 - q))
    # q = k^-exponent / zeta turns the integral over k into one over q^(-1 / exponent) (1 - q)^d
    power = 1.0 - 1.0 / exponent
    scale = scipy.special.zeta(exponent) ** (power - 1.0) / exponent
    beyond = scale * scipy.special.beta(power, d + 1) * scipy.special.betainc(power, d + 1, q)
    return total - here / 2 + beyond - slope / 12


def context_table(
    n: Any,
    d: Any,
    contexts: int = 16384,
    tokens: int = 16,
    zipf: float = 0.5,
    concentration: float = 0.5,
    seed: int = 0,
) -> Source:
    """Language models of one context and one table of counts each, trained on D real draws.

    Contexts follow Zipf's law, and the next token of each has its own probabilities, drawn from Dirichlet's
    distribution.  A model of size N tells the N most frequent contexts apart and takes the rest for one; it predicts by
    its counts and the prior, and its loss is taken over the true probabilities, so the only noise is that of its draws.
    The entropy, below which no model comes, is exact; the exponents are not known.
    """
    n, d = _runs(n, d)
    rng = np.random.default_rng(seed)
    weight = np.arange(1, contexts + 1) ** -(1.0 + zipf)
    weight /= weight.sum()
    joint = weight[:, None] * rng.dirichlet(np.full(tokens, concentration), contexts)
    loss = np.array(
        [_table_loss(joint, int(size), int(draws), concentration, rng) for size, draws in zip(n, d, strict=True)]
    )
    entropy = scipy.special.entr(joint).sum() - scipy.special.entr(weight).sum()
    return Source({"n": n, "d": d, "loss": loss}, {"E": float(entropy)})


def _table_loss(joint: np.ndarray, size: int, draws: int, prior: float, rng: np.random.Generator) -> float:
    """Cross-entropy of the table of `size` rows after `draws` draws of (context, token) from `joint`."""
    rows = np.concatenate([joint[:size], joint[size:].sum(0, keepdims=True)])
    counts = rng.multinomial(draws, (rows / rows.sum()).ravel()).reshape(rows.shape)
    log_p = np.log(counts + prior) - np.log(counts.sum(1, keepdims=True) + prior * rows.shape[1])
    return float(-(rows * log_p).sum())


def chinchilla_noisy(params: Mapping[str, float], n: Any, d: Any, noise: float, seed: int) -> Source:
    """Runs of Chinchilla's law whose log loss has a normal error of standard deviation `noise`."""
    n, d = _runs(n, d)
    error = np.random.default_rng(seed).normal(0.0, noise, n.size) if noise else 0.0
    return Source({"n": n, "d": d, "loss": chinchilla(params, n, d) * np.exp(error)}, dict(params))


def _runs(n: Any, d: Any) -> tuple[np.ndarray, np.ndarray]:
    n, d = np.broadcast_arrays(np.asarray(n, np.float64), np.asarray(d, np.float64))
    return n.ravel().copy(), d.ravel().copy()
