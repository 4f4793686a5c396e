"""From loss to what a benchmark shows: error and accuracy, metrics that jump, and density over time."""

import math
from typing import Any, NamedTuple

import numpy as np

from scaling.laws.api import Law, Params, grid, positive, real
from scaling.laws.lazy import jax, jnp

error = Law(
    name="error",
    equation="Err(L) = ε - k e^(-γ L)",
    source="Gadre et al. 2024, arXiv:2403.08540, equation 5",
    inputs=("loss",),
    output="error",
    space="linear",
    params=(real("epsilon", "error as loss grows"), positive("k"), positive("gamma", loss=-1)),
    predict=lambda theta, loss: theta[0] - jnp.exp(theta[1] - jnp.exp(theta[2] + loss)),
    starts=grid((0.7, 0.9), (-1.0, 1.0, 3.0), (-1.5, 0.0, 1.5)),
)

accuracy = Law(
    name="accuracy",
    equation="acc(L) = a / (1 + e^(-k (L - L_0))) + b",
    source="Bhagia et al. 2024, arXiv:2412.04403, equation 2: the second step of a task law",
    inputs=("loss",),
    output="accuracy",
    space="linear",
    params=(
        real("a", "from the worst accuracy to the best"), real("k", "steepness; negative, since loss falls", loss=-1),
        positive("L_0", "loss where accuracy moves fastest", loss=1), real("b", "accuracy as loss grows"),
    ),
    predict=lambda theta, loss: theta[0] * jax.nn.sigmoid(theta[1] * (jnp.exp(loss) - jnp.exp(theta[2]))) + theta[3],
    # (-a, -k, L_0, a + b) is the same law; these starts lead to the one whose b is the accuracy of chance.
    starts=grid((0.3, 0.7), (-1.0, -4.0, -12.0), (-0.3, 0.0, 0.3), (0.0, 0.3)),
    levels={"loss": 4},
)  # fmt: skip


def two_step(first: Law, first_params: Params, second: Law, second_params: Params, *inputs: Any) -> np.ndarray:
    """A task's metric from N and D: the loss of `first`, then what `second` makes of that loss."""
    return second(second_params, first(first_params, *inputs))


class Metrics(NamedTuple):
    """What one per-token loss looks like under metrics of different sharpness."""

    token: np.ndarray  # probability of the right token: e^(-loss)
    exact_match: np.ndarray  # all K tokens right
    edit_distance: np.ndarray  # tokens wrong of K, on average
    brier: np.ndarray  # of the token, the rest of the probability spread over the other answers


def metrics(loss: Any, length: int, choices: int = 2) -> Metrics:
    """Exact match, token edit distance and Brier score at `loss` nats per token (Schaeffer et al. 2023, section 3).

    Tokens are taken as equally hard and independent: exact match is p^K, so it jumps where the edit distance K (1 - p)
    falls smoothly.  The Brier score is that of `choices` answers of which the wrong ones share 1 - p equally.
    """
    p = np.exp(-np.asarray(loss, np.float64))
    return Metrics(p, p**length, length * (1.0 - p), (1.0 - p) ** 2 * (1.0 + 1.0 / (choices - 1)))


def resolution(samples: int) -> float:
    """The exact match that `samples` test questions show as zero half the time: below it, none is expected right."""
    return 1.0 - 0.5 ** (1.0 / samples)


def loss_at_resolution(samples: int, length: int) -> float:
    """The per-token loss above which a test set of `samples` answers of `length` tokens shows nothing but zero."""
    return -math.log(resolution(samples)) / length


def emergence_score(scores: Any) -> float:
    """How suddenly `scores`, in order of scale, rise: their span over the root median square of single steps.

    sign(argmax - argmin) (max - min) / sqrt(median((y_i - y_(i-1))^2)), Schaeffer et al. 2023 after Srivastava et al.
    2022; infinite where more than half the steps are flat.
    """
    scores = np.asarray(scores, np.float64)
    step = math.sqrt(float(np.median(np.diff(scores) ** 2)))
    span = float(np.sign(scores.argmax() - scores.argmin()) * np.ptp(scores))
    return span / step if step else math.copysign(math.inf, span) if span else 0.0


class Doubling(NamedTuple):
    """An exponential trend: rho = e^(A t + B)."""

    rate: float  # A, per unit of t
    intercept: float
    period: float  # ln 2 / A: negative where density falls
    interval: tuple[float, float]  # of `period`; infinite where the data do not exclude no growth
    level: float


def doubling_time(t: Any, density: Any, level: float = 0.95) -> Doubling:
    """Time in which density doubles, from a line through its log (densing law, Xiao et al. 2024, arXiv:2412.04315).

    `density` is effective over real parameters (`laws.optimum.effective_parameters`).  Student's interval of the
    slope, carried over to its inverse.
    """
    import scipy.stats

    t, density = np.asarray(t, np.float64), np.asarray(density, np.float64)

    line = scipy.stats.linregress(t, np.log(density))
    half = line.stderr * scipy.stats.t.ppf(0.5 + level / 2, t.size - 2)
    slow, fast = line.slope - half, line.slope + half
    ends = (math.log(2) / fast, math.log(2) / slow) if slow > 0 else (math.log(2) / fast, math.inf)
    return Doubling(float(line.slope), float(line.intercept), math.log(2) / line.slope, ends, level)
