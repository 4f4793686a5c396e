"""How evenly the experts of a run are used: of the held-out tokens, the share that goes to each, layer by layer.

    uv run python -m scripts.score.experts runs/markov_experts

1 is an equal share.  `balance` is the auxiliary loss of Fedus et al. 2022, equation 4, over the experts of a token: 1
where all are used alike.  S tokens, E experts, k experts a token.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from models.parts.experts import balance_loss, top_k
from train import saved
from train.build import build
from train.labelled import own


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("workdir")
    run = saved.load(flags.parse_args().workdir)
    network = build("models", run.config.model.to_dict(), "model")
    x = jnp.asarray(own(run).valid.gather(np.arange(256))["x"])
    is_norm = lambda module, method: module.name == "norm2"
    _, kept = network.apply({"params": run.params}, x, capture_intermediates=is_norm, mutable=["intermediates"])
    for name, block in kept["intermediates"]["stack"].items():
        x_SD = block["norm2"]["__call__"][0].reshape(-1, network.width)
        route = top_k(x_SD @ run.params["stack"][name]["experts"]["router"], network.experts_per_token)
        share_E = jax.nn.one_hot(route.expert_Sk, network.experts).sum(1).mean(0)
        even = network.experts_per_token / network.experts
        shares = " ".join(f"{share / even:.2f}" for share in share_E)
        print(f"{name}: {shares}; balance {balance_loss(route) / network.experts_per_token:.3f}")


if __name__ == "__main__":
    main()
