"""Two players, one scalar: each term sees the other player's parameters through stop_gradient."""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Key

from models.api import Model, ModelState, Params
from models.parts.axes import draw
from train.latents import COLUMNS, ROWS, walk
from train.metrics import mean, quotient
from train.step import Batch, Scored, Task

SMALLEST = {"r1": 0.0}  # at which pages are tested: the penalty's second derivatives take as long as all else


def gan(generator: Model, critic: Model, latent: int, r1: float = 0.0, pack: int = 1) -> Task:
    """Non-saturating game (Goodfellow et al. 2014, section 3): the sum's gradient is both players' own gradients.

    `r1` weighs a penalty of the critic, half the squared slope of its logit at real records (Mescheder et al. 2018,
    eq. 9).  The critic judges `pack` records at a time, all real or all made, so that it sees where they are too much
    alike (Lin et al. 2018).  A generator with a method `mixed` also shows pictures of two noises each, "mixing".
    """

    def init(key, batch):
        gen_key, critic_key = jax.random.split(key)
        gen_params, gen_state = generator.init(gen_key, jnp.zeros((1, latent)))
        critic_params, critic_state = critic.init(critic_key, packed(batch["x"], pack))
        return {"generator": gen_params, "critic": critic_params}, {"generator": gen_state, "critic": critic_state}

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        z_key, gen_key, real_key, fake_key, fooled_key = jax.random.split(key, 5)
        real_key, slope_key = jax.random.split(real_key) if r1 else (real_key, None)
        mask = pack * packed(batch.get("mask", jnp.ones(len(batch["x"])))[:, None], pack).min(-1)
        z = draw(jax.random.normal, z_key, (len(batch["x"]), latent))
        made, gen_state = generator.apply(params["generator"], state["generator"], z, key=gen_key, train=train)
        real, fake = packed(batch["x"], pack), packed(made, pack)

        def score(critic_params, critic_state, x, key):
            return critic.apply(critic_params, critic_state, x, key=key, train=train)

        real_logit, critic_state = score(params["critic"], state["critic"], real, real_key)
        fake_logit, critic_state = score(params["critic"], critic_state, stop_gradient(fake), fake_key)
        fooled_logit, _ = score(stop_gradient(params["critic"]), critic_state, fake, fooled_key)
        critic_loss = mean(jax.nn.softplus(-real_logit) + jax.nn.softplus(fake_logit), mask)
        gen_loss = mean(jax.nn.softplus(-fooled_logit), mask)
        if r1 and train:
            summed = lambda x: score(params["critic"], state["critic"], x, slope_key)[0].sum()
            slope = (jax.grad(summed)(real) ** 2).sum(tuple(range(1, real.ndim)))
            critic_loss = critic_loss[0] + mean(0.5 * r1 * slope, mask)[0], critic_loss[1]
        total, weight = critic_loss[0] + gen_loss[0], critic_loss[1]
        metrics = {"loss": (total, weight), "critic_loss": critic_loss, "generator_loss": gen_loss}
        state = {"generator": gen_state, "critic": critic_state}
        return quotient(total, weight), (state, metrics)

    def sample(params: Params, state: ModelState, key: Key[Array, ""], count: int) -> dict[str, jax.Array]:
        z_key, walk_key, *noise_keys = jax.random.split(key, 5)

        def generate(*z: jax.Array, method: str | None = None) -> jax.Array:
            return generator.apply(params["generator"], state["generator"], *z, key=noise_keys.pop(), method=method)[0]

        z = jax.random.normal(z_key, (count, latent))
        made = {"samples": generate(z), "walk": walk(generate, walk_key, latent)}
        if not hasattr(generator.network, "mixed"):
            return made
        coarse, fine = jnp.meshgrid(jnp.arange(ROWS) % count, jnp.arange(COLUMNS) % count, indexing="ij")
        mixed = generate(z[coarse.ravel()], z[fine.ravel()], method="mixed")
        return made | {"mixing": mixed.reshape(ROWS, COLUMNS, *mixed.shape[1:])}

    return Task(init, loss, sample=sample)


def packed(x: Float[Array, "B ... C"], pack: int) -> Float[Array, "packs ... more"]:
    """So many records of a batch side by side along their last axis: B = packs × pack, more = pack × C."""
    if len(x) % pack:
        raise ValueError(f"a batch of {len(x)} records makes no packs of {pack}; set config.batch_size to a multiple")
    if pack == 1:
        return x
    x = jnp.moveaxis(x.reshape(-1, pack, *x.shape[1:]), 1, -2)
    return x.reshape(*x.shape[:-2], -1)
