"""Multilayer perceptron (Rumelhart, Hinton & Williams 1986)."""

from flax import linen as nn
from jaxtyping import Array, Float

from models.activations import ACTIVATIONS, ActivationName, units_before
from models.layers import Dropout, InitializerName, NormName, initializer, norm

SMALLEST = {"layers": 1, "width": 16}  # at which pages are tested


class MLP(nn.Module):
    """`layers` hidden layers of `width` units, on inputs of any shape: dense, norm, activation, dropout.

    Names are those of models/activations.py and models/layers.py.  Where the activation is a gate, the dense layer has
    2 `width` units, of which it makes `width`.  `initializer` is of the hidden layers' weights and `bias_initializer`
    of their biases, both times `gain`.  With `residual` each hidden layer but the first is added to its input.
    """

    classes: int
    width: int = 128
    layers: int = 2
    activation: ActivationName = "relu"
    dropout: float = 0.0
    norm: NormName = "none"
    initializer: InitializerName = "lecun_normal"
    gain: float = 1.0
    bias_initializer: InitializerName = "zeros"
    residual: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "batch *features"], *, train: bool = False) -> Float[Array, "batch classes"]:
        x = x.reshape(len(x), -1)
        act, units = ACTIVATIONS[self.activation], units_before(self.activation, self.width)
        init, bias_init = initializer(self.initializer, self.gain), initializer(self.bias_initializer, self.gain)
        for i in range(self.layers):
            y = nn.Dense(units, kernel_init=init, bias_init=bias_init, name=f"hidden_{i}")(x)
            y = act(norm(self.norm, train, f"norm_{i}")(y))
            y = Dropout(self.dropout)(y, train)
            x = x + y if self.residual and i > 0 else y
        return nn.Dense(self.classes, name="logits")(x)
