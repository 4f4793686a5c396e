"""LeNet of 1989 (LeCun et al., "Backpropagation applied to handwritten zip code recognition") and LeNet-5 of 1998
(LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition")."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.activations import ACTIVATIONS, ActivationName
from models.parts.convolution import conv

# Which 8 of H1's 12 maps each third of H2's maps sees.  The paper says that there are 8, not which: these thirds leave
# out the last, the first and the middle four.
SEEN = ((0, 1, 2, 3, 4, 5, 6, 7), (4, 5, 6, 7, 8, 9, 10, 11), (0, 1, 2, 3, 8, 9, 10, 11))


class UnitBias(nn.Module):
    """A bias for each unit: not one a map, as is usual."""

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
        return x + self.param("bias", nn.initializers.zeros, x.shape[1:])[None]


class LeNet1989(nn.Module):
    """9,760 parameters on 16 × 16 × 1 images with the background at 0, which also lies around them."""

    classes: int = 10
    activation: ActivationName = "tanh"

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Float[Array, "batch classes"]:
        act = ACTIVATIONS[self.activation]
        x = conv(12, 5, 2, use_bias=False, name="h1")(x)
        x = act(UnitBias(name="h1_bias")(x))
        x = conv(12, 5, 2, groups=len(SEEN), use_bias=False, name="h2")(x[..., jnp.ravel(jnp.asarray(SEEN))])
        x = act(UnitBias(name="h2_bias")(x))
        x = act(nn.Dense(30, name="h3")(x.reshape(len(x), -1)))
        return nn.Dense(self.classes, name="output")(x)


class LeNet5(nn.Module):
    """61,706 parameters on 28 × 28 × 1 images: the form that is taught, with full connections between C1 and C3."""

    classes: int = 10
    activation: ActivationName = "tanh"

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Float[Array, "batch classes"]:
        act = ACTIVATIONS[self.activation]
        x = act(conv(6, 5, name="c1")(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = act(conv(16, 5, padding=0, name="c3")(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        x = act(nn.Dense(120, name="c5")(x))
        x = act(nn.Dense(84, name="f6")(x))
        return nn.Dense(self.classes, name="output")(x)
