"""Tasks whose target is the input itself."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean


def elbo(model: Model, beta: float = 1.0) -> Task:
    """Negative evidence lower bound in nats per example (Kingma & Welling 2013, eq. 10), for pixels in [0, 1].

    The model returns reconstruction logits, the code's mean and its log variance; `beta` weighs the rate
    (Higgins et al. 2017).
    """

    def init(key, batch):
        return model.init(key, batch["x"])

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        (logits, mu, log_variance), state = model.apply(params, state, batch["x"], key=key, train=train)
        pixels = optax.sigmoid_binary_cross_entropy(logits, batch["x"])
        distortion = pixels.sum(tuple(range(1, pixels.ndim)))
        rate = gaussian_rate(mu, log_variance)
        return masked_mean(distortion + beta * rate, {"distortion": distortion, "rate": rate}, batch, state)

    return Task(init, loss)


def gaussian_rate(mu: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL(N(mu, exp(log_variance)) ‖ N(0, 1)) in nats, summed over the code."""
    return 0.5 * (jnp.exp(log_variance) + mu**2 - 1 - log_variance).sum(-1)
