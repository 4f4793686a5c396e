"""Gradients of layers that models/parts/ writes another way than JAX does, beside JAX's own, alternating.

    uv run python -m scripts.bench.layers [--rounds 10]

The gradient is by input and weights, of 32 images; of attention by queries, keys and values, of 8 texts of 6 heads of
64.  The ratio is the median of the rounds' ratios.
"""

import argparse
import statistics
import time

import jax
from flax import linen as nn

from models.parts import kernels
from models.parts.convolution import Doubling, convolution, max_pool

NAMES = (
    "max_pool 3 × 3, stride 2",
    "max_pool 2 × 2, stride 2",
    "convolution 5 × 5, two groups",
    "Doubling 4 × 4, stride 2",
    "causal attention, 128 tokens",
    "causal attention, 256 tokens",
    "causal attention, 1024 tokens",
)
IMAGES = ("NHWC", "HWIO", "NHWC")


def pair(name: str):
    """(ours, JAX's) gradient functions of the same arguments, and the arguments."""
    x = jax.random.normal(jax.random.key(0), (32, 32, 32, 64))
    if name == "max_pool 3 × 3, stride 2":
        return max_pooled(lambda x: max_pool(x, 3, 2)), max_pooled(lambda x: nn.max_pool(x, (3, 3), (2, 2))), (x,)
    if name == "max_pool 2 × 2, stride 2":
        return max_pooled(lambda x: max_pool(x, 2, 2)), max_pooled(lambda x: nn.max_pool(x, (2, 2), (2, 2))), (x,)
    if name == "Doubling 4 × 4, stride 2":
        x = x[:, :16, :16]
        module, own = nn.ConvTranspose(32, (4, 4), (2, 2)), Doubling(32)
        params = own.init(jax.random.key(1), x)
        sides = (jax.jit(jax.grad(lambda p, x, m=m: (m.apply(p, x) ** 2).sum(), (0, 1))) for m in (own, module))
        return *sides, (params, x)
    if name.startswith("causal"):
        shape = (8, int(name.split()[2]), 6, 64)
        return (
            attention("blocks"),
            attention("xla"),
            tuple(jax.random.normal(jax.random.key(i), shape) for i in range(3)),
        )
    w = jax.random.normal(jax.random.key(1), (5, 5, 32, 128))
    product = lambda f: lambda x, w: f(x, w, (1, 1), "SAME", dimension_numbers=IMAGES, feature_group_count=2).sum()
    sides = (jax.jit(jax.grad(product(f), (0, 1))) for f in (convolution, jax.lax.conv_general_dilated))
    return *sides, (x, w)


def attention(kernel: kernels.Kernel):
    def total(q, k, v):
        with kernels.using(kernel, "cpu"):
            return (kernels.attend(q, k, v, kernels.Seen(), None) ** 2).sum()

    return jax.jit(jax.grad(total, (0, 1, 2)))


def max_pooled(pool):
    return jax.jit(jax.grad(lambda x: (pool(x) ** 2).sum()))


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rounds", type=int, default=10)
    flags.add_argument("layers", nargs="*", metavar="LAYER", help=f"some of {NAMES}; default: all")
    options = flags.parse_args()
    for name in options.layers or NAMES:
        ours, theirs, arguments = pair(name)
        rounds = [[seconds(f, arguments) for f in (ours, theirs)] for _ in range(options.rounds + 1)][1:]
        middle = [statistics.median(side) * 1e3 for side in zip(*rounds, strict=True)]
        ratio = statistics.median(a / b for a, b in rounds)
        print(f"{name:<30} {middle[0]:8.1f} ms   JAX {middle[1]:8.1f} ms   ratio {ratio:.3f}", flush=True)


def seconds(f, arguments) -> float:
    start = time.perf_counter()
    jax.block_until_ready(f(*arguments))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
