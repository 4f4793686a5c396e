"""Our side of parts c and d of gpu.py: train steps in bfloat16 on random data.

Run as a module with a network and its sizes, it answers each number read from stdin with seconds a step.
"""

import json
import sys
from typing import Any

from ml_collections import ConfigDict

from configs.base import base
from scripts.bench_step import Bare


def config_of(network: str, shape: dict[str, int]) -> ConfigDict:
    """The experiment: the page's own optimizer, no schedule, no evaluation."""
    config = base()
    config.batch_size, config.precision = shape["batch"], "bfloat16"
    config.task.update(name="supervised:classify")
    if network == "gpt":
        sizes = {name: shape[name] for name in ("layers", "heads", "width", "context", "vocab")}
        config.data.update(
            name="random:tokens", vocab=shape["vocab"], context=shape["context"],
            train_tokens=64 * shape["batch"] * (shape["context"] + 1), valid_tokens=2 * (shape["context"] + 1),
        )  # fmt: skip
        config.model.update(name="gpt:GPT", **sizes)
        config.optim.update(name="adamw", learning_rate=6e-4, b2=0.95, weight_decay=0.1, clip=1.0)
    else:
        config.data.update(name="random:images", side=shape["side"], classes=1000)
        config.model.update(name="resnet:imagenet", classes=1000, depth=shape["depth"])
        config.optim.update(name="sgd", learning_rate=0.1, momentum=0.9)
    return config.lock()


def bare(network: str, shape: dict[str, int]) -> Bare:
    from train import mesh

    mesh.set_up()
    return Bare(config_of(network, shape))


def alone(network: str, shape: dict[str, int], rounds: int) -> None:
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


def main() -> None:
    steps = bare(sys.argv[1], json.loads(sys.argv[2]))
    for line in sys.stdin:
        print(json.dumps(steps.seconds(int(line))), flush=True)


if __name__ == "__main__":
    main()
