"""Kaplan's exponent out of Chinchilla's law, by counting alone (Pearce & Song 2024, arXiv:2406.12907).

N_T total parameters, N non-embedding ones: of one family of shapes N_T = N + w N^(1/3), since embeddings grow with the
width and the rest with its cube.  A law L = E + A / N_T^alpha + B / D^beta is fitted to total parameters; Kaplan et al.
2020 read off the best N for C = 6 N D, both without embeddings.  At small sizes that N grows faster with C, and N_T
slower, than the law's beta / (alpha + beta).

Everything is in logs and in float64; n and c may have any shapes that broadcast.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from scaling.counting import count
from scaling.laws import hoffmann
from scaling.laws.api import Params
from train.errors import UserError, suggest

W = 47_491.0  # of the Chinchilla family: 32k tokens, width 39.2 times the layers
SIZES = np.logspace(2.9, 9.2, 20)  # N of Kaplan et al. 2020, 768 to 1.5e9, as Pearce & Song simulate them
TOKENS = np.logspace(6, 25, 1000)  # the checkpoints of their simulated runs
BUDGETS = {"non_embedding": np.logspace(12.95, 20.7, 100), "total": np.logspace(14, 20.7, 100)}  # FLOPs of theirs
BESIROGLU = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}  # arXiv:2404.10102
# Hoffmann et al. 2022 as Pearce & Song round them: exponents to four digits, where the paper's text has two.
HOFFMANN = {"E": 1.6934, "A": 406.4, "B": 410.7, "alpha": 0.3392, "beta": 0.2849}
COUNTS = ("non_embedding", "total")


class Family(NamedTuple):
    """How a family of shapes shares out its parameters."""

    w: float  # of N_T = N + w N^(1/3)
    error: float  # the largest relative error of N_T, over the family


class Optimum(NamedTuple):
    """The best run of C FLOPs; each has the shape of C."""

    n: Any  # parameters, of the count that C = 6 n d uses
    d: Any  # tokens
    loss: Any  # nats per token


class Restated(NamedTuple):
    """A law of one count of parameters as a function of the other: the same predictions, no longer a power law."""

    params: Mapping[str, float]  # E, A, B, alpha, beta as fitted
    w: float
    to: str  # what `n` counts now; the fit counted the other

    def loss(self, n: Any, d: Any) -> Any:
        """L at n parameters (of the count `to`) and d tokens, nats per token."""
        fitted = total(n, self.w) if self.to == "non_embedding" else non_embedding(n, self.w)
        return hoffmann.chinchilla(self.params, fitted, d)


def total(n: Any, w: float = W) -> Any:
    """N_T = N + w N^(1/3) (Pearce & Song 2024)."""
    n = _positive("N", n)
    return n + _weight(w) * np.cbrt(n)


def non_embedding(n_total: Any, w: float = W) -> Any:
    """N of N_T: the one real root of x^3 + w x = N_T with x = N^(1/3), by sinh, which cancels no digits, and Newton."""
    n_total, w = _positive("N_T", n_total), _weight(w)
    if w == 0.0:
        return n_total
    x = 2.0 * np.sqrt(w / 3.0) * np.sinh(np.arcsinh(1.5 * n_total / w * np.sqrt(3.0 / w)) / 3.0)
    for _ in range(2):
        x = x - (x**3 + w * x - n_total) / (3.0 * x**2 + w)
    return x**3


def compute(n: Any, params: Params, w: float = W, *, flops: str = "non_embedding") -> Any:
    """C FLOPs of which a model of N non-embedding parameters is the best use; exact.

    "non_embedding": C = 6 N D, and (Pearce & Song 2024)
    C = 6 N (N + w/3 N^(1/3))^(-1/beta) (N + w N^(1/3))^((1 + alpha)/beta) (beta B / (alpha A))^(1/beta).
    "total": C = 6 N_T D, and N_T is Hoffmann's N_opt.
    """
    return np.exp(_log_compute(_positive("N", n), params, w, flops))


def _log_compute(n: Any, params: Params, w: float, flops: str) -> Any:
    alpha, beta = _exponents(params)
    n_total = total(n, w)
    if _count(flops) == "total":
        return hoffmann.LOG6 + (np.log(n_total) - np.log(hoffmann.G(params))) * (alpha + beta) / beta
    constant = np.log(beta * params["B"]) - np.log(alpha * params["A"])
    log_d = (constant + (1.0 + alpha) * np.log(n_total) - np.log(n + w / 3.0 * np.cbrt(n))) / beta
    return hoffmann.LOG6 + np.log(n) + log_d


def local_slope(n: Any, params: Params, w: float = W, *, flops: str = "non_embedding") -> Any:
    """g = d ln N / d ln C along the optima, N without embeddings: the exponent a that runs of about this size show.

    With C = 6 N D (Pearce & Song 2024), u = N^(2/3):
    1/g = 1 - (1/beta) (u + w/9) / (u + w/3) + ((1 + alpha)/beta) (u + w/3) / (u + w),
    from beta / (alpha/3 + beta) at small N to beta / (alpha + beta) at large.  With C = 6 N_T D the law's exponent is
    that of N_T, so g = beta / (alpha + beta) (u + w) / (u + w/3): three times the law's at small N.
    """
    alpha, beta = _exponents(params)
    u, w = np.cbrt(_positive("N", n)) ** 2, _weight(w)
    if _count(flops) == "total":
        return beta / (alpha + beta) * (u + w) / (u + w / 3.0)
    return 1.0 / (1.0 - (u + w / 9.0) / (u + w / 3.0) / beta + (1.0 + alpha) / beta * (u + w / 3.0) / (u + w))


def optimum(c: Any, params: Params, w: float = W) -> Optimum:
    """N, D and L of the best run with C = 6 N D, N without embeddings: `compute` inverted by bisection.

    Refused where a budget has several local optima, as laws of very small beta and alpha have near N^(2/3) = w / 2.
    """
    alpha, beta = _exponents(params)
    if w > 0 and np.min(1.0 / local_slope(np.logspace(-4, 4, 400) ** 1.5 * w**1.5, params, w)) <= 0:
        raise UserError(
            f"alpha {alpha:g} and beta {beta:g} are so small that a budget has two locally best sizes without "
            f"embeddings; ask for the optimum in total parameters (laws.n_opt)"
        )
    log_c = np.log(_positive("C", c))
    low, high = np.full(log_c.shape, -50.0), np.full(log_c.shape, 300.0)
    for _ in range(70):
        middle = 0.5 * (low + high)
        above = _log_compute(np.exp(middle), params, w, "non_embedding") > log_c
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    log_n = 0.5 * (low + high)
    n, d = np.exp(log_n), np.exp(log_c - hoffmann.LOG6 - log_n)
    return Optimum(n, d, convert(params, w).loss(n, d))


def convert(params: Params, w: float = W, *, to: str = "non_embedding") -> Restated:
    """The law in the other count of parameters, exactly: `to` is what N shall count.

    `to` "non_embedding" takes a law fitted to total parameters (Hoffmann et al. 2022), `to` "total" one fitted to
    non-embedding parameters (Kaplan et al. 2020).
    """
    _exponents(params)
    return Restated(params, _weight(w), _count(to))


def fitted_slope(
    params: Params,
    w: float = W,
    *,
    counting: str = "non_embedding",
    sizes: Any = SIZES,
    budgets: Any = None,
    tokens: Any = TOKENS,
) -> float:
    """The exponent a that a sweep of `sizes` [N, non-embedding] would report, were the law exactly true.

    Simulates training curves, takes at each of `budgets` [C] the size of least loss, and fits ln N on ln C by least
    squares; `counting` says whether N and C = 6 N D include embeddings.  As in the script of Pearce & Song, a run has
    checkpoints at `tokens` [D], and the one nearest in C stands for the budget.  Give tokens=() for curves without
    gaps: the grid moves the third digit (.7805 with Besiroglu's constants becomes .7751).
    """
    _exponents(params)
    n = _positive("N", sizes)
    n_total = total(n, w)
    of = n if _count(counting) == "non_embedding" else n_total
    c = _positive("C", BUDGETS[counting] if budgets is None else budgets)
    d = c / (6.0 * of[:, None])
    if np.size(tokens):
        d = _nearest(d, np.sort(_positive("D", tokens)))
    best = np.argmin(hoffmann.chinchilla(params, n_total[:, None], d), axis=0)
    if np.unique(best).size < 2:
        raise UserError("one size is best at every budget; give budgets and sizes that reach further")
    return float(np.polyfit(np.log(c), np.log(of[best]), 1)[0])


def _nearest(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The entry of a rising `grid` nearest to each value."""
    right = np.clip(np.searchsorted(grid, values), 1, grid.size - 1)
    return np.where(values - grid[right - 1] <= grid[right] - values, grid[right - 1], grid[right])


def w_of(n_total: Any, n: Any) -> Family:
    """w of a family of models from their counts [models], by least squares of relative errors of N_T.

    Relative, because the largest model would otherwise decide, and its embeddings matter least.  The fit is only as
    good as `error` says: w is constant where width / layers and the vocabulary are.
    """
    n_total, n = _positive("N_T", n_total), _positive("N", n)
    if n_total.shape != n.shape:
        raise UserError(f"there are {n_total.size} total counts and {n.size} without embeddings; give pairs")
    if np.any(n > n_total):
        raise UserError("a model has more non-embedding parameters than parameters; are the columns swapped?")
    root = np.cbrt(n) / n_total
    w = float(np.sum((1.0 - n / n_total) * root) / np.sum(root**2))
    return Family(w, float(np.max(np.abs((n + w * np.cbrt(n)) / n_total - 1.0))))


def w_of_shapes(shapes: Iterable[Mapping[str, Any]]) -> Family:
    """w of transformers given by their shapes: the fields of `flops.Shape`."""
    counts = [count(shape) for shape in shapes]
    return w_of([c.params_total for c in counts], [c.params_non_embedding for c in counts])


def _positive(name: str, values: Any) -> np.ndarray:
    values = np.asarray(values, np.float64)
    bad = ~(np.isfinite(values) & (values > 0))
    if np.any(bad):
        raise UserError(f"{name} must be finite and positive; it is {values[bad][0]:g}")
    return values


def _weight(w: float) -> float:
    if not (w >= 0 and np.isfinite(w)):
        raise UserError(f"w is {w:g}; embeddings add parameters, so it is 0 or more (47,491 for the Chinchilla family)")
    return float(w)


def _exponents(params: Params) -> tuple[float, float]:
    missing = set(hoffmann.chinchilla.names) - set(params)
    if missing:
        raise UserError(f"the law needs {sorted(missing)} too; its parameters are {list(hoffmann.chinchilla.names)}")
    alpha, beta = float(params["alpha"]), float(params["beta"])
    if not (alpha > 0 and beta > 0):
        raise UserError(f"alpha is {alpha:g} and beta {beta:g}; compute has a best split only where both are positive")
    return alpha, beta


def _count(name: str) -> str:
    if name not in COUNTS:
        raise UserError(f"{name!r} is no count of parameters{suggest(name, COUNTS)}")
    return name
