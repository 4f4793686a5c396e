"""Threshold units, composed (McCulloch & Pitts 1943, "A logical calculus of the ideas immanent in nervous activity").

B batch, N inputs, P = 2^N patterns of them, F = 2^P functions of them.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


def fires(x: jax.Array, weight: jax.Array, threshold: jax.Array) -> jax.Array:
    """Units that give 1 where their weighted sum reaches the threshold, else 0; the gradient is 0 everywhere."""
    return (x @ weight >= threshold[None]).astype(x.dtype)


class ThresholdNetwork(nn.Module):
    """All Boolean functions of `inputs` inputs at once: function number f is bit p of f for the input pattern p.

    A unit of the hidden layer fires on one pattern alone: inputs that are 1 there excite it, the others inhibit it,
    and the threshold is the number of ones.  An output is the disjunction of the patterns for which it is to be 1.
    """

    inputs: int = 3

    @nn.compact
    def __call__(self, x_BN: Float[Array, "batch inputs"], *, train: bool = False) -> Float[Array, "batch functions"]:
        patterns = 2**self.inputs
        if self.inputs > 4:
            raise ValueError(f"inputs={self.inputs} have 2^{patterns} functions; use at most 4")
        pattern_NP = bits(jnp.arange(patterns), self.inputs)
        table_PF = bits(jnp.arange(2**patterns), patterns)
        built = lambda name, value: self.param(name, lambda key: value.astype(jnp.float32))
        hidden_BP = fires(x_BN, built("pattern", 2 * pattern_NP - 1), built("ones", pattern_NP.sum(0)))
        return fires(hidden_BP, built("table", table_PF), built("any", jnp.ones(2**patterns)))


def bits(numbers: jax.Array, count: int) -> jax.Array:
    """Binary digits, the lowest first: [M] -> [count, M]."""
    return (numbers[None] >> jnp.arange(count)[:, None]) & 1
