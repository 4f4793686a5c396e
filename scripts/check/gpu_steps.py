"""Our side of parts c and d of gpu.py: train steps in bfloat16 on random data.

Run as a module with a network and its sizes, it answers each number read from stdin with seconds a step.
"""

import functools
import json
import sys
import time
from typing import Any

from ml_collections import ConfigDict

from configs.base import base
from scripts.bench.step import Bare


def config_of(network: str, shape: dict[str, Any]) -> ConfigDict:
    """The experiment: the page's own optimizer, no schedule, no evaluation."""
    config = base()
    config.batch_size, config.precision = shape["batch"], "bfloat16"
    config.attention, config.loss_slices = shape.get("attention", "auto"), shape.get("slices", 1)
    config.task.update(name="supervised:classify")
    if network == "gpt":
        sizes = {name: shape[name] for name in ("layers", "heads", "width", "context", "vocab")}
        config.data.update(
            name="random:tokens", vocab=shape["vocab"], context=shape["context"],
            train_tokens=64 * shape["batch"] * (shape["context"] + 1), valid_tokens=2 * (shape["context"] + 1),
        )  # fmt: skip
        config.model.update(name="gpt:GPT", stack=shape.get("stack", "unrolled"), remat=shape.get("remat", "none"))
        config.model.update(**sizes)
        config.optim.update(name="adamw", learning_rate=6e-4, b2=0.95, weight_decay=0.1, clip=1.0)
    else:
        config.data.update(name="random:images", side=shape["side"], classes=1000)
        config.model.update(name="resnet:imagenet", classes=1000, depth=shape["depth"])
        config.optim.update(name="sgd", learning_rate=0.1, momentum=0.9)
    return config.lock()


def bare(network: str, shape: dict[str, Any]) -> Bare:

    from train.devices import runtime

    runtime.set_up()
    steps = Bare(config_of(network, shape))
    steps.program.options |= shape.get("options", {})
    batch = functools.cache(steps.batch)
    steps.batch = lambda i: batch(i % 2)  # two batches, placed once: drawing 256 images takes seconds
    return steps


def alone(network: str, shape: dict[str, Any], rounds: int) -> None:
    """Prints ms a step, and the peak of memory in bytes: measured on the device, and as XLA planned it."""
    import jax

    steps = bare(network, shape)
    seconds = sorted(steps.seconds(5) for _ in range(rounds + 1))[rounds // 2]
    stats: dict[str, Any] = jax.local_devices()[0].memory_stats() or {}
    (compiled,) = steps.program.compiled.values()
    plan = compiled.memory_analysis()
    planned = plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
    planned -= plan.alias_size_in_bytes
    print(json.dumps({"ms": seconds * 1e3, "peak": stats.get("peak_bytes_in_use", 0), "planned": planned}))


def attend(length: int, way: str, heads: int = 16, head: int = 128) -> None:
    """Prints ms of causal attention forward and backward on 16,384 tokens in bfloat16, and bytes at the peak."""
    import jax
    import jax.numpy as jnp

    shape = (max(16_384 // length, 1), length, heads, head)
    qkv = [jax.random.normal(key, shape, jnp.bfloat16) for key in jax.random.split(jax.random.key(0), 3)]

    def loss(q, k, v):
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation=way)
        return jnp.square(mixed.astype(jnp.float32)).sum()

    both = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    jax.block_until_ready(both(*qkv))
    laps = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(5):
            found = both(*qkv)
        jax.block_until_ready(found)
        laps.append((time.perf_counter() - start) / 5)
    stats: dict[str, Any] = jax.local_devices()[0].memory_stats() or {}
    print(json.dumps({"ms": sorted(laps)[2] * 1e3, "peak": stats.get("peak_bytes_in_use", 0)}))


def agree(way: str, length: int = 512, heads: int = 4, head: int = 64) -> None:
    """Prints how far attention in bfloat16 and its gradients are from XLA's in float32, by mask: [`way`, XLA] each.

    Differences are of norms, over that of XLA's in float32.
    """
    import jax
    import jax.numpy as jnp

    from models.parts import kernels
    from models.parts.kernels import Seen, Window, causal

    place = jnp.arange(length)
    seen = {
        "causal": Seen(causal),
        "window": Seen(Window(100)),
        "all": Seen(None),
        "padding": Seen(None, keys_BT=place[None] < jnp.array([[length], [length // 2]])),
        "segments": Seen(causal, segments_BT=jnp.stack([place // 100, place * 0])),
        "bias": Seen(None, bias=jax.random.normal(jax.random.key(5), (1, heads, length, length))),
    }
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = [(2, length, n, head) for n in (heads, heads // 2, heads // 2, heads)]  # fewer heads of keys
    *qkv, probe = (jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))
    platform = jax.devices()[0].platform

    def run(mask: Seen, kernel: kernels.Kernel, dtype: str) -> list[jax.Array]:
        @jax.jit
        def both(*qkv: jax.Array) -> tuple[jax.Array, tuple]:
            mixed, pull = jax.vjp(lambda *qkv: kernels.attend(*qkv, mask, None).astype(jnp.float32), *qkv)
            return mixed, pull(probe)

        with kernels.using(kernel, platform):
            mixed, gradients = both(*(x.astype(dtype) for x in qkv))
        return [x.astype(jnp.float32) for x in (mixed, *gradients)]

    def off(a: list[jax.Array], b: list[jax.Array]) -> float:
        return max(float(jnp.linalg.norm(x - y) / jnp.linalg.norm(y)) for x, y in zip(a, b, strict=True))

    found = {}
    for name, mask in seen.items():
        exact = run(mask, "xla", "float32")
        found[name] = [off(run(mask, kernel, "bfloat16"), exact) for kernel in (way, "xla")]
    print(json.dumps(found))


def population(runs: int, steps: int) -> None:
    """Prints ms a step of the demo's network: one run alone, and `runs` at once by one vmap, a seed each."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from data.pipeline import batch_at
    from train import configs, wrap
    from train.devices import mesh, runtime
    from train.experiment import build_experiment
    from train.step import init_state, train_step

    runtime.set_up()
    config = configs.config_of(configs.load("configs/scaling/scaling_demo.py"), [])
    experiment = build_experiment(config)
    devices = mesh.make_mesh(config.mesh.to_dict())
    task = wrap.placed(experiment.task, devices, experiment.axes, attention=config.attention)
    init = functools.partial(init_state, task, experiment.tx)
    step = functools.partial(train_step, task=task, tx=experiment.tx)
    read = lambda seed: batch_at(experiment.dataset.train, 0, batch_size=config.batch_size, seed=seed)
    batch = jax.tree.map(lambda *x: jnp.stack(x), *map(read, range(runs)))
    keys, rate = jax.random.split(jax.random.key(0), runs), np.float32(1)
    state = jax.jit(jax.vmap(init))(keys, batch)
    together = jax.jit(jax.vmap(step, in_axes=(0, 0, 0, None)), donate_argnums=0)
    alone = jax.jit(step, donate_argnums=0)
    first = lambda tree: jax.tree.map(lambda x: x[0], tree)

    def time_of(program, state, *inputs) -> float:
        laps = []
        for _ in range(4):  # the first compiles
            start = time.perf_counter()
            for _ in range(steps):
                state, metrics = program(state, *inputs, rate)
            jax.block_until_ready((state, metrics))
            laps.append((time.perf_counter() - start) / steps * 1e3)
        return min(laps[1:])

    one = time_of(alone, first(state), first(batch), keys[0])
    all_of_them = time_of(together, state, batch, keys)
    print(json.dumps({"alone": one, "together": all_of_them, "gain": runs * one / all_of_them}))


def main() -> None:
    steps = bare(sys.argv[1], json.loads(sys.argv[2]))
    for line in sys.stdin:
        print(json.dumps(steps.seconds(int(line))), flush=True)


if __name__ == "__main__":
    main()
