"""Bernoulli restricted Boltzmann machine (Smolensky 1986; Hinton 2002).  B batch, V visible, H hidden."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.axes import draw

SMALLEST = {"hidden": 16, "visible": 16}  # at which pages are tested; pages leave the visible units of data out


class RBM(nn.Module):
    """Energy E(v, h) = -v·b - h·c - v·W·h over binary units."""

    visible: int
    hidden: int

    def setup(self):
        self.w_VH = self.param("w_VH", nn.initializers.normal(0.01), (self.visible, self.hidden))
        self.b_V = self.param("b_V", nn.initializers.zeros, (self.visible,))
        self.c_H = self.param("c_H", nn.initializers.zeros, (self.hidden,))

    def __call__(self, v_BV: Float[Array, "batch visible"], *, train: bool = False) -> Float[Array, " batch"]:
        """Free energy F(v) = -log Σ_h exp(-E(v, h)), which is -log p(v) up to the partition function."""
        return -v_BV @ self.b_V - jax.nn.softplus(v_BV @ self.w_VH + self.c_H[None]).sum(-1)

    def gibbs(self, v_BV: Float[Array, "batch visible"], *, train: bool = False) -> Float[Array, "batch visible"]:
        """One sweep v → h → v', both layers sampled."""
        h_key, v_key = jax.random.split(self.make_rng("noise"))
        p_BH = self.upwards(v_BV)
        h_BH = (draw(jax.random.uniform, h_key, p_BH.shape) < p_BH).astype(v_BV.dtype)
        p_BV = jax.nn.sigmoid(h_BH @ self.w_VH.T + self.b_V[None])
        return (draw(jax.random.uniform, v_key, p_BV.shape) < p_BV).astype(v_BV.dtype)

    def upwards(self, v_BV: Float[Array, "batch visible"], *, train: bool = False) -> Float[Array, "batch hidden"]:
        """p(h = 1 | v)."""
        return jax.nn.sigmoid(v_BV @ self.w_VH + self.c_H[None])


def log_partition(params: dict) -> jax.Array:
    """log Z by summing over every visible state: exact, for at most about twenty visible units."""
    visible = params["w_VH"].shape[0]
    states_SV = ((jnp.arange(2**visible)[:, None] >> jnp.arange(visible)[None]) & 1).astype(jnp.float32)
    return jax.nn.logsumexp(-RBM(*params["w_VH"].shape).apply({"params": params}, states_SV))
