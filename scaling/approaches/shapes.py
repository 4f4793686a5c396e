"""Where the loss over ln N at one budget is least: the shapes that approach 2 draws through a budget's runs.

K budgets, S sizes on one budget, B bootstrap draws of their losses.  A new shape is one entry of `SHAPES`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

OK, SMALLEST, LARGEST, DOWNWARDS, BELOW, ABOVE = range(6)  # what became of a minimum
RATES = np.geomspace(0.02, 1.5, 24)  # of the exponentials of `skewed` at first, a unit of ln N
SHARPEST = (0.01, 3.0)  # rates that refinement may reach
NEAR = {"window": 5, "cubic": 7}  # sizes that a local shape is fitted to


class Vertices(NamedTuple):
    """Minima of B profiles over the same sizes; meaningful where `code` is OK."""

    x: np.ndarray  # [B] ln N*
    loss: np.ndarray  # [B]
    bend: np.ndarray  # [B] second derivative of loss by ln N there
    code: np.ndarray  # [B]


Find = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[Vertices]]  # ln N [S] and losses [B, S] of each


class Shape(NamedTuple):
    """A way to find the minima of profiles."""

    text: str  # for people
    fewest: int  # sizes that a budget needs
    near: int | None  # sizes that it is fitted to, nearest to the lowest; None for all
    order: int  # constants of a budget
    shared: int  # constants that all budgets share
    find: Find


def parabola(x: np.ndarray, losses: np.ndarray) -> Vertices:
    """Vertices of least-squares parabolas of `losses` [B, S] in `x` [S]."""
    middle, half = 0.5 * (x[0] + x[-1]), 0.5 * (x[-1] - x[0])
    curve, tilt, height = np.linalg.pinv(np.vander((x - middle) / half, 3)) @ losses.T
    with np.errstate(all="ignore"):
        at = -0.5 * tilt / curve
        loss = height + 0.5 * tilt * at
    code = np.select([~(curve > 0), at < -1, at > 1], [DOWNWARDS, BELOW, ABOVE], OK)
    return Vertices(middle + half * at, loss, 2 * curve / half**2, code)


def cubic(x: np.ndarray, losses: np.ndarray) -> Vertices:
    """Minima of least-squares cubics of ln loss, which follow a profile's skew."""
    middle, half = 0.5 * (x[0] + x[-1]), 0.5 * (x[-1] - x[0])
    c3, c2, c1, c0 = np.linalg.pinv(np.vander((x - middle) / half, 4)) @ np.log(losses).T
    with np.errstate(all="ignore"):
        root = np.sqrt(c2**2 - 3 * c3 * c1)
        at = -c1 / (c2 + root)  # the stationary point where the curve opens upwards, without cancellation
        loss = np.exp(((c3 * at + c2) * at + c1) * at + c0)
        bend = loss * (6 * c3 * at + 2 * c2) / half**2
        code = np.select([~(np.isfinite(root) & (bend > 0)), at < -1, at > 1], [DOWNWARDS, BELOW, ABOVE], OK)
    return Vertices(middle + half * at, loss, bend, code)


def akima(x: np.ndarray, losses: np.ndarray) -> Vertices:
    """Minima of Akima interpolants of ln loss, exactly (Porian et al. 2024, arXiv:2406.19146).

    Every piece is a cubic, and only its ends and stationary points can be lowest.
    """
    import scipy.interpolate  # a third of a second that a refused column need not wait for

    piece = scipy.interpolate.Akima1DInterpolator(x, np.log(losses).T).c  # [4, S - 1, B], highest power first
    width = np.diff(x)[:, None]
    with np.errstate(all="ignore"):
        root = np.sqrt(piece[1] ** 2 - 3.0 * piece[0] * piece[2])
        q = -(piece[1] + np.copysign(root, piece[1]))  # the root without cancellation, and its partner by Vieta
        at = np.stack([np.zeros_like(q), q / (3.0 * piece[0]), piece[2] / q, np.broadcast_to(width, q.shape)])
    at = np.clip(np.where(np.isfinite(at), at, 0.0), 0.0, width)
    values = ((piece[0] * at + piece[1]) * at + piece[2]) * at + piece[3]
    bends = (6.0 * piece[0] * at + 2.0 * piece[1]).reshape(-1, len(losses))
    where = (at + x[:-1, None]).reshape(-1, len(losses))
    values = values.reshape(-1, len(losses))
    best, draws = np.argmin(values, axis=0), np.arange(len(losses))
    loss = np.exp(values[best, draws])
    return Vertices(where[best, draws], loss, loss * bends[best, draws], np.full(len(losses), OK))


def skewed(xs: Sequence[np.ndarray], losses: Sequence[np.ndarray]) -> list[Vertices]:
    """Minima of e + p exp(-u x) + q exp(v x), where every budget has its own e, p and q and all share u and v.

    Two exponentials are the simplest curve with a minimum and two unlike sides; with small rates they are a parabola.
    The profile of any law E + f(N) + g(D) whose terms are powers is of this shape, but nothing is assumed of how e, p
    and q change with the budget.  u and v are least squares over all budgets, each in units of its least loss.
    """
    log_rates = _rates(xs, losses)
    u, v = np.exp(log_rates)
    found = []
    for x, y in zip(xs, losses, strict=True):
        _, e, tilt, curve = _project(x, y, u, v)
        with np.errstate(all="ignore"):
            up = 2 * curve / (u + v)  # q v
            down = up - tilt  # p u
            at = np.log(down / up) / (u + v)
            loss = e + tilt * _fall(at, u) + up * (_fall(at, -v) - _fall(at, u))
            bend = u * down * np.exp(-u * at) + v * up * np.exp(v * at)
            at = at + 0.5 * (x[0] + x[-1])
            code = np.select([~((down > 0) & (up > 0)), at < x[0], at > x[-1]], [DOWNWARDS, BELOW, ABOVE], OK)
        found.append(Vertices(at, loss, bend, code))
    return found


def _fall(x: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """(1 - exp(-rate x)) / rate."""
    return -np.expm1(-rate * x) / rate


def _project(x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Least squares of y [B, S] on three curves of x [S] less its middle, for rates u and v [B].

    The curves are 1, about x and about x^2; they span 1, exp(-u x) and exp(v x) and are far from parallel.  Returns
    what is left [B, S] and the three coefficients [B].
    """
    x = x - 0.5 * (x[0] + x[-1])
    u, v = u[:, None], v[:, None]
    fall = _fall(x, u)
    square = 2 * (_fall(x, -v) - fall) / (u + v)
    means = [curve.mean(1, keepdims=True) for curve in (y, fall, square)]
    flat, first, second = (curve - mean for curve, mean in zip((y, fall, square), means, strict=True))
    length = np.sum(first**2, 1, keepdims=True)
    along = np.sum(first * second, 1, keepdims=True) / length
    second = second - along * first
    curve = np.sum(second * flat, 1, keepdims=True) / np.sum(second**2, 1, keepdims=True)
    tilt = np.sum(first * flat, 1, keepdims=True) / length
    left = flat - tilt * first - curve * second
    tilt = tilt - along * curve
    return left, *(v[:, 0] for v in (means[0] - tilt * means[1] - curve * means[2], tilt, curve))


def _left(xs: Sequence[np.ndarray], losses: Sequence[np.ndarray], log_rates: np.ndarray) -> np.ndarray:
    """What the shape leaves [B, R] of all losses with ln u and ln v [2, B], in units of each budget's least loss."""
    u, v = np.exp(log_rates)
    return np.concatenate(
        [_project(x, y / y.min(1, keepdims=True), u, v)[0] for x, y in zip(xs, losses, strict=True)], 1
    )


def _rates(xs: Sequence[np.ndarray], losses: Sequence[np.ndarray]) -> np.ndarray:
    """ln u and ln v [2, B] of `skewed`: the best of a grid for the mean of the draws, then Levenberg and Marquardt's.

    The other constants enter linearly, so each step leaves them at their own least squares (variable projection).
    """
    grid = np.log(np.stack(np.meshgrid(RATES, RATES, indexing="ij")).reshape(2, -1))
    centre = [y.mean(0, keepdims=True) for y in losses]
    left = _left(xs, [np.broadcast_to(y, (grid.shape[1], y.shape[1])) for y in centre], grid)
    start = grid[:, [int(np.argmin(np.sum(left**2, 1)))]]
    start = _descend(xs, centre, start, 60)
    return start if len(losses[0]) == 1 else _descend(xs, losses, np.repeat(start, len(losses[0]), 1), 5)


def _descend(xs: Sequence[np.ndarray], losses: Sequence[np.ndarray], at: np.ndarray, steps: int) -> np.ndarray:
    """`steps` of Levenberg and Marquardt's method from ln rates `at` [2, B]."""
    low, high = np.log(SHARPEST)
    left = _left(xs, losses, at)
    damping = np.full(at.shape[1], 1e-3)
    for _ in range(steps):
        nearby = [_left(xs, losses, at + 1e-5 * np.array(one)[:, None]) for one in ((1, 0), (0, 1))]
        slopes = np.stack([(one - left) / 1e-5 for one in nearby])  # [2, B, R]
        (aa, ab), (_, bb) = np.einsum("ibr,jbr->ijb", slopes, slopes)
        ga, gb = np.einsum("ibr,br->ib", slopes, left)
        aa, bb = aa * (1 + damping) + 1e-30, bb * (1 + damping) + 1e-30
        det = aa * bb - ab**2
        move = np.clip(np.stack([ab * gb - bb * ga, ab * ga - aa * gb]) / det, -1, 1)
        tried = np.clip(at + move, low, high)
        after = _left(xs, losses, tried)
        better = np.sum(after**2, 1) < np.sum(left**2, 1)
        at, left = np.where(better, tried, at), np.where(better[:, None], after, left)
        damping = np.where(better, damping * 0.2, damping * 5)
        if np.all(np.abs(move) < 1e-9):
            break
    return at


def _each(shape: Callable[[np.ndarray, np.ndarray], Vertices], near: int | None) -> Find:
    """Budgets one by one, from the `near` sizes nearest to the lowest."""

    def find(xs: Sequence[np.ndarray], losses: Sequence[np.ndarray]) -> list[Vertices]:
        return [_local(x, y, shape, near) for x, y in zip(xs, losses, strict=True)]

    return find


def _local(
    x: np.ndarray, losses: np.ndarray, shape: Callable[[np.ndarray, np.ndarray], Vertices], near: int | None
) -> Vertices:
    if near is None or near >= x.size:
        return shape(x, losses)
    lowest = np.argmin(losses, axis=1)
    found = Vertices(*(np.empty(lowest.size) for _ in range(3)), np.empty(lowest.size, int))
    for i in np.unique(lowest):
        kept, same = nearest(x, int(i), near), lowest == i
        for whole, part in zip(found, shape(x[kept], losses[same][:, kept]), strict=True):
            whole[same] = part
    return found


def nearest(x: np.ndarray, i: int, count: int) -> np.ndarray:
    """Indices, ascending, of the `count` sizes nearest to x[i]."""
    return np.sort(np.argsort(np.abs(x - x[i]), kind="stable")[:count])


def vertices(xs: Sequence[np.ndarray], losses: Sequence[np.ndarray], shape: Shape) -> list[Vertices]:
    """Minima of each budget's profiles `losses` [B, S] over ln N `xs` [S]; those at an edge of the sizes are marked."""
    found = []
    for x, y, at in zip(xs, losses, shape.find(xs, losses), strict=True):
        lowest = np.argmin(y, axis=1)
        found.append(at._replace(code=np.select([lowest == 0, lowest == x.size - 1], [SMALLEST, LARGEST], at.code)))
    return found


def squares_left(xs: Sequence[np.ndarray], losses: Sequence[np.ndarray], shape: Shape) -> tuple[float, int]:
    """Squares that the shape leaves of the losses [S] of each budget, and their degrees of freedom.

    A shape that leaves none is judged by windowed parabolas.
    """
    if shape.shared:
        rows = [y[None] for y in losses]
        left = _left(xs, rows, _rates(xs, rows))[0] if xs else np.empty(0)
        scale = np.concatenate([np.full(y.size, y.min()) for y in losses]) if xs else np.empty(0)
        return float(np.sum((left * scale) ** 2)), left.size - shape.order * len(xs) - shape.shared
    squares, freedom = 0.0, 0
    order = shape.order or 3
    for x, y in zip(xs, losses, strict=True):
        near = nearest(x, int(np.argmin(y)), (shape.near or x.size) if shape.order else NEAR["window"])
        if near.size > order:
            centred = x[near] - x[near].mean()
            left = y[near] - np.polyval(np.polyfit(centred, y[near], order - 1), centred)
            squares, freedom = squares + float(np.sum(left**2)), freedom + near.size - order
    return squares, freedom


def windowed(near: int) -> Shape:
    """Parabolas through the `near` sizes nearest to the lowest."""
    return Shape(f"a parabola through the {near} sizes nearest to the lowest", 4, near, 3, 0, _each(parabola, near))


SHAPES: dict[str, Shape] = {
    "skewed": Shape("two exponentials whose rates all budgets share", 4, None, 3, 2, skewed),
    "akima": Shape("Akima's interpolant in log loss", 5, None, 0, 0, _each(akima, None)),
    "cubic": Shape("a cubic in log loss through 7 sizes", 5, NEAR["cubic"], 4, 0, _each(cubic, NEAR["cubic"])),
    "window": windowed(NEAR["window"]),
    "parabola": Shape("a parabola through every size", 4, None, 3, 0, _each(parabola, None)),
}
