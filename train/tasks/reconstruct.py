"""Tasks whose target is the input itself.  B batch, C code, D numbers of a record."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.parts.axes import batch_axis, draw
from train.latents import walk
from train.metrics import quotient
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean


def reconstruct(model: Model, noise: float = 0.0, sparsity: float = 0.0, target: float = 0.05) -> Task:
    """Mean squared error between a record and what the model makes of it, (reconstruction, code).

    With `noise` the model sees the record plus Gaussian noise of this deviation, and is to give it back without
    (Vincent et al. 2008).  `sparsity` weighs Σ KL(target ‖ activation), a sum over the units of a code in (0, 1) whose
    activation is its mean over the batch (Ng 2011, CS294A, section 3).  Metrics are the peak signal-to-noise ratio of
    the reconstruction and of the noisy record itself (10 log₁₀ 1/error: of numbers in [0, 1], in dB), and the mean
    activation.
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        noise_key, key = jax.random.split(key)
        x = batch["x"]
        seen = x + noise * draw(jax.random.normal, noise_key, x.shape) if noise else x
        (outputs, code_BC), state = model.apply(params, state, seen, key=key, train=train)
        error_B = mean_square(outputs - x)
        told = {"psnr": decibels(error_B), "activation": code_BC.mean(-1)}
        if noise:
            told["psnr_identity"] = decibels(mean_square(seen - x))
        scalar, (state, metrics) = masked_mean(error_B, told, batch, state)
        if not sparsity:
            return scalar, (state, metrics)
        penalty = sparsity * divergence(target, mean_activation(code_BC, batch)).sum()
        total, weight = metrics["loss"]
        metrics |= {"loss": (total + penalty * weight, weight), "error": metrics["loss"]}
        return scalar + penalty * (weight > 0), (state, metrics)

    return Task(init, loss)


def restore(model: Model) -> Task:
    """Mean squared error between `y` and the sum of `x` and what the model makes of it (Kim et al. 2016, section 3.2).

    `x` and `y` are pictures of one shape with numbers in [0, 1]: one that has lost something, and the one it was.
    Metrics are the peak signal-to-noise ratio of the restored picture and of `x` as it is.
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        x, y = batch["x"], batch["y"]
        made, state = model.apply(params, state, x, key=key, train=train)
        if made.shape != y.shape:
            raise ValueError(
                f"the network makes {list(made.shape)} of pictures {list(y.shape)}; give it as many classes as colours"
            )
        told = {
            "psnr": decibels(mean_square(jnp.clip(x + made, 0, 1) - y)),
            "psnr_identity": decibels(mean_square(x - y)),
        }
        return masked_mean(mean_square(x + made - y), told, batch, state)

    return Task(init, loss)


def mean_square(x: jax.Array) -> jax.Array:
    """Of each record [B]."""
    return (x**2).mean(tuple(range(1, x.ndim)))


def decibels(error: jax.Array) -> jax.Array:
    return -10 * jnp.log10(jnp.maximum(error, 1e-10))


def mean_activation(code_BC: jax.Array, batch: Batch) -> jax.Array:
    """Of each unit, over the whole batch, of which a device may hold a part."""
    mask_B = batch.get("mask", jnp.ones(len(code_BC)))
    total, weight = (code_BC * mask_B[:, None]).sum(0), mask_B.sum()
    if axis := batch_axis():
        total, weight = jax.lax.psum((total, weight), axis)
    return quotient(total, weight)


def divergence(target: float, activation: jax.Array) -> jax.Array:
    """KL(target ‖ activation) of two coins, in nats."""
    p = jnp.clip(activation, 1e-6, 1 - 1e-6)
    return target * jnp.log(target / p) + (1 - target) * jnp.log((1 - target) / (1 - p))


def elbo(
    model: Model, beta: float = 1.0, likelihood: Literal["bernoulli", "gaussian"] = "bernoulli", deviation: float = 1.0
) -> Task:
    """Negative evidence lower bound in nats per example (Kingma & Welling 2013, eq. 10).

    The model returns a reconstruction, the code's mean and its log variance.  The reconstruction holds the logits of
    pixels in [0, 1] ("bernoulli"), or the means of Gaussians of this `deviation`.  `beta` weighs the rate (Higgins et
    al. 2017).  Samples are the likelihood's means, of codes from N(0, 1).
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def distortion(outputs: jax.Array, x: jax.Array) -> jax.Array:
        """-log p(x | code) of each record."""
        if likelihood == "bernoulli":
            each = jax.nn.softplus(outputs) - x * outputs  # one exponential a pixel, where optax takes two
        else:
            each = 0.5 * ((x - outputs) / deviation) ** 2 + 0.5 * math.log(2 * math.pi * deviation**2)
        return each.sum(tuple(range(1, each.ndim)))

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        (outputs, mu, log_variance), state = model.apply(params, state, batch["x"], key=key, train=train)
        cost, rate = distortion(outputs, batch["x"]), gaussian_rate(mu, log_variance)
        return masked_mean(cost + beta * rate, {"distortion": cost, "rate": rate}, batch, state)

    def sample(params: Params, state: ModelState, key: Key[Array, ""], count: int) -> dict[str, jax.Array]:
        latent, (code_key, walk_key) = model.network.latent, jax.random.split(key)

        def decode(code: jax.Array) -> jax.Array:
            outputs = model.apply(params, state, code, method="decode")[0]
            return jax.nn.sigmoid(outputs) if likelihood == "bernoulli" else outputs

        codes = jax.random.normal(code_key, (count, latent))
        return {"samples": decode(codes), "walk": walk(decode, walk_key, latent)}

    return Task(init, loss, sample=sample)


def gaussian_rate(mu: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL(N(mu, exp(log_variance)) ‖ N(0, 1)) in nats, summed over the code."""
    return 0.5 * (jnp.exp(log_variance) + mu**2 - 1 - log_variance).sum(-1)
