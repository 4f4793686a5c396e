"""Laws and counts against closed forms, published constants, and numerical optima."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from models.api import from_linen
from models.gpt import GPT
from scaling import flops, laws
from scaling.laws import LAWS, compute_for_loss, d_opt, l_opt, n_opt

# Hoffmann et al. 2022: the digits of the paper's TeX source, and the rounded ones of its text.
TEX = {"E": np.exp(0.5267228), "A": np.exp(6.0073404), "B": np.exp(6.0179186), "alpha": 0.33917084, "beta": 0.2849083}
ROUNDED = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
BUDGETS = np.geomspace(1e15, 1e25, 6)


@pytest.mark.parametrize(
    ("params", "n", "d", "loss"),
    [(ROUNDED, 3.2491e10, 3.0162e12, 1.929987), (TEX, 4.0743e10, 2.4053e12, 1.917695)],
)
def test_optimum_at_gophers_budget(params, n, d, loss):
    c = 5.88e23
    assert n_opt(params, c) == pytest.approx(n, rel=1e-4)
    assert d_opt(params, c) == pytest.approx(d, rel=1e-4)
    assert l_opt(params, c) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("params", [TEX, ROUNDED])
def test_optimum_satisfies_the_first_order_condition_and_spends_the_budget(params):
    n, d = n_opt(params, BUDGETS), d_opt(params, BUDGETS)
    np.testing.assert_allclose(
        params["alpha"] * params["A"] / n ** params["alpha"],
        params["beta"] * params["B"] / d ** params["beta"],
        rtol=1e-12,
    )
    np.testing.assert_allclose(6 * n * d, BUDGETS, rtol=1e-12)


@pytest.mark.parametrize("c", BUDGETS)
def test_optimum_is_the_minimum_that_a_search_finds(c):
    loss = lambda log_n: laws.chinchilla_loss(TEX, np.exp(log_n), c / (6 * np.exp(log_n)))
    found = scipy.optimize.minimize_scalar(
        loss, bracket=(np.log(n_opt(TEX, c)) - 3, np.log(n_opt(TEX, c)) + 2), tol=1e-12
    )
    assert np.exp(found.x) == pytest.approx(n_opt(TEX, c), rel=1e-5)
    assert found.fun == pytest.approx(l_opt(TEX, c), rel=1e-14)


def test_compute_for_loss_inverts_the_best_loss():
    np.testing.assert_allclose(compute_for_loss(TEX, l_opt(TEX, BUDGETS)), BUDGETS, rtol=1e-9)
    assert compute_for_loss(TEX, TEX["E"]) == np.inf
    assert compute_for_loss(TEX, 0.5 * TEX["E"]) == np.inf


def test_exponents_sum_to_one_and_match_the_paper():
    assert laws.a(TEX) + laws.b(TEX) == pytest.approx(1.0)
    assert laws.a(TEX) == pytest.approx(0.456526, abs=1e-6)
    assert laws.G(TEX) == pytest.approx(1.30005, abs=1e-5)


def test_kaplan_at_published_constants():
    assert laws.kaplan_n.loss({"N_c": 8.8e13, "alpha_N": 0.076}, 1e9) == pytest.approx(2.375640, abs=1e-6)
    assert laws.kaplan_d.loss({"D_c": 5.4e13, "alpha_D": 0.095}, 1e10) == pytest.approx(2.262442, abs=1e-6)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_form_that_is_fitted_is_the_published_form(law):
    """log_loss of centred logs, in units of the geometric means, is log of `loss`."""
    rng = np.random.default_rng(0)
    units = np.array([0.9, 18.0, 22.0])[: 1 + len(law.inputs)]
    logs = rng.normal(size=(len(law.inputs), 20))
    for theta in law.starts[:: max(1, len(law.starts) // 8)]:
        params = law.natural(np.array(theta), *units)
        inputs = [np.exp(u + x) for u, x in zip(units[1:], logs, strict=True)]
        with jax.enable_x64(True):
            fitted = law.log_loss(jnp.asarray(theta), *map(jnp.asarray, logs))
        np.testing.assert_allclose(fitted, np.log(law.loss(params, *inputs)) - units[0], atol=1e-12)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_a_law_broadcasts_over_draws(law):
    params = law.natural(np.array(law.starts[:3])[:2], 1.0, *[20.0] * len(law.inputs))
    runs = [np.array([1e8, 1e9, 1e10])] * len(law.inputs)
    both = law.loss({name: v[:, None] for name, v in params.items()}, *runs)
    one = law.loss({name: v[1] for name, v in params.items()}, *runs)
    assert both.shape == (2, 3)
    np.testing.assert_allclose(both[1], one)


def test_gpt3_is_published_as_3640_petaflop_days():
    """Brown et al. 2020, table D.1: 174.6 B parameters (attention left out), 300 B tokens, 3.14e23 FLOPs."""
    assert flops.c_6nd(174_600_000_000, 300_000_000_000) == pytest.approx(3.14e23, rel=2e-3)
    assert flops.c_6nd(175e9, 300e9) / flops.PETAFLOP_DAY == pytest.approx(3640, rel=2e-3)


def test_6nd_of_large_integers_does_not_overflow():
    n, d = np.array([6_900_000_000]), np.array([138_000_000_000])
    assert (6 * n * d)[0] < 0 or (6 * n * d)[0] != 6 * 6_900_000_000 * 138_000_000_000  # what int64 makes of it
    assert flops.c_6nd(n, d)[0] == pytest.approx(6.0 * 6.9e9 * 1.38e11, rel=1e-15)


GPT3 = {"layers": 96, "width": 12288, "context": 2048, "vocab": 50257, "heads": 96, "bias": True}


def test_counts_of_gpt3():
    found = flops.count(GPT3)
    assert found.params_total == pytest.approx(174.6e9, rel=1e-3)
    # Kaplan et al. 2020: N = 12 layers width^2 without embeddings, and 2 N FLOPs forward for it
    assert found.params_non_embedding == pytest.approx(12 * 96 * 12288**2, rel=1e-3)
    assert found.flops_matmul == 24 * 96 * 12288**2
    assert found.flops_attention == 2 * found.flops_attention_kaplan == 4 * 96 * 2048 * 12288
    assert found.flops_head == 2 * 12288 * 50257
    assert found.flops_train == 3 * (found.flops_matmul + found.flops_attention + found.flops_head)
    # 6 N D leaves out attention alone when the head is tied to the embedding: 2.7 % here
    assert found.flops_train * 300e9 == pytest.approx(3.14e23, rel=0.04)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_every_parameter_is_counted_by_hand(bias, tied, positions):
    width, context, vocab, hidden = 4, 8, 10, 16
    block = 2 * width * (1 + bias)  # two norms
    block += 3 * (width * width + width * bias) + width * width + width * bias  # query, key, value, output
    block += width * hidden + hidden * bias + hidden * width + width * bias  # MLP
    inner = 3 * block + width * (1 + bias)
    outer = vocab * width * (2 - tied) + context * width * (positions == "learned")
    found = flops.count(
        {
            "layers": 3,
            "width": width,
            "context": context,
            "vocab": vocab,
            "bias": bias,
            "tied": tied,
            "positions": positions,
        }
    )
    assert (found.params_non_embedding, found.params_total) == (inner, inner + outer)


@pytest.mark.parametrize("head", ["tied", "untied"])
def test_counts_are_those_of_the_network(head):
    """Parameters by tracing its initialisation, FLOPs by reading its matrix products off the jaxpr."""
    from train.flops import count as flops_of

    shape = {"layers": 3, "width": 32, "context": 16, "vocab": 50, "heads": 4}
    model = from_linen(GPT(**shape, head=head))
    tokens = jax.ShapeDtypeStruct((1, 16), jnp.int32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, state = jax.eval_shape(model.init, key, tokens)
    found = flops.count({**shape, "tied": head == "tied"})
    assert found.params_total == sum(leaf.size for leaf in jax.tree.leaves(params))
    forward = flops_of(lambda p, s, x, k: model.apply(p, s, x, key=k, train=False)[0], params, state, tokens, key)
    assert found.flops_forward * 16 == forward


def test_a_wrong_shape_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"no \['depth'\]; it takes \['layers', 'width'"):
        flops.count({"depth": 3})
    with pytest.raises(ValueError, match="choose 'learned' or 'rotary'"):
        flops.count({**GPT3, "positions": "sinusoid"})


def test_the_front_door_offers_what_there_is():
    from scaling import __main__ as door
    from scaling.records import COUNTS

    assert tuple(LAWS) == door.LAWS
    assert tuple(COUNTS) == door.COUNTS
