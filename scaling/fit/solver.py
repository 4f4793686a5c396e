"""Minimises a robust loss of any law for many problems at once: starts, resamples and splits in one compiled program.

P parameters of the law, F free directions among them, R rows, I inputs of the law, B problems solved together.
The batch is the last axis, so that every sum over rows is a loop over problems side by side, which vectorises.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

# (theta, P arrays [1, B], *inputs [R, 1]) -> prediction [R, B], in the space of the fit
Predict = Callable[..., jax.Array]


class Solution(NamedTuple):
    """One entry per problem.  Derivatives are of the summed loss by the free directions."""

    theta: Float[np.ndarray, "B P"]
    objective: Float[np.ndarray, " B"]
    gradient: Float[np.ndarray, "B F"]
    hessian: Float[np.ndarray, "B F F"]
    moved: Float[np.ndarray, " B"]  # root mean square change of a prediction in the last step: 0 where it settled

    @property
    def gradient_norm(self) -> Float[np.ndarray, " B"]:
        return np.linalg.norm(self.gradient, axis=-1)


FEWEST = 128  # rows that a program is made for: to make another costs more than it saves
MANY = 400  # problems, of resamples as a rule, beyond which the size of the data decides
SMALL = 16  # problems that have a program of their own, which is a quarter of the work of the larger one
SEVERAL = 1_000  # problems, of starts or of a fit's resamples, that are not worth the larger one's making
ROUND = 12  # iterations before finished problems leave the batch and others move up
LIMIT = 25  # rounds
RIDGE = 0.01  # of a row's share of the loss: what gains less in a round runs along a ridge that leads nowhere
BOW = 0.75  # of a step: how long the second-order part of it may be
SELDOM = 4  # steps that share second derivatives of residuals, where a resample starts in its basin
SETTLED = 1e-13  # of log loss: the rounding of the loss itself
CLOSE = 1e-8  # of log loss: all that a resample, or a start that is compared with others, needs
CACHED = 40960  # numbers in the Jacobian of a batch, whose temporaries then stay in cache
PART = 1 << 16  # rows whose derivatives are held at once; of a million at once they would fill hundreds of megabytes
QUADRATIC = 1e3  # a Huber delta no log loss reaches: least squares


def solve(
    predict: Predict,
    x: Float[np.ndarray, "I R"],
    y: Float[np.ndarray, "#B R"],
    weights: Float[np.ndarray, "#B R"],
    theta: Float[np.ndarray, "B P"],
    delta: float,
    basis: Float[np.ndarray, "#B P F"] | None = None,
    enough: float = SETTLED,
    near: bool = False,
) -> Solution:
    """Solves B problems on the same inputs, each from its own `theta`, in float64 on a CPU.

    Levenberg-Marquardt on reweighted squares finds the basin, Newton on the loss itself the optimum; a step counts as
    the last when it moves predictions by less than `enough`, so no scale of the objective or of a parameter matters.
    Steps of what has not settled in a round follow the bend of its valley (`_bow`).  What then hardly gains anything
    (`RIDGE`) has its minimum at infinity, or none, and is left where it is; the best of rival starts is followed on.
    `near` says that `theta` is in the basin already, as the optimum of all rows is for a resample; the Hessian's second
    derivatives of residuals are then up to `SELDOM` steps old.
    `basis` names the free directions: a parameter without a column is pinned, one column in two parameters ties them.
    Precision and devices of whatever else this process computes stay as they are.
    """
    count, rows = len(theta), x.shape[1]
    padded, batch = sizes(count, rows, np.shape(theta)[1])
    x = np.pad(x, ((0, 0), (0, padded - rows)))
    theta, delta = np.array(theta, np.float64), min(delta, QUADRATIC)
    basis = np.eye(theta.shape[1])[None] if basis is None else np.asarray(basis, np.float64)
    free, rivals = basis.shape[2], len(y) == len(weights) == len(basis) == 1
    basis = np.pad(basis, ((0, 0), (0, 0), (0, theta.shape[1] - free)))  # and for any number of free directions
    out = Solution(
        theta, *(np.full((count, *shape), np.nan) for shape in ((), theta.shape[1:], theta.shape[1:] * 2, ()))
    )
    damping, every = np.full(count, 1e-2), SELDOM if near else 1
    with float64_on_cpu():
        for newton, least in ((True, enough),) if near else ((False, 1e-4), (True, enough)):
            left, damping[:] = np.arange(count), 1e-2
            for made in range(LIMIT if newton else 4):
                before = out.objective.copy()
                done = [
                    _rounds(predict, x[..., None], *_packed(left[i : i + batch], batch, padded, y, weights, basis,
                                                            out.theta, damping), delta, least, newton, every, made > 0)
                    for i in range(0, left.size, batch)
                ]  # fmt: skip
                done = [np.concatenate(v, axis=-1)[..., : left.size] for v in zip(*jax.device_get(done), strict=True)]
                for array, value in zip((*out, damping), done, strict=True):
                    array[left] = np.moveaxis(value, -1, 0)
                left = left[~(out.moved[left] <= least)]
                if newton:
                    value, gained = out.objective[left], before[left] - out.objective[left]
                    goes_on = ~(gained < RIDGE / rows * value) if made else np.ones(left.size, bool)
                    if rivals:  # what stands above the best and hardly gains runs off to no minimum
                        goes_on &= (gained > 1e-2 * value) | (value < 1.1 * np.nanmin(out.objective))
                        goes_on |= value == np.nanmin(out.objective)
                    left = left[goes_on]
                if not left.size:
                    break
    return out._replace(gradient=out.gradient[:, :free], hessian=out.hessian[:, :free, :free])


@contextlib.contextmanager
def float64_on_cpu() -> Iterator[None]:
    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


def sizes(count: int, rows: int, params: int) -> tuple[int, int]:
    """Rows and problems of the program that `solve` takes."""
    # One program for data of many sizes; many problems are worth a program of their own size.
    padded = max(FEWEST if count <= MANY else FEWEST // 4, 1 << (rows - 1).bit_length())
    return padded, max(1, min(64 if count > SEVERAL else SMALL, CACHED // (padded * params)))


def prepare(predict: Predict, inputs: int, params: int, count: int, rows: int) -> None:
    """Compiles the program that `solve` takes for such problems, which is most of a first fit's time."""
    padded, batch = sizes(count, rows, params)
    rows_RB, theta_PB = np.zeros((padded, batch)), np.zeros((params, batch))
    with float64_on_cpu():
        x, basis = np.zeros((inputs, padded, 1)), np.zeros((params, *theta_PB.shape))
        _rounds(
            predict, x, rows_RB, rows_RB, basis, theta_PB, np.zeros(batch), 1.0, np.inf, False, 1, False
        )  # no round


def _packed(index, batch, rows, y, weights, basis, theta, damping):
    """The problems `index`, batch last, padded: rows by weight zero, problems by repeating the last."""
    index = np.pad(index, (0, batch - index.size), mode="edge")
    pick = lambda v: v[index] if len(v) > 1 else np.broadcast_to(v, (batch, *v.shape[1:]))
    tall = lambda v: np.pad(pick(v).T, ((0, rows - v.shape[1]), (0, 0)))
    return tall(y), tall(weights), np.moveaxis(pick(basis), 0, -1), theta[index].T, damping[index]


# LLVM's second level runs as fast as its third and compiles in two thirds of the time; without any, a third as fast.
@functools.partial(jax.jit, static_argnames=("predict",), compiler_options={"xla_backend_optimization_level": 2})
def _rounds(predict, x_IR1, y_RB, w_RB, basis_PFB, theta_PB, damping_B, delta, enough, newton, every, bowed):
    """Up to `ROUND` damped steps of every problem that has not settled.

    Second derivatives of residuals cost more than all else of a step.  They are taken `every` so many steps: for each
    from far away, seldom where `theta_PB` is in the basin, since residuals are small beside what they bend.
    Where `newton` and `bowed` a step has a second-order part too: geodesic acceleration (Transtrum & Sethna 2012).
    """
    rows = x_IR1, y_RB, w_RB
    at = lambda x, y: lambda theta: predict(tuple(v[None] for v in theta), *x) - y
    evaluate = lambda theta: _total(lambda x, y, w: _derivatives(at(x, y), theta, w, delta, newton), *rows)
    bent = lambda theta: _total(lambda x, y, w: _bend(at(x, y), theta, w, delta), *rows)
    bow = lambda theta, change: _total(lambda x, y, w: _bow(at(x, y), theta, change, w, delta), *rows)
    project = lambda m: jnp.einsum("pfb,pqb,qgb->bfg", basis_PFB, m, basis_PFB)
    total_B = w_RB.sum(0)

    def step(state):
        theta, value, g, h, square, bend, damping, moved, trial, size, count = state
        found = evaluate(trial)
        due = newton & (count % every == 0)  # one program for all
        found += (jax.lax.cond(due, lambda: bent(trial), lambda: bend),)
        better = found[0] < value
        # Rounding hides what such a step gains, so it is taken on its size alone.
        last = (jnp.abs(found[0] - value) <= 1e-14 * value) & (size < 1e-8)
        go = moved > enough
        theta, value, g, h, square, bend = (
            jnp.where(jnp.reshape(go & (better | last), (1,) * (new.ndim - 1) + (-1,)), new, old)
            for new, old in zip((trial, *found), (theta, value, g, h, square, bend), strict=True)
        )
        eased = jnp.where(better, jnp.maximum(damping * 0.2, 1e-14), damping * 5)
        damping = jnp.where(go & jnp.isfinite(size), eased, damping)
        moved = jnp.where(go, jnp.where(last, 0.0, size), moved)
        h_BFF, k_BFF, g_BF = project(h + bend), project(square), jnp.einsum("pfb,pb->bf", basis_PFB, g)
        # A term that vanished leaves its directions without curvature: the floor keeps them still, not undefined.
        floor = 1e-12 * jnp.trace(k_BFF, axis1=1, axis2=2)[:, None, None] + 1e-300
        scale = jnp.eye(h_BFF.shape[-1])[None] * (damping[:, None, None] * k_BFF + floor)
        solved = lambda g: jnp.einsum("pfb,bf->pb", basis_PFB, jnp.linalg.solve(h_BFF + scale, -g[..., None])[..., 0])
        change = solved(g_BF)

        def further():
            second = solved(0.5 * jnp.einsum("pfb,pb->bf", basis_PFB, bow(theta, change)))
            length = lambda v: jnp.sqrt(jnp.einsum("ppb,pb->b", square, v * v))
            return second * jnp.minimum(1.0, BOW * length(change) / (length(second) + 1e-300))[None]

        second = jax.lax.cond(newton & bowed, further, lambda: jnp.zeros_like(change))
        size = jnp.sqrt(jnp.maximum(jnp.einsum("pb,pqb,qb->b", change, square, change), 0.0) / total_B)
        return theta, value, g, h, square, bend, damping, moved, theta + change + second, size, count + 1

    far, flat = jnp.full_like(damping_B, jnp.inf), jnp.zeros((len(theta_PB), *theta_PB.shape))
    start = theta_PB, far, jnp.zeros_like(theta_PB), flat, flat, flat, damping_B, far, theta_PB, far, 0
    state = jax.lax.while_loop(lambda s: (s[-1] <= ROUND) & jnp.any(s[7] > enough), step, start)
    theta, value, g, h, _, bend, damping, moved, *_ = state
    return theta, value, jnp.einsum("pfb,pb->fb", basis_PFB, g), jnp.moveaxis(project(h + bend), 0, -1), moved, damping


def _total(function, x_IR1, y_RB, w_RB):
    """The sum over all rows of what `function` sums over some, of `PART` at a time where there are more."""
    if len(y_RB) <= PART:
        return function(x_IR1, y_RB, w_RB)
    parts = [v.reshape(-1, PART, v.shape[-1]) for v in (*x_IR1, y_RB, w_RB)]
    each = jax.lax.map(lambda part: function(part[:-2], *part[-2:]), parts)
    return jax.tree.map(lambda v: v.sum(0), each)


def _derivatives(residual, theta_PB, w_RB, delta, newton):
    """Loss [B], gradient [P, B], its reweighted square (of a Hessian without `_bend` where `newton`) and the square of
    the Jacobian [P, P, B].
    """
    r, j_PRB = residual(theta_PB), _jacobian(residual, theta_PB)
    size = jnp.abs(r)
    squares = lambda weight: jnp.einsum("prb,qrb->pqb", weight[None] * j_PRB, j_PRB)
    weight_RB = jnp.where(newton, size <= delta, jnp.minimum(1.0, delta / jnp.maximum(size, 1e-300)))
    g_PB = ((w_RB * jnp.clip(r, -delta, delta))[None] * j_PRB).sum(1)
    return (w_RB * huber(r, delta)).sum(0), g_PB, squares(w_RB * weight_RB), squares(w_RB)


def _bend(residual, theta_PB, w_RB, delta):
    """What residuals' second derivatives add to the Hessian [P, P, B]."""
    push, params = w_RB * jnp.clip(residual(theta_PB), -delta, delta), range(len(theta_PB))
    second = {
        (p, q): (push * _along(lambda theta, p=p: _along(residual, theta, p), theta_PB, q)).sum(0)
        for p in params
        for q in params[p:]
    }
    return jnp.stack([jnp.stack([second[min(p, q), max(p, q)] for q in params]) for p in params])


def _bow(residual, theta_PB, change_PB, w_RB, delta):
    """Gradient [P, B] of what the residuals' bend along `change_PB` adds to those that are squared."""
    along = lambda theta: jax.jvp(residual, (theta,), (change_PB,))[1]
    bent_RB = jax.jvp(along, (theta_PB,), (change_PB,))[1]
    push_RB = w_RB * jnp.where(jnp.abs(residual(theta_PB)) <= delta, bent_RB, 0.0)
    return (push_RB[None] * _jacobian(residual, theta_PB)).sum(1)


def _jacobian(residual, theta_PB):
    """[P, R, B]: one derivative a parameter serves the whole batch, since no problem depends on another's theta."""
    return jnp.stack([_along(residual, theta_PB, p) for p in range(len(theta_PB))])


def _along(residual, theta, p):
    """Derivative of `residual` by parameter p [R, B]; alone, so that terms without it cost nothing."""
    moved = lambda value: residual((*theta[:p], value, *theta[p + 1 :]))
    return jax.jvp(moved, (theta[p],), (jnp.ones_like(theta[p]),))[1]


def huber(r: Any, delta: Any) -> jax.Array:
    """r^2 / 2 up to delta, linear beyond (Huber 1964)."""
    size = jnp.abs(r)
    return jnp.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))


def huber_numpy(r: np.ndarray, delta: float) -> np.ndarray:
    """`huber` without JAX, also at delta = inf."""
    size = np.abs(r)
    return np.where(size <= delta, 0.5 * size**2, min(delta, QUADRATIC) * (size - 0.5 * min(delta, QUADRATIC)))
