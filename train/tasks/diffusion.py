"""Diffusion: learn to take Gaussian noise out of records, then make records out of noise.  B batch, T steps."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from models.api import Model, ModelState, Params
from models.parts.axes import draw
from train.errors import UserError
from train.latents import COLUMNS, ROWS
from train.step import Batch, Scored, Task
from train.tasks.supervised import masked_mean


def diffusion(
    model: Model,
    steps: int = 1000,
    schedule: Literal["cosine", "linear"] = "cosine",
    sampler: Literal["ancestral", "ddim"] = "ancestral",
    sample_steps: int = 100,
    low: float = 0.0,
    high: float = 1.0,
    clip: bool = True,
    classes: int = 0,
) -> Task:
    """Mean squared error of the noise in x_t = √ᾱ_t x + √(1 - ᾱ_t) ε at a random t of 1 … `steps`.

    That is eq. 14 of Ho et al. 2020.  Records lie between `low` and `high`, which become -1 and 1.  Samples start at
    pure noise and take `sample_steps` of the steps: "ancestral" with the posterior's own noise (eq. 7), "ddim" without
    any (Song et al. 2020).  `clip` keeps what is foreseen of a record between `low` and `high`.
    A network with `classes` is told the class `y`; its samples are of each class in turn.
    """
    told = bool(getattr(model.network, "classes", 0))
    if not 0 < sample_steps <= steps:
        raise UserError(f"config.task.sample_steps={sample_steps}: take 1 … {steps} of the {steps} steps")
    if told and not classes:
        raise UserError("config.model.classes: the data have no classes to tell the network of; leave it out, or set 0")
    kept = kept_signal(steps, schedule)

    def init(key, batch):
        return model.init(key, inside(batch["x"]), jnp.zeros(len(batch["x"])), *label(batch))

    def inside(x: jax.Array) -> jax.Array:
        return 2 * (x - low) / (high - low) - 1

    def label(batch: Batch) -> tuple[jax.Array, ...]:
        return (batch["y"],) if told else ()

    def loss(params: Params, state: ModelState, batch: Batch, key: Key[Array, ""], train: bool) -> Scored:
        step_key, noise_key, key = jax.random.split(key, 3)
        x = inside(batch["x"])
        t_B = draw(jax.random.randint, step_key, (len(x),), minval=1, maxval=steps + 1)
        noise = draw(jax.random.normal, noise_key, x.shape)
        noisy = mixed(x, noise, aligned(kept[t_B], x))
        found, state = model.apply(params, state, noisy, t_B / steps, *label(batch), key=key, train=train)
        error_B = ((found - noise) ** 2).mean(tuple(range(1, x.ndim)))
        return masked_mean(error_B, {}, batch, state)

    def sample(params: Params, state: ModelState, key: Key[Array, ""], count: int) -> dict[str, jax.Array]:
        start_key, key = jax.random.split(key)
        start = jax.random.normal(start_key, (count, *model.network.shape))
        keys = jax.random.split(key, sample_steps)
        times = jnp.round(jnp.linspace(steps, 0, sample_steps + 1)).astype(jnp.int32)
        given = {"y": jnp.arange(count) % classes} if told else {}

        def step(x: jax.Array, at: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            time, after, key = at
            now, then = kept[time], kept[after]
            found, _ = model.apply(params, state, x, jnp.full(count, time / steps), *label(given))
            record = (x - jnp.sqrt(1 - now) * found) / jnp.sqrt(now)
            record = jnp.clip(record, -1, 1) if clip else record
            noise = (x - jnp.sqrt(now) * record) / jnp.sqrt(1 - now)
            fresh = (1 - then) / (1 - now) * (1 - now / then) if sampler == "ancestral" else 0.0
            x = jnp.sqrt(then) * record + jnp.sqrt(1 - then - fresh) * noise
            x += jnp.sqrt(fresh) * jax.random.normal(key, x.shape)
            return x, x[:ROWS]

        records, path = jax.lax.scan(step, start, (times[:-1], times[1:], keys))
        shown = jnp.linspace(0, sample_steps - 1, COLUMNS).astype(jnp.int32)
        outside = lambda x: low + (x + 1) / 2 * (high - low)
        return {"samples": outside(records), "denoising": outside(path[shown].swapaxes(0, 1)), **given}

    return Task(init, loss, sample=sample)


def mixed(x: jax.Array, noise: jax.Array, kept: jax.Array) -> jax.Array:
    return jnp.sqrt(kept) * x + jnp.sqrt(1 - kept) * noise


def aligned(values_B: jax.Array, x: jax.Array) -> jax.Array:
    """[B] -> [B, 1, …] with the axes of `x`."""
    return jnp.expand_dims(values_B, tuple(range(1, x.ndim)))


def kept_signal(steps: int, schedule: Literal["cosine", "linear"]) -> jax.Array:
    """ᾱ_0 = 1, ᾱ_1, … ᾱ_T: the share of a record's variance that is left after each step.

    "linear": what a step adds grows linearly (Ho et al. 2020, section 4, for 1,000 steps).  "cosine": ᾱ falls as a
    squared cosine, and no step adds more than 0.999 (Nichol & Dhariwal 2021, eq. 17).
    """
    if schedule == "linear":
        added = np.linspace(1e-4, 0.02, steps) * 1000 / steps
    else:
        curve = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        added = 1 - curve[1:] / curve[:-1]
    return jnp.asarray(np.concatenate([[1.0], np.cumprod(1 - np.minimum(added, 0.999))]), jnp.float32)
