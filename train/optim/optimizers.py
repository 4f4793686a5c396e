"""Optimizers beside those of optax: what has another name there, what it lacks, and what it cannot mask.

A config names them as it names optax's (train/optim/chain.py); `mask` says what decays.
"""

from typing import Any

import jax
import optax

from train.optim.precondition import Rate
from train.optim.precondition import shampoo as shampoo
from train.optim.precondition import soap as soap


def momentum(learning_rate: Rate, momentum: float = 0.9) -> optax.GradientTransformationExtraArgs:
    """v ← μ v + g, w ← w - η v: the heavy ball (Polyak 1964)."""
    return optax.sgd(learning_rate, momentum)


def nesterov(learning_rate: Rate, momentum: float = 0.9) -> optax.GradientTransformationExtraArgs:
    """v ← μ v + g, w ← w - η (g + μ v): Nesterov 1983, as Sutskever et al. 2013 write it."""
    return optax.sgd(learning_rate, momentum, nesterov=True)


def rmsprop(
    learning_rate: Rate, b2: float = 0.9, eps: float = 1e-8, momentum: float = 0.0, centered: bool = False
) -> optax.GradientTransformationExtraArgs:
    """v ← b2 v + (1 - b2) g², w ← w - η g / √(v + ε) (Hinton 2012, lecture 6e); `centered` as in Graves 2013.

    optax's, whose `decay` is called `b2` here: `config.optim.decay` says which weights decay.
    """
    return optax.rmsprop(learning_rate, b2, eps, centered=centered, momentum=momentum or None)


def schedule_free_sgd(
    learning_rate: Rate,
    b1: float = 0.9,
    weight_decay: float = 0.0,
    weight_lr_power: float = 2.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """z ← z - η g(y), x ← mean of the z weighed by η², y = (1 - b1) z + b1 x (Defazio et al. 2024).

    Trains at y, the parameters; a run is judged by x.  Running batch statistics are those of y.
    """
    steps = optax.chain(optax.add_decayed_weights(weight_decay, mask), optax.scale_by_learning_rate(learning_rate))
    return optax.contrib.schedule_free(steps, learning_rate, b1, weight_lr_power)


def schedule_free_adamw(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    weight_lr_power: float = 2.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """`schedule_free_sgd`, whose steps are AdamW's without its momentum."""
    steps = optax.chain(
        optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(learning_rate),
    )
    return optax.contrib.schedule_free(steps, learning_rate, b1, weight_lr_power)


def sophia(
    learning_rate: Rate,
    b1: float = 0.965,
    b2: float = 0.99,
    eps: float = 1e-8,
    gamma: float = 0.01,
    examples: float = 1.0,
    interval: int = 10,
    weight_decay: float = 0.0,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """w ← w - η clip(m / max(γ h, ε), 1) (Liu et al. 2023), h being a mean of B g² taken every `interval` steps.

    g is the gradient of the batch itself and B its `examples` (tokens).  That is the empirical Fisher matrix, the
    "E-F+clip" of the paper's ablation: neither Sophia-G, which takes the gradient at labels that the network draws,
    nor Sophia-H, which takes the Hessian's product with a random vector.  Both need the loss once more.
    """
    squares = optax.stateless(lambda grads, params: jax.tree.map(lambda g: examples * g**2, grads))
    return optax.contrib.sophia(
        learning_rate,
        b1,
        b2,
        eps,
        weight_decay,
        weight_decay_mask=mask,
        gamma=gamma,
        update_interval=interval,
        hessian_diagonal_fn=squares,
    )
