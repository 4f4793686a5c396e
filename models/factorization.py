"""Matrix factorisation for recommendation (Koren, Bell & Volinsky 2009).  B batch, K rank."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.dense import at_least_one, look_up

SMALLEST = {"rank": 2}  # at which pages are tested


class Factorization(nn.Module):
    """b_u + c_i + p_u · q_i (eq. 4), for x of a user's number and an item's."""

    users: int
    items: int
    rank: int = 8

    @nn.compact
    def __call__(self, x: Int[Array, "B 2"], *, train: bool = False) -> Float[Array, "B 1"]:
        at_least_one(self, "users", "items", "rank")
        init, zeros, (user, item) = nn.initializers.normal(0.1), nn.initializers.zeros, x.T
        p = look_up(None, self.param("tastes", init, (self.users, self.rank)), user)
        q = look_up(None, self.param("traits", init, (self.items, self.rank)), item)
        b = look_up(None, self.param("user_means", zeros, (self.users, 1)), user)
        c = look_up(None, self.param("item_means", zeros, (self.items, 1)), item)
        return b + c + jnp.einsum("BK,BK->B", p, q)[:, None]
