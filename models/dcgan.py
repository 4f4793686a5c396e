"""The two players of a deep convolutional GAN (Radford, Metz & Chintala 2015), for pixels in [0, 1].

Where the paper has kernels of 5 × 5 these have 4 × 4, which touch every pixel equally often at stride 2 (Odena et al.
2016).  Its tanh over [-1, 1] is a sigmoid over [0, 1] here.
"""

from flax import linen as nn
from jaxtyping import Array, Float

from models.parts.convolution import Doubling, conv
from models.parts.norms import NormName, norm

SMALLEST = {"width": 4}  # at which pages are tested
LEAST = 4  # pixels of a side at the bottom
INIT = nn.initializers.normal(0.02)  # section 4


def halvings(side: int) -> int:
    """How often a side can be halved to no fewer than LEAST pixels: 64 to 4 four times, 28 to 7 twice."""
    return 1 + halvings(side // 2) if side % 2 == 0 and side // 2 >= LEAST else 0


class Generator(nn.Module):
    """Noise to a picture: a dense layer, then doublings of the sides and halvings of the maps, to `width` at last.

    width=128 for 64 × 64 × 3 is the paper's.
    """

    shape: tuple[int, int, int]  # of one picture: H, W, C
    width: int = 128
    norm: NormName = "batch"

    @nn.compact
    def __call__(self, z: Float[Array, "batch latent"], *, train: bool = False) -> Float[Array, "batch h w c"]:
        height, width, channels = self.shape
        count = min(halvings(height), halvings(width))
        bias = self.norm == "none"
        maps = self.width * 2 ** (count - 1) if count else self.width
        low = (height // 2**count, width // 2**count, maps)
        x = nn.Dense(low[0] * low[1] * maps, use_bias=bias, kernel_init=INIT, name="project")(z).reshape(-1, *low)
        x = nn.relu(norm(self.norm, train, "norm_0")(x))
        for i in range(1, count):
            x = Doubling(maps // 2**i, bias, INIT, name=f"double_{i}")(x)
            x = nn.relu(norm(self.norm, train, f"norm_{i}")(x))
        last = Doubling(channels, True, INIT, name="pixels") if count else nn.Dense(channels, name="pixels")
        return nn.sigmoid(2 * last(x))


class Critic(nn.Module):
    """A picture to the logit of "this is real": `width` maps, twice as many at every halving of the sides."""

    width: int = 64
    norm: NormName = "batch"

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"], *, train: bool = False) -> Float[Array, " batch"]:
        x = 2 * x - 1
        for i in range(min(map(halvings, x.shape[1:3]))):
            plain = i == 0 or self.norm == "none"  # the paper leaves the norm out at the input
            x = conv(self.width * 2**i, 4, 2, padding=1, use_bias=plain, kernel_init=INIT, name=f"halve_{i}")(x)
            x = nn.leaky_relu(x if plain else norm(self.norm, train, f"norm_{i}")(x), 0.2)
        return nn.Dense(1, kernel_init=INIT, name="logit")(x.reshape(len(x), -1))[:, 0]
