"""Generator in the manner of StyleGAN 2 (Karras et al. 2019 and 2020), for pixels in [0, 1].

A mapping network turns noise into a style; each convolution's kernel is scaled by what it makes of the style; noise for
every pixel adds detail; the picture is a sum over all sizes.  B batch, Z latent, S style, L layers that take a style.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from models.dcgan import halvings
from models.parts.axes import draw
from models.parts.convolution import conv, convolution

SMALLEST = {"width": 4, "style": 8, "mapping": 1}  # at which pages are tested
EPSILON = 1e-8
HE = nn.initializers.he_normal()


def modulated(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k k I O"], scale: Float[Array, "B I"], demodulate: bool = True
) -> Float[Array, "B H W O"]:
    """The convolution of each picture with its own kernel, `scale`d along the inputs (Karras et al. 2020, eq. 1 and 3).

    Demodulated, the kernel of each output has length 1, so inputs of variance 1 give outputs of variance 1.  Both are
    done to the inputs and the outputs of one convolution of the whole batch, which is the same.
    """
    y = convolution(x * scale[:, None, None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    if not demodulate:
        return y
    length_BO = jnp.sqrt(scale**2 @ (kernel**2).sum((0, 1)) + EPSILON)
    return y / length_BO[:, None, None]


class Modulated(nn.Module):
    """A modulated convolution: the style gives the scale of each input map, 1 to begin with."""

    features: int
    kernel: int = 3
    demodulate: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"], style: Float[Array, "B S"]) -> Float[Array, "B H W O"]:
        scale = nn.Dense(x.shape[-1], bias_init=nn.initializers.ones, name="scale")(style)
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        return modulated(x, self.param("kernel", HE, shape).astype(x.dtype), scale, self.demodulate)


class Layer(nn.Module):
    """A modulated convolution, noise whose strength is learnt (0 to begin with), a bias, and a leaky ReLU."""

    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W I"], style: Float[Array, "B S"], noise: Float[Array, "B N"]
    ) -> Float[Array, "B H W O"]:
        """The first H × W numbers of `noise` are those of the pixels."""
        x = Modulated(self.features, name="conv")(x, style)
        noise = noise[:, : x.shape[1] * x.shape[2]].reshape(*x.shape[:3], 1)
        x += self.param("noise", nn.initializers.zeros, ()) * noise.astype(x.dtype)
        x += self.param("bias", nn.initializers.zeros, (self.features,))[None, None, None]
        return jnp.sqrt(2) * nn.leaky_relu(x, 0.2)


class Generator(nn.Module):
    """From a learnt picture of few pixels, doubled up to `shape`, at which there are `width` maps."""

    shape: tuple[int, int, int]  # of one picture: H, W, C
    width: int = 32
    style: int = 64
    mapping: int = 4  # dense layers from noise to style
    mixing: float = 0.9  # of a training batch's pictures, the share with two styles

    def setup(self):
        self.doublings = min(map(halvings, self.shape[:2]))
        self.map_layers = [nn.Dense(self.style, kernel_init=HE) for _ in range(self.mapping)]
        maps = [self.width * 2 ** (self.doublings - i) for i in range(self.doublings + 1)]
        low = (self.shape[0] // 2**self.doublings, self.shape[1] // 2**self.doublings, maps[0])
        self.start = self.param("start", nn.initializers.normal(1.0), low)
        self.convolutions = [Layer(maps[0])] + [Layer(m) for m in maps[1:] for _ in range(2)]
        self.pixels = [Modulated(self.shape[-1], 1, demodulate=False) for _ in maps]

    @property
    def layers(self) -> int:
        return 1 + 2 * min(map(halvings, self.shape[:2]))

    def __call__(self, z: Float[Array, "B Z"], *, train: bool = False) -> Float[Array, "B H W C"]:
        return self.synthesise(self.crossed_styles(z) if train and self.mixing else self.spread(self.map(z)))

    def crossed_styles(self, z: Float[Array, "B Z"], *, train: bool = True) -> Float[Array, "B L S"]:
        """Of a share `mixing` of the batch those of other noise from a random layer on (Karras et al. 2019, 3.1)."""
        z_key, where_key, which_key = jax.random.split(self.make_rng("noise"), 3)
        other = draw(jax.random.normal, z_key, z.shape)
        where = draw(jax.random.randint, where_key, (len(z),), minval=1, maxval=max(2, self.layers))
        is_mixed = draw(jax.random.uniform, which_key, (len(z),)) < self.mixing
        return self.crossed(self.map(z), self.map(other), jnp.where(is_mixed, where, self.layers))

    def map(self, z: Float[Array, "B Z"], *, train: bool = False) -> Float[Array, "B S"]:
        """The mapping network, of noise of length √Z."""
        w = z * jax.lax.rsqrt((z**2).mean(-1, keepdims=True) + EPSILON)
        for layer in self.map_layers:
            w = nn.leaky_relu(layer(w), 0.2)
        return w

    def spread(self, style: Float[Array, "B S"]) -> Float[Array, "B L S"]:
        """The same style for every layer."""
        return jnp.broadcast_to(style[:, None], (len(style), self.layers, style.shape[-1]))

    def crossed(self, first: jax.Array, second: jax.Array, where: jax.Array) -> Float[Array, "B L S"]:
        """`first` below layer number `where` [B], `second` from there on."""
        is_first = jnp.arange(self.layers)[None] < where[:, None]
        return jnp.where(is_first[..., None], first[:, None], second[:, None])

    def mixed(self, z: jax.Array, other: jax.Array, *, train: bool = False) -> Float[Array, "B H W C"]:
        """Coarse features of `z`, fine ones of `other`: the smallest size is the former's, the larger the latter's."""
        where = jnp.full(len(z), min(1 + self.doublings, self.layers))
        return self.synthesise(self.crossed(self.map(z), self.map(other), where))

    def synthesise(self, styles: Float[Array, "B L S"], *, train: bool = False) -> Float[Array, "B H W C"]:
        height, width, _ = self.start.shape
        pixels = [height * width] + [height * width * 4**i for i in range(1, self.doublings + 1) for _ in range(2)]
        # All at once: every call of a generator of random numbers takes a compiler a third of a second.
        noise = draw(jax.random.normal, self.make_rng("noise"), (len(styles), sum(pixels)))
        start = [sum(pixels[:layer]) for layer in range(self.layers)]
        apply = lambda layer, x: self.convolutions[layer](x, styles[:, layer], noise[:, start[layer] :])
        x = jnp.broadcast_to(self.start, (len(styles), *self.start.shape)).astype(styles.dtype)
        x = apply(0, x)
        picture = self.pixels[0](x, styles[:, 0])
        for i in range(1, self.doublings + 1):
            x = apply(2 * i, apply(2 * i - 1, doubled(x)))
            picture = doubled(picture) + self.pixels[i](x, styles[:, 2 * i])
        return nn.sigmoid(2 * picture)


def doubled(x: jax.Array) -> jax.Array:
    """Every pixel four times."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


class Critic(nn.Module):
    """A picture to the logit of "this is real": residual blocks that halve the sides, without norms."""

    width: int = 32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Float[Array, " B"]:
        count = min(map(halvings, x.shape[1:3]))
        x = conv(self.width, 1, kernel_init=HE, name="pixels")(2 * x - 1)
        for i in range(count):
            maps = self.width * 2 ** (i + 1)
            halved = nn.avg_pool(x, (2, 2), (2, 2))
            y = nn.leaky_relu(conv(x.shape[-1], 3, kernel_init=HE, name=f"conv_{i}")(nn.leaky_relu(x, 0.2)), 0.2)
            y = nn.avg_pool(conv(maps, 3, kernel_init=HE, name=f"halve_{i}")(y), (2, 2), (2, 2))
            x = (y + conv(maps, 1, use_bias=False, kernel_init=HE, name=f"skip_{i}")(halved)) / jnp.sqrt(2)
        x = nn.leaky_relu(nn.Dense(maps if count else self.width, name="hidden")(x.reshape(len(x), -1)), 0.2)
        return nn.Dense(1, name="logit")(x)[:, 0]
