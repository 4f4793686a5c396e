"""Shampoo and SOAP: optimizers that precondition each axis of a weight by the second moments along it.

The gradient G of a weight with k axes gives each axis i the symmetric matrix G₍ᵢ₎ G₍ᵢ₎ᵀ, in which G₍ᵢ₎ has the axis as
its rows and all others as its columns: for a matrix, G Gᵀ and Gᵀ G.  Of a weight stacked by layer the layers are an
axis like the others.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Rate = float | jax.Array  # the step gives it as an array
Axes = tuple[jax.Array | None, ...]  # for each axis of a weight a matrix [d, d], its diagonal [d], or nothing


class ShampooState(NamedTuple):
    count: jax.Array
    sums: Any  # of each weight, Axes: the H below
    roots: Any  # H^(-1/2k) as it was at the last refresh


def shampoo(
    learning_rate: Rate,
    momentum: float = 0.0,
    eps: float = 1e-4,
    interval: int = 20,
    max_dim: int = 1200,
    weight_decay: float = 0.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Hᵢ ← Hᵢ + G₍ᵢ₎ G₍ᵢ₎ᵀ, W ← W - η G ×₁ H₁^(-1/2k) … ×ₖ Hₖ^(-1/2k), H₀ = ε (Gupta, Koren & Singer 2018).

    For a matrix: W - η L^(-1/4) G R^(-1/4).  Roots are taken anew every `interval` steps, and in each of the first
    `interval`, since the sums of a few gradients say nothing of other directions.  An axis longer than `max_dim`, and
    that of a vector, has the diagonal of H alone: for a vector this is AdaGrad.
    `momentum` sums up the preconditioned steps; `weight_decay` is decoupled.
    """
    return optax.chain(
        scale_by_shampoo(eps, interval, max_dim),
        optax.trace(momentum) if momentum else optax.identity(),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(learning_rate),
    )


def scale_by_shampoo(eps: float, interval: int, max_dim: int) -> optax.GradientTransformation:
    def init(params):
        whole = lambda p, d: p.ndim > 1 and d <= max_dim
        unit = lambda p: tuple(jnp.eye(d) if whole(p, d) else jnp.ones(d) for d in p.shape)
        ones = jax.tree.map(unit, params)
        return ShampooState(jnp.zeros((), jnp.int32), jax.tree.map(lambda x: eps * x, ones), ones)

    @jax.default_matmul_precision("float32")
    def update(grads, state, params=None):
        del params
        sums = jax.tree.map(lambda g, h: second_moments(g, h, 1.0, 1.0), grads, state.sums)
        root = lambda g, h: tuple(inverse_root(x, 2 * g.ndim, eps) for x in h)
        due = (state.count < interval) | (state.count % interval == 0)
        roots = jax.lax.cond(due, lambda: jax.tree.map(root, grads, sums), lambda: state.roots)
        updates = jax.tree.map(along_axes, grads, roots)
        return updates, ShampooState(optax.safe_increment(state.count), sums, roots)

    return optax.GradientTransformation(init, update)


class SoapState(NamedTuple):
    count: jax.Array
    mu: Any  # M below, the mean of the gradients
    nu: Any  # V below, the mean of their squares in the eigenbases
    moments: Any  # of each weight, Axes: L and R below
    bases: Any  # of each weight, Axes: their eigenvectors as columns, Q below


def soap(
    learning_rate: Rate,
    b1: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    interval: int = 10,
    max_dim: int = 10_000,
    weight_decay: float = 0.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam in the eigenbases of Shampoo's matrices (Vyas et al. 2024, algorithm 3); of vectors, Adam.

    L ← b2 L + (1 - b2) G Gᵀ, R alike.  M is a mean of G and V of (Q_Lᵀ G Q_R)², both corrected for their start at 0;
    N = (Q_Lᵀ M Q_R) / (√V + ε), W ← W - η Q_L N Q_Rᵀ.  Every `interval` steps Q_L ← QR(L Q_L), Q_R alike.
    As in the authors' code the first gradient gives the first Q, by eigendecomposition, and moves nothing.
    An axis longer than `max_dim` is not rotated; `weight_decay` is decoupled.  Where eigenvalues coincide, as those of
    the first gradient at 0, any basis serves: layouts of devices agree less closely than with other optimizers.
    """
    return optax.chain(
        scale_by_soap(b1, b2, eps, interval, max_dim),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(learning_rate),
    )


def scale_by_soap(b1: float, b2: float, eps: float, interval: int, max_dim: int) -> optax.GradientTransformation:
    def init(params):
        unit = lambda p: tuple(jnp.eye(d) if p.ndim > 1 and d <= max_dim else None for d in p.shape)
        zeros, bases = optax.tree.zeros_like(params), jax.tree.map(unit, params)
        return SoapState(jnp.zeros((), jnp.int32), zeros, zeros, optax.tree.zeros_like(bases), bases)

    @jax.default_matmul_precision("float32")
    def update(grads, state, params=None):
        del params
        moments = jax.tree.map(lambda g, h: second_moments(g, h, b2, 1 - b2), grads, state.moments)

        def start():
            return optax.tree.zeros_like(grads), state._replace(bases=jax.tree.map(eigenvectors, moments))

        def step():
            mu = optax.tree.update_moment(grads, state.mu, b1, 1)
            nu = optax.tree.update_moment(jax.tree.map(into, grads, state.bases), state.nu, b2, 2)
            mean, square = (optax.tree.bias_correction(m, b, state.count) for m, b in ((mu, b1), (nu, b2)))
            turned = jax.tree.map(lambda m, v, q: into(m, q) / (jnp.sqrt(v) + eps), mean, square, state.bases)
            follow = lambda: jax.tree.map(lambda h, q: jnp.linalg.qr(h @ q)[0], moments, state.bases)
            bases = jax.lax.cond(state.count % interval == 0, follow, lambda: state.bases)
            return jax.tree.map(along_axes, turned, state.bases), state._replace(mu=mu, nu=nu, bases=bases)

        updates, new = jax.lax.cond(state.count == 0, start, step)
        return updates, new._replace(count=optax.safe_increment(state.count), moments=moments)

    return optax.GradientTransformation(init, update)


def second_moments(g: jax.Array, old: Axes, keep: float, add: float) -> Axes:
    """Of each axis keep · old + add · G₍ᵢ₎ G₍ᵢ₎ᵀ, or only its diagonal where `old` has no more."""

    def along(i: int, h: jax.Array | None) -> jax.Array | None:
        others = tuple(j for j in range(g.ndim) if j != i)
        if h is None:
            return None
        return keep * h + add * (jnp.tensordot(g, g, (others, others)) if h.ndim == 2 else (g * g).sum(others))

    return tuple(along(i, h) for i, h in enumerate(old))


def along_axes(g: jax.Array, factors: Axes) -> jax.Array:
    """G ×₁ F₁ … ×ₖ Fₖ; a vector stands for a diagonal matrix, nothing for the identity."""
    for i, f in enumerate(factors):
        if f is not None and f.ndim == 1:
            g = g * f.reshape([-1 if j == i else 1 for j in range(g.ndim)])
        elif f is not None:
            g = jnp.moveaxis(jnp.tensordot(f, g, (1, i)), 0, i)
    return g


def into(g: jax.Array, bases: Axes) -> jax.Array:
    """The coordinates of G in orthonormal bases."""
    return along_axes(g, tuple(None if q is None else q.T for q in bases))


def eigenvectors(h: jax.Array) -> jax.Array:
    return jnp.linalg.eigh(h)[1]


def inverse_root(h: jax.Array, order: int, least: float) -> jax.Array:
    """h^(-1/order) of a matrix, none of whose eigenvalues is below `least` but by rounding; or of a diagonal."""
    if h.ndim == 1:
        return h ** (-1 / order)
    values, vectors = jnp.linalg.eigh(h)
    return (vectors * jnp.maximum(values, least)[None] ** (-1 / order)) @ vectors.T
