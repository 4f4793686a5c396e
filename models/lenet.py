"""LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition")."""

from flax import linen as nn
from jaxtyping import Array, Float

from models.layers import activation


class LeNet5(nn.Module):
    """61,706 parameters on 28 × 28 × 1 images: the form that is taught, with full connections between C1 and C3."""

    classes: int = 10
    activation: str = "tanh"

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Float[Array, "batch classes"]:
        act = activation(self.activation)
        x = act(nn.Conv(6, (5, 5), padding="SAME", name="c1")(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = act(nn.Conv(16, (5, 5), padding="VALID", name="c3")(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        x = act(nn.Dense(120, name="c5")(x))
        x = act(nn.Dense(84, name="f6")(x))
        return nn.Dense(self.classes, name="output")(x)
