"""Multilayer perceptron (Rumelhart, Hinton & Williams 1986)."""

from flax import linen as nn
from jaxtyping import Array, Float

from models.activations import activation, units_before
from models.layers import Dropout, initializer, norm


class MLP(nn.Module):
    """`layers` hidden layers of `width` units, on inputs of any shape: dense, norm, activation, dropout.

    Names are those of models/activations.py and models/layers.py.  Where the activation is a gate, the dense layer has
    2 `width` units, of which it makes `width`.  `gain` multiplies the weights that hidden layers start with.
    """

    classes: int
    width: int = 128
    layers: int = 2
    activation: str = "relu"
    dropout: float = 0.0
    norm: str = "none"
    initializer: str = "lecun_normal"
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "batch *features"], *, train: bool = False) -> Float[Array, "batch classes"]:
        x = x.reshape(len(x), -1)
        act, units = activation(self.activation), units_before(self.activation, self.width)
        init = initializer(self.initializer, self.gain)
        for i in range(self.layers):
            x = nn.Dense(units, kernel_init=init, name=f"hidden_{i}")(x)
            x = act(norm(self.norm, train, f"norm_{i}")(x))
            x = Dropout(self.dropout)(x, train)
        return nn.Dense(self.classes, name="logits")(x)
