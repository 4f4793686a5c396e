"""The single unit, a weighted sum: perceptron, ADALINE and Oja's neuron differ in their rule (train/tasks/rules.py)."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class Neuron(nn.Module):
    """w·x, with a bias or without.  Weights begin as Gaussians of standard deviation `scale`, at zero unless told."""

    bias: bool = True
    scale: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "batch *features"], *, train: bool = False) -> Float[Array, " batch"]:
        x = x.reshape(len(x), -1)
        weight = self.param("weight", nn.initializers.normal(self.scale), x.shape[1:])
        bias = self.param("bias", nn.initializers.zeros, ()) if self.bias else jnp.zeros(())
        return x @ weight + bias
