"""Eight experts, two for each token, on a Markov chain of order 2: they know more than a dense network of that speed.

python -m train --config configs/text/markov_experts.py --workdir runs/markov_experts

With one expert of twice the units, which costs a token the same FLOPs (--config.model.experts=1
--config.model.experts_per_token=1 --config.model.inner=64), the loss is 3.107.  A token meets 12,640 parameters, or
12,416 of that one.  No expert gets less than 0.94 or more than 1.09 of its equal share of the held-out tokens
(`python -m scripts.score.experts runs/markov_experts`).

System      Mixture of experts, 2017
Parameters  31,072
Data        a Markov chain of order 2
Published   2.531 is the lowest expected loss
Measured    loss 2.877, 19 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 1000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="synthetic:markov", states=32, order=2, context=32, train_tokens=4_000_000)
    config.model.update(name="llama:Llama", vocab=32, layers=1, heads=2, width=32, inner=32, context=32)
    config.model.update(experts=8, experts_per_token=2)
    config.task.update(name="supervised:classify")
    config.optim.update(name="adamw", learning_rate=1e-2, b2=0.95, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.0667)
    return config
