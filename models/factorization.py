"""Matrix factorisation for recommendation (Koren, Bell & Volinsky 2009).  B batch, K rank."""

from flax import linen as nn
from jaxtyping import Array, Float, Int

from models.parts.dense import Embed, at_least_one

SMALLEST = {"rank": 2}  # at which pages are tested


class Factorization(nn.Module):
    """b_u + c_i + p_u · q_i (eq. 4), for x of a user's number and an item's."""

    users: int
    items: int
    rank: int = 8

    @nn.compact
    def __call__(self, x: Int[Array, "B 2"], *, train: bool = False) -> Float[Array, "B 1"]:
        at_least_one(self, "users", "items", "rank")
        init, zeros = nn.initializers.normal(0.1), nn.initializers.zeros
        table = lambda name, count, width, init: Embed(count, width, init, (None, None), name=name)
        p = table("tastes", self.users, self.rank, init)(x[:, 0])
        q = table("traits", self.items, self.rank, init)(x[:, 1])
        b = table("user_means", self.users, 1, zeros)(x[:, 0])
        c = table("item_means", self.items, 1, zeros)(x[:, 1])
        return b + c + (p * q).sum(-1, keepdims=True)
