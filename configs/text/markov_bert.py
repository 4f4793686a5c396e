"""BERT on a Markov chain: tokens that were hidden, from those on both sides; how close to the exact posterior?

python -m train --config configs/text/markov_bert.py --workdir runs/markov_bert

The lowest expected loss is that of one who knows the chain (`python -m scripts.score.masked`): 1.449 nats, with
accuracy 0.5125.

System      BERT on a Markov chain, 2018
Parameters  28,241
Data        a Markov chain of entropy rate 1.9693 nats
Published   1.449 is the lowest expected loss
Measured    loss 1.53, 47 s (2c9c4f7)
"""

from configs.base import base


def get_config():
    config = base()
    config.steps = 2000
    config.batch_size = 64
    config.log_every = 100
    config.data.update(name="synthetic:markov", states=16, order=1, context=32, train_tokens=2_000_000)
    config.model.update(name="bert:Bert", vocab=17, layers=2, heads=2, width=32, inner=128, context=32)
    config.model.update(head="words")
    config.task.update(name="masked:masked")
    config.optim.update(name="adamw", learning_rate=3e-3, weight_decay=0.01, clip=1.0)
    config.schedule.update(name="cosine", warmup=0.1)
    return config
