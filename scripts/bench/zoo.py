"""Time of the train step of several networks beside PyTorch eager, alternating on the same machine.

    uv run python -m scripts.bench.zoo --torch /path/to/python/with/torch [--rounds 6] [NETWORK ...]

Random data, SGD with momentum.  Each round makes three steps on either side; the ratio is the median of the rounds'
ratios, since machines drift.
"""

import argparse
import os
import sys

from scripts.bench.step import ROOT, Bare, answer, compare

STEPS = 3
NETWORKS = {  # scripts/bench/torch_zoo.py has the same by the same name
    "resnet18": {
        "batch_size": 32,
        "data": {"name": "random:images", "side": 32, "classes": 10},
        "model": {"name": "resnet:imagenet", "classes": 10, "depth": 18, "stem": "small"},
    },
    "mlp": {
        "batch_size": 128,
        "data": {"name": "random:images", "side": 28, "channels": 1, "classes": 10},
        "model": {"name": "mlp:MLP", "classes": 10, "width": 512, "layers": 2},
    },
    "vae": {
        "batch_size": 64,
        "data": {"name": "random:images", "side": 28, "channels": 1, "classes": 10},
        "model": {"name": "vae:VAE", "shape": (28, 28, 1), "latent": 8, "width": 256},
        "task": {"name": "reconstruct:elbo"},
    },
    "dcgan": {
        "batch_size": 64,
        "data": {"name": "random:images", "side": 64, "classes": 10},
        "model": {
            "generator": {"name": "dcgan:Generator", "shape": (64, 64, 3), "width": 64},
            "critic": {"name": "dcgan:Critic", "width": 64},
        },
        "task": {"name": "gan:gan", "latent": 100},
    },
    "gpt_10m": {
        "batch_size": 8,
        "data": {"name": "random:tokens", "vocab": 65, "context": 256},
        "model": {"name": "gpt:GPT", "vocab": 65, "layers": 6, "heads": 6, "width": 384, "context": 256},
    },
    "vit": {
        "batch_size": 32,
        "data": {"name": "random:images", "side": 32, "classes": 10},
        "model": {"name": "vit:ViT", "classes": 10, "layers": 12, "heads": 6, "width": 384, "patch": 4},
    },
    "mamba": {
        "batch_size": 8,
        "data": {"name": "random:tokens", "vocab": 65, "context": 128},
        "model": {"name": "mamba:Mamba", "vocab": 65, "layers": 4, "width": 128},
    },
    "experts": {
        "batch_size": 12,
        "data": {"name": "random:tokens", "vocab": 65, "context": 64},
        "model": {
            "name": "llama:Llama",
            "vocab": 65,
            "layers": 4,
            "heads": 4,
            "width": 128,
            "inner": 256,
            "context": 64,
            "experts": 8,
            "experts_per_token": 2,
        },
    },
}


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    flags.add_argument("--torch", metavar="PYTHON", help="a Python with torch; without it only our own step is timed")
    flags.add_argument("--rounds", type=int, default=6)
    flags.add_argument("--serve", metavar="NETWORK", help=argparse.SUPPRESS)
    options = flags.parse_args()
    if options.serve:
        return answer(Bare(config_of(options.serve)))
    for name in options.networks:
        print(name, flush=True)
        sides = {"isoflop": [sys.executable, __file__, "--serve", name]}
        if options.torch:
            yardstick = str(ROOT / "scripts" / "bench" / "torch_zoo.py")
            sides["torch"] = [options.torch, yardstick, name, f"--threads={os.cpu_count()}"]
        compare(sides, options.rounds, STEPS)


def config_of(name: str):
    from configs.base import base
    from train.devices import runtime

    runtime.set_up()
    config = base()
    config.batch_size = NETWORKS[name]["batch_size"]
    config.data.update(NETWORKS[name]["data"])
    config.model.update(NETWORKS[name]["model"])
    config.task.update(NETWORKS[name].get("task", {"name": "supervised:classify"}))
    config.optim.update(name="sgd", learning_rate=0.01, momentum=0.9)
    return config.lock()


if __name__ == "__main__":
    main()
