"""Every task's scalar has the gradient of the learning rule it stands for, masks included.

Shapes: B batch, L length, V visible units, H hidden units, K classes.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from models.api import Model, from_linen
from models.autoencoder import Autoencoder
from models.diffusion import MLP as Denoiser
from models.gan import Critic, Generator
from models.gpt import GPT
from models.mlp import MLP
from models.rbm import RBM
from models.vae import VAE
from tests.support.arrays import close, normal
from train.errors import UserError
from train.experiment import build_experiment
from train.tasks.diffusion import diffusion
from train.tasks.gan import gan
from train.tasks.rbm import contrastive_divergence, layerwise
from train.tasks.reconstruct import elbo, gaussian_rate, reconstruct
from train.tasks.supervised import classify

B, L, K, LATENT = 6, 5, 4, 3


def watched(model, seen):
    """The same network, which also notes what went in and came out."""

    def apply(params, state, *inputs, **rest):
        outputs, state = model.apply(params, state, *inputs, **rest)
        seen.append((inputs, outputs))
        return outputs, state

    return Model(model.init, apply)


def unit(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).random(shape), jnp.float32)


def labels(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).integers(0, K, shape), jnp.int32)


def start(task, batch):
    """Parameters off their initial values, so that no bias is zero."""
    params, state = jax.jit(task.init)(jax.random.key(0), batch)
    noise = np.random.default_rng(1)
    return jax.tree.map(lambda p: p + 0.3 * noise.standard_normal(p.shape).astype(np.float32), params), state


def scored(task, params, state, batch, train=True):
    """((loss, metrics), gradient) of one batch, always with the same key."""

    def scalar(params, batch, key):
        loss, (_, metrics) = task.loss(params, state, batch, key, train)
        return loss, metrics

    return jax.jit(jax.value_and_grad(scalar, has_aux=True))(params, batch, jax.random.key(7))


TASKS = {
    "classify": lambda: (classify(from_linen(MLP(K, width=8, layers=1)), K), {"x": normal(0, B, 3), "y": labels(1, B)}),
    "language model": lambda: (
        classify(from_linen(GPT(K, layers=1, heads=1, width=4, context=L)), K),
        {"x": labels(2, B, L), "y": labels(3, B, L)},
    ),
    "smoothed": lambda: (
        classify(from_linen(MLP(K, width=8, layers=1)), K, label_smoothing=0.1),
        {"x": normal(0, B, 3), "y": labels(1, B)},
    ),
    "vae": lambda: (elbo(from_linen(VAE((2, 2, 1), latent=LATENT, width=8)), beta=0.5), {"x": unit(4, B, 2, 2, 1)}),
    "gan": lambda: (
        gan(from_linen(Generator((2,), 8, 1)), from_linen(Critic(8, 1)), LATENT),
        {"x": normal(5, B, 2)},
    ),
    "gan with slope": lambda: (
        gan(from_linen(Generator((2,), 8, 1)), from_linen(Critic(8, 1)), LATENT, r1=1.0),
        {"x": normal(5, B, 2)},
    ),
    "denoising": lambda: (reconstruct(from_linen(Autoencoder((3,), 2, 8)), noise=0.5), {"x": normal(0, B, 3)}),
    "diffusion": lambda: (
        diffusion(from_linen(Denoiser((2,), 8, 1, classes=K)), classes=K),
        {"x": normal(5, B, 2), "y": labels(1, B)},
    ),
    "rbm": lambda: (contrastive_divergence(from_linen(RBM(4, 3)), sweeps=2), {"x": unit(6, B, 2, 2, 1)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_masks_divide_the_batch(name):
    """The losses and gradients of two masks that share out the batch, weighted by what they count, are the whole's."""
    task, batch = TASKS[name]()
    params, state = start(task, batch)
    rows = jnp.asarray([1.0, 0, 1, 1, 0, 1]) if name != "language model" else (labels(8, B, L) > 1).astype(jnp.float32)
    (whole, metrics), gradient = scored(task, params, state, batch)
    parts = [scored(task, params, state, {**batch, "mask": mask}) for mask in (rows, 1 - rows)]
    total = metrics["loss"][1]
    shares = [part[0][1]["loss"][1] / total for part in parts]
    assert total == rows.size
    assert [float(share) for share in shares] == pytest.approx([float(rows.mean()), float(1 - rows.mean())])
    close(sum(share * part[0][0] for share, part in zip(shares, parts, strict=True)), whole)
    close(jax.tree.map(lambda a, b: shares[0] * a + shares[1] * b, parts[0][1], parts[1][1]), gradient)
    assert abs(float(parts[0][0][0] - parts[1][0][0])) > 1e-4, "the check needs halves that differ"
    for metric, pair in metrics.items():
        close(jax.tree.map(jnp.add, parts[0][0][1][metric], parts[1][0][1][metric]), pair)
    np.testing.assert_allclose(metrics["loss"][0] / total, whole, rtol=1e-6)


@pytest.mark.parametrize("train", [True, False])
def test_masked_rows_might_as_well_be_absent(train):
    task, batch = TASKS["smoothed"]()
    params, state = start(task, batch)
    mask = jnp.asarray([1.0, 0, 1, 1, 0, 1])
    rows = np.flatnonzero(mask)
    masked = scored(task, params, state, {**batch, "mask": mask}, train)
    subset = scored(task, params, state, {name: value[rows] for name, value in batch.items()}, train)
    close(masked, subset, 1e-6)


def test_batch_mask_is_a_mask_of_all_its_tokens():
    task, batch = TASKS["language model"]()
    params, state = start(task, batch)
    mask = jnp.asarray([1.0, 0, 1, 1, 0, 1])
    spread = jnp.broadcast_to(mask[:, None], (B, L))
    close(*(scored(task, params, state, {**batch, "mask": m}) for m in (mask, spread)), 1e-6)


@pytest.mark.slow
def test_wholly_masked_batch_moves_nothing():
    for make in TASKS.values():
        task, batch = make()
        params, state = start(task, batch)
        (loss, metrics), gradient = scored(task, params, state, {**batch, "mask": jnp.zeros(B)})
        assert loss == 0
        assert metrics["loss"][1] == 0
        assert all(not leaf.any() for leaf in jax.tree.leaves(gradient))


# Classification.


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing_is_the_formula(smoothing):
    """Cross-entropy with (1 - s) one-hot + s/K in numpy; its gradient by the logits is softmax - target, over B."""
    logits, y = normal(0, B, K), labels(1, B)
    table = Model(lambda key, x: ({"logits": logits}, {}), lambda params, state, x, **rest: (params["logits"], state))
    batch = {"x": jnp.zeros((B, 1)), "y": y}
    (loss, _), gradient = scored(classify(table, K, smoothing), {"logits": logits}, {}, batch)
    (held_out, _), _ = scored(classify(table, K, smoothing), {"logits": logits}, {}, batch, train=False)
    q = np.exp(np.asarray(logits, np.float64))
    q /= q.sum(-1, keepdims=True)
    hard = np.eye(K)[np.asarray(y)]
    target = (1 - smoothing) * hard + smoothing / K
    assert float(loss) == pytest.approx(-(target * np.log(q)).sum(-1).mean(), rel=1e-6)
    assert float(held_out) == pytest.approx(-(hard * np.log(q)).sum(-1).mean(), rel=1e-6)
    np.testing.assert_allclose(gradient["logits"], (q - target) / B, atol=1e-7)


def test_accuracy_counts_what_the_mask_counts():
    logits, y = normal(0, B, K), labels(1, B)
    table = Model(lambda key, x: ({}, {}), lambda params, state, x, **rest: (logits, state))
    mask = jnp.asarray([1.0, 0, 1, 1, 0, 1])
    _, (_, metrics) = classify(table, K).loss({}, {}, {"x": y, "y": y, "mask": mask}, jax.random.key(0), False)
    right = (np.asarray(logits).argmax(-1) == np.asarray(y)) & (np.asarray(mask) > 0)
    assert tuple(map(float, metrics["accuracy"])) == (right.sum(), mask.sum())


def test_too_few_outputs_are_refused(monkeypatch):
    """A target beyond the outputs would be a NaN; the front door says which network and data do not fit."""
    task = classify(from_linen(MLP(3, width=4, layers=1)), K)
    batch = {"x": normal(0, B, 3), "y": labels(1, B)}
    params, state = start(task, batch)
    with pytest.raises(ValueError, match="the network has 3 outputs and the data 4 classes"):
        scored(task, params, state, batch)

    from configs.base import base

    config: ConfigDict = base()
    config.data.update(name="synthetic:blobs", classes=K, train=64, valid=16)
    config.model.update(name="mlp:MLP", classes=3)
    config.task.update(name="supervised:classify")
    config.optim.update(name="sgd", learning_rate=0.1)
    with pytest.raises(UserError, match=r"mlp:MLP.*supervised:classify.*synthetic:blobs.*3 outputs and the data 4"):
        build_experiment(config)


# Generative adversarial network.


def test_gan_is_two_players():
    """The gradient of the one scalar, against each player's own, by formula (Goodfellow et al. 2014, section 3):
    the critic descends -log σ(D(x)) - log(1 - σ(D(G(z)))), the generator -log σ(D(G(z)))."""
    generator, critic = from_linen(Generator((2,), 8, 2)), from_linen(Critic(8, 2))
    batch = {"x": normal(5, B, 2)}
    task = gan(generator, critic, LATENT)
    params, state = start(task, batch)

    def noise(params, key):
        seen = []
        gan(watched(generator, seen), critic, LATENT).loss(params, state, batch, key, True)
        ((z,), fake) = seen[0]
        return z, fake

    z, fake = jax.jit(noise)(params, jax.random.key(7))
    assert z.shape == (B, LATENT)

    def critic_loss(mine):
        real, made = (jax.nn.sigmoid(critic.apply(mine, {}, x)[0]) for x in (batch["x"], fake))
        return -jnp.log(real).mean() - jnp.log(1 - made).mean()

    def generator_loss(mine):
        made, _ = generator.apply(mine, {}, z)
        return -jnp.log(jax.nn.sigmoid(critic.apply(params["critic"], {}, made)[0])).mean()

    (loss, metrics), field = scored(task, params, state, batch)
    values, own = {}, {}
    for player, objective in (("critic", critic_loss), ("generator", generator_loss)):
        values[player], own[player] = jax.jit(jax.value_and_grad(objective))(params[player])
    close(field, own, 1e-6)
    close(loss, values["critic"] + values["generator"], 1e-6)
    close([metrics[f"{player}_loss"][0] / B for player in values], list(values.values()), 1e-6)
    assert min(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(own)) > 1e-4, "the check needs gradients"


# Restricted Boltzmann machine.


@pytest.mark.parametrize("sweeps", [1, 3])
def test_contrastive_divergence_is_the_rule(sweeps):
    """-(⟨v h⟩ data - ⟨v h⟩ model) with the hidden probabilities (Hinton 2002, eq. 5), and the same of either bias."""
    machine = from_linen(RBM(5, 3))
    batch = {"x": (unit(6, B, 5) > 0.5).astype(jnp.float32), "mask": jnp.asarray([1.0, 0, 1, 1, 0, 1])}
    task = contrastive_divergence(machine, sweeps)
    params, state = start(task, batch)

    def gibbs(params, key):
        seen = []
        task = contrastive_divergence(watched(machine, seen), sweeps)
        loss, _ = task.loss(params, state, batch, key, True)
        return loss, [(v, after) for (v,), after in seen[:sweeps]]

    _, chain = jax.jit(gibbs)(params, jax.random.key(7))
    np.testing.assert_array_equal(chain[0][0], batch["x"])  # binary data are their own sample
    for (_, after), (before, _) in itertools.pairwise(chain):
        np.testing.assert_array_equal(after, before)
    last = chain[-1][1]
    assert set(np.unique(last)) <= {0, 1}
    assert (last != batch["x"]).any()

    w, b, c = (np.asarray(params[name], np.float64) for name in ("w_VH", "b_V", "c_H"))
    counted = np.asarray(batch["mask"]) > 0

    def statistics(v):
        v = np.asarray(v, np.float64)[counted]
        h = 1 / (1 + np.exp(-(v @ w + c)))
        return {"w_VH": v.T @ h / len(v), "b_V": v.mean(0), "c_H": h.mean(0)}

    (loss, metrics), gradient = scored(task, params, state, batch)
    close(gradient, jax.tree.map(lambda model, data: model - data, statistics(last), statistics(batch["x"])), 1e-6)

    def free_energy(v):  # of -v·b - Σ log(1 + exp(v·W + c))
        v = np.asarray(v, np.float64)[counted]
        return (-v @ b - np.log1p(np.exp(v @ w + c)).sum(1)).mean()

    assert float(loss) == pytest.approx(free_energy(batch["x"]) - free_energy(last), abs=1e-5)
    error = np.abs(np.asarray(last) - np.asarray(batch["x"]))[counted].mean()
    assert float(metrics["reconstruction_error"][0] / metrics["reconstruction_error"][1]) == pytest.approx(error)


def test_grey_pixels_are_probabilities():
    """The data that the machine sees average to the pixels."""
    seen = []
    x = jnp.broadcast_to(jnp.asarray([0.0, 0.2, 0.5, 0.9, 1.0])[None], (4000, 5))
    machine = watched(from_linen(RBM(5, 3)), seen)
    task = contrastive_divergence(machine)
    params, state = start(task, {"x": x})
    task.loss(params, state, {"x": x}, jax.random.key(0), True)
    (sampled,), _ = seen[0]
    assert set(np.unique(sampled)) == {0, 1}
    np.testing.assert_allclose(sampled.mean(0), x[0], atol=4.5 * np.sqrt(0.25 / len(x)))


@pytest.mark.slow
def test_each_layer_of_a_belief_network_learns_as_if_alone():
    """On the data, and on the hidden units of the layer below; no gradient goes from one to the other."""
    lower, upper = from_linen(RBM(5, 4)), from_linen(RBM(4, 3))
    batch = {"x": (unit(6, B, 5) > 0.5).astype(jnp.float32)}  # binary: its own sample
    both = layerwise(rbm_0=lower, rbm_1=upper)
    params, state = start(both, batch)
    params = jax.tree.map(lambda p: p + 0.5 * normal(9, *p.shape), params)
    (loss, _), gradient = scored(both, params, state, batch)
    hidden = jax.nn.sigmoid(batch["x"] @ params["rbm_0"]["w_VH"] + params["rbm_0"]["c_H"][None])
    losses = []
    for name, machine, x, key in zip(
        ("rbm_0", "rbm_1"), (lower, upper), (batch["x"], hidden), jax.random.split(jax.random.key(7)), strict=True
    ):
        alone = lambda p, machine=machine, x=x, key=key: contrastive_divergence(machine).loss(
            p, {}, {"x": x}, key, True
        )
        value, own = jax.jit(jax.value_and_grad(lambda p, alone=alone: alone(p)[0]))(params[name])
        close(gradient[name], own, 1e-6)
        losses.append(value)
    close(loss, sum(losses), 1e-6)


# Variational autoencoder.

GRID = np.linspace(-12, 12, 4001)
PRIOR = np.exp(-(GRID**2) / 2) / np.sqrt(2 * np.pi)


def gaussian(mean, log_variance):
    return np.exp(-((GRID - mean) ** 2) / 2 / np.exp(log_variance)) / np.sqrt(2 * np.pi * np.exp(log_variance))


def integral(values):
    return np.trapezoid(values, GRID)


def test_rate_is_the_divergence():
    """∫ q log(q / p) by quadrature, one code dimension at a time."""
    mean, log_variance = 1.5 * normal(0, B, LATENT), normal(1, B, LATENT)
    expected = np.zeros(B)
    for i, j in np.ndindex(B, LATENT):
        q = gaussian(float(mean[i, j]), float(log_variance[i, j]))
        expected[i] += integral(q * np.log((q + 1e-300) / PRIOR))
    close(gaussian_rate(mean, log_variance), expected)
    assert not gaussian_rate(jnp.zeros((1, 2)), jnp.zeros((1, 2))).any()


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_elbo_weighs_the_rate(beta):
    """Bernoulli log likelihood of every pixel in float64, plus β times the rate, averaged over the batch."""
    model, batch = from_linen(VAE((2, 2, 1), latent=LATENT, width=8)), {"x": unit(4, B, 2, 2, 1)}
    params, state = start(elbo(model), batch)

    def outputs(params, key):
        seen = []
        elbo(watched(model, seen), beta).loss(params, state, batch, key, True)
        return seen[0][1]

    logits, mean, log_variance = (np.asarray(o, np.float64) for o in jax.jit(outputs)(params, jax.random.key(7)))
    (loss, metrics), _ = scored(elbo(model, beta), params, state, batch)
    x, p = np.asarray(batch["x"], np.float64), 1 / (1 + np.exp(-logits))
    distortion = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2, 3))
    rate = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(1)
    assert float(loss) == pytest.approx((distortion + beta * rate).mean(), rel=1e-6)
    assert float(metrics["distortion"][0]) == pytest.approx(distortion.sum(), rel=1e-6)
    assert float(metrics["rate"][0]) == pytest.approx(rate.sum(), rel=1e-6)


def test_elbo_bounds_the_likelihood():
    """With a code of one number everything is an integral: the mean loss over the noise is -log p(x) plus the
    divergence of the code from the true posterior."""
    x = (unit(4, 1, 2, 2, 1) > 0.5).astype(jnp.float32)
    model = from_linen(VAE((2, 2, 1), latent=1, width=8))
    task = elbo(model)
    params, state = start(task, {"x": x})
    draw = jax.jit(jax.vmap(lambda key: task.loss(params, state, {"x": x}, key, True)[0]))
    losses = np.asarray(draw(jax.random.split(jax.random.key(0), 4000)), np.float64)

    decode = jax.jit(lambda code: model.apply(params, state, code, method="decode")[0])
    logits = np.asarray(decode(jnp.asarray(GRID[:, None], jnp.float32)), np.float64)
    sign = 2 * np.asarray(x, np.float64) - 1
    likelihood = np.exp(-np.log1p(np.exp(-sign * logits)).sum((1, 2, 3)))  # p(x | z) on the grid
    evidence = integral(likelihood * PRIOR)
    _, mean, log_variance = jax.jit(lambda key: model.apply(params, state, x, key=key)[0])(jax.random.key(1))
    q = gaussian(float(mean[0, 0]), float(log_variance[0, 0]))
    gap = integral(q * np.log((q + 1e-300) / (likelihood * PRIOR / evidence)))
    assert gap > 1e-3, "the check needs a code that is not the posterior"
    assert losses.std() > 1e-3
    assert losses.mean() == pytest.approx(-np.log(evidence) + gap, abs=4.5 * losses.std() / np.sqrt(len(losses)))
