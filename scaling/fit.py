import functools
import math
import jax, jax.numpy as jnp, numpy as np


def huber(r, delta):
    r = jnp.abs(r)
    return jnp.where(r <= delta, 0.5 * r * r, delta * (r - 0.5 * delta)) if True else None


def _solve(law, x, y, w, theta, delta, irls=40, newton=80, tol=1e-13):
    delta_ = jnp.minimum(delta, 1e6)
    residual = lambda t: law.log_loss(t, *x) - y
    objective = lambda t: (w * huber(residual(t), delta_)).sum()
    jac = jax.jacfwd(residual)
    hess = jax.hessian(objective)

    def step(carry, exact):
        t, lam, f, _, k = carry
        r, J = residual(t), jac(t)
        wt = w * jnp.minimum(1.0, delta_ / jnp.maximum(jnp.abs(r), 1e-300))
        g = J.T @ (wt * r)
        H0 = (J * wt[:, None]).T @ J
        d = jnp.diag(H0) 
        if exact:
            H = hess(t); d = jnp.diag((J * w[:, None]).T @ J)
        else:
            H = H0
        s = jnp.linalg.solve(H + lam * jnp.diag(d) + 1e-300 * jnp.eye(len(t)), -g)
        tn = t + s
        fn = objective(tn)
        ok = fn < f
        move = jnp.max(jnp.abs(J @ s))
        return (jnp.where(ok, tn, t), jnp.where(ok, jnp.maximum(lam * 0.2, 1e-14), lam * 5), jnp.where(ok, fn, f), move, k + 1)

    def run(t, f, exact, n, tol):
        c = jax.lax.while_loop(lambda c: (c[4] < n) & (c[3] > tol), lambda c: step(c, exact), (t, jnp.asarray(1e-2), f, jnp.asarray(1.0), 0))
        return c
    c = run(theta, objective(theta), False, irls, 1e-5)
    k1 = c[4]
    c = run(c[0], c[2], True, newton, tol)
    return c[0], c[2], jnp.linalg.norm(jax.grad(objective)(c[0])), k1, c[4]


@functools.partial(jax.jit, static_argnames=("law", "chunk", "irls", "newton"))
def solve_all(law, x, y, w, theta, delta, chunk=16, irls=40, newton=80):
    return jax.lax.map(lambda a: _solve(law, x, *a, delta, irls, newton), (y, w, theta), batch_size=chunk)
