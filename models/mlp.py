"""Multilayer perceptron (Rumelhart, Hinton & Williams 1986)."""

from flax import linen as nn
from jaxtyping import Array, Float

from models.layers import Dropout, activation


class MLP(nn.Module):
    """`layers` hidden layers of `width` units, on inputs of any shape."""

    classes: int
    width: int = 128
    layers: int = 2
    activation: str = "relu"
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "batch *features"], *, train: bool = False) -> Float[Array, "batch classes"]:
        x = x.reshape(len(x), -1)
        for i in range(self.layers):
            x = activation(self.activation)(nn.Dense(self.width, name=f"hidden_{i}")(x))
            x = Dropout(self.dropout)(x, train)
        return nn.Dense(self.classes, name="logits")(x)
