"""Selective state spaces: the parallel scan is the recurrence, and that is the formula.

Shapes: B batch, L length, E width, N numbers a channel remembers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.sequences import SYMBOLS, selecting
from models.api import from_linen
from models.mamba import Mamba
from models.parts.state_space import rate_bias, selective_scan

B, L, E, N = 2, 7, 3, 4


def given():
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    x, b, c, state = draw(B, L, E), draw(B, L, N), draw(B, L, N), draw(B, E, N)
    return x, np.exp(draw(B, L, E)), -np.exp(draw(E, N)), b, c, state


@pytest.mark.parametrize("scan", ["parallel", "recurrent"])
def test_the_scan_is_the_formula(scan):
    """s' = exp(rate a) s + rate b x, y = c · s', one number after the other."""
    x, rate, a, b, c, state = given()
    y, last = jax.jit(functools.partial(selective_scan, scan=scan))(x, rate, a, b, c, state)
    for i in range(B):
        for e in range(E):
            s = state[i, e].astype(np.float64)
            for t in range(L):
                s = np.exp(rate[i, t, e] * a[e]) * s + rate[i, t, e] * b[i, t] * x[i, t, e]
                np.testing.assert_allclose(y[i, t, e], c[i, t] @ s, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(last[i, e], s, rtol=1e-4, atol=1e-5)


def test_gradients_of_both_scans_are_the_same():
    numbers = tuple(jnp.asarray(x) for x in given())
    loss = lambda scan: lambda *args: sum(jnp.sin(x).sum() for x in selective_scan(*args, scan=scan))
    found = [jax.jit(jax.grad(loss(scan), argnums=tuple(range(6))))(*numbers) for scan in ("parallel", "recurrent")]
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-3, atol=1e-4), *found)


@pytest.mark.slow
def test_no_logit_depends_on_a_later_token_and_padding_counts_nothing():
    """Other tokens behind a text, or masked ones before it, leave its logits as they are."""
    model = from_linen(Mamba(11, 2, 8, state=3))
    text = jnp.asarray(np.random.default_rng(1).integers(0, 11, (1, L)), jnp.int32)
    params, _ = jax.jit(model.init)(jax.random.key(0), text)
    params = jax.tree.map(lambda p: p + 0.1, params)
    apply = jax.jit(lambda *inputs: model.apply(params, {}, *inputs)[0])
    whole = apply(text)
    np.testing.assert_array_equal(apply(text.at[:, 4:].set(3))[:, :4], whole[:, :4])
    assert jnp.abs(apply(text.at[:, 4:].set(3))[:, 4:] - whole[:, 4:]).max() > 1e-3
    padded, mask = jnp.concatenate([text[:, :3], text], axis=1), jnp.arange(L + 3)[None] >= 3
    np.testing.assert_allclose(apply(padded, mask)[:, 3:], whole, rtol=1e-5, atol=1e-5)


def test_rates_start_between_a_thousandth_and_a_tenth():
    rates = jax.nn.softplus(rate_bias()(jax.random.key(0), (5000,)))
    assert 0.00099 < rates.min() < 0.00105
    assert 0.095 < rates.max() < 0.101
    assert float(jnp.log(rates).mean()) == pytest.approx(np.log(0.01), abs=0.06)  # evenly in the logarithm


@pytest.mark.parametrize("scan", ["parallel", "recurrent"])
def test_rates_that_nothing_chooses_make_a_convolution(scan):
    """y_t = Σ_k rate Σ_n w_n exp(k rate a_n) x_{t-k}, with one kernel for all times."""
    x, _, a, _, _, _ = map(jnp.asarray, given())
    rng = np.random.default_rng(3)
    rate, weight = np.exp(rng.standard_normal(E)), rng.standard_normal((E, N))
    every = lambda numbers: jnp.broadcast_to(jnp.asarray(numbers, jnp.float32), (B, L, *numbers.shape))
    y, _ = selective_scan(x, every(rate), a, every(weight), jnp.ones((B, L, N)), jnp.zeros((B, E, N)), scan)
    k = np.arange(L)[:, None, None]
    kernel = rate * (weight * np.exp(k * rate[:, None] * np.asarray(a))).sum(-1)
    for t in range(L):
        expected = sum(kernel[j] * np.asarray(x)[:, t - j] for j in range(t + 1))
        np.testing.assert_allclose(y[:, t], expected, rtol=1e-4, atol=1e-5)


def test_selective_copying_asks_for_the_symbols_in_order():
    """And for nothing else; where they stand differs, so that no fixed delay finds them."""
    batch = selecting(shown=4, noise=9).train.gather(np.arange(300))
    places = np.zeros((300, 4), int)
    for row, (x, y, mask) in enumerate(zip(batch["x"], batch["y"], batch["mask"], strict=True)):
        symbols = x[x < SYMBOLS]
        assert x[-4:].tolist() == [SYMBOLS + 1] * 4
        assert (x == SYMBOLS).sum() == 9
        np.testing.assert_array_equal(y[-4:], symbols)
        np.testing.assert_array_equal(mask, [0] * 13 + [1] * 4)
        places[row] = np.flatnonzero(x < SYMBOLS)
    assert min(len(np.unique(column)) for column in places.T) > 7
    assert np.bincount(batch["y"][:, -4:].ravel(), minlength=SYMBOLS).min() > 100
