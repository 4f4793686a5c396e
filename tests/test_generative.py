"""Generative networks and tasks against theorems and closed forms.

B batch, D numbers of a record, Z latent, T steps of diffusion.
"""

import functools
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs.base import base
from data import sampled
from data.source import Columns, examples
from models import dcgan, stylegan
from models.api import Model, from_linen
from models.autoencoder import Autoencoder
from models.diffusion import MLP
from models.parts.convolution import Doubling
from models.vae import VAE
from tests.support import smiles
from tests.support.arrays import close, normal
from train import sample, score, sheets
from train.display import Display
from train.errors import UserError
from train.judge import frechet_distance
from train.latents import great_circle
from train.loop import train
from train.optim.chain import optimizer
from train.sample import picture
from train.saved import load
from train.step import init_state, train_step
from train.tasks.diffusion import diffusion, kept_signal
from train.tasks.gan import gan
from train.tasks.reconstruct import divergence, elbo, reconstruct
from train.tasks.style import gram, relative, style


def fitted(task, x, steps, rate, batch=None):
    """Parameters and state after so many steps of Adam under half a cosine, on `x` or on batches drawn from it."""
    tx, size = optimizer({"name": "adam", "learning_rate": rate}), batch or len(x)

    def step(state, i):
        order = jax.random.fold_in(jax.random.key(3), i)
        rows = jax.random.randint(order, (size,), 0, len(x)) if batch else jnp.arange(len(x))
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * i / steps))
        return train_step(state, {"x": x[rows]}, jax.random.key(1), cosine, task=task, tx=tx)[0], None

    start = jax.jit(lambda: init_state(task, tx, jax.random.key(0), {"x": x[:size]}))()
    run = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(steps))[0])
    end = run(start)
    return end.params, end.model_state


# Autoencoders.


def test_a_linear_autoencoder_spans_the_principal_components():
    """Baldi & Hornik 1989: at the minimum its map is the projection on the leading eigenvectors of the covariance."""
    rng, D, Z = np.random.default_rng(0), 6, 2
    axes = np.linalg.qr(rng.standard_normal((D, D)))[0] * np.array([3.0, 2.0, 1.0, 0.7, 0.5, 0.3])
    x = (rng.standard_normal((100, D)) @ axes.T + 0.5).astype(np.float32)
    task = reconstruct(from_linen(Autoencoder((D,), code=Z, layers=0)))
    params, state = fitted(task, jnp.asarray(x), 600, 0.05)
    centred = x - x.mean(0)
    leading = np.linalg.svd(centred, full_matrices=False)[2][:Z]
    made = np.asarray(params["encoder"]["layers_0"]["kernel"]) @ params["decoder"]["layers_0"]["kernel"]
    np.testing.assert_allclose(made, leading.T @ leading, atol=2e-3)
    loss = jax.jit(lambda p: task.loss(p, state, {"x": jnp.asarray(x)}, jax.random.key(0), False)[0])(params)
    left = ((centred - centred @ leading.T @ leading) ** 2).mean()
    assert float(loss) == pytest.approx(left, rel=1e-3)


def test_a_sparse_code_hits_its_target():
    """Σ KL(target ‖ activation), by hand; and where it weighs enough every unit is active at the target."""
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.random((64, 8)), jnp.float32)
    model = from_linen(Autoencoder((8,), code=12, layers=0, activation="sigmoid"))
    task = reconstruct(model, sparsity=1.0, target=0.1)
    params, state = fitted(task, x, 300, 0.05)
    (output, code), _ = jax.jit(model.apply)(params, state, x)
    activation = np.asarray(code, np.float64).mean(0)
    np.testing.assert_allclose(activation, 0.1, atol=0.005)
    loss, (_, metrics) = jax.jit(lambda p: task.loss(p, state, {"x": x}, jax.random.key(0), False))(params)
    error = float(((output - x) ** 2).mean())
    p = np.array([0.1, 0.9])
    expected = sum((p * np.log(p / np.array([a, 1 - a]))).sum() for a in activation)
    assert float(loss) == pytest.approx(error + expected, abs=1e-5)
    assert float(metrics["error"][0] / metrics["error"][1]) == pytest.approx(error, rel=1e-5)
    assert float(divergence(0.1, jnp.asarray(0.3))) == pytest.approx((p * np.log(p / np.array([0.3, 0.7]))).sum())


def test_denoising_sees_noise_of_the_deviation():
    """A model that returns what it sees has the error of the noise; one that returns the record has none."""
    x = jnp.asarray(np.random.default_rng(2).random((400, 50)), jnp.float32)
    same = Model(lambda key, x: ({}, {}), lambda params, state, x, **rest: ((x, x), state))
    _, (_, metrics) = reconstruct(same, noise=0.3).loss({}, {}, {"x": x}, jax.random.key(0), True)
    told = {name: float(total / weight) for name, (total, weight) in metrics.items()}
    assert told["loss"] == pytest.approx(0.09, rel=0.03)
    assert told["psnr"] == told["psnr_identity"] == pytest.approx(-10 * np.log10(0.09), abs=0.2)


# Variational autoencoder.


def test_the_bound_is_the_likelihood_of_a_linear_gaussian_model():
    """x = W z + b + σ ε has p(x) = N(b, W Wᵀ + σ²).  With the true posterior as the code, N(M⁻¹ Wᵀ (x - b), σ² M⁻¹) for
    M = Wᵀ W + σ² (Tipping & Bishop 1999, eq. 6), the mean loss over the noise is -log p(x) (orthogonal columns of W: M
    is diagonal)."""
    D, Z, deviation = 5, 2, 0.6
    rng = np.random.default_rng(0)
    W = np.linalg.qr(rng.standard_normal((D, Z)))[0] * np.array([2.0, 0.7])
    b, x = rng.standard_normal(D), rng.standard_normal((1, D)).astype(np.float32)
    M = np.diag(W.T @ W) + deviation**2
    to_mean = W / M
    kernel = np.concatenate([to_mean, np.zeros((D, Z))], 1)
    bias = np.concatenate([-b @ to_mean, np.log(deviation**2 / M)])
    params = {
        "encoder": {"layers_0": {"kernel": kernel, "bias": bias}},
        "decoder": {"layers_0": {"kernel": W.T, "bias": b}},
    }
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    task = elbo(from_linen(VAE((D,), latent=Z, layers=0)), likelihood="gaussian", deviation=deviation)
    draw = jax.jit(jax.vmap(lambda key: task.loss(params, {}, {"x": jnp.asarray(x)}, key, True)[0]))
    losses = np.asarray(draw(jax.random.split(jax.random.key(0), 20_000)), np.float64)
    covariance = W @ W.T + deviation**2 * np.eye(D)
    off = x[0] - b
    exact = 0.5 * (off @ np.linalg.solve(covariance, off) + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert losses.std() > 0.1, "the check needs noise"
    assert losses.mean() == pytest.approx(exact, abs=4.5 * losses.std() / np.sqrt(len(losses)))
    made = task.sample(params, {}, jax.random.key(1), 5000)
    np.testing.assert_allclose(np.cov(made["samples"], rowvar=False), W @ W.T, atol=0.25)
    assert made["walk"].shape == (4, 10, D)


def test_a_great_circle_keeps_to_the_sphere():
    start, end = normal(0, 1, 64), normal(1, 1, 64)
    share = jnp.linspace(0, 1, 5)[:, None]
    path = great_circle(start, end, share)
    close(path[0], start[0], 1e-4)
    close(path[-1], end[0], 1e-4)
    angle = lambda a, b: jnp.arccos((a * b).sum(-1) / jnp.linalg.norm(a, axis=-1) / jnp.linalg.norm(b, axis=-1))
    unit = start / jnp.linalg.norm(start)
    circle = great_circle(unit, end / jnp.linalg.norm(end), share)
    np.testing.assert_allclose(jnp.linalg.norm(circle, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(angle(circle[:-1], circle[1:]), float(angle(unit, end)[0]) / 4, atol=1e-3)


# DCGAN.


def test_doubling_is_the_transposed_convolution():
    x = normal(0, 2, 3, 5, 4)
    ours, flax = Doubling(6), nn.ConvTranspose(6, (4, 4), (2, 2))
    params = ours.init(jax.random.key(0), x)
    params["params"]["bias"] = normal(1, 6)
    run = lambda module: lambda params, x: (module.apply(params, x) ** 3).sum()
    close(ours.apply(params, x), flax.apply(params, x))
    close(*(jax.grad(run(module), (0, 1))(params, x) for module in (ours, flax)), 1e-3)


def test_dcgan_has_the_papers_maps():
    """Figure 1: 4 × 4 × 1024, then 512, 256, 128 maps, 64 × 64 × 3 at last; of kernels of 4 × 4."""
    assert [dcgan.halvings(side) for side in (64, 32, 28, 8, 7)] == [4, 3, 2, 1, 0]
    count = lambda module, *shape: sum(
        leaf.size
        for leaf in jax.tree.leaves(
            jax.eval_shape(lambda: from_linen(module).init(jax.random.key(0), jnp.zeros((1, *shape))))[0]
        )
    )
    maps = [1024, 512, 256, 128]
    kernels = sum(16 * a * b for a, b in zip(maps, [*maps[1:], 3], strict=True))
    assert count(dcgan.Generator((64, 64, 3)), 100) == 100 * 16 * 1024 + kernels + 2 * sum(maps) + 3
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    assert count(dcgan.Critic(64), 64, 64, 3) == kernels + 64 + 2 * (128 + 256 + 512) + 16 * 512 + 1


def test_r1_is_the_slope_at_real_records():
    """For a linear critic w·x it is γ/2 |w|², of which the gradient by w is γ w; in training alone."""
    w = normal(0, 3)
    critic = Model(lambda key, x: ({"w": w}, {}), lambda p, state, x, **rest: (x @ p["w"], state))
    generator = Model(lambda key, z: ({}, {}), lambda p, state, z, **rest: (z, state))
    batch, losses = {"x": normal(1, 4, 3)}, {}
    for r1 in (0.0, 5.0):
        task = gan(generator, critic, 3, r1=r1)
        params, state = task.init(jax.random.key(0), batch)
        value = jax.value_and_grad(
            lambda p, task=task, state=state: task.loss(p, state, batch, jax.random.key(1), True)[0]
        )
        held_out = task.loss(params, state, batch, jax.random.key(1), False)[0]
        losses[r1] = (*value(params), held_out)
    assert float(losses[5.0][0] - losses[0.0][0]) == pytest.approx(2.5 * float((w**2).sum()), rel=1e-5)
    close(losses[5.0][1]["critic"]["w"] - losses[0.0][1]["critic"]["w"], 5 * w)
    assert losses[5.0][2] == losses[0.0][2]


def test_a_packed_critic_judges_records_side_by_side():
    """A linear critic of two records says w·(x₀, x₁) of each pair, in which masked records are none."""
    w, x = normal(0, 4), normal(1, 6, 2)
    critic = Model(lambda key, x: ({"w": w}, {}), lambda p, state, x, **rest: (x @ p["w"], state))
    generator = Model(lambda key, z: ({}, {}), lambda p, state, z, **rest: (0 * z, state))
    task = gan(generator, critic, 2, pack=2)
    batch = {"x": x, "mask": jnp.asarray([1.0, 1, 1, 1, 1, 0])}
    params, state = task.init(jax.random.key(0), batch)
    loss, (_, metrics) = task.loss(params, state, batch, jax.random.key(1), True)
    logits = np.concatenate([x[::2], x[1::2]], 1)[:2] @ w
    close(loss, np.log1p(np.exp(-logits)).mean() + 2 * np.log(2), 1e-6)
    assert metrics["loss"][1] == 4
    with pytest.raises(ValueError, match="5 records makes no packs of 2"):
        task.init(jax.random.key(0), {"x": x[:5]})


# StyleGAN.


def test_modulation_scales_the_kernel():
    """A kernel for each picture by hand: s K, divided by its length for each output (Karras et al. 2020, eq. 1, 3)."""
    x, kernel, scale = normal(0, 2, 5, 5, 3), normal(1, 3, 3, 3, 4), normal(2, 2, 3)
    for demodulate in (False, True):
        made = stylegan.modulated(x, kernel, scale, demodulate)
        for b in range(2):
            own = kernel * scale[b][None, None, :, None]
            own = own / jnp.sqrt((own**2).sum((0, 1, 2)) + 1e-8)[None, None, None] if demodulate else own
            by_hand = jax.lax.conv_general_dilated(
                x[b : b + 1], own, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            close(made[b], by_hand[0], 1e-4)


def test_demodulated_outputs_have_unit_variance():
    x, kernel = normal(0, 4, 32, 32, 16), 7 * normal(1, 3, 3, 16, 8)
    scale = jnp.exp(normal(2, 4, 16))
    inner = stylegan.modulated(x, kernel, scale)[:, 1:-1, 1:-1]  # at the edge zeros come in
    np.testing.assert_allclose(inner.std((1, 2)), 1, atol=0.12)
    assert float(stylegan.modulated(x, kernel, scale, demodulate=False).std()) > 10


@pytest.mark.slow
def test_mixing_swaps_layers_and_noise_is_of_each_pixel():
    """Styles of the smallest size from one noise, of the others from the other; in training from a random layer on."""
    model = from_linen(stylegan.Generator((8, 8, 1), width=4, style=8, mapping=2, mixing=0.5))
    z, other, layers = normal(3, 4, 6), normal(4, 4, 6), model.network.layers

    def made(z, other):
        params, _ = model.init(jax.random.key(0), z)
        # Off their initial values, since the noise is silent then.
        params = jax.tree.map(lambda p: p + 0.1 * jnp.cos(jnp.arange(p.size)).reshape(p.shape), params)
        call = lambda *x, seed=9, **how: model.apply(params, {}, *x, key=jax.random.key(seed), **how)[0]
        w, w_other = call(z, method="map"), call(other, method="map")
        stack = lambda cut: call(jnp.stack([w] * cut + [w_other] * (layers - cut), 1), method="synthesise")
        crossed = jnp.stack([call(z, seed=k, train=True, method="crossed_styles") for k in range(6)])
        return {
            "plain": call(z), "mixed": call(z, other, method="mixed"), "plain by hand": stack(3), "by hand": stack(2),
            "w": w, "longer": call(5 * z, method="map"), "crossed": crossed, "other noise": call(z, seed=8),
        }  # fmt: skip

    found = jax.jit(made)(z, other)
    assert layers == 3
    close(found["plain"], found["plain by hand"])
    close(found["mixed"], found["by hand"])
    assert float(jnp.abs(found["mixed"] - found["plain"]).max()) > 1e-3
    close(found["w"], found["longer"])  # the length of the noise says nothing
    is_first = (found["crossed"] == found["w"][None, :, None]).all(-1)
    assert is_first[:, :, 0].all()
    assert {int(n) for n in is_first.sum(-1).ravel()} == {1, 2, 3}
    assert float(jnp.abs(found["other noise"] - found["plain"]).min(0).max()) > 1e-5


# Style transfer.


def test_a_gram_matrix_says_what_goes_together_and_not_where():
    """Moving all pixels about changes nothing; features twice as large are (4 - 1)² away, relative to before."""
    x_BHWC = normal(5, 2, 4, 6, 3)
    moved = x_BHWC.reshape(2, 24, 3)[:, np.random.default_rng(6).permutation(24)].reshape(x_BHWC.shape)
    close(gram(moved), gram(x_BHWC), 1e-4)
    close(relative(gram(2 * x_BHWC), gram(x_BHWC)), jnp.full(2, 9.0), 1e-4)


class Eye(nn.Module):
    @nn.compact
    def __call__(self, x, *, train=False):
        return nn.Conv(3, (1, 1), name="seen")(x).sum((1, 2))


def test_the_painter_alone_learns_and_a_picture_of_the_style_is_no_way_off():
    """A painter that gives the style's own picture is at gram 0; no gradient reaches the classifier."""
    look = jax.nn.sigmoid(normal(7, 1, 4, 4, 2))
    painter = Model(
        lambda key, x: ({"w": jnp.zeros(())}, {}),
        lambda p, state, x, **rest: (jax.scipy.special.logit(look) + p["w"] + 0 * x, state),
    )
    task = style(painter, from_linen(Eye()), layers=("seen",), content=("seen",))
    batch = {"x": normal(8, 1, 4, 4, 2), "style": look}
    params, state = task.init(jax.random.key(0), batch)
    value = jax.jit(jax.value_and_grad(lambda p: task.loss(p, state, batch, jax.random.key(1), True), has_aux=True))
    (_, (_, metrics)), grads = value(params)
    assert float(metrics["gram"][0]) < 1e-9 < 1e-3 < float(metrics["gram_before"][0])
    assert not any(leaf.any() for leaf in jax.tree.leaves(grads["classifier"]))
    assert float(jnp.abs(grads["painter"]["w"])) > 0


# Augmentation by samples.


def test_so_many_records_of_a_batch_are_samples(tmp_path, monkeypatch):
    x, y = np.full((6, 2, 2, 1), 2.0, np.float32), np.arange(6) % 3
    np.savez(tmp_path / "samples.npz", samples=x, y=y)
    real = Columns(x=np.zeros((9, 2, 2, 1), np.float32), y=np.zeros(9, np.int32))
    monkeypatch.setattr(sampled.arrays, "columns", lambda *_, **__: examples(real, real, 3))
    mixed = sampled.columns("set", str(tmp_path / "samples.npz"), share=0.25).train
    batch = mixed.gather(mixed.order(0, 400, 0))
    assert (batch["source"] == 1).sum() == pytest.approx(100, abs=1)
    assert (batch["x"][batch["source"] == 1] == 1).all(), "numbers above 1 are cut"
    assert set(batch["y"][batch["source"] == 1]) == {0, 1, 2}
    np.savez(tmp_path / "samples.npz", samples=x[:, :1], y=y)
    with pytest.raises(ValueError, match=r"are \[1, 2, 1\], and the records \[2, 2, 1\]: give data.size"):
        sampled.columns("set", str(tmp_path / "samples.npz"))


# Molecules as text.


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("CCCS(=O)c1ccc2[nH]c(=NC(=O)OC)[nH]c2c1", ""),  # albendazole sulfoxide
        ("Cn1c(=O)c2c(ncn2C)n(C)c1=O", ""),  # caffeine
        ("c1ccc2ccccc2c1", ""),  # naphthalene: five double bonds are placed at once
        ("c1ccccc1c1ccccc1", ""),  # the bond between the rings is single
        ("C1CC", "left open"),
        ("CC(", "left open"),
        ("CO(C)C", "atom 1, O, has 3 bonds"),
        ("C#CC#C=C", "atom 3, C, has 5 bonds"),
        ("c1cccc1", "cannot be placed"),  # five atoms, of which each wants one of the others
        ("c1cc[nH]cc1", "cannot be placed"),
        ("ccc", "in no aromatic ring"),
        ("C11", "bonded twice, or one to itself"),
        ("C==C", "two bonds"),
        ("C(=)C", "leads to no atom"),
    ],
)
def test_a_line_is_a_molecule_where_valences_hold(text, why):
    said = smiles.problem(text)
    assert why in said if why else not said


# Diffusion.

CENTRES = np.stack([np.cos(np.arange(3) * 2.1), np.sin(np.arange(3) * 2.1)], 1)
WEIGHTS, SPREAD = np.array([0.5, 0.3, 0.2]), 0.05
DENSITY = Model(
    lambda key, *inputs: ({}, {}),
    lambda params, state, x, time, **rest: (exact_noise(x, time), state),
    types.SimpleNamespace(shape=(2,), classes=0),
)


def exact_noise(x, time, steps=1000):
    """E[ε | x_t] for a mixture of Gaussians: x_t is one of N(√ᾱ μ_k, ᾱ s² + 1 - ᾱ), and given k all is linear."""
    kept = kept_signal(steps, "cosine")[jnp.round(time * steps).astype(jnp.int32)][:, None]
    variance = kept * SPREAD**2 + 1 - kept
    off = x[:, None] - jnp.sqrt(kept)[..., None] * jnp.asarray(CENTRES, jnp.float32)[None]
    logit = jnp.log(jnp.asarray(WEIGHTS, jnp.float32))[None] - (off**2).sum(-1) / 2 / variance
    return jnp.sqrt(1 - kept) * (jax.nn.softmax(logit)[..., None] * off).sum(1) / variance


def mixture(count, seed=0):
    rng = np.random.default_rng(seed)
    k = rng.choice(3, count, p=WEIGHTS)
    return jnp.asarray(CENTRES[k] + SPREAD * rng.standard_normal((count, 2)), jnp.float32)


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_samplers_with_the_exact_denoiser_give_the_mixture(sampler):
    task = diffusion(DENSITY, sampler=sampler, sample_steps=100, low=-1.0, high=1.0, clip=False)
    made = jax.jit(task.sample, static_argnums=3)({}, {}, jax.random.key(0), 4000)
    distance = np.linalg.norm(np.asarray(made["samples"])[:, None] - CENTRES, axis=-1)
    share = np.bincount(distance.argmin(1), minlength=3) / 4000
    np.testing.assert_allclose(share, WEIGHTS, atol=0.03)
    assert (distance.min(1) < 3 * SPREAD).mean() > 0.97  # of the mixture itself 0.989
    assert made["denoising"].shape == (4, 10, 2)


@pytest.mark.slow
def test_the_exact_denoiser_is_the_optimum_that_a_network_reaches():
    """No denoiser has a lower loss (it is the conditional mean); a small one, trained, comes within a twentieth."""
    task = functools.partial(diffusion, low=-1.0, high=1.0)
    network = task(from_linen(MLP((2,), width=48, layers=2)))
    params, state = fitted(network, mixture(20_000), 600, 1e-2, batch=256)
    fresh = {"x": mixture(50_000, seed=1)}
    each = lambda t, *given: t.loss(*given, fresh, jax.random.key(5), False)[0]
    losses = jax.jit(lambda p, s: (each(network, p, s), each(task(DENSITY), {}, {}), each(task(ZERO), {}, {})))
    found, best, none = map(float, losses(params, state))
    assert none == pytest.approx(1, rel=0.02)
    assert 0.995 * best < found < 1.05 * best
    assert best < 0.5


ZERO = DENSITY._replace(apply=lambda params, state, x, time, **rest: (0 * x, state))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_signal_falls_to_nothing(schedule):
    kept = np.asarray(kept_signal(1000, schedule))
    assert kept[0] == 1
    assert (np.diff(kept) < 0).all()
    assert kept[-1] < 1e-4
    if schedule == "linear":  # Ho et al. 2020, section 4
        np.testing.assert_allclose(kept[1:3], [1 - 1e-4, (1 - 1e-4) * (1 - 1e-4 - 0.0199 / 999)], rtol=1e-6)


def test_diffusion_refuses_what_it_cannot_do():
    with pytest.raises(UserError, match=r"sample_steps=2000: take 1 … 1000"):
        diffusion(DENSITY, sample_steps=2000)


# What is shown and judged.


def test_frechet_distance_is_that_of_gaussians():
    """Of samples with exactly these moments; for 2 × 2 tr √M = √(tr M + 2 √det M)."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal((500, 2))
    white = (white - white.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    roots = [np.array([[2.0, 0.0], [0.5, 1.0]]), np.array([[1.0, 0.0], [-0.8, 0.3]])]
    means = [np.array([0.0, 1.0]), np.array([3.0, -1.0])]
    sets = [white @ root.T + mean for root, mean in zip(roots, means, strict=True)]
    a, b = (root @ root.T for root in roots)
    trace = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    assert frechet_distance(*sets) == pytest.approx(13 + np.trace(a) + np.trace(b) - 2 * trace)
    assert frechet_distance(sets[0], sets[0]) == pytest.approx(0, abs=1e-9)


def test_pictures_lie_row_by_row():
    records = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1) / 6
    sheet = sheets.grid(records, columns=3)
    assert sheet.shape == (2 * 3 + 2, 3 * 3 + 2, 3)
    np.testing.assert_allclose(sheet[2::3, 2::3, 0], records.reshape(2, 3))
    assert (sheet[:2] == 1).all()
    assert picture(np.zeros((4, 8, 8, 1)), (8, 8, 1)).startswith(b"\x89PNG")
    assert picture(np.zeros((2, 3, 8, 8, 1)), (8, 8, 1)).startswith(b"\x89PNG")
    assert picture(np.zeros((4, 2)), (2,)).startswith(b"\x89PNG")
    assert picture(np.zeros((4, 5)), (5,)) == b""


@pytest.mark.slow
def test_a_run_shows_and_judges_what_it_generates(tmp_path, capsys):
    """Through the verbs: a VAE's samples and walk; a judge of the same digits tells them from training data."""
    runs = {}
    for name in ("vae", "judge"):
        config = base()
        config.update(steps=60, batch_size=32, writers=(), optim={"name": "adam", "learning_rate": 3e-3})
        config.data = {"name": "arrays:columns", "dataset": "isoflop_digits"}
        config.model = (
            {"name": "vae:VAE", "latent": 2, "width": 16} if name == "vae" else {"name": "mlp:MLP", "width": 32}
        )
        config.task.name = "reconstruct:elbo" if name == "vae" else "supervised:classify"
        config.eval.every = 0
        runs[name] = str(tmp_path / name)
        train(config, tmp_path / name, Display(quiet=True))
    sample.main(["--workdir", runs["vae"], "--count", "9", "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.strip() == f"in {tmp_path / 'out'}: samples.npz, samples.png, walk.png"
    made = np.load(tmp_path / "out" / "samples.npz")
    assert made["samples"].shape == (9, 8, 8, 1)
    assert made["walk"].shape == (4, 10, 8, 8, 1)
    assert (made["samples"] >= 0).all()
    assert (made["samples"] <= 1).all()
    np.testing.assert_array_equal(load(runs["vae"]).sample(9)["samples"], made["samples"])
    score.main(["--workdir", runs["vae"], "--judge", runs["judge"], "--count", "200", "--json"])
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert set(found) == {"frechet_distance", "frechet_distance_of_data", "confidence", "classes_in_effect"}
    assert found["frechet_distance"] > 3 * found["frechet_distance_of_data"] > 0
    assert 1 <= found["classes_in_effect"] <= 10
    for arguments, said in (
        (["--workdir", runs["judge"], "--judge", runs["judge"]], "generates nothing"),
        (["--workdir", runs["vae"], "--judge", runs["vae"]], "name one that classifies"),
        (["--workdir", runs["vae"], "--count", "5"], "--count 5 is how many samples --judge compares"),
        (["--workdir", runs["vae"], "--judge", runs["judge"], "--split", "train"], "leave other data out"),
    ):
        with pytest.raises(UserError, match=said):
            score.main(arguments)
    with pytest.raises(UserError, match="--count 0: ask for 1 or more"):
        sample.main(["--workdir", runs["vae"], "--count", "0"])
